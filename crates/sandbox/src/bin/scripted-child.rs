//! For tests: a child in which somebody else's code runs, which is the shell script called `script`
//! beside this program. The socket is its standard input. Without a script it is a locked-up child that
//! goes round and round.

use std::{
    hint::spin_loop,
    io,
    os::{fd::AsFd, fd::OwnedFd, unix::process::CommandExt},
    process::Command,
};

use sandbox::frames::{self, Kind};

fn main() -> io::Result<()> {
    let control = io::stdin().as_fd().try_clone_to_owned()?;
    let Some(socket) = sandbox::serve_forks(control.into())? else { return Ok(()) };
    let script = std::env::current_exe()?.with_file_name("script");
    if script.exists() {
        return Err(Command::new("/bin/sh").arg(script).stdin(OwnedFd::from(socket)).exec());
    }
    let lifeline = sandbox::Lifeline::new(socket.try_clone()?)?;
    sandbox::lock_down(1 << 30).map_err(io::Error::other)?;
    lifeline.hold()?;
    frames::send(&socket, Kind::Ready, 0, &[])?;
    loop {
        spin_loop();
    }
}
