//! The worker: takes jobs from the queue and turns videos into MP3s. Any number compete.

mod conversion;
mod job;
mod meters;
mod options;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use blobs::Blobs;
use common::{
    CancellationToken, Env, Secret,
    serve::{self, Limits, Readiness},
    start::Running,
};
use jobs::{Jobs, Role};
use queue::Queue;
use sandbox::Sandbox;
use tokio::{net::TcpListener, task::spawn_blocking};
use tokio_util::task::TaskTracker;

use crate::job::Worker;
pub use options::options;

/// Where the worker's neighbours are, and how it works.
#[derive(Clone, Debug)]
pub struct Config {
    /// Uploads and results.
    pub blobs: Secret,
    pub ledger: Secret,
    pub queue: Secret,
    /// For a single request to each.
    pub timeouts: Timeouts,
    pub video_queue: String,
    pub mp3_queue: String,
    /// Conversions at once.
    pub workers: usize,
    /// How long a job is ours without a sign of life.
    pub lease: Duration,
    /// How long a running conversion may go on after a shutdown was asked for.
    pub grace: Duration,
    /// The longest sound that is converted.
    pub max_duration: Duration,
    /// What a conversion may take in its child process; `None`: it has none of its own.
    pub sandbox: Option<sandbox::Limits>,
    /// Waits before the second, third, … attempt at a film.
    pub retry_delays: Vec<Duration>,
    pub limits: Limits,
}

/// How long a worker waits for its neighbours.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub blobs: Duration,
    pub ledger: Duration,
    pub queue: Duration,
}

impl Config {
    pub fn from_env(env: &mut Env) -> Self {
        let config = Self {
            blobs: env.store_url("BLOBS_URL", "file"),
            ledger: env.store_url("LEDGER_URL", "sqlite"),
            queue: env.url("AMQP_URL", "amqp://guest:guest@rabbitmq:5672/%2f", &["amqp", "amqps", "sqlite"]),
            timeouts: Timeouts {
                blobs: env.time_limit("STORE_TIMEOUT", blobs::LIMIT),
                ledger: env.time_limit("LEDGER_TIMEOUT", jobs::LIMIT),
                queue: env.time_limit("BROKER_TIMEOUT", queue::LIMIT),
            },
            video_queue: env.string("VIDEO_QUEUE", "video"),
            mp3_queue: env.string("MP3_QUEUE", "mp3"),
            workers: env.parse("WORKERS", 1),
            lease: env.duration("LEASE", Duration::from_secs(60)),
            grace: env.duration("SHUTDOWN_GRACE", Duration::from_secs(20)),
            max_duration: env.duration("MAX_AUDIO_DURATION", Duration::from_secs(48 * 3_600)),
            sandbox: sandbox_limits(env),
            retry_delays: env.durations("RETRY_DELAYS", &queue::Options::default().retry_delays),
            limits: Limits::from_env(env),
        };
        if config.workers == 0 {
            env.fault("WORKERS: at least 1 is expected");
        }
        if config.lease < job::TICK * 5 {
            env.fault("LEASE: at least 5s is expected, since it is prolonged once a second");
        }
        config
    }
}

/// `SANDBOX`, and what it allows. Only Linux has what it takes.
fn sandbox_limits(env: &mut Env) -> Option<sandbox::Limits> {
    let default = sandbox::Limits::default();
    let limits = sandbox::Limits {
        memory: env.parse("CONVERSION_MEMORY", default.memory),
        time: env.duration("CONVERSION_TIMEOUT", default.time),
        silence: env.duration("CONVERSION_STALL_TIMEOUT", default.silence),
    };
    env.flag("SANDBOX", cfg!(target_os = "linux")).then_some(limits)
}

/// Conversions in children of this program, whose `main` must begin with [`sandbox::run_if_child`].
pub fn lock_up(limits: sandbox::Limits) -> anyhow::Result<Sandbox> {
    let sandbox = Sandbox::new("/proc/self/exe", limits);
    sandbox.context("conversions cannot be locked up here")
}

/// Works until `shutdown`, then until the running jobs are finished or given back.
pub fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Running {
    Box::pin(run_all(config, listener, shutdown))
}

async fn run_all(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    meters::describe(config.workers);
    let sandbox = match config.sandbox.clone() {
        Some(limits) => {
            let locked_up = spawn_blocking(|| lock_up(limits)).await?;
            Some(Arc::new(locked_up.context("SANDBOX=off does without, for videos that you trust")?))
        }
        None => None,
    };
    let (timeouts, retry_delays) = (config.timeouts, config.retry_delays.clone());
    let options = queue::Options {
        name: "converter".to_owned(),
        confirm_timeout: timeouts.queue,
        retry_delays,
        ..Default::default()
    };
    let attempts = options.retry_delays.len() as u32 + 1;
    let queue = Queue::connect(&config.queue, options).await?;
    let jobs = Jobs::connect(&config.ledger, timeouts.ledger).await?;
    let videos = Blobs::connect(&config.blobs, "videos", timeouts.blobs).await?;
    let readiness = Readiness::default()
        .with("ledger", &jobs, |jobs| async move { Ok(jobs.ping().await?) })
        .with("store", &videos, |videos| async move { Ok(videos.ping().await?) })
        // Ready is who has made the queue that others publish to.
        .with("broker", &(queue.clone(), config.video_queue.clone()), |(queue, name)| async move {
            anyhow::ensure!(queue.exists(&name).await?, "the queue is not there yet");
            Ok(())
        });
    // Health is answered until the last job is over.
    let idle = CancellationToken::new();
    let health = tokio::spawn(serve::serve(listener, serve::ops(readiness), config.limits.clone(), idle.clone()));
    let presence = tokio::spawn(jobs.clone().stay(Role::Converter, shutdown.clone()));

    let notes = TaskTracker::new();
    let worker = Arc::new(Worker {
        videos,
        mp3s: Blobs::connect(&config.blobs, "mp3s", timeouts.blobs).await?,
        jobs,
        queue: queue.clone(),
        sandbox,
        attempts,
        shutdown: shutdown.clone(),
        notes: notes.clone(),
        config,
    });
    let (video_queue, slots) = (worker.config.video_queue.clone(), worker.config.workers);
    let handler = move |delivery| {
        let worker = worker.clone();
        async move { worker.handle(delivery).await }
    };
    let worked = queue.work(&video_queue, slots, shutdown, handler).await;
    notes.close();
    notes.wait().await;
    idle.cancel();
    let _ = presence.await;
    let _ = health.await;
    queue.close().await;
    worked
}
