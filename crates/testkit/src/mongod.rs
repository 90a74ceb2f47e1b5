//! A throw-away mongod, as a replica set of one node.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;

use crate::eventually::poll;
use crate::folder::Folder;
use crate::port::Port;
use crate::process::Process;
use crate::servers::workspace_root;

const SET: &str = "rs0";

/// A mongod of one's own.
#[derive(Debug)]
pub struct Mongod {
    // First in line, first to be dropped: the server ends before its folder goes.
    process: Option<Process>,
    port: Port,
    folder: Folder,
}

impl Mongod {
    /// Makes an empty server; primary of its replica set when this returns.
    ///
    /// # Errors
    /// When there is no mongod, or it does not start.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = Folder::new("mongod")?;
        std::fs::create_dir(folder.join("data"))?;
        let mut server = Self { process: None, port: Port::free(), folder };
        server.launch()?;
        server.initiate().await?;
        server.wait_for_primary().await?;
        Ok(server)
    }

    /// `mongodb://127.0.0.1:port/?replicaSet=rs0`
    pub fn url(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?replicaSet={SET}", self.port.number())
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Starts it again on the same port and data, after [`Self::stop`] or [`Self::kill`].
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        ensure!(self.process.is_none(), "mongod is still running: stop or kill it first");
        self.launch()?;
        self.wait_for_primary().await
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// When it did not end by itself within 120 s, and was killed.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop(Duration::from_secs(120)).await?;
        }
        Ok(())
    }

    /// Ends it as a power cut would (SIGKILL).
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Has it be no primary for three seconds: it takes no writes then, and says so.
    ///
    /// # Errors
    /// When it does not take it.
    pub async fn step_down(&mut self) -> anyhow::Result<()> {
        self.command(doc! { "replSetStepDown": 3, "secondaryCatchUpPeriodSecs": 1, "force": true }, |_| true).await
    }

    fn launch(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(program()?);
        command
            .arg("--dbpath")
            .arg(self.folder.join("data"))
            .args(["--bind_ip", "127.0.0.1", "--nounixsocket"])
            .args(["--port", &self.port.number().to_string()])
            .args(["--replSet", SET, "--oplogSize", "512", "--wiredTigerCacheSizeGB", "0.5"])
            // Metrics files for MongoDB's support; they only cost writes here.
            .args(["--setParameter", "diagnosticDataCollectionEnabled=false"])
            // A lone node has nobody to hand over to when it is told to stop.
            .args(["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"]);
        self.process = Some(Process::spawn("mongod", command, &self.folder.join("log"))?);
        Ok(())
    }

    async fn initiate(&mut self) -> anyhow::Result<()> {
        let member = format!("127.0.0.1:{}", self.port.number());
        let config = doc! {
            "_id": SET,
            "members": [{ "_id": 0, "host": member }],
            // After a kill the node need not wait ten seconds for its former self.
            "settings": { "electionTimeoutMillis": 500 },
        };
        self.command(doc! { "replSetInitiate": config }, |_| true).await
    }

    async fn wait_for_primary(&mut self) -> anyhow::Result<()> {
        self.command(doc! { "hello": 1 }, |answer| answer.get_bool("isWritablePrimary").unwrap_or(false)).await
    }

    /// Runs an admin command until it succeeds with an answer that is `good`.
    async fn command(&mut self, command: Document, good: fn(&Document) -> bool) -> anyhow::Result<()> {
        let direct = format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port.number());
        let mut options = ClientOptions::parse(direct).await?;
        options.server_selection_timeout = Some(Duration::from_secs(2));
        let admin = Client::with_options(options)?.database("admin");
        let process = self.process.as_mut().context("mongod has not been started")?;
        let ready = poll(Duration::from_secs(120), || {
            let alive = process.check_alive();
            let answer = admin.run_command(command.clone());
            async move {
                match alive {
                    // What has ended will not answer: no use in waiting on.
                    Err(end) => Ok(Err(end)),
                    Ok(()) => match answer.await {
                        Ok(answer) if good(&answer) => Ok(Ok(())),
                        Ok(answer) => Err(answer.to_string()),
                        Err(error) => Err(error.to_string()),
                    },
                }
            }
        });
        ready.await.map_err(anyhow::Error::msg).context("mongod does not answer")?
    }
}

/// `$MONGOD`, then PATH, then where `scripts/setup.sh` puts it.
fn program() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("MONGOD") {
        return Ok(path.into());
    }
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&on_path).collect();
    places.push(workspace_root().join(".tools/bin"));
    match places.iter().map(|dir| dir.join("mongod")).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("there is no mongod: run `scripts/setup.sh test`, or set MONGOD to its path"),
    }
}
