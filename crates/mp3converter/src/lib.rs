//! Everything in one program: the four services on embedded stores (`serve`), the engine for
//! the command line (`convert`), and what their owner needs besides (`user`, `doctor`).

mod admin;
mod convert;
mod doctor;
mod home;
mod serve;
mod target;
mod user;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::home::Home;

/// Give it a video, get an MP3.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// Where accounts, films and MP3s are kept [default: the system's place for a program's data]
    #[arg(long, global = true, value_name = "FOLDER")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the services and the page until Ctrl-C (this is what happens without a command)
    Serve,
    /// Converts files, without any service
    Convert(Box<convert::Arguments>),
    /// Handles accounts
    #[command(subcommand)]
    User(user::Command),
    /// Says what is missing or out of reach
    Doctor,
    /// Looks after dead letters and stuck conversions
    #[command(subcommand)]
    Admin(admin::Command),
}

/// The whole program.
pub fn main() -> ExitCode {
    sandbox::run_if_child();
    let Arguments { data, command } = Arguments::parse();
    let home = || Home::find(data);
    let outcome = match command.unwrap_or(Command::Serve) {
        Command::Serve => home().and_then(serve::serve),
        Command::Convert(arguments) => convert::convert(&arguments),
        Command::User(command) => home().and_then(|home| user::user(&home, &command)),
        Command::Admin(command) => admin::admin(home(), &command),
        Command::Doctor => home().and_then(|home| doctor::doctor(&home)),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("mp3converter: {error:#}");
        ExitCode::FAILURE
    })
}

/// A runtime for the commands that are no service.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
