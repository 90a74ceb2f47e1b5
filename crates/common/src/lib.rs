//! What all services share and nothing else. Knows no driver.

pub mod client;
pub mod env;
pub mod error;
pub mod fault;
pub mod id;
pub mod messages;
pub mod meters;
pub mod places;
pub mod rate;
pub mod retry;
pub mod secret;
pub mod serve;
pub mod start;
pub mod telemetry;
pub mod text;
pub mod trace;

pub use env::Env;
pub use error::{Error, Result};
pub use id::Id;
pub use messages::{Envelope, Message};
pub use secret::Secret;
pub use tokio_util::sync::CancellationToken;
