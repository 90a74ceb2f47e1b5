//! The reconciler: finds what stands still in the ledger and sets it going again.
//!
//! It runs in every gateway. Each finding is claimed in the ledger first, so any number may run.

use std::time::{Duration, Instant};

use blobs::Blobs;
use common::{CancellationToken, Env, Id, fault::Point};
use jobs::{Expired, HERE_EVERY, Job, MAIL, REMEMBERED, Role, Stuck};
use queue::Queue;

use crate::{App, gauges::Gauges};

/// How long each thing may stand still.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Between two rounds.
    pub interval: Duration,
    /// Accepted, but the broker was not told; the gateway that took it is trying just now.
    pub stored: Duration,
    /// Longer than the longest delay between two attempts.
    pub queued: Duration,
    /// An upload tells of itself every half minute.
    pub upload: Duration,
    /// Over, but the notification was not told; or a deletion cut off, or an expired video's.
    pub leftover: Duration,
    /// Told, and nothing came of it: longer than a mail is tried for.
    pub unmailed: Duration,
    /// Bytes in the store that belong to no file, and files of jobs that are gone.
    pub sweep_age: Duration,
    /// A video, after its conversion ended; without one it is kept.
    pub video_ttl: Option<Duration>,
    /// A record and all its files, likewise.
    pub mp3_ttl: Option<Duration>,
}

impl Patience {
    pub fn from_env(env: &mut Env) -> Self {
        Self {
            interval: env.duration("RECONCILE_INTERVAL", Duration::from_secs(10)),
            stored: env.duration("REPUBLISH_STORED_AFTER", Duration::from_secs(30)),
            queued: env.duration("REPUBLISH_QUEUED_AFTER", Duration::from_secs(900)),
            upload: env.duration("UPLOAD_DEADLINE", Duration::from_secs(300)),
            leftover: env.duration("RENOTIFY_AFTER", Duration::from_secs(60)),
            unmailed: env.duration("REMAIL_AFTER", MAIL),
            sweep_age: env.duration("SWEEP_AGE", Duration::from_secs(86_400)),
            video_ttl: ttl(env, "VIDEO_TTL"),
            mp3_ttl: ttl(env, "MP3_TTL"),
        }
    }
}

/// How long something is kept; unset, empty or `keep`: for good.
fn ttl(env: &mut Env, name: &str) -> Option<Duration> {
    env.optional(name).filter(|text| text.trim() != "keep")?;
    Some(env.duration(name, Duration::MAX))
}

/// Between two searches through ledger and stores, at the most.
const SWEEP: Duration = Duration::from_secs(3_600);
/// And after one that was not finished.
const SWEEP_AGAIN: Duration = Duration::from_secs(300);
/// Findings of one kind in one round; the rest has time until the next.
const BATCH: usize = 100;
/// Files that the ledger is asked about at once.
const PAGE: usize = 10_000;

/// Works until `shutdown`.
pub async fn run(app: App, queue: Queue, shutdown: CancellationToken) {
    let sweep_age = app.config.reconcile.sweep_age;
    let mut next_sweep = Instant::now();
    let mut gauges = Gauges::default();
    while shutdown.run_until_cancelled(tokio::time::sleep(app.config.reconcile.interval)).await.is_some() {
        let outcome = round(&app, &queue).await;
        let label = if outcome.is_ok() { "ok" } else { "failed" };
        metrics::counter!("reconcile_rounds_total", "outcome" => label).increment(1);
        // Before what was wrong is said: figures are wanted most when something is.
        if let Err(error) = gauges.take(&app, &queue).await {
            tracing::debug!(error = format!("{error:#}"), "not all could be measured");
        }
        if let Err(error) = outcome {
            let error = format!("{error:#}");
            tracing::warn!(error, "the reconciler could not finish its round");
        }
        if next_sweep <= Instant::now() {
            let is_finished = sweep(&app, &queue).await;
            next_sweep = Instant::now() + if is_finished { SWEEP } else { SWEEP_AGAIN }.min(sweep_age / 4);
        }
    }
}

async fn round(app: &App, queue: &Queue) -> anyhow::Result<()> {
    let patience = &app.config.reconcile;
    for (stuck, age) in [
        (Stuck::Lease, Duration::ZERO),
        (Stuck::Stored, patience.stored),
        (Stuck::Queued, patience.queued),
        (Stuck::Untold, patience.leftover),
        (Stuck::Unmailed, patience.unmailed),
        (Stuck::Upload, patience.upload),
        (Stuck::Deleting, patience.leftover),
    ] {
        let loss = match stuck {
            Stuck::Queued => silence_means_loss(app, queue, Role::Converter).await?,
            Stuck::Unmailed => silence_means_loss(app, queue, Role::Notification).await?,
            _ => true,
        };
        if !loss {
            continue;
        }
        claim(app, queue, stuck, age).await?;
    }
    expire(app).await
}

/// Removes what is not to be kept any longer.
async fn expire(app: &App) -> anyhow::Result<()> {
    let patience = &app.config.reconcile;
    for (expired, ttl, others_time) in [
        (Expired::Record, patience.mp3_ttl, patience.unmailed),
        (Expired::Video, patience.video_ttl, patience.leftover),
    ] {
        let Some(ttl) = ttl else { continue };
        for _ in 0..BATCH {
            let Some(job) = app.jobs.expire(expired, ttl, others_time).await? else { break };
            let what = match expired {
                Expired::Record => {
                    Point::ClaimedRecord.pass();
                    app.remove(&job).await?;
                    "record"
                }
                Expired::Video => {
                    Point::ClaimedVideo.pass();
                    app.videos.delete(&job.video_fid).await?;
                    Point::VideoExpired.pass();
                    app.jobs.video_removed(&job.id).await?;
                    tracing::info!(job.id = %job.id, blob.id = %job.video_fid, "the video has expired");
                    "video"
                }
            };
            metrics::counter!("expired_total", "what" => what).increment(1);
        }
    }
    Ok(())
}

async fn claim(app: &App, queue: &Queue, stuck: Stuck, age: Duration) -> anyhow::Result<()> {
    for _ in 0..BATCH {
        let Some(job) = app.jobs.claim(stuck, age).await? else { break };
        claimed(stuck).pass();
        tracing::info!(job.id = %job.id, found = ?stuck, state = job.state.as_str(), "set going again");
        metrics::counter!("reconciled_total", "found" => format!("{stuck:?}").to_lowercase()).increment(1);
        mend(app, queue, stuck, &job).await?;
    }
    Ok(())
}

fn claimed(stuck: Stuck) -> Point {
    match stuck {
        Stuck::Lease => Point::ClaimedLease,
        Stuck::Stored => Point::ClaimedStored,
        Stuck::Queued => Point::ClaimedQueued,
        Stuck::Untold => Point::ClaimedUntold,
        Stuck::Unmailed => Point::ClaimedUnmailed,
        Stuck::Upload => Point::ClaimedUpload,
        Stuck::Deleting => Point::ClaimedDeleting,
        Stuck::Untidy => Point::ClaimedUntidy,
    }
}

async fn mend(app: &App, queue: &Queue, stuck: Stuck, job: &Job) -> anyhow::Result<()> {
    match stuck {
        Stuck::Stored | Stuck::Queued | Stuck::Lease => {
            app.intake.tell(job).await;
        }
        Stuck::Untold => {
            queue.publish(&app.config.mp3_queue, &job.envelope()).await?;
            Point::Retold.pass();
            app.jobs.told(&job.id, job.run).await?;
        }
        Stuck::Unmailed => {
            queue.publish(&app.config.mp3_queue, &job.envelope()).await?;
            Point::Remailed.pass();
            app.jobs.retold(&job.id, job.run).await?;
        }
        Stuck::Upload | Stuck::Deleting => app.remove(job).await?,
        Stuck::Untidy => {
            for mp3 in job.outputs.iter().filter(|mp3| job.mp3_fid.as_ref() != Some(*mp3)) {
                app.mp3s.delete(mp3).await?;
            }
            Point::Tidied.pass();
            app.jobs.tidied(job).await?;
        }
    }
    Ok(())
}

/// A message of which nothing came is lost only if its queue is empty and the workers are ours:
/// one that keeps no ledger may well be at it, and would do it twice.
async fn silence_means_loss(app: &App, queue: &Queue, role: Role) -> anyhow::Result<bool> {
    let name = match role {
        Role::Converter => &app.config.video_queue,
        Role::Notification => &app.config.mp3_queue,
    };
    let seen_within = app.config.reconcile.queued.max(HERE_EVERY * 3);
    Ok(app.jobs.any(role, seen_within).await? && queue.depth(name).await? == 0)
}

/// False: not all was looked through. One search that fails, or takes too long, does not keep the others from being
/// made.
async fn sweep(app: &App, queue: &Queue) -> bool {
    let mut outcomes = vec![claim(app, queue, Stuck::Untidy, app.config.reconcile.sweep_age).await];
    for (store, blobs) in [("videos", &app.videos), ("mp3s", &app.mp3s)] {
        outcomes.push(remove_remains(app, store, blobs).await);
        outcomes.push(remove_late(app, store, blobs).await);
    }
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        let error = format!("{error:#}");
        tracing::warn!(error, "the search for remains was not finished");
    }
    outcomes.iter().all(Result::is_ok)
}

async fn remove_remains(app: &App, store: &str, blobs: &Blobs) -> anyhow::Result<()> {
    let removed = blobs.sweep(app.config.reconcile.sweep_age).await?;
    if removed > 0 {
        tracing::info!(store, removed, "removed the remains of interrupted writes");
    }
    Ok(())
}

/// Removes whole files of jobs that were removed: what was finished afterwards, by somebody who died before
/// hearing of it.
async fn remove_late(app: &App, store: &str, blobs: &Blobs) -> anyhow::Result<()> {
    let (mut after, before) = (Id::made_before(REMEMBERED), Id::made_before(app.config.reconcile.sweep_age));
    loop {
        let files = blobs.list(&after, &before, PAGE).await?;
        let Some((last, _)) = files.last() else { return Ok(()) };
        after = last.clone();
        let jobs: Vec<_> = files.iter().filter_map(|(_, job)| job.clone()).collect();
        let removed = app.jobs.removed(&jobs).await?;
        for (file, job) in files {
            let Some(job) = job.filter(|job| removed.contains(job)) else { continue };
            // Its removal may have died with its record still there.
            if app.jobs.get(&job).await?.is_some() {
                continue;
            }
            blobs.delete(&file).await?;
            tracing::info!(store, blob.id = %file, job.id = %job, "removed a file whose job is gone");
        }
    }
}

impl App {
    /// Removes the files of a job that is `Deleting`, then its record. Can be repeated.
    pub async fn remove(&self, job: &Job) -> anyhow::Result<()> {
        self.videos.delete(&job.video_fid).await?;
        Point::VideoRemoved.pass();
        for mp3 in job.outputs.iter().chain(&job.mp3_fid) {
            self.mp3s.delete(mp3).await?;
        }
        Point::Mp3Removed.pass();
        self.jobs.remove(&job.id).await?;
        self.feed.removed(job.clone());
        tracing::info!(job.id = %job.id, "removed with its files");
        Ok(())
    }
}
