//! Tells the caller how far the work is, and carries the caller's wish to stop to wherever the
//! work is waiting.

use std::any::Any;
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Error;

/// How much sound has been converted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub done: Duration,
    /// What the file says, or what its size lets one guess; unknown while it is being opened.
    pub total: Option<Duration>,
}

impl Progress {
    /// 0.0 to 100.0, where the total is known.
    pub fn percent(&self) -> Option<f32> {
        let total = self.total.filter(|total| !total.is_zero())?;
        Some((100.0 * self.done.as_secs_f32() / total.as_secs_f32()).min(100.0))
    }
}

/// The caller hears from us at most this often.
const INTERVAL: Duration = Duration::from_millis(100);

/// The caller's `on_progress`, which both the main loop and FFmpeg's interrupt callback poll; the
/// latter so that a long probe, too, can be watched and stopped.
pub(crate) struct Monitor<'a>(RefCell<State<'a>>);

struct State<'a> {
    on_progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    progress: Progress,
    is_fixed: bool,
    last_told: Instant,
    /// Passes over the same sound, and what those before this one had done.
    passes: u32,
    before: Duration,
    cancelled: bool,
    panic: Option<Box<dyn Any + Send>>,
}

impl<'a> Monitor<'a> {
    pub(crate) fn new(on_progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>) -> Self {
        Self(RefCell::new(State {
            on_progress,
            progress: Progress::default(),
            is_fixed: false,
            last_told: Instant::now(),
            passes: 1,
            before: Duration::ZERO,
            cancelled: false,
            panic: None,
        }))
    }

    pub(crate) fn set_total(&self, total: Option<Duration>) {
        let mut state = self.0.borrow_mut();
        if !state.is_fixed {
            state.progress.total = total;
        }
    }

    /// What all passes together come to, whatever each of them says.
    pub(crate) fn fix_total(&self, total: Duration) {
        self.set_total(Some(total));
        self.0.borrow_mut().is_fixed = true;
    }

    /// There will be two passes, each of which counts as half.
    pub(crate) fn expect_two_passes(&self) {
        self.0.borrow_mut().passes = 2;
    }

    /// The passes so far are over, with so much sound in all.
    pub(crate) fn begin_pass(&self, before: Duration) {
        self.0.borrow_mut().before = before;
    }

    /// Records how far we are and fails if the caller wants no more.
    pub(crate) fn tick(&self, done: Duration) -> Result<(), Error> {
        {
            // With several threads at work it is an estimate, and those should not go back.
            let mut state = self.0.borrow_mut();
            state.progress.done = state.progress.done.max((state.before + done) / state.passes);
        }
        if self.poll() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }

    /// Calls the caller if it is time to; true once the work is to stop. Never unwinds, as FFmpeg
    /// calls it: a panic of the caller's is kept for [`resume_panic`](Self::resume_panic).
    pub(crate) fn poll(&self) -> bool {
        // Already borrowed: the caller's function is running, and there is nothing to add to it.
        let Ok(mut state) = self.0.try_borrow_mut() else {
            return false;
        };
        if state.cancelled || state.last_told.elapsed() < INTERVAL {
            return state.cancelled;
        }
        let progress = state.progress;
        match panic::catch_unwind(AssertUnwindSafe(|| (state.on_progress)(progress))) {
            Ok(flow) => state.cancelled = flow.is_break(),
            Err(payload) => {
                state.cancelled = true;
                state.panic = Some(payload);
            }
        }
        state.last_told = Instant::now();
        state.cancelled
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.borrow().cancelled
    }

    /// Goes on with a panic of the caller's function, once no C code is on the stack any more.
    pub(crate) fn resume_panic(&self) {
        let payload = self.0.borrow_mut().panic.take();
        if let Some(payload) = payload {
            panic::resume_unwind(payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_bounded_and_needs_a_total() {
        let at = |done, total| Progress { done: Duration::from_secs(done), total };
        assert_eq!(at(5, None).percent(), None);
        assert_eq!(at(5, Some(Duration::ZERO)).percent(), None);
        assert_eq!(at(5, Some(Duration::from_secs(20))).percent(), Some(25.0));
        assert_eq!(at(30, Some(Duration::from_secs(20))).percent(), Some(100.0));
    }
}
