//! A broker that goes away, falls silent or blocks: nothing hangs, nothing is lost, and
//! nobody has to start again.

use std::{
    collections::BTreeSet,
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use queue::{Options, PublishError, Queue, Verdict};
use testkit::{Breakage, Proxy, Rabbitmq, Servers, eventually, free_port};

use crate::kit::{SOON, Worker, connect, connect_with, depth_becomes, envelope, options, text};

const LIMIT: Duration = Duration::from_secs(1);

fn impatient() -> Options {
    Options { confirm_timeout: LIMIT, ..options() }
}

async fn publish_fails_in_time(queue: &Queue) -> PublishError {
    let started = Instant::now();
    let error = queue.publish("video", &envelope("x")).await.expect_err("nobody confirms");
    assert!(started.elapsed() < LIMIT * 2, "took {:?}", started.elapsed());
    error
}

#[tokio::test]
async fn without_a_broker_publish_errs_in_time() {
    let queue = connect_with(&format!("amqp://127.0.0.1:{}", free_port()), impatient()).await;
    let error = publish_fails_in_time(&queue).await;
    assert!(matches!(error, PublishError::Unavailable(_) | PublishError::TimedOut), "{error:?}");
    queue.ping().await.expect_err("not there");
}

/// Each look at a queue that is missing ends a channel, and channels have 2,047 numbers.
#[tokio::test]
async fn who_waits_long_for_a_queue_loses_nothing_by_it() {
    let broker = Rabbitmq::start().await.expect("RabbitMQ");
    let queue = connect_with(&broker.url(), options()).await;
    for look in 0..2_100 {
        let found = queue.exists("video").await;
        assert!(!found.expect("an answer"), "look {look}");
    }
    for turn in 0..2_100 {
        queue.ping().await.unwrap_or_else(|error| panic!("turn {turn}: {error:#}"));
    }
    queue.publish("video", &envelope("x")).await.expect("published");
    assert!(queue.exists("video").await.expect("an answer"));
}

/// Publishing, a running handler and waiting retries, all across a stop and start of the broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_goes_on_after_a_restart_and_nothing_is_lost() {
    let mut broker = Rabbitmq::start().await.expect("RabbitMQ");
    let queue = connect_with(&broker.url(), Options { confirm_timeout: Duration::from_secs(2), ..options() }).await;
    let workers = [(); 2].map(|()| {
        Worker::start(&queue, "video", 1, |delivery| async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            match delivery.attempt {
                1 if text(&delivery).ends_with('0') => Verdict::Retry { reason: "once".to_owned() },
                _ => Verdict::Done,
            }
        })
    });
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = {
        let (queue, stop) = (queue.clone(), stop.clone());
        tokio::spawn(async move {
            let (mut kept, mut refused) = (BTreeSet::new(), 0);
            for n in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                match queue.publish("video", &envelope(n)).await {
                    Ok(()) => _ = kept.insert(n.to_string()),
                    Err(_) => refused += 1,
                }
            }
            (kept, refused)
        })
    };
    workers[0].has_seen(20).await;
    broker.stop().await.expect("stopped");
    publish_fails_in_time(&connect_with(&broker.url(), impatient()).await).await;
    broker.restart().await.expect("restarted");
    let before = workers.iter().map(|worker| worker.seen().len()).sum::<usize>();
    eventually(SOON, || ready(workers.iter().map(|w| w.seen().len()).sum::<usize>() > before + 20)).await;
    // Once more, this time as a power cut.
    broker.kill();
    broker.restart().await.expect("restarted");
    eventually(SOON, || queue.ping()).await;
    stop.store(true, Ordering::SeqCst);
    let (kept, refused) = publishing.await.expect("publisher");
    assert!(refused > 0, "the broker was away for a while");
    let missing = || {
        let mut missing = kept.clone();
        for body in workers.iter().flat_map(Worker::bodies) {
            missing.remove(&body);
        }
        missing
    };
    eventually(SOON, || ready(if missing().is_empty() { Ok(()) } else { Err(missing()) })).await;
    for name in ["video", "video.retry.100"] {
        depth_becomes(&queue, name, 0).await;
    }
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_verdict_on_a_lost_channel_is_dropped_and_the_message_comes_again() {
    let home = Servers::shared().vhost().await.expect("a virtual host");
    let queue = connect(&home.url()).await;
    let (worker, gate) = Worker::gated(&queue, "video");
    queue.publish("video", &envelope("a")).await.expect("published");
    worker.has_seen(1).await;
    eventually(SOON, || async { home.close_connections().await.is_ok_and(|closed| closed >= 2) }).await;
    // Seen to be over, by a round trip on the connections that follow.
    eventually(SOON, || async { queue.ping().await.is_ok() && queue.depth("video").await.is_ok_and(|n| n == 1) }).await;
    gate.add_permits(2);
    let seen = worker.has_seen(2).await;
    assert!(seen[1].redelivered && seen[1].attempt == 2, "{:?}", seen[1]);
    worker.stop().await;
    depth_becomes(&queue, "video", 0).await;
}

#[tokio::test]
async fn a_silent_broker_costs_no_more_than_the_limit() {
    let home = Servers::shared().vhost().await.expect("a virtual host");
    let (proxy, url) = Proxy::before(&home.url()).await;
    let queue = connect_with(&url, impatient()).await;
    queue.publish("video", &envelope("a")).await.expect("published");
    proxy.break_it(Breakage::Blackhole);
    for _ in 0..2 {
        let error = publish_fails_in_time(&queue).await;
        assert!(matches!(error, PublishError::TimedOut), "{error:?}");
    }
    queue.ping().await.expect_err("no answer");
    queue.depth("video").await.expect_err("no answer");
}

/// The broker has it all the same: whoever publishes it again makes a double.
#[tokio::test]
async fn a_lost_confirm_is_no_lost_message() {
    let home = Servers::shared().vhost().await.expect("a virtual host");
    let (proxy, url) = Proxy::before(&home.url()).await;
    let queue = connect_with(&url, impatient()).await;
    // It makes the queue and leaves a channel: the next one needs no answer but its confirm.
    queue.publish("video", &envelope("a")).await.expect("published");
    proxy.break_it(Breakage::SwallowReplies);
    let error = publish_fails_in_time(&queue).await;
    assert!(matches!(error, PublishError::TimedOut), "{error:?}");
    proxy.mend();
    // The connection that lost answers is of no more use.
    proxy.cut();
    depth_becomes(&queue, "video", 2).await;
    eventually(SOON, || async { queue.publish("video", &envelope("b")).await }).await;
    let worker = Worker::diligent(&queue, "video");
    let seen = worker.has_seen(3).await;
    assert_eq!(seen[..3].iter().map(text).collect::<Vec<_>>(), ["a", "x", "b"]);
    worker.stop().await;
}

/// However long the broker was away: `/readyz` is not late to say that it is back.
#[tokio::test]
async fn a_broker_that_is_back_is_found_soon() {
    let home = Servers::shared().vhost().await.expect("a virtual host");
    let (proxy, url) = Proxy::before(&home.url()).await;
    let queue = connect(&url).await;
    eventually(SOON, || queue.ping()).await;
    proxy.break_it(Breakage::Refuse);
    // A pause of 5 s, as the next after 3.2 s, would have begun half a second ago.
    tokio::time::sleep(Duration::from_millis(6_800)).await;
    proxy.mend();
    let mended = Instant::now();
    eventually(SOON, || queue.ping()).await;
    assert!(mended.elapsed() < Duration::from_secs(3), "took {:?}", mended.elapsed());
}

#[tokio::test]
async fn a_blocked_connection_says_so_at_once_and_recovers() {
    let home = Servers::shared().vhost().await.expect("a virtual host");
    let (proxy, url) = Proxy::before(&home.url()).await;
    let queue = connect_with(&url, impatient()).await;
    queue.publish("video", &envelope("a")).await.expect("published");
    block(&proxy);
    eventually(SOON, || async { matches!(queue.publish("video", &envelope("b")).await, Err(PublishError::Blocked)) })
        .await;
    publish_fails_in_time(&queue).await;
    queue.ping().await.expect("blocked, but alive");
    unblock(&proxy);
    eventually(SOON, || async { queue.publish("video", &envelope("c")).await }).await;
}

/// A retry that cannot be put away stays with the worker; the message is not handled in vain.
#[tokio::test]
async fn a_retry_waits_until_it_can_be_put_away() {
    let home = Servers::shared().vhost().await.expect("a virtual host");
    let (proxy, url) = Proxy::before(&home.url()).await;
    let queue = connect_with(&url, impatient()).await;
    queue.publish("video", &envelope("a")).await.expect("published");
    block(&proxy);
    eventually(SOON, || async { matches!(queue.publish("other", &envelope("b")).await, Err(PublishError::Blocked)) })
        .await;
    // Its own connection comes after, and is not blocked; only publishing is.
    let worker = Worker::start(&queue, "video", 1, |delivery| {
        ready(if delivery.attempt == 1 { Verdict::Retry { reason: "again".to_owned() } } else { Verdict::Done })
    });
    worker.has_seen(1).await;
    // Time for some vain tries; there is nothing to be seen of them.
    tokio::time::sleep(LIMIT).await;
    unblock(&proxy);
    let seen = worker.has_seen(2).await;
    assert_eq!((seen[1].attempt, seen[1].redelivered, seen[1].reason.as_deref()), (2, false, Some("again")));
    worker.stop().await;
}

/// Tells every client that the broker takes no messages.
fn block(proxy: &Proxy) {
    // connection.blocked (10, 60) with a reason of three bytes.
    method(proxy, &[0, 10, 0, 60, 3, b'r', b'a', b'm']);
}

fn unblock(proxy: &Proxy) {
    method(proxy, &[0, 10, 0, 61]);
}

/// Sends a method on channel 0.
fn method(proxy: &Proxy, method: &[u8]) {
    let mut frame = vec![1, 0, 0];
    frame.extend((method.len() as u32).to_be_bytes());
    frame.extend(method);
    frame.push(0xce);
    proxy.inject(&frame);
}
