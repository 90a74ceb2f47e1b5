//! The product as its users meet it: programs, HTTP, AMQP and SMTP. Knows nothing of the inside.

mod all_in_one;
mod app;
mod checker;
pub mod classic;
mod product;
mod service;
pub mod stack;
pub mod state;
mod user;

pub use all_in_one::AllInOne;
pub use app::{App, Setup, Wires};
pub use checker::{Checker, Due, Ends};
pub use product::{Files, Kept, Product};
pub use service::{Service, memory};
pub use user::{Heard, User, text};
