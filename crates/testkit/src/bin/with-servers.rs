//! Runs a command with throw-away servers around it, and stops them when it ends.
//!
//!     with-servers -- cargo nextest run       servers for the tests
//!     with-servers                            a shell with servers, or until Ctrl-C
//!     with-servers --services                 the four services as well
//!
//! The command finds the servers through the environment: under the names of
//! [`testkit::Servers`] and under the product's own.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use testkit::{
    Mariadb, Mongod, Process, Rabbitmq, Servers, SmtpServer, binary, end_with_parent, free_port, workspace_root,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

const SERVICES: [&str; 4] = ["auth", "gateway", "converter", "notification"];

type Variables = Vec<(&'static str, String)>;

#[tokio::main]
async fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => match run(arguments).await {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                eprintln!("with-servers: {error:#}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("with-servers: {error}\nusage: with-servers [--services] [-- COMMAND [ARGUMENT…]]");
            ExitCode::from(64)
        }
    }
}

struct Arguments {
    services: bool,
    command: Vec<String>,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut services = false;
        let mut command = Vec::new();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--services" => services = true,
                "--" => command = arguments.by_ref().collect(),
                other => bail!("what is {other:?}?"),
            }
        }
        Ok(Self { services, command })
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<u8> {
    // From here on a signal ends the wait, not the process: servers are stopped on the way out.
    let mut signals = Signals::new()?;
    // What has not been built is better known now than after the servers' start.
    let programs: Vec<_> = SERVICES.iter().filter(|_| arguments.services).map(|name| (*name, binary(name))).collect();
    let begin = Instant::now();
    let start = async { tokio::try_join!(Mariadb::start(), Mongod::start(), Rabbitmq::start(), SmtpServer::start()) };
    let (mariadb, mongod, rabbitmq, smtp) = tokio::select! {
        started = start => started?,
        number = signals.any() => return Ok(exit_code_of(number)),
    };
    load_init_sql(&mariadb)?;
    eprintln!("with-servers: MariaDB, mongod and RabbitMQ are up after {:.1} s", begin.elapsed().as_secs_f32());

    let servers = Servers::of(&mariadb, &mongod, &rabbitmq);
    let mut variables = servers.variables();
    variables.extend(product_variables(&mariadb, &mongod, &rabbitmq, &smtp)?);
    if arguments.command.is_empty() {
        print_mails(&smtp);
    }

    let mut services = start_services(programs, &mut variables)?;
    let code = if !arguments.command.is_empty() {
        run_command(&arguments.command, &variables, &mut signals).await?
    } else {
        explain(&variables, &servers);
        if arguments.services || !std::io::stdin().is_terminal() {
            eprintln!("with-servers: waiting; Ctrl-C stops everything");
            tokio::select! {
                _ = signals.any() => 0,
                name = one_ends(&mut services) => bail!("{name} ended by itself"),
            }
        } else {
            let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
            eprintln!("with-servers: a shell with servers; leave it and they stop");
            run_command(&[shell], &variables, &mut signals).await?
        }
    };
    for (_, mut service) in services {
        service.stop(Duration::from_secs(15)).await?;
    }
    Ok(code)
}

/// What an installation would set: the services started inside need nothing else.
fn product_variables(
    mariadb: &Mariadb,
    mongod: &Mongod,
    rabbitmq: &Rabbitmq,
    smtp: &SmtpServer,
) -> anyhow::Result<Variables> {
    let mysql = url::Url::parse(&mariadb.url())?;
    Ok(vec![
        ("MYSQL_HOST", "127.0.0.1".to_owned()),
        ("MYSQL_PORT", mariadb.port().to_string()),
        ("MYSQL_USER", mysql.username().to_owned()),
        ("MYSQL_PASSWORD", mysql.password().unwrap_or_default().to_owned()),
        ("MYSQL_DB", "auth".to_owned()),
        ("MONGODB_URI", mongod.url()),
        ("AMQP_URL", rabbitmq.url()),
        ("SMTP_URL", smtp.url()),
        ("JWT_SECRET", random_secret()?),
    ])
}

/// 32 bytes from the system, in hexadecimal.
fn random_secret() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Runs the workspace's `init.sql` as an installation does: through the server's own client.
fn load_init_sql(mariadb: &Mariadb) -> anyhow::Result<()> {
    let path = workspace_root().join("init.sql");
    if !path.exists() {
        return Ok(());
    }
    let url = url::Url::parse(&mariadb.url())?;
    let status = Command::new("mariadb")
        .args(["--no-defaults", "--host=127.0.0.1", "--user", url.username()])
        .arg(format!("--port={}", mariadb.port()))
        .env("MYSQL_PWD", url.password().unwrap_or_default())
        .stdin(File::open(&path)?)
        .status()
        .context("cannot start the client `mariadb`")?;
    ensure!(status.success(), "init.sql failed ({status})");
    Ok(())
}

/// Shows on the terminal what would have been in somebody's mailbox.
fn print_mails(smtp: &SmtpServer) {
    let mut mails = smtp.subscribe();
    tokio::spawn(async move {
        while let Ok(mail) = mails.recv().await {
            eprintln!("mail to {}: {}\n{}", mail.to.join(", "), mail.subject(), mail.text());
        }
    });
}

/// Starts the services, if any; their output comes out here.
fn start_services(
    programs: Vec<(&'static str, PathBuf)>,
    variables: &mut Variables,
) -> anyhow::Result<Vec<(&'static str, Process)>> {
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    let auth = format!("127.0.0.1:{}", free_port());
    let gateway = std::env::var("HTTP_ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    variables.push(("AUTH_SVC_ADDRESS", auth.clone()));
    variables.push(("PUBLIC_URL", format!("http://{gateway}")));
    let start = |(name, program): (&'static str, PathBuf)| {
        let address = match name {
            "auth" => auth.clone(),
            "gateway" => gateway.clone(),
            _ => format!("127.0.0.1:{}", free_port()),
        };
        eprintln!("with-servers: {name} on http://{address}");
        let mut command = Command::new(program);
        command.envs(variables.iter().cloned()).env("HTTP_ADDR", address);
        // The catcher of mails speaks plain SMTP, without an account.
        command.env_remove("GMAIL_ADDRESS").env_remove("GMAIL_PASSWORD");
        Ok((name, Process::spawn_inheriting(name, command)?))
    };
    programs.into_iter().map(start).collect()
}

/// The name of the first service that ends; waits for ever while all run.
async fn one_ends(services: &mut [(&'static str, Process)]) -> &'static str {
    let mut look = tokio::time::interval(Duration::from_millis(200));
    loop {
        look.tick().await;
        for (name, process) in services.iter_mut() {
            if !matches!(process.exited(), Ok(None)) {
                return name;
            }
        }
    }
}

fn explain(variables: &Variables, servers: &Servers) {
    let mut out = std::io::stdout().lock();
    for (name, value) in variables {
        // Nobody is left to read it: nothing to be done about that.
        let _ = writeln!(out, "export {name}='{value}'");
    }
    eprintln!("with-servers: RabbitMQ's web page is {} (guest, guest)", servers.broker().api_url());
}

/// Runs `command` to its end, passing on what we are told to end it with.
async fn run_command(command: &[String], variables: &Variables, signals: &mut Signals) -> anyhow::Result<u8> {
    let mut call = Command::new(&command[0]);
    call.args(&command[1..]).envs(variables.iter().cloned());
    // Should we be killed, the command is told to end. This is the main thread.
    end_with_parent(&mut call, libc::SIGTERM);
    let mut child =
        tokio::process::Command::from(call).spawn().with_context(|| format!("cannot start {}", command[0]))?;
    loop {
        tokio::select! {
            status = child.wait() => {
                let status = status?;
                return Ok(match (status.code(), status.signal()) {
                    (Some(code), _) => u8::try_from(code).unwrap_or(1),
                    (None, signal) => exit_code_of(signal.unwrap_or_default()),
                });
            }
            number = signals.any() => {
                // Ctrl-C at a terminal has reached the command already, as one of our group.
                if let Some(id) = child.id().filter(|_| !(number == libc::SIGINT && std::io::stdin().is_terminal())) {
                    let id = libc::pid_t::try_from(id)?;
                    // SAFETY: kill takes no pointers; `id()` is `None` once the child is reaped.
                    unsafe { libc::kill(id, number) };
                }
            }
        }
    }
}

/// As a shell puts it.
fn exit_code_of(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(255)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal's number.
    async fn any(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => libc::SIGINT,
            _ = self.terminate.recv() => libc::SIGTERM,
            _ = self.hangup.recv() => libc::SIGHUP,
        }
    }
}
