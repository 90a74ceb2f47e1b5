//! The program `with-servers`, as `make test` uses it.

#![cfg(target_os = "linux")]

use std::process::Command;
use std::time::Duration;

use testkit::{Process, eventually};

const PROGRAM: &str = env!("CARGO_BIN_EXE_with-servers");

#[tokio::test]
async fn everything_ends_when_it_is_killed() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("log");
    let mut command = Command::new(PROGRAM);
    command.args(["--", "sh", "-c", "echo up with $TESTKIT_MYSQL_URL $SMTP_URL; while :; do sleep 1; done"]);
    let mut wrapper = Process::spawn("with-servers", command, &log)?;
    eventually(Duration::from_secs(60), || async {
        let said = wrapper.log_tail();
        if said.contains("up with mysql://") && said.contains(" smtp://") { Ok(()) } else { Err(said) }
    })
    .await;

    let children = children_of(wrapper.id());
    for program in ["mariadbd", "mongod", "beam.smp", "epmd", "sh"] {
        assert!(children.iter().any(|child| child.program == program), "no {program} in {children:?}");
    }
    wrapper.kill();
    eventually(Duration::from_secs(10), || async {
        let left: Vec<_> = children.iter().filter(|child| child.runs()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    Ok(())
}

#[test]
fn it_ends_as_the_command_does_and_refuses_what_it_does_not_know() {
    let code = |arguments: &[&str]| Command::new(PROGRAM).args(arguments).status().expect("it starts").code();
    assert_eq!(code(&["--", "sh", "-c", "exit 7"]), Some(7));
    assert_eq!(code(&["--no-such-thing"]), Some(64));
}

#[derive(Debug)]
struct Child {
    id: u32,
    program: String,
}

impl Child {
    /// Not so when it has ended and only waits to be reaped.
    fn runs(&self) -> bool {
        stat(self.id).is_some_and(|(program, state, _)| program == self.program && state != "Z")
    }
}

fn children_of(parent: u32) -> Vec<Child> {
    let entries = std::fs::read_dir("/proc").expect("Linux has it");
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id| stat(id).filter(|(_, _, of)| *of == parent).map(|(program, _, _)| Child { id, program }))
        .collect()
}

/// A process's name, state and parent (proc(5)).
fn stat(id: u32) -> Option<(String, String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (before, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace();
    let state = fields.next()?.to_owned();
    Some((before.split_once('(')?.1.to_owned(), state, fields.next()?.parse().ok()?))
}
