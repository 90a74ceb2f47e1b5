//! The service over HTTP, on a real database: what docs call its contract, row by row.

mod app;
mod login;
mod outage;
mod process;
mod proxy;
mod register;
mod schema;
mod validate;
