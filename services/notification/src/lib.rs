//! Tells owners by mail that their MP3 is ready, or why there is none.

mod job;
pub mod mail;
pub mod text;

use std::{sync::Arc, time::Duration};

use common::{
    CancellationToken, Env, Secret,
    serve::{self, Readiness},
    start::Running,
};
use jobs::{Jobs, Role};
use queue::Queue;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::{
    job::Worker,
    mail::{Mailer, Sender},
    text::Letters,
};

/// Waits before the second, third, … attempt at a mail: a mail server that is away for a day
/// is no reason to give a mail up (RFC 5321, section 4.5.4.1, asks for four to five days).
const RETRY_DELAYS: [u64; 12] = [1, 5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400, 86_400];
/// Mails under way at once.
const SLOTS: usize = 4;

/// What the service needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub queue: Secret,
    pub mp3_queue: String,
    /// The ledger, if there is one.
    pub ledger: Option<Secret>,
    /// For a single request to the broker, and to the ledger.
    pub broker_timeout: Duration,
    pub ledger_timeout: Duration,
    /// Where mails go: `smtp:`, `smtps:`, `smtp+starttls:` or `file:`.
    pub smtp_url: Secret,
    /// Whom they come from.
    pub mail_from: Sender,
    /// For one mail, from the connection to the server's last word.
    pub smtp_timeout: Duration,
    /// What download links begin with.
    pub public_url: Option<String>,
    /// Waits before the second, third, … attempt at a mail.
    pub retry_delays: Vec<Duration>,
    pub limits: serve::Limits,
}

impl Config {
    /// Reads the environment:
    ///
    /// | name | default | meaning |
    /// |---|---|---|
    /// | `AMQP_URL` | `amqp://guest:guest@rabbitmq:5672/%2f` | the broker, or `sqlite:/path` |
    /// | `MP3_QUEUE` | `mp3` | where the news comes from |
    /// | `LEDGER_URL` | `MONGODB_URI` | the ledger, `mongodb:` or `sqlite:/path`; without it, mails are sent on the message's word alone |
    /// | `BROKER_TIMEOUT`, `LEDGER_TIMEOUT` | `10s` | for a single request to either |
    /// | `SMTP_URL` | | `smtp://host:25` (plain), `smtps://user:password@host:465` (TLS), `smtp+starttls://user:password@host:587`; the port may be left out. Or `file:/folder` for `.eml` files |
    /// | `GMAIL_ADDRESS`, `GMAIL_PASSWORD` | | instead of `SMTP_URL`: Gmail, by STARTTLS |
    /// | `MAIL_FROM` | the Gmail address, else `mp3converter@localhost` | `address` or `Name <address>` |
    /// | `SMTP_TIMEOUT` | `30s` | for one mail |
    /// | `MAIL_RETRY_DELAYS` | a dozen, three days in all | waits between attempts at a mail |
    /// | `PUBLIC_URL` | | makes links for downloads |
    ///
    /// `SMTP_URL` and `GMAIL_PASSWORD` may come from files (`…_FILE`). `SSL_CERT_FILE` names
    /// the authorities that TLS trusts, if they are not the system's.
    pub fn from_env(env: &mut Env) -> Self {
        let gmail = env.optional("GMAIL_ADDRESS");
        let has_ledger = ["LEDGER_URL", "LEDGER_URL_FILE", "MONGODB_URI", "MONGODB_URI_FILE"];
        let has_ledger = has_ledger.iter().any(|name| env.optional(name).is_some());
        Self {
            queue: env.url("AMQP_URL", "amqp://guest:guest@rabbitmq:5672/%2f", &["amqp", "amqps", "sqlite"]),
            mp3_queue: env.string("MP3_QUEUE", "mp3"),
            ledger: has_ledger.then(|| env.store_url("LEDGER_URL", "sqlite")),
            broker_timeout: env.time_limit("BROKER_TIMEOUT", queue::LIMIT),
            ledger_timeout: env.time_limit("LEDGER_TIMEOUT", jobs::LIMIT),
            smtp_url: mail::url_from_env(env),
            mail_from: env.parse("MAIL_FROM", Sender::default_from(gmail.as_deref())),
            smtp_timeout: env.time_limit("SMTP_TIMEOUT", Duration::from_secs(30)),
            public_url: env.public_url("PUBLIC_URL"),
            retry_delays: env.durations("MAIL_RETRY_DELAYS", &RETRY_DELAYS.map(Duration::from_secs)),
            limits: serve::Limits::from_env(env),
        }
    }
}

/// Works until `shutdown`, then until the mails under way are sent.
pub fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Running {
    Box::pin(run_all(config, listener, shutdown))
}

async fn run_all(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    job::describe();
    let options = queue::Options {
        name: "notification".to_owned(),
        confirm_timeout: config.broker_timeout,
        retry_delays: config.retry_delays.clone(),
        ..Default::default()
    };
    let queue = Queue::connect(&config.queue, options).await?;
    let mut readiness = Readiness::default()
        // Ready is who has made the queue that others publish to.
        .with("broker", &(queue.clone(), config.mp3_queue.clone()), |(queue, name)| async move {
            anyhow::ensure!(queue.exists(&name).await?, "the queue is not there yet");
            Ok(())
        });
    let jobs = match &config.ledger {
        Some(url) => Some(Jobs::connect(url, config.ledger_timeout).await?),
        None => None,
    };
    if let Some(jobs) = &jobs {
        readiness = readiness.with("ledger", jobs, |jobs| async move { Ok(jobs.ping().await?) });
    }
    let presence = jobs.clone().map(|jobs| tokio::spawn(jobs.stay(Role::Notification, shutdown.clone())));
    // Health is answered until the last mail is out.
    let idle = CancellationToken::new();
    let health = tokio::spawn(serve::serve(listener, serve::ops(readiness), config.limits, idle.clone()));

    let letters = Letters::new(config.public_url, config.mail_from.domain());
    let mailer = Mailer::connect(&config.smtp_url, config.mail_from, config.smtp_timeout)?;
    let notes = TaskTracker::new();
    let worker = Arc::new(Worker {
        mailer,
        letters,
        jobs,
        attempts: config.retry_delays.len() as u32 + 1,
        notes: notes.clone(),
        shutdown: shutdown.clone(),
    });
    let handler = move |delivery| {
        let worker = worker.clone();
        async move { worker.handle(delivery).await }
    };
    let worked = queue.work(&config.mp3_queue, SLOTS, shutdown, handler).await;
    notes.close();
    notes.wait().await;
    idle.cancel();
    if let Some(presence) = presence {
        let _ = presence.await;
    }
    let _ = health.await;
    queue.close().await;
    worked
}
