//! For tests: a child in which somebody else's code runs, which is the shell script called `script`
//! beside this program. The socket is its standard input.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
};

fn main() -> io::Result<()> {
    let control = io::stdin().as_fd().try_clone_to_owned()?;
    match sandbox::serve_forks(control.into())? {
        None => Ok(()),
        Some(socket) => {
            let script = std::env::current_exe()?.with_file_name("script");
            Err(Command::new("/bin/sh").arg(script).stdin(OwnedFd::from(socket)).exec())
        }
    }
}
