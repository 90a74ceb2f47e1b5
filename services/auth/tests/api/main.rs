//! The service over HTTP, on a real database: each of its answers, and what it does when the database fails.

mod app;
mod login;
mod outage;
mod process;
mod proxy;
mod register;
mod schema;
mod throttle;
mod validate;
