//! The product as its users meet it: programs, HTTP, AMQP and SMTP. Knows nothing of the inside.

mod app;
mod service;
mod user;

pub use app::{App, Setup};
pub use service::Service;
pub use user::{User, text};
