//! One job: take it, run the conversion, put the result, tell.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use blobs::{Blobs, Meta};
use common::{
    CancellationToken, Id, Message,
    fault::{Mutant, Point},
    messages::JOB_ID,
    trace,
};
use jobs::{Job, Jobs, Lease, Output, Settings, Split, State, Unfit};
use queue::{Delivery, Envelope, Queue, Verdict};
use sandbox::Sandbox;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::{
    Config,
    conversion::{self, Ended},
    meters::{self, Fault, Running},
    options::options,
};

/// How often progress goes to the ledger and the lease is prolonged.
pub const TICK: Duration = Duration::from_secs(1);
/// Leases of one run that their workers had heard of and nobody gave back, after which a job is given up although
/// no attempt ever said what was wrong: its worker died each time.
const MOST_LEASES: u32 = 8;
/// Earlier attempts whose remains are looked for: each of those has looked for the ones before it, and a film that is
/// tried again and again shall not take longer each time.
const REMAINS: usize = 8;
/// When the ledger does not answer nothing is known to be wrong with the job: it waits.
const LEDGER_AWAY: Duration = Duration::from_secs(30);

pub struct Worker {
    pub videos: Blobs,
    pub mp3s: Blobs,
    pub jobs: Jobs,
    pub queue: Queue,
    /// `None`: conversions happen in this process.
    pub sandbox: Option<Arc<Sandbox>>,
    /// Deliveries of one message, the first included, before it is dead.
    pub attempts: u32,
    pub shutdown: CancellationToken,
    /// What is still being written into the ledger about jobs that are over.
    pub notes: TaskTracker,
    pub config: Config,
}

impl Worker {
    pub async fn handle(&self, delivery: Delivery) -> Verdict {
        let message = match Message::from_json(&delivery.envelope.body) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%error, "a message that is none of ours was laid aside");
                return Verdict::Dead { reason: format!("not a conversion message: {error}") };
            }
        };
        let told_id = delivery.envelope.headers.get(JOB_ID).and_then(|id| id.parse::<Id>().ok());
        let id = told_id.clone().unwrap_or_else(|| message.video_fid.clone());
        // What is asked for stands in the record, if there is one.
        let settings = match &told_id {
            Some(_) => Settings::default(),
            None => match wishes(&delivery.envelope) {
                Ok(settings) => settings,
                Err(error) => {
                    tracing::warn!(job.id = %id, %error, "a message that asks for what cannot be was laid aside");
                    return Verdict::Dead { reason: error.to_string() };
                }
            },
        };
        let span = tracing::info_span!("job", job.id = %id, attempt = delivery.attempt, trace_id = trace::id());
        async {
            let leased = self.lease(told_id, &message, settings).await;
            match leased {
                Ok(Lease::Taken(job)) => self.convert(*job, delivery.attempt).await,
                Ok(Lease::Held) => {
                    tracing::info!("another worker is at it");
                    Verdict::Later { after: self.config.lease }
                }
                Ok(Lease::Over(job)) => self.tell(&job).await,
                Ok(Lease::Gone) => {
                    tracing::info!("deleted by its owner meanwhile");
                    Verdict::Done
                }
                Err(error) => {
                    tracing::warn!(%error, "waiting for the ledger");
                    Verdict::Later { after: LEDGER_AWAY }
                }
            }
        }
        .instrument(span)
        .await
    }

    async fn lease(&self, id: Option<Id>, message: &Message, settings: Settings) -> jobs::Result<Lease> {
        // A message from a gateway without a ledger makes its record now.
        let id = match id {
            Some(id) => id,
            None => match self.jobs.adopt(&message.video_fid, &message.username, settings).await? {
                Some(job) => {
                    Point::Recorded.pass();
                    job.id
                }
                None => return Ok(Lease::Gone),
            },
        };
        let output = if Mutant::ReusedId.is_on() { message.video_fid.clone() } else { Id::fresh() };
        self.jobs.lease(&id, &output, self.config.lease).await
    }

    async fn convert(&self, job: Job, delivered: u32) -> Verdict {
        Point::Leased.pass();
        let started = Instant::now();
        tracing::info!(blob.id = %job.video_fid, lease = job.attempt, "converting");
        if delivered == 1 {
            meters::taken(&job);
        }
        let _running = Running::begin();
        // A film of which workers die is to be told from leases of which none heard.
        let is_ours = match job.attempt {
            1 => Ok(true),
            attempt => self.jobs.renew(&job.id, attempt, 0, self.config.lease).await,
        };
        let outcome = match is_ours {
            Err(error) => {
                tracing::warn!(%error, "waiting for the ledger");
                return Verdict::Later { after: LEDGER_AWAY };
            }
            Ok(false) => Err(Ended::Lost),
            Ok(true) if job.attempt_of_run() > MOST_LEASES => Err(Ended::Final(
                Fault::Deadly,
                "this video could not be converted: every attempt broke off".to_owned(),
            )),
            Ok(true) => self.attempt(&job).await,
        };
        let (verdict, outcome) = match outcome {
            Ok(output) => (self.done(&job, &output, started).await, "done"),
            Err(Ended::Final(fault, reason)) => {
                meters::failed("final", fault);
                (self.failed(&job, &reason).await, "failed")
            }
            Err(Ended::Lost) => {
                tracing::info!("the job is no longer ours: cancelled, or taken over");
                (Verdict::Done, "lost")
            }
            Err(Ended::Stopped) => {
                tracing::info!("given back because this worker is stopping");
                self.release(&job).await;
                (Verdict::Later { after: Duration::ZERO }, "given_back")
            }
            Err(Ended::Broken(fault, error)) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "the attempt failed");
                let is_last = delivered >= self.attempts;
                meters::failed(if is_last { "exhausted" } else { "retry" }, fault);
                if !is_last {
                    self.release(&job).await;
                    (Verdict::Retry { reason: error }, "retry")
                } else {
                    let reason = "we could not convert this video: something on our side failed again and again";
                    // Dead as well as failed: an operator should see the cause.
                    match self.failed(&job, reason).await {
                        Verdict::Done => (Verdict::Dead { reason: error }, "failed"),
                        other => (other, "retry"),
                    }
                }
            }
        };
        metrics::counter!("conversions_total", "outcome" => outcome).increment(1);
        metrics::histogram!("conversion_duration_seconds", "outcome" => outcome).record(started.elapsed());
        verdict
    }

    /// From the video in the store to an MP3 in the store, whose id nobody knows yet.
    async fn attempt(&self, job: &Job) -> Result<Output, Ended> {
        let Some((output, remains)) = job.outputs.split_last() else {
            return Err(Ended::store(anyhow::anyhow!("the lease named no output")));
        };
        // What the last attempts left. If this fails, the sweep finds it, as it finds what comes late.
        for id in remains.iter().rev().take(REMAINS) {
            if let Err(error) = self.mp3s.delete(id).await {
                tracing::warn!(blob.id = %id, %error, "remains of an earlier attempt are left for the sweep");
            }
        }
        let video = self.videos.stat(&job.video_fid).await.map_err(Ended::store)?;
        let video =
            video.ok_or_else(|| Ended::Final(Fault::Missing, "the uploaded video is no longer there".to_owned()))?;
        let name = job.filename.as_ref().or(video.meta.filename.as_ref());
        let stem = name.map(|name| name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem).to_owned());
        let (extension, content_type, head) = match job.settings.split {
            None => ("mp3", "audio/mpeg", transcode::HEAD_MAX),
            // Many heads, anywhere in it.
            Some(Split::Chapters) => ("zip", "application/zip", 0),
        };
        let meta = Meta {
            username: Some(job.owner.clone()),
            filename: Some(format!("{}.{extension}", stem.as_deref().unwrap_or(output.as_str()))),
            content_type: Some(content_type.to_owned()),
            job_id: Some(job.id.clone()),
            ..Meta::default()
        };
        let writer = self.mp3s.create(output.clone(), meta).await.map_err(Ended::store)?;
        let writer = writer.keeping_head(head);
        let options = transcode::Options {
            max_duration: self.config.max_duration,
            title_fallback: stem,
            threads: share_of_cores(self.config.workers),
            ..options(&job.settings)
        };

        let control = Arc::new(conversion::Control { stop: AtomicBool::new(false), percent: AtomicU8::new(0) });
        let (sandbox, videos) = (self.sandbox.clone(), self.videos.clone());
        let running = conversion::run(sandbox, videos, video, writer, options, control.clone());
        tokio::pin!(running);
        let why = tokio::select! {
            outcome = &mut running => return outcome,
            why = self.watch(job, &control.percent) => why,
        };
        control.stop.store(true, Ordering::Relaxed);
        match running.await {
            // It was over before it noticed.
            Ok(output) => Ok(output),
            Err(_) => Err(why),
        }
    }

    /// Keeps the lease, until there is a reason to stop.
    async fn watch(&self, job: &Job, percent: &AtomicU8) -> Ended {
        // The first is due a while after the lease, which short films do not last.
        let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut renewed = Instant::now();
        let grace = async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(self.config.grace).await;
        };
        tokio::pin!(grace);
        loop {
            tokio::select! {
                () = &mut grace => return Ended::Stopped,
                _ = tick.tick() => {}
            }
            match self.jobs.renew(&job.id, job.attempt, percent.load(Ordering::Relaxed), self.config.lease).await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) => return Ended::Lost,
                // Somebody else may hold the job by now, and will if it goes on.
                Err(_) if renewed.elapsed() > self.config.lease => return Ended::Lost,
                Err(error) => tracing::warn!(%error, "the lease could not be prolonged"),
            }
        }
    }

    async fn done(&self, job: &Job, output: &Output, started: Instant) -> Verdict {
        Point::Written.pass();
        match self.jobs.done(&job.id, job.attempt, output).await {
            Ok(Some(job)) => {
                Point::Done.pass();
                let duration_ms = started.elapsed().as_millis() as u64;
                let audio_s = output.duration.as_secs();
                tracing::info!(blob.id = %output.mp3_fid, duration_ms, audio_s, bytes = output.mp3_bytes, "converted");
                meters::converted(output, started.elapsed());
                meters::over(&job);
                self.tell(&job).await
            }
            Ok(None) => {
                tracing::info!("another result counts; ours is deleted");
                if let Err(error) = self.mp3s.delete(&output.mp3_fid).await {
                    tracing::warn!(blob.id = %output.mp3_fid, %error, "a result that does not count was left behind");
                }
                Verdict::Done
            }
            // Whether it counts is not known; the next delivery will see.
            Err(error) => {
                tracing::warn!(%error, "converted, but the ledger does not answer");
                Verdict::Later { after: LEDGER_AWAY }
            }
        }
    }

    async fn failed(&self, job: &Job, reason: &str) -> Verdict {
        match self.jobs.failed(&job.id, job.attempt, reason).await {
            Ok(Some(job)) => {
                Point::Failed.pass();
                tracing::info!(reason, "failed for good");
                meters::over(&job);
                self.tell(&job).await
            }
            Ok(None) => Verdict::Done,
            Err(error) => {
                tracing::warn!(%error, "failed, but the ledger does not answer");
                Verdict::Later { after: LEDGER_AWAY }
            }
        }
    }

    async fn release(&self, job: &Job) {
        if let Err(error) = self.jobs.release(&job.id, job.attempt).await {
            tracing::warn!(%error, "the lease could not be given back and will run out");
        }
        Point::Released.pass();
    }

    /// Passes a job that is over on to the notification, unless that was done before.
    async fn tell(&self, job: &Job) -> Verdict {
        if job.told || !matches!(job.state, State::Done | State::Failed) {
            return Verdict::Done;
        }
        if let Err(error) = self.queue.publish(&self.config.mp3_queue, &job.envelope()).await {
            tracing::warn!(
                error = format!("{:#}", anyhow::Error::from(error)),
                "the notification could not be told yet"
            );
            return Verdict::Later { after: Duration::from_secs(5) };
        }
        Point::Told.pass();
        let (jobs, id, run) = (self.jobs.clone(), job.id.clone(), job.run);
        let note = async move {
            if let Err(error) = jobs.told(&id, run).await {
                tracing::warn!(%error, "told, but the ledger does not know; the notification is told again");
            }
        };
        // The next job does not wait for it: should it get lost, the notification, told twice, sends
        // one mail.
        self.notes.spawn(note.in_current_span());
        Verdict::Done
    }
}

/// For each of so many conversions at once; rounded up, so that no core is left idle.
fn share_of_cores(conversions: usize) -> Option<NonZeroUsize> {
    let cores = std::thread::available_parallelism().ok()?;
    NonZeroUsize::new(cores.get().div_ceil(conversions.max(1)))
}

/// What a message that comes without a record asks for, in headers of the settings' names.
fn wishes(envelope: &Envelope) -> Result<Settings, Unfit> {
    let mut settings = Settings::default();
    for (name, text) in &envelope.headers {
        settings.note(name, text)?;
    }
    settings.check()?;
    Ok(settings)
}
