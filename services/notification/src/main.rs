use std::process::ExitCode;

fn main() -> ExitCode {
    common::start::service("notification", "0.0.0.0:9090", notification::Config::from_env, notification::run)
}
