use std::process::ExitCode;

fn main() -> ExitCode {
    common::start::service("gateway", "0.0.0.0:8080", gateway::Config::from_env, gateway::run)
}
