//! What the gateway measures that happens in no request: how the jobs stand, what waits in the
//! queues, what the stores take up. Taken by the reconciler.

use std::time::{Duration, Instant};

use common::meters::start_at_zero;
use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
use queue::{Queue, dead_letters};

use crate::App;

/// Between two looks at the stores, which may have many files.
const STORES: Duration = Duration::from_secs(30);

/// The measuring of one process.
#[derive(Default)]
pub struct Gauges {
    stores_at: Option<Instant>,
}

impl Gauges {
    /// Takes what is due. Each gateway shows the same figures, however many there are; the jobs
    /// are counted by one of them.
    pub async fn take(&mut self, app: &App, queue: &Queue) -> anyhow::Result<()> {
        if let Some(census) = app.jobs.census(app.config.reconcile.interval).await? {
            for (state, count) in &census.states {
                gauge!("jobs", "state" => state.as_str()).set(*count as f64);
            }
            gauge!("jobs_longest_wait_seconds").set(census.longest_wait.as_secs_f64());
        }
        for name in [&app.config.video_queue, &app.config.mp3_queue] {
            gauge!("queue_messages", "queue" => name.clone()).set(queue.depth(name).await?);
            let dead = queue.depth(&dead_letters(name)).await?;
            gauge!("queue_dead_letters", "queue" => name.clone()).set(dead);
        }
        if self.stores_at.is_none_or(|at| at.elapsed() > STORES) {
            let mut all_known = true;
            for (store, blobs) in [("videos", &app.videos), ("mp3s", &app.mp3s)] {
                let usage = blobs.usage().await?;
                gauge!("store_bytes", "store" => store).set(usage.bytes as f64);
                if let Some(disk) = usage.disk {
                    gauge!("store_disk_size_bytes", "store" => store).set(disk.size as f64);
                    gauge!("store_disk_free_bytes", "store" => store).set(disk.free as f64);
                }
                all_known &= usage.disk.is_some();
            }
            self.stores_at = all_known.then(Instant::now);
        }
        Ok(())
    }
}

/// The metrics' help texts, and the values that counters begin at.
pub fn describe() {
    describe_counter!("uploads_total", "Uploads, by how they ended");
    describe_counter!("upload_bytes_total", "Bytes of films received, refused ones included");
    describe_histogram!("upload_size_bytes", "Sizes of the films that were accepted");
    describe_counter!("download_bytes_total", "Bytes of MP3s handed out");
    describe_counter!("reconciled_total", "Jobs that stood still and were set going again, by what was found");
    describe_counter!("expired_total", "What was not kept any longer, by VIDEO_TTL or MP3_TTL");
    describe_counter!("reconcile_rounds_total", "Rounds of the reconciler, by how they ended");
    describe_gauge!("jobs", "Records in the ledger, by state");
    describe_gauge!("jobs_longest_wait_seconds", "How long the job that waits longest for a worker has waited");
    describe_gauge!("queue_messages", "Messages that wait in the queue");
    describe_gauge!("queue_dead_letters", "Messages of the queue that were laid aside as dead");
    describe_gauge!("store_bytes", "What the files in the store take up");
    describe_gauge!("store_disk_size_bytes", "The disk that the store is on");
    describe_gauge!("store_disk_free_bytes", "What is free on the disk that the store is on");
    start_at_zero("expired_total", "what", &["video", "record"]);
    start_at_zero("reconcile_rounds_total", "outcome", &["ok", "failed"]);
    start_at_zero(
        "reconciled_total",
        "found",
        &["lease", "stored", "queued", "untold", "unmailed", "upload", "deleting", "untidy"],
    );
    start_at_zero(
        "uploads_total",
        "outcome",
        &[
            "accepted",
            "unauthorized",
            "invalid",
            "too_large",
            "limited",
            "stalled",
            "cancelled",
            "busy",
            "unavailable",
            "error",
        ],
    );
}
