//! `doctor`: says in plain words what is missing or out of reach.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use auth::accounts::Accounts;
use blobs::Blobs;
use common::{Env, Secret, start::install_crypto};
use indicatif::HumanBytes;
use jobs::Jobs;
use queue::Queue;
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::home::Home;

/// Less than this will not hold a few films.
const LITTLE_SPACE: u64 = 2 << 30;
/// For one server to answer.
const LIMIT: Duration = Duration::from_secs(8);

pub fn doctor(home: &Home) -> anyhow::Result<ExitCode> {
    install_crypto();
    let mut env = Env::from_process();
    home.fill(&mut env)?;
    Ok(crate::runtime()?.block_on(examine(home, &mut env)))
}

async fn examine(home: &Home, env: &mut Env) -> ExitCode {
    let mut report = Report { healthy: true };
    report.note("sound", Ok(format!("FFmpeg's {}", transcode::versions())));
    report.note("data folder", writable(home));
    report.note("disk", space(home));
    report.note("address", address(&env.string("HTTP_ADDR", "127.0.0.1:8080")).await);
    // In the same words in which the services read them.
    let auth = auth::Config::from_env(env);
    let converter = converter::Config::from_env(env);
    let mail = notification::Config::from_env(env);
    report.note("sandbox", sandbox(converter.sandbox.clone()));
    report.note("accounts", answers(&auth.database, accounts(&auth.database)).await);
    report.note("files", answers(&converter.blobs, files(&converter.blobs)).await);
    report.note("ledger", answers(&converter.ledger, ledger(&converter.ledger)).await);
    report.note("queue", answers(&converter.queue, broker(&converter.queue)).await);
    report.note("mail", answers(&mail.smtp_url, post(&mail.smtp_url)).await);
    if let Err(faults) = std::mem::take(env).finish(()) {
        report.note("settings", Err(faults.into()));
    }
    if report.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Report {
    healthy: bool,
}

impl Report {
    fn note(&mut self, what: &str, found: anyhow::Result<String>) {
        match found {
            Ok(fact) => println!("  ok      {what:<12} {fact}"),
            Err(error) => {
                self.healthy = false;
                println!("  FAULT   {what:<12} {error:#}");
            }
        }
    }
}

fn writable(home: &Home) -> anyhow::Result<String> {
    let path = home.path().display();
    tempfile::tempfile_in(home.path()).with_context(|| format!("nothing can be written in {path}"))?;
    Ok(format!("{path} can be written"))
}

fn space(home: &Home) -> anyhow::Result<String> {
    let disk = rustix::fs::statvfs(home.path()).context("the disk does not say how full it is")?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < LITTLE_SPACE {
        bail!("only {} are free; films need more", HumanBytes(free));
    }
    Ok(format!("{} are free", HumanBytes(free)))
}

async fn address(address: &str) -> anyhow::Result<String> {
    if TcpListener::bind(address).await.is_ok() {
        return Ok(format!("{address} is free"));
    }
    let health = async { TcpStream::connect(address).await };
    match tokio::time::timeout(Duration::from_secs(2), health).await {
        Ok(Ok(_)) => {
            bail!("{address} is in use, perhaps by an mp3converter that runs already; HTTP_ADDR names another")
        }
        _ => bail!("{address} cannot be listened on; HTTP_ADDR names another"),
    }
}

fn sandbox(limits: Option<sandbox::Limits>) -> anyhow::Result<String> {
    let Some(limits) = limits else { return Ok("off: videos are read by this process itself".to_owned()) };
    converter::lock_up(limits)?;
    Ok("conversions are locked up in a process of their own".to_owned())
}

/// Whether a store or a server answers, named without the password in its URL.
async fn answers(url: &Secret, ask: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<String> {
    let place = place(url.expose());
    let answer = tokio::time::timeout(LIMIT, ask).await;
    match answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {} s", LIMIT.as_secs()))) {
        Ok(()) => Ok(format!("{place} answers")),
        Err(error) => Err(error.context(format!("{place} is out of reach"))),
    }
}

fn place(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) if url.has_host() => format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default()),
        Ok(url) => format!("{}:{}", url.scheme(), url.path()),
        Err(_) => "what its URL names".to_owned(),
    }
}

async fn accounts(url: &Secret) -> anyhow::Result<()> {
    Accounts::connect(url).await?.emails().await.map(drop).map_err(crate::user::in_full)
}

async fn files(url: &Secret) -> anyhow::Result<()> {
    Ok(Blobs::connect(url, "videos", LIMIT).await?.ping().await?)
}

async fn ledger(url: &Secret) -> anyhow::Result<()> {
    Ok(Jobs::connect(url, LIMIT).await?.ping().await?)
}

async fn broker(url: &Secret) -> anyhow::Result<()> {
    let queue = Queue::connect(url, queue::Options::default()).await?;
    let answer = queue.ping().await;
    queue.close().await;
    answer
}

/// That somebody listens is all that can be asked without sending a mail.
async fn post(url: &Secret) -> anyhow::Result<()> {
    let url = Url::parse(url.expose())?;
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else { return Ok(()) };
    let port = url.port().unwrap_or(match url.scheme() {
        "smtps" => 465,
        "smtp+starttls" => 587,
        _ => 25,
    });
    TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    Ok(())
}
