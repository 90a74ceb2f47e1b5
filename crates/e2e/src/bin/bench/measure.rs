//! What a program costs: time, work and memory.

use std::{
    io,
    mem::MaybeUninit,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::ensure;

/// One run of a program and of all that it started.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// From start to end.
    pub seconds: f64,
    /// Of work, on all cores together.
    pub cpu_seconds: f64,
    /// The most memory at once, of the largest process.
    pub peak_mib: f64,
}

/// Runs `command` to its end.
///
/// # Errors
/// When it cannot be started, or fails.
pub fn measure(command: &mut Command) -> anyhow::Result<Cost> {
    let started = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are to live values of ours; nobody else waits for this child.
    let waited = unsafe { libc::wait4(child.id() as libc::pid_t, &mut status, 0, usage.as_mut_ptr()) };
    ensure!(waited > 0, "wait4: {}", io::Error::last_os_error());
    let seconds = started.elapsed().as_secs_f64();
    ensure!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{command:?} failed");
    // SAFETY: plain numbers, which the call has filled in.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    // Linux counts in KiB.
    let peak_mib = usage.ru_maxrss as f64 / 1024.0;
    Ok(Cost { seconds, cpu_seconds: time(usage.ru_utime) + time(usage.ru_stime), peak_mib })
}
