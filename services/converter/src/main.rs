use std::process::ExitCode;

fn main() -> ExitCode {
    common::start::service("converter", "0.0.0.0:9090", converter::Config::from_env, converter::run)
}
