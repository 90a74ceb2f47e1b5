//! The service as a process: its configuration, its logs and its end.

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use testkit::{Process, Servers, eventually, free_port};

use crate::app::{App, SECRET, text};

fn auth(settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth"));
    command.env_clear().envs(settings.iter().copied());
    command
}

fn refused(settings: &[(&str, &str)]) -> String {
    let Output { status, stderr, .. } = auth(settings).output().expect("the program runs");
    let stderr = String::from_utf8(stderr).expect("text");
    assert_eq!(status.code(), Some(64), "{stderr}");
    stderr
}

#[test]
fn all_faults_are_told_at_once() {
    let told = refused(&[
        ("JWT_SECRET", "short and secret"),
        ("JWT_SECRET_PREVIOUS_FILE", "/nowhere/at/all"),
        ("DATABASE_URL", "postgres://user:hunter2@host/db"),
        ("MYSQL_PORT", "many"),
        ("MYSQL_TLS", "perhaps"),
        ("REGISTRATION", "sometimes"),
        ("LOG_FORMAT", "pretty"),
        ("DRAIN_TIMEOUT", "soon"),
    ]);
    for (name, words) in [
        ("JWT_SECRET", "openssl rand -hex 32"),
        ("JWT_SECRET_PREVIOUS_FILE", "/nowhere/at/all"),
        ("DATABASE_URL", "mysql: or mariadb:"),
        ("MYSQL_PORT", "invalid digit"),
        ("MYSQL_TLS", "disabled, preferred, required or verify"),
        ("REGISTRATION", "open or closed"),
        ("LOG_FORMAT", "text or json"),
        ("DRAIN_TIMEOUT", "90s"),
    ] {
        let line =
            told.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{name}: {told}"));
        assert!(line.contains(words), "{line}");
    }
    assert!(told.contains("8 faults"), "{told}");
    assert!(!told.contains("hunter2") && !told.contains("short and secret"), "{told}");
}

#[test]
fn a_missing_secret_is_told_with_the_way_to_make_one() {
    let told = refused(&[]);
    assert!(told.contains("JWT_SECRET must be set; make one with: openssl rand -hex 32"), "{told}");
    assert!(told.contains("1 fault:"), "{told}");
}

#[tokio::test]
async fn secrets_from_files_a_quiet_log_and_an_orderly_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.to_str().expect("text").to_owned()
    };
    let database = Servers::shared().auth_database().await.expect("a database");
    let addr = format!("127.0.0.1:{}", free_port());
    let log = dir.path().join("log");
    let command = auth(&[
        ("HTTP_ADDR", &addr),
        ("DATABASE_URL_FILE", &file("url", &format!("{database}\n"))),
        ("JWT_SECRET_FILE", &file("secret", &format!("{SECRET}\n"))),
        ("LOG_FORMAT", "json"),
        ("LOG_LEVEL", "trace"),
    ]);
    let mut process = Process::spawn("auth", command, &log).expect("started");

    let mut app = App::on(&database, &[]).await; // for its client; the process is what is asked
    app.url = format!("http://{addr}");
    eventually(Duration::from_secs(10), || async {
        app.client.get(format!("{}/readyz", app.url)).send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    assert_eq!(app.register("private@example.com", "a password of mine").await, text(201, "created"));
    let token = app.token("private@example.com", "a password of mine").await;
    assert_eq!(app.validate(&token).await.status, 200);
    assert_eq!(app.login("private@example.com", "a wrong password").await.status, 401);
    assert_eq!(app.register("private@example.com", "a password of mine").await.status, 409);

    let status = process.stop(Duration::from_secs(10)).await.expect("an end in time");
    assert_eq!(status.code(), Some(0));
    assert_quiet(&log, &["private@", "password of mine", "wrong password", &token, SECRET, "testkit@", "cHJpdmF0ZUBl"]);
}

fn assert_quiet(log: &Path, private: &[&str]) {
    let log = std::fs::read_to_string(log).expect("a log");
    assert!(log.contains("\"started\"") && log.contains("/register"), "{log}");
    for word in private {
        assert!(!log.contains(word), "{word} in the log:\n{log}");
    }
}
