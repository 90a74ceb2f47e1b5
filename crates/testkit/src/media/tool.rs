//! Running ffmpeg and its kind.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Runs `program` and returns what it writes to standard output.
pub(super) fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot start {program}; run `scripts/setup.sh test`"))?;
    if !output.status.success() {
        bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// Runs ffmpeg, which overwrites its output and says nothing unless it fails.
pub(super) fn ffmpeg<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> anyhow::Result<Vec<u8>> {
    let quiet = ["-hide_banner", "-nostdin", "-loglevel", "error", "-y"].map(|word| OsStr::new(word).to_owned());
    run("ffmpeg", quiet.into_iter().chain(arguments.into_iter().map(|word| word.as_ref().to_owned())))
}
