//! The suite on SQLite, and what becomes of messages when processes come and go.

use std::time::{Duration, Instant};

use queue::{PublishError, Queue, Verdict};
use tempfile::TempDir;

use crate::kit::{Worker, connect, depth_becomes, envelope, text};

struct Home(TempDir);

impl Home {
    fn url(&self) -> String {
        format!("sqlite:{}/queue.db", self.0.path().display())
    }
}

async fn home() -> Home {
    Home(tempfile::tempdir().expect("a folder"))
}

contract!(home());

#[tokio::test]
async fn what_was_published_is_there_for_the_next_who_opens_the_file() {
    let home = home().await;
    let queue = connect(&home.url()).await;
    for n in 0..3 {
        queue.publish("video", &envelope(n)).await.expect("published");
    }
    queue.close().await;
    let queue = connect(&home.url()).await;
    let worker = Worker::diligent(&queue, "video");
    let seen = worker.has_seen(3).await;
    assert_eq!(seen.iter().map(text).collect::<Vec<_>>(), ["0", "1", "2"], "in order");
    worker.stop().await;
}

/// A runtime that is shut down gives nothing back, like a process that was killed.
#[test]
fn what_a_dead_process_held_is_free_after_seconds() {
    let runtime = || tokio::runtime::Runtime::new().expect("a runtime");
    let (first, second) = (runtime(), runtime());
    let home = first.block_on(home());
    first.block_on(async {
        let queue = connect(&home.url()).await;
        let (worker, gate) = Worker::gated(&queue, "video");
        queue.publish("video", &envelope("a")).await.expect("published");
        worker.has_seen(1).await;
        std::mem::forget((worker, gate));
    });
    first.shutdown_background();
    second.block_on(async {
        let queue = connect(&home.url()).await;
        let worker = Worker::diligent(&queue, "video");
        let seen = worker.has_seen(1).await;
        assert_eq!((seen[0].attempt, seen[0].redelivered), (2, true));
        worker.stop().await;
        depth_becomes(&queue, "video", 0).await;
    });
}

/// Longer than any claim holds without a sign of life.
#[tokio::test(flavor = "multi_thread")]
async fn what_takes_long_stays_with_its_worker() {
    let home = home().await;
    let (queue, other) = (connect(&home.url()).await, connect(&home.url()).await);
    let slow = Worker::start(&queue, "video", 1, |_| async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        Verdict::Done
    });
    queue.publish("video", &envelope("a")).await.expect("published");
    slow.has_seen(1).await;
    let idle = Worker::diligent(&other, "video");
    slow.stop().await;
    depth_becomes(&other, "video", 0).await;
    idle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_puts_in_is_found_promptly() {
    let home = home().await;
    let (here, there) = (connect(&home.url()).await, connect(&home.url()).await);
    let worker = Worker::diligent(&here, "video");
    // It waits by now, having handled one.
    there.publish("video", &envelope(0)).await.expect("published");
    worker.has_seen(1).await;
    let asked = Instant::now();
    for n in 1..=5 {
        there.publish("video", &envelope(n)).await.expect("published");
        worker.has_seen(n + 1).await;
    }
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    worker.stop().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_says_so() {
    let home = home().await;
    let url = format!("sqlite:{}/no/such/folder/queue.db", home.0.path().display());
    let error = Queue::connect(&common::Secret::new(url), Default::default()).await.expect_err("no folder");
    assert!(format!("{error:#}").contains("no/such/folder"), "{error:#}");
}

#[tokio::test]
async fn a_closed_queue_takes_nothing() {
    let home = home().await;
    let queue = connect(&home.url()).await;
    queue.close().await;
    let refused = queue.publish("video", &envelope("a")).await;
    assert!(matches!(refused, Err(PublishError::Unavailable(_))), "{refused:?}");
}
