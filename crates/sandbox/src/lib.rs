//! The engine in a child process that can compute and nothing else.
//!
//! Videos are somebody else's bytes, and FFmpeg's C code reads them. So [`Sandbox::convert`] hands
//! the work to a child of its own, which has no network, no files, no environment, no way to start
//! anything, and bounded memory; `parent` feeds it and takes what it makes over a socket pair
//! (`frames`), and ends it when it takes too long. What breaks the child costs one job.
//!
//! ```text
//! store → reader → parent ⇄ socket ⇄ child: transcode::convert
//! store ← sink   ←┘
//! ```
//!
//! Where the children come from is told in `process`: the same program is started once under
//! another name (its `main` begins with [`run_if_child`]), and copied for each conversion.

mod child;
#[doc(hidden)]
pub mod frames;
mod lifeline;
mod line;
mod lockdown;
mod parent;
mod process;
#[doc(hidden)]
pub mod report;

pub use child::run_if_child;
#[doc(hidden)]
pub use lifeline::Lifeline;
pub use lockdown::lock_down;
pub use parent::{Limits, Sandbox, convert, most_memory};
#[doc(hidden)]
pub use process::serve_forks;

/// What the child is called, instead of by the path of its program.
const NAME: &str = "mp3converter-sandbox";
