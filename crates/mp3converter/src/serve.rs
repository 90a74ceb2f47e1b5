//! `serve`: the four services in one process. Each is the one that also runs alone; only its
//! configuration differs.

use std::{io::Write, net::SocketAddr, process::ExitCode};

use anyhow::{Context, anyhow};
use auth::accounts::Accounts;
use common::{CancellationToken, Env, Id, start};
use futures_util::future::select_all;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::home::Home;

/// The account made at the first start. Nobody else is on this machine's loopback.
const FIRST_USER: &str = "me@localhost";

/// What the four services need to know.
struct Configs {
    auth: auth::Config,
    gateway: gateway::Config,
    converter: converter::Config,
    notification: notification::Config,
}

pub fn serve(home: Home) -> anyhow::Result<ExitCode> {
    let _lock = home.lock()?;
    let configure = |env: &mut Env| configure(&home, env);
    let run = |configs, listener, shutdown| run(&home, configs, listener, shutdown);
    Ok(start::service("mp3converter", "127.0.0.1:8080", configure, run))
}

fn configure(home: &Home, env: &mut Env) -> Configs {
    if let Err(error) = home.fill(env) {
        env.fault(format!("{error:#}"));
    }
    // Nobody else works on these jobs: what this process left when it was killed is free again
    // within seconds of the next start.
    env.default_to("LEASE", "10s");
    env.default_to("RECONCILE_INTERVAL", "2s");
    // Who presses Ctrl-C is waiting. What is not finished goes on at the next start.
    env.default_to("SHUTDOWN_GRACE", "2s");
    env.default_to("DRAIN_TIMEOUT", "10s");
    // Whose disk it is knows how much may be on it.
    env.default_to("MAX_BYTES_PER_USER", "0");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // One is left to the page and to whatever else its owner is doing.
    env.default_to("WORKERS", cores.saturating_sub(1).max(1).to_string());
    if let Some(address) =
        env.optional("HTTP_ADDR").as_deref().unwrap_or("127.0.0.1:8080").parse().ok().filter(is_local)
    {
        env.default_to("PUBLIC_URL", format!("http://{address}"));
    }
    Configs {
        auth: auth::Config::from_env(env),
        gateway: gateway::Config::from_env(env),
        converter: converter::Config::from_env(env),
        notification: notification::Config::from_env(env),
    }
}

/// An address that a link can name; 0.0.0.0 or port 0 is none.
fn is_local(address: &SocketAddr) -> bool {
    !address.ip().is_unspecified() && address.port() != 0
}

/// A service that runs, with a way to stop it.
struct Service {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Service {
    fn start<F>(name: &'static str, run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        Self { name, task: tokio::spawn(run(stop.clone())), stop }
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await?.context(self.name)
    }
}

async fn run(home: &Home, configs: Configs, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let Configs { mut auth, mut gateway, converter, notification } = configs;
    let first_password = first_user(&auth).await?;

    // The others are for this process alone, whatever HTTP_ADDR says.
    let inside = async || TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback");
    let (for_auth, for_converter, for_notification) = (inside().await?, inside().await?, inside().await?);
    // TRUSTED_PROXIES is for the gateway; auth hears of its clients from the gateway alone.
    auth.proxies = "127.0.0.1".parse().map_err(anyhow::Error::msg)?;
    gateway.auth = format!("http://{}", for_auth.local_addr()?);
    let address = listener.local_addr()?;

    // In the order in which they stop: first who takes work in, last whom all others need.
    let mut services = vec![
        Service::start("gateway", |stop| gateway::run(gateway, listener, stop)),
        Service::start("converter", |stop| converter::run(converter, for_converter, stop)),
        Service::start("notification", |stop| notification::run(notification, for_notification, stop)),
        Service::start("auth", |stop| auth::run(auth, for_auth, stop)),
    ];
    welcome(home, address, first_password.as_deref());

    let mut outcome = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        (ended, index, _) = select_all(services.iter_mut().map(|service| &mut service.task)) => {
            let name = services.remove(index).name;
            let error = match ended {
                Ok(Ok(())) => anyhow!("it ended by itself"),
                Ok(Err(error)) => error,
                Err(panic) => panic.into(),
            };
            Err(error.context(format!("{name} failed")))
        }
    };
    for service in services {
        let stopped = service.stop().await;
        outcome = outcome.and(stopped);
    }
    outcome
}

/// Makes an account where there is none; returns its password.
async fn first_user(config: &auth::Config) -> anyhow::Result<Option<String>> {
    let accounts = Accounts::connect(&config.database).await?;
    if !accounts.emails().await?.is_empty() {
        return Ok(None);
    }
    let password = password();
    accounts.add(FIRST_USER, &password).await?;
    Ok(Some(password))
}

/// A password that can be typed: 64 random bits.
pub fn password() -> String {
    let id = Id::fresh();
    // What stands before is the time.
    let random = &id.as_str()[8..];
    format!("{}-{}-{}-{}", &random[..4], &random[4..8], &random[8..12], &random[12..])
}

/// For the person at the terminal; if nobody reads it, the services run all the same.
fn welcome(home: &Home, address: SocketAddr, first_password: Option<&str>) {
    let mut text =
        format!("\n  mp3converter is at  http://{address}\n  and keeps its data in  {}\n", home.path().display());
    if let Some(password) = first_password {
        text += "\n  Your account, shown only this once:\n";
        text += &format!("    name      {FIRST_USER}\n    password  {password}\n");
    }
    text += "\n  Ctrl-C stops it.\n";
    let _ = writeln!(std::io::stdout(), "{text}");
}
