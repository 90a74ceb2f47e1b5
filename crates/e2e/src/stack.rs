//! The images in containers, as `docker/compose.yaml` puts them together, for one test.

use std::{
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use common::Id;
use serde_json::Value;
use tempfile::TempDir;
use testkit::eventually;

use crate::User;

/// Databases are made and filled at the first start.
const START: Duration = Duration::from_secs(240);

/// Runs `docker`; the output, if it went well.
///
/// # Panics
/// When there is no Docker, or it says no.
pub fn docker(arguments: &[&str]) -> String {
    let output = attempt(Command::new("docker").args(arguments));
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn attempt(command: &mut Command) -> Output {
    command.output().expect("Docker is needed here: see README.md")
}

/// The version of the images under test: `TAG`, which `make test-containers` sets.
pub fn tag() -> String {
    std::env::var("TAG").expect("TAG names the images under test: run `make test-containers`")
}

/// A running system of containers. Removed with all that it kept when dropped.
pub struct Stack {
    project: String,
    env: Vec<(&'static str, String)>,
    folder: TempDir,
}

impl Stack {
    /// Starts everything, with so many of each service as `scale` says.
    pub async fn start(scale: &[&str]) -> Self {
        let env = vec![
            // Any ports that are free, so that nothing else is in the way.
            ("GATEWAY_PORT", "0".to_owned()),
            ("MAILS_PORT", "0".to_owned()),
            ("BROKER_PORT", "0".to_owned()),
            // Impatient, so that a test sees within seconds what takes a minute in life.
            ("LEASE", "5s".to_owned()),
            // Its one user is a crowd.
            ("REQUESTS_PER_MINUTE", "0".to_owned()),
        ];
        let folder = tempfile::tempdir().expect("a temporary folder");
        let stack = Self { project: format!("mp3converter-test-{}", Id::fresh()), env, folder };
        let mut arguments = vec!["up", "--detach", "--no-build", "--quiet-pull"];
        arguments.extend(scale.iter().flat_map(|scale| ["--scale", scale]));
        stack.compose(&arguments);
        for gateway in stack.gateways() {
            stack.ready(&gateway).await;
        }
        stack
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        let file = testkit::workspace_root().join("docker/compose.yaml");
        command.arg("compose").arg("--file").arg(file).args(["--project-name", &self.project]).args(arguments);
        command.envs(self.env.iter().map(|(name, value)| (name, value))).env("TAG", tag());
        command
    }

    /// Runs `docker compose`; the output, if it went well.
    ///
    /// # Panics
    /// When it did not; the message has what the containers logged.
    pub fn compose(&self, arguments: &[&str]) -> String {
        let output = attempt(&mut self.command(arguments));
        if !output.status.success() {
            let logs = attempt(&mut self.command(&["logs", "--tail", "30"]));
            let (said, logs) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&logs.stdout));
            panic!("docker compose {arguments:?}: {said}\n{logs}");
        }
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What a service's containers have logged.
    pub fn log(&self, service: &str) -> String {
        self.compose(&["logs", "--no-log-prefix", service])
    }

    /// The containers of a service, in their order.
    pub fn containers(&self, service: &str) -> Vec<String> {
        let mut names: Vec<_> =
            self.compose(&["ps", "--all", "--format", "{{.Name}}", service]).lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// The address of each gateway.
    pub fn gateways(&self) -> Vec<String> {
        self.containers("gateway").iter().map(|container| address(container, 8080)).collect()
    }

    /// Waits until a gateway has all that it needs.
    pub async fn ready(&self, gateway: &str) {
        let url = format!("{gateway}/readyz");
        eventually(START, async || reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success())).await;
    }

    /// A new user at the first gateway, registered and logged in.
    pub async fn user(&self, name: &str) -> User {
        let gateway = self.gateways().remove(0);
        // A gateway does not wait for auth to be ready: that has a database of its own.
        let login = format!("{gateway}/login");
        let login = || reqwest::Client::new().post(&login).basic_auth("nobody", Some("nothing")).send();
        eventually(START, async || login().await.is_ok_and(|answer| answer.status() == 401)).await;
        User::register(&gateway, &format!("{name}@example.com"), "correct horse").await
    }

    /// The subjects of the mails that somebody got.
    pub async fn mails(&self, to: &str) -> Vec<String> {
        let url = format!("{}/api/v1/messages", address(&self.containers("mailpit")[0], 8025));
        let answer: Value = reqwest::get(url).await.expect("an answer").json().await.expect("JSON");
        let mails = answer["messages"].as_array().expect("mails").iter();
        let theirs = mails.filter(|mail| mail["To"][0]["Address"] == to);
        theirs.map(|mail| mail["Subject"].as_str().expect("a subject").to_owned()).collect()
    }

    /// A place for the test's own files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Where a container's port can be reached from here. It changes with every start.
pub fn address(container: &str, port: u16) -> String {
    let addresses = docker(&["port", container, &port.to_string()]);
    format!("http://{}", addresses.lines().next().expect("a port of this machine"))
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = attempt(&mut self.command(&["logs", "--tail", "15"]));
            eprintln!("{}", String::from_utf8_lossy(&logs.stdout));
        }
        // What is left over costs memory only, and this may run while a test fails.
        let _ = self.command(&["down", "--volumes", "--timeout", "1"]).output();
    }
}
