//! A throw-away RabbitMQ, with its own epmd, cookie and configuration.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::eventually::poll;
use crate::folder::Folder;
use crate::port::Port;
use crate::process::Process;
use crate::vhost::{Broker, Vhost};

/// A RabbitMQ node of one's own, with the management API. It takes some 8 s to start:
/// prefer the shared one where nothing has to be stopped.
#[derive(Debug)]
pub struct Rabbitmq {
    // First in line, first to be dropped: the node ends before the epmd and the folder.
    process: Option<Process>,
    epmd: Process,
    ports: Ports,
    folder: Folder,
}

#[derive(Debug)]
struct Ports {
    amqp: Port,
    api: Port,
    distribution: Port,
    epmd: Port,
}

impl Rabbitmq {
    /// Makes an empty node; it talks AMQP and HTTP when this returns.
    ///
    /// # Errors
    /// When RabbitMQ is not installed or does not start.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = Folder::new("rabbitmq")?;
        std::fs::create_dir(folder.join("home"))?;
        let ports = Ports { amqp: Port::free(), api: Port::free(), distribution: Port::free(), epmd: Port::free() };
        std::fs::write(folder.join("enabled_plugins"), "[rabbitmq_management].\n")?;
        std::fs::write(folder.join("rabbitmq.config"), configuration(&ports))?;
        let epmd = start_epmd(&folder, &ports)?;
        let mut node = Self { process: None, epmd, ports, folder };
        node.restart().await?;
        Ok(node)
    }

    /// `amqp://guest:guest@127.0.0.1:port/%2f`
    pub fn url(&self) -> String {
        self.broker().url()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.ports.amqp.number()
    }

    /// What makes virtual hosts and looks into queues.
    pub fn broker(&self) -> Broker {
        Broker::new(self.ports.amqp.number(), self.ports.api.number())
    }

    /// Starts it again on the same port and data, after [`Self::stop`] or [`Self::kill`].
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        ensure!(self.process.is_none(), "RabbitMQ is still running: stop or kill it first");
        self.epmd.check_alive()?;
        let mut process = Process::spawn("RabbitMQ", self.command(), &self.folder.join("log"))?;
        let port = self.ports.amqp.number();
        let broker = self.broker();
        let ready = poll(Duration::from_secs(120), || {
            let alive = process.check_alive();
            let broker = &broker;
            async move {
                match alive {
                    // What has ended will not answer: no use in waiting on.
                    Err(end) => Ok(Err(end)),
                    Ok(()) => match greet(port).await {
                        Ok(()) => broker.check().await.map(Ok),
                        Err(refused) => Err(refused),
                    },
                }
            }
        });
        ready.await.map_err(anyhow::Error::msg).context("RabbitMQ does not answer")??;
        self.process = Some(process);
        Ok(())
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

    /// Ends it as a power cut would (SIGKILL). See [`Self::knows_quorum_queue`] first
    /// when a queue is new.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Raises the node's alarm for memory, or ends it: while it lasts, publishers are blocked and
    /// consumers are not.
    ///
    /// # Errors
    /// When the node does not take it.
    pub async fn run_short_of_memory(&self, short: bool) -> anyhow::Result<()> {
        // Of all memory: more than so little is in use at any time, and more than so much never.
        let watermark = if short { "0.00001" } else { "0.95" };
        let mut command = self.program("rabbitmqctl");
        command.args(["set_vm_memory_high_watermark", watermark]);
        let output = tokio::process::Command::from(command).output().await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Whether the node has it on disk that this quorum queue exists.
    ///
    /// A new queue's name is written up to a few seconds after the queue was declared,
    /// confirmed messages or not; killed in between, RabbitMQ 3.10 comes up with an
    /// empty queue under that name which never answers (seen with 3.10.8).
    pub fn knows_quorum_queue(&self, vhost: &Vhost, queue: &str) -> bool {
        let node = self.node_name();
        let names = self.folder.join("mnesia").join(&node).join("quorum").join(&node).join("names.dets");
        let wanted = format!("{}_{queue}", vhost.name().replace('/', "%2F"));
        let names = std::fs::read(names).unwrap_or_default();
        names.windows(wanted.len()).any(|name| name == wanted.as_bytes())
    }

    fn node_name(&self) -> String {
        format!("testkit-{}@localhost", self.ports.amqp.number())
    }

    fn command(&self) -> Command {
        let mut command = self.program("rabbitmq-server");
        // With this the start script becomes the node instead of minding it as a
        // child: our process id is the node's, and SIGTERM reaches it.
        command.env("RUNNING_UNDER_SYSTEMD", "true").env_remove("NOTIFY_SOCKET");
        command
    }

    /// One of RabbitMQ's programs, for this node.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(script(name));
        // Settings of a RabbitMQ that runs elsewhere on this machine must not leak in.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RABBITMQ_")) {
            command.env_remove(name);
        }
        command
            .env("HOME", self.folder.join("home"))
            .env("RABBITMQ_NODENAME", self.node_name())
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.number().to_string())
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", self.folder.join("rabbitmq.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.folder.join("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", self.folder.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", self.folder.join("logs"))
            .env("RABBITMQ_PID_FILE", self.folder.join("pid"))
            .env("ERL_EPMD_PORT", self.ports.epmd.number().to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command
    }
}

/// Erlang's registry of nodes. Were there none at our port, the node would start one
/// that outlives it.
fn start_epmd(folder: &Folder, ports: &Ports) -> anyhow::Result<Process> {
    let mut command = Command::new("epmd");
    command.args(["-port", &ports.epmd.number().to_string(), "-address", "127.0.0.1"]);
    Process::spawn("epmd", command, &folder.join("epmd-log"))
}

fn configuration(ports: &Ports) -> String {
    // Queue figures are sampled; at the default of 5 s a test would look at old ones.
    format!(
        r#"[
  {{rabbit, [
    {{tcp_listeners, [{{"127.0.0.1", {amqp}}}]}},
    {{collect_statistics_interval, 500}},
    {{quorum_tick_interval, 500}},
    {{disk_free_limit, 1000000}}
  ]}},
  {{rabbitmq_management, [{{tcp_config, [{{ip, "127.0.0.1"}}, {{port, {api}}}]}}]}}
].
"#,
        amqp = ports.amqp.number(),
        api = ports.api.number(),
    )
}

/// Debian's programs in `/usr/sbin` change to another account; the scripts behind them do not.
fn script(name: &str) -> PathBuf {
    ["/usr/lib/rabbitmq/bin", "/opt/homebrew/sbin", "/usr/local/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| name.into())
}

/// Opens an AMQP 0-9-1 connection far enough to see that a broker answers.
async fn greet(port: u16) -> anyhow::Result<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.write_all(b"AMQP\x00\x00\x09\x01").await?;
    let mut frame = [0; 11];
    socket.read_exact(&mut frame).await?;
    // A method frame (type 1) on channel 0 with Connection.Start (class 10, method 10).
    let start = frame[0] == 1 && frame[1..3] == [0, 0] && frame[7..11] == [0, 10, 0, 10];
    ensure!(start, "the broker answered {frame:?}");
    Ok(())
}
