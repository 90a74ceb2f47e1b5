//! Waiting for something to become true, with a deadline.

use std::fmt::Debug;
use std::panic::Location;
use std::time::{Duration, Instant};

/// What a look at the world may answer: `bool`, `Option<T>` or `Result<T, E>`.
pub trait Outcome {
    /// What is handed on once it is there.
    type Value;
    /// The value, or what was seen instead.
    fn outcome(self) -> Result<Self::Value, String>;
}

impl Outcome for bool {
    type Value = ();
    fn outcome(self) -> Result<(), String> {
        self.then_some(()).ok_or_else(|| "false".to_owned())
    }
}

impl<T> Outcome for Option<T> {
    type Value = T;
    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "None".to_owned())
    }
}

impl<T, E: Debug> Outcome for Result<T, E> {
    type Value = T;
    fn outcome(self) -> Result<T, String> {
        self.map_err(|e| format!("Err({e:?})"))
    }
}

/// Asks `look` again and again until it answers `true`, `Some` or `Ok`, and returns
/// what it found.
///
/// # Panics
/// When that has not happened within `deadline`; the message names the caller and the
/// last thing seen. A look that itself hangs is cut off.
#[track_caller]
pub fn eventually<L, F>(deadline: Duration, look: L) -> impl Future<Output = Value<F>>
where
    L: FnMut() -> F,
    F: Future<Output: Outcome>,
{
    let caller = Location::caller();
    async move {
        match poll(deadline, look).await {
            Ok(value) => value,
            Err(seen) => panic!("{caller}: not within {deadline:?}; last seen: {seen}"),
        }
    }
}

type Value<F> = <<F as Future>::Output as Outcome>::Value;

/// [`eventually`] that hands back what was last seen instead of panicking.
pub(crate) async fn poll<L, F>(deadline: Duration, mut look: L) -> Result<Value<F>, String>
where
    L: FnMut() -> F,
    F: Future<Output: Outcome>,
{
    let end = Instant::now() + deadline;
    let mut pause = Duration::from_millis(5);
    let mut seen = "nothing: the first look never returned".to_owned();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, look()).await {
            Ok(answer) => match answer.outcome() {
                Ok(value) => return Ok(value),
                Err(other) => seen = other,
            },
            Err(_) => return Err(format!("{seen}; then a look that did not return")),
        }
        if Instant::now() + pause >= end {
            return Err(seen);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(200));
    }
}
