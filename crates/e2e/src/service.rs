//! One of the product's programs, running.

use std::{
    ffi::OsString,
    future::ready,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    time::Duration,
};

use testkit::{Port, Process, binary, eventually};

/// A service of our own, on a port of its own. Killed when dropped.
pub struct Service {
    name: &'static str,
    within: Vec<String>,
    env: Vec<(String, String)>,
    port: Port,
    log: PathBuf,
    process: Process,
}

impl Service {
    /// Starts the program `name`; returns when it is ready.
    pub async fn start(name: &'static str, env: &[(&str, String)], folder: &Path) -> Self {
        let service = Self::launch(name, env, folder);
        service.ready().await;
        service
    }

    /// Starts the program `name` and does not wait for anything.
    pub fn launch(name: &'static str, env: &[(&str, String)], folder: &Path) -> Self {
        Self::launch_within(Vec::new(), name, env, folder)
    }

    /// As [`launch`](Self::launch), by a command that ends by becoming the program whose path and
    /// arguments follow its own.
    pub fn launch_within(within: Vec<String>, name: &'static str, env: &[(&str, String)], folder: &Path) -> Self {
        let port = Port::free();
        let log = folder.join(format!("{name}-{}.log", port.number()));
        let env: Vec<_> = env.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let process = Self::run(name, &within, &env, &port, &log);
        Self { name, within, env, port, log, process }
    }

    fn run(name: &str, within: &[String], env: &[(String, String)], port: &Port, log: &Path) -> Process {
        let mut words = within.iter().map(OsString::from).chain([binary(name).into_os_string()]);
        let mut command = Command::new(words.next().expect("the program itself"));
        command.args(words);
        // Nothing of the developer's own environment reaches the program under test.
        command.env_clear().envs(env.iter().map(|(key, value)| (key, value)));
        command.env("HTTP_ADDR", format!("127.0.0.1:{}", port.number())).env("LOG_FORMAT", "json");
        Process::spawn(name, command, log).expect("the program starts")
    }

    /// Runs `mp3converter` with these arguments in this service's environment, to its end.
    pub async fn operate(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary("mp3converter"));
        command.args(arguments).env_clear().envs(self.env.iter().map(|(key, value)| (key, value)));
        let ended = tokio::task::spawn_blocking(move || command.output()).await;
        ended.expect("no panic").expect("the program runs")
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// Waits until `/readyz` says so.
    pub async fn ready(&self) {
        let url = format!("{}/readyz", self.url());
        let ask = async || reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success());
        eventually(Duration::from_secs(120), ask).await;
    }

    /// `/metrics`, as text.
    pub async fn metrics(&self) -> String {
        let answer = reqwest::get(format!("{}/metrics", self.url())).await.expect("an answer");
        answer.text().await.expect("text")
    }

    /// What it has logged so far: one JSON object a line.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until a worker that was away says that its job is somebody else's: at the next sign of
    /// life, or when it has finished as well; or its connections did not outlive the sleep.
    pub async fn learns_that_it_lost(&self, within: Duration) {
        let lost = ["no longer ours", "another result counts", "the attempt failed"];
        eventually(within, async || {
            let log = self.log();
            if lost.iter().any(|words| log.contains(words)) { Ok(()) } else { Err(log) }
        })
        .await;
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn signal(&mut self, signal: i32) {
        self.process.signal(signal);
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to stop; it must end in good order within `grace`.
    pub async fn stop(&mut self, grace: Duration) {
        let status = self.process.stop(grace).await.expect("stops in time");
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, self.log());
    }

    /// Runs the program again, on the same port.
    pub async fn restart(&mut self) {
        self.relaunch();
        self.ready().await;
    }

    /// Runs the program again and does not wait for anything.
    pub fn relaunch(&mut self) {
        self.process.kill();
        self.process = Self::run(self.name, &self.within, &self.env, &self.port, &self.log);
    }

    /// Sets a variable for its next start, or takes it away.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        self.env.retain(|(key, _)| key != name);
        self.env.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.process.exited(), Ok(None))
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        eventually(within, || ready(self.process.exited().ok().flatten())).await
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The most memory that it ever had, in bytes (Linux).
    pub fn peak_memory(&self) -> u64 {
        memory(self.id(), "VmHWM")
    }
}

/// The memory of a running program, in bytes: what it has (`VmRSS`), or had at the most (`VmHWM`). Linux.
pub fn memory(id: u32, which: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.expect("the kernel tells a running program's memory") * 1024
}
