//! What Python services stand on, as a contestant.

use std::{ffi::OsStr, process::Command};

use anyhow::{Context, ensure};
use testkit::workspace_root;

/// Runs a script that prints how many seconds it took.
pub async fn seconds(script: &'static str, arguments: &[&OsStr]) -> anyhow::Result<f64> {
    let mut command = Command::new(workspace_root().join(".tools/venv/bin/python"));
    command.args(["-c", script]).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await?;
    let output = output.context("pymongo is not there: `make bench` installs it")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
