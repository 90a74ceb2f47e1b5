//! An upload's way from its first byte to the acceptance point and on to the broker.

use std::time::{Duration, Instant};

use blobs::{Blobs, Meta, Writer};
use common::{Error, Id, Result, fault::Point, trace};
use jobs::{Job, Jobs, NewJob, Settings, State};
use queue::Queue;
use tracing::Instrument;

use crate::line::Line;

/// How often the ledger hears that an upload is still going on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Where uploads go. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    videos: Blobs,
    jobs: Jobs,
    queue: Queue,
    video_queue: String,
    line: Line,
}

impl Intake {
    pub fn new(videos: Blobs, jobs: Jobs, queue: Queue, video_queue: &str, line: Line) -> Self {
        Self { videos, jobs, queue, video_queue: video_queue.to_owned(), line }
    }

    /// Begins an upload. A store or a broker that is down is found out here, before the client
    /// has sent its film.
    pub async fn begin(&self, film: Announced) -> Result<Upload> {
        self.queue.ping().await.map_err(Error::unavailable("the queue"))?;
        let Announced { id, owner, filename, content_type, settings, key } = film;
        let (owned_by, named, video_fid) = (owner.clone(), filename.clone(), Id::fresh());
        let traceparent = trace::current();
        let new = NewJob { id: id.clone(), owner, filename, video_fid: video_fid.clone(), settings, key, traceparent };
        if !self.jobs.create(new).await.map_err(Error::unavailable("the store"))? {
            return Err(KEY_IN_USE);
        }
        Point::Announced.pass();
        let mut upload =
            Upload { intake: self.clone(), id, video_fid, writer: None, heard: Instant::now(), accepted: false };
        let job_id = Some(upload.id.clone());
        let meta = Meta { username: Some(owned_by), filename: named, content_type, job_id, ..Meta::default() };
        let writer = self.videos.create(upload.video_fid.clone(), meta).await;
        upload.writer = Some(writer.map_err(Error::unavailable("the store"))?);
        Ok(upload)
    }

    /// Tells the broker that there is work, unless so much of the same owner's is there that this
    /// has to wait for it.
    pub async fn tell(&self, job: &Job) -> bool {
        !self.line.holds_back(job).await && self.publish(job).await
    }

    /// Tells the broker that there is work. Whether it worked is for the ledger to know: what
    /// stays `stored` is told again by the reconciler.
    pub async fn publish(&self, job: &Job) -> bool {
        let envelope = job.envelope();
        match self.queue.publish(&self.video_queue, &envelope).await {
            Ok(()) => {
                Point::Published.pass();
                if let Err(error) = self.jobs.queued(&job.id).await {
                    tracing::warn!(job.id = %job.id, %error, "queued, but the ledger could not be told");
                }
                Point::Queued.pass();
                true
            }
            Err(error) => {
                tracing::warn!(job.id = %job.id, error = format!("{:#}", anyhow::Error::from(error)), "could not be queued yet");
                false
            }
        }
    }

    /// Cleans up after an upload that was not accepted. What fails here the reconciler finds.
    async fn forget(&self, id: &Id, video_fid: &Id) {
        let forgotten: anyhow::Result<()> = async {
            if self.jobs.abandon(id).await? {
                Point::Abandoned.pass();
                self.videos.delete(video_fid).await?;
                Point::Emptied.pass();
                self.jobs.remove(id).await?;
                return Ok(());
            }
            let ended = match self.jobs.get(id).await? {
                // Given up by the reconciler, which may have looked for the film before it was there.
                None => true,
                Some(job) => matches!(job.state, State::Cancelled | State::Deleting),
            };
            if ended {
                self.videos.delete(video_fid).await?;
            }
            // Else the acceptance did happen and only its answer was lost: the job goes on.
            Ok(())
        }
        .await;
        if let Err(error) = forgotten {
            let error = format!("{error:#}");
            tracing::warn!(job.id = %id, error, "the remains of an upload are left for the reconciler");
        }
    }
}

/// Another upload came with the same key, and nobody knows yet how it ends.
pub const KEY_IN_USE: Error = Error::Conflict("an upload with this Idempotency-Key is going on");

/// What is known of a film before its first byte.
pub struct Announced {
    pub id: Id,
    pub owner: String,
    pub filename: Option<String>,
    pub content_type: Option<String>,
    pub settings: Settings,
    pub key: Option<String>,
}

/// A video being received. Dropped before [`Upload::accept`], it leaves nothing behind.
pub struct Upload {
    intake: Intake,
    id: Id,
    video_fid: Id,
    writer: Option<Writer>,
    heard: Instant,
    accepted: bool,
}

impl Upload {
    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.writer.as_ref().map_or(0, Writer::written)
    }

    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.heard.elapsed() > SIGN_OF_LIFE {
            self.heard = Instant::now();
            let going_on = self.intake.jobs.still_uploading(&self.id).await;
            if !going_on.map_err(Error::unavailable("the store"))? {
                return Err(Error::Cancelled);
            }
        }
        metrics::counter!("upload_bytes_total").increment(bytes.len() as u64);
        let Some(writer) = &mut self.writer else { return Err(Error::Cancelled) };
        writer.write(bytes).await.map_err(Error::unavailable("the store"))
    }

    /// Makes the video safe and passes the acceptance point. When this returns the job, it will
    /// end in one visible result, whatever dies.
    pub async fn accept(self) -> Result<Job> {
        // In a task of its own: from here on a client that goes away changes nothing.
        let accepted = tokio::spawn(self.into_job().in_current_span());
        accepted.await.map_err(|e| Error::Internal(e.into()))?
    }

    async fn into_job(mut self) -> Result<Job> {
        let Some(writer) = self.writer.take() else { return Err(Error::Cancelled) };
        let video = writer.finish().await.map_err(Error::unavailable("the store"))?;
        Point::Received.pass();
        let (jobs, id) = (&self.intake.jobs, &self.id);
        let stored = jobs.stored(id, video.length).await.map_err(Error::unavailable("the store"))?;
        let mut job = stored.ok_or(Error::Cancelled)?;
        self.accepted = true;
        Point::Accepted.pass();
        metrics::histogram!("upload_size_bytes").record(video.length as f64);
        tracing::info!(job.id = %job.id, blob.id = %job.video_fid, bytes = video.length, "accepted");
        if self.intake.tell(&job).await {
            job.state = State::Queued;
        }
        Ok(job)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.accepted {
            return;
        }
        let writer = self.writer.take();
        let (intake, id, video_fid) = (self.intake.clone(), self.id.clone(), self.video_fid.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Some(writer) = writer {
                    writer.abort().await;
                }
                intake.forget(&id, &video_fid).await;
            });
        }
    }
}
