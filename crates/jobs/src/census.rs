use std::time::Duration;

use crate::{Result, State};

/// How many records stand where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// Of every state.
    pub states: Vec<(State, u64)>,
    /// How long the one that waits longest for a worker has waited; zero if none does.
    pub longest_wait: Duration,
}

impl Census {
    pub(crate) fn new(counts: Vec<(String, i64)>, waited_ms: i64) -> Result<Self> {
        let mut states: Vec<_> = State::ALL.iter().map(|(state, _)| (*state, 0)).collect();
        for (name, count) in counts {
            let found: State = name.parse()?;
            states.iter_mut().filter(|(state, _)| *state == found).for_each(|entry| entry.1 = count.unsigned_abs());
        }
        Ok(Self { states, longest_wait: Duration::from_millis(waited_ms.max(0).unsigned_abs()) })
    }
}
