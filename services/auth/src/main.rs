//! The auth service's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    common::start::service("auth", "0.0.0.0:5000", auth::Config::from_env, auth::run)
}
