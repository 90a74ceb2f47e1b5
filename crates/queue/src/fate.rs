//! What becomes of a message after a verdict: the same for every backend.

use std::time::Duration;

use crate::{Delivery, Options, Verdict};

/// The longest reason that travels with a message, in bytes.
const REASON_MAX: usize = 1_000;

/// What a backend has to do with a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Forget it.
    Done,
    /// Hand it out again after `delay` (always one of [`Options::retry_delays`]), so counted.
    Again {
        delay: Duration,
        /// Whether this was an attempt.
        counts: bool,
        attempt: u32,
        deferred: u32,
        reason: Option<String>,
    },
    /// Lay it aside.
    Dead { attempt: u32, deferred: u32, reason: String },
}

impl Fate {
    pub(crate) fn of(verdict: &Verdict, delivery: &Delivery, options: &Options) -> Self {
        let Delivery { attempt, deferred, .. } = *delivery;
        match verdict {
            Verdict::Done => Self::Done,
            Verdict::Dead { reason } => Self::Dead { attempt, deferred, reason: shortened(reason) },
            Verdict::Retry { reason } => {
                let reason = shortened(reason);
                let used_up = attempt.saturating_sub(1) as usize;
                match options.retry_delays.get(used_up) {
                    Some(&delay) => Self::Again {
                        delay,
                        counts: true,
                        attempt: attempt.saturating_add(1),
                        deferred,
                        reason: Some(reason),
                    },
                    None => Self::Dead { attempt, deferred, reason },
                }
            }
            Verdict::Later { .. } if deferred >= options.deferrals => {
                Self::Dead { attempt, deferred, reason: format!("put off {deferred} times") }
            }
            Verdict::Later { after } => Self::Again {
                delay: step(*after, &options.retry_delays),
                counts: false,
                attempt,
                deferred: deferred.saturating_add(1),
                reason: delivery.reason.clone(),
            },
        }
    }

    /// The label of the metric.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Again { counts: true, .. } => "retry",
            Self::Again { counts: false, .. } => "later",
            Self::Dead { .. } => "dead",
        }
    }

    pub(crate) fn log(&self) {
        match self {
            Self::Done => tracing::debug!("message handled"),
            Self::Again { counts: true, delay, reason, .. } => {
                tracing::warn!(reason, delay_ms = delay.as_millis() as u64, "the message is to be tried again");
            }
            Self::Again { delay, .. } => {
                tracing::debug!(delay_ms = delay.as_millis() as u64, "the message is put off");
            }
            Self::Dead { reason, .. } => tracing::error!(reason, "the message is laid aside as dead"),
        }
    }
}

/// The shortest of `delays` that is not shorter than `after`, or else the longest.
fn step(after: Duration, delays: &[Duration]) -> Duration {
    let longest = delays.iter().max().copied().unwrap_or_default();
    delays.iter().filter(|&&delay| delay >= after).min().copied().unwrap_or(longest)
}

fn shortened(reason: &str) -> String {
    reason[..reason.floor_char_boundary(REASON_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options { retry_delays: [1, 5, 30].map(Duration::from_secs).to_vec(), deferrals: 3, ..Options::default() }
    }

    fn delivery(attempt: u32, deferred: u32) -> Delivery {
        Delivery { envelope: Default::default(), attempt, deferred, reason: None, redelivered: false }
    }

    fn delays(verdict: impl Fn() -> Verdict) -> Vec<u64> {
        let (options, mut at, mut delays) = (options(), delivery(1, 0), Vec::new());
        while let Fate::Again { delay, attempt, deferred, .. } = Fate::of(&verdict(), &at, &options) {
            delays.push(delay.as_secs());
            at = delivery(attempt, deferred);
        }
        assert!(matches!(Fate::of(&verdict(), &at, &options), Fate::Dead { .. }));
        delays
    }

    #[test]
    fn retries_wait_longer_and_longer_and_end() {
        assert_eq!(delays(|| Verdict::Retry { reason: "no".into() }), [1, 5, 30]);
    }

    #[test]
    fn deferrals_end_too_and_count_no_attempt() {
        assert_eq!(delays(|| Verdict::Later { after: Duration::ZERO }), [1, 1, 1]);
        let fate = Fate::of(&Verdict::Later { after: Duration::ZERO }, &delivery(2, 1), &options());
        assert!(matches!(fate, Fate::Again { attempt: 2, deferred: 2, .. }), "{fate:?}");
    }

    #[test]
    fn later_is_rounded_up_to_a_step() {
        for (after, expected) in [(0, 1), (1, 1), (2, 5), (29, 30), (30, 30), (500, 30)] {
            assert_eq!(step(Duration::from_secs(after), &options().retry_delays).as_secs(), expected, "{after}");
        }
    }

    #[test]
    fn attempts_beyond_the_last_are_dead_not_a_panic() {
        let fate = Fate::of(&Verdict::Retry { reason: "no".into() }, &delivery(u32::MAX, 0), &options());
        assert!(matches!(fate, Fate::Dead { .. }), "{fate:?}");
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let fate = Fate::of(&Verdict::Dead { reason: "ü".repeat(2_000) }, &delivery(1, 0), &options());
        let Fate::Dead { reason, .. } = fate else { panic!("{fate:?}") };
        assert_eq!(reason.len(), REASON_MAX);
    }
}
