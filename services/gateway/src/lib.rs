//! The door: takes videos in, gives MP3s out, and keeps the ledger moving.

mod allowance;
mod auth_client;
mod client;
mod conversion;
mod feed;
#[doc(hidden)]
pub mod form;
mod gauges;
mod intake;
mod line;
#[doc(hidden)]
pub mod range;
mod reconcile;
mod routes;
#[doc(hidden)]
pub mod session;

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use blobs::Blobs;
use common::{
    CancellationToken, Env, Secret,
    client::Proxies,
    serve::{self, Limits, Readiness},
    start::Running,
};
use jobs::Jobs;
use queue::Queue;
use tokio::net::TcpListener;

use crate::{
    allowance::{Allowance, Quotas},
    auth_client::AuthClient,
    feed::Feed,
    intake::Intake,
    line::Line,
};

/// Where the gateway's neighbours are, and what it allows.
#[derive(Clone, Debug)]
pub struct Config {
    /// Base address of auth.
    pub auth: String,
    /// Uploads and results.
    pub blobs: Secret,
    pub ledger: Secret,
    pub queue: Secret,
    /// For a single request to each.
    pub timeouts: Timeouts,
    pub video_queue: String,
    pub mp3_queue: String,
    pub max_upload_bytes: u64,
    /// A client that sends nothing for so long has gone away.
    pub upload_idle: Duration,
    /// Whether MP3s that belong to nobody (made by the Python converter) are served to anybody.
    pub allow_unowned_downloads: bool,
    /// What others reach us by.
    pub public_url: Option<String>,
    /// Streams of events that may be open at once.
    pub max_event_streams: usize,
    /// What one user may have.
    pub quotas: Quotas,
    /// Whose word about a client's address counts.
    pub proxies: Proxies,
    pub reconcile: reconcile::Patience,
    pub limits: Limits,
}

/// How long the gateway waits for its neighbours, and for the whole of a small request.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub auth: Duration,
    pub blobs: Duration,
    pub ledger: Duration,
    pub queue: Duration,
    pub request: Duration,
}

impl Timeouts {
    fn from_env(env: &mut Env) -> Self {
        Self {
            auth: env.time_limit("AUTH_TIMEOUT", Duration::from_secs(10)),
            blobs: env.time_limit("STORE_TIMEOUT", blobs::LIMIT),
            ledger: env.time_limit("LEDGER_TIMEOUT", jobs::LIMIT),
            queue: env.time_limit("BROKER_TIMEOUT", queue::LIMIT),
            request: env.time_limit("REQUEST_TIMEOUT", Duration::from_secs(30)),
        }
    }
}

impl Config {
    pub fn from_env(env: &mut Env) -> Self {
        let proxies = Proxies::from_env(env, "");
        let limits = Limits {
            connections_of_address: env.parse("MAX_CONNECTIONS_PER_ADDRESS", 1_024),
            proxies: proxies.clone(),
            ..Limits::from_env(env)
        };
        let auth = env.string("AUTH_SVC_ADDRESS", "auth:5000");
        Self {
            // The classic form is host:port alone.
            auth: if auth.contains("://") { auth } else { format!("http://{auth}") },
            blobs: env.store_url("BLOBS_URL", "file"),
            ledger: env.store_url("LEDGER_URL", "sqlite"),
            queue: env.url("AMQP_URL", "amqp://guest:guest@rabbitmq:5672/%2f", &["amqp", "amqps", "sqlite"]),
            timeouts: Timeouts::from_env(env),
            video_queue: env.string("VIDEO_QUEUE", "video"),
            mp3_queue: env.string("MP3_QUEUE", "mp3"),
            max_upload_bytes: env.parse("MAX_UPLOAD_BYTES", 8 << 30),
            upload_idle: env.duration("UPLOAD_IDLE_TIMEOUT", Duration::from_secs(60)),
            allow_unowned_downloads: env.flag("ALLOW_UNOWNED_DOWNLOADS", false),
            public_url: env.public_url("PUBLIC_URL"),
            max_event_streams: env.parse("MAX_EVENT_STREAMS", 1_024),
            quotas: Quotas::from_env(env),
            proxies,
            reconcile: reconcile::Patience::from_env(env),
            limits,
        }
    }

    /// Whether browsers come by TLS, so that cookies need no other way.
    fn is_https(&self) -> bool {
        self.public_url.as_deref().is_some_and(|url| url.starts_with("https:"))
    }
}

/// What every handler can reach.
#[derive(Clone)]
struct App {
    auth: AuthClient,
    allowance: Allowance,
    videos: Blobs,
    mp3s: Blobs,
    jobs: Jobs,
    intake: Intake,
    feed: Feed,
    config: Arc<Config>,
    /// A proxy that nobody named is told of once.
    stranger: Arc<Once>,
}

/// Serves until `shutdown`; uploads that are running then are finished first.
pub fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Running {
    Box::pin(run_all(config, listener, shutdown))
}

async fn run_all(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    gauges::describe();
    let timeouts = config.timeouts;
    let videos = Blobs::connect(&config.blobs, "videos", timeouts.blobs).await?;
    let mp3s = Blobs::connect(&config.blobs, "mp3s", timeouts.blobs).await?;
    let jobs = Jobs::connect(&config.ledger, timeouts.ledger).await?;
    let options = queue::Options { name: "gateway".to_owned(), confirm_timeout: timeouts.queue, ..Default::default() };
    let queue = Queue::connect(&config.queue, options).await?;
    let allowance = Allowance::new(config.quotas);
    let line = Line::new(jobs.clone(), config.quotas.queued, config.reconcile.queued);
    let app = App {
        auth: AuthClient::new(&config.auth, timeouts.auth, allowance.clone())?,
        allowance,
        intake: Intake::new(videos.clone(), jobs.clone(), queue.clone(), &config.video_queue, line.clone()),
        feed: Feed::new(jobs.clone(), config.max_event_streams, shutdown.clone()),
        videos,
        mp3s,
        jobs,
        config: Arc::new(config),
        stranger: Arc::new(Once::new()),
    };

    let readiness = Readiness::default()
        .with("ledger", &app.jobs, |jobs| async move { Ok(jobs.ping().await?) })
        .with("store", &app.videos, |videos| async move { Ok(videos.ping().await?) })
        .with("broker", &queue, |queue| async move { queue.ping().await });
    let reconciler = tokio::spawn(reconcile::run(app.clone(), queue.clone(), shutdown.clone()));
    let advance = tokio::spawn(line::run(line, app.intake.clone(), shutdown.clone()));
    let watch = tokio::spawn(app.feed.clone().run());
    let router = routes::router(app.clone()).merge(serve::ops(readiness));
    let served = serve::serve(listener, router, app.config.limits.clone(), shutdown).await;
    let _ = reconciler.await;
    let _ = advance.await;
    let _ = watch.await;
    queue.close().await;
    served
}
