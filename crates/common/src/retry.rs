//! Waiting before the next try.

use std::time::Duration;

/// Exponential back-off without jitter: `first`, doubled each time, `most` at the most.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    /// How long to wait now.
    pub fn delay(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.most);
        now
    }
}
