mod memory;

use std::process::ExitCode;

fn main() -> ExitCode {
    memory::give_back();
    sandbox::run_if_child();
    common::start::service("converter", "0.0.0.0:9090", converter::Config::from_env, converter::run)
}
