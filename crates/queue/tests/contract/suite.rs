//! The promises of a queue, whatever keeps it. Each takes the URL of an empty server.

use std::{collections::BTreeMap, future::ready, sync::Arc, time::Duration};

use futures_util::future::{join_all, try_join_all};
use queue::{Envelope, Letter, Options, Verdict, dead_letters};
use testkit::eventually;
use tokio::sync::Semaphore;

use crate::kit::{DELAYS, SOON, Worker, connect, connect_with, depth_becomes, envelope, options, text};

const Q: &str = "video";

pub async fn each_message_goes_to_exactly_one_handler(url: &str) {
    let (sender, one, two) = (connect(url).await, connect(url).await, connect(url).await);
    let workers = [&one, &two].map(|queue| Worker::start(queue, Q, 2, |_| ready(Verdict::Done)));
    let messages: Vec<_> = (10..50).map(envelope).collect();
    try_join_all(messages.iter().map(|message| sender.publish(Q, message))).await.expect("published");
    let seen = || {
        let mut seen: Vec<_> = workers.iter().flat_map(Worker::bodies).collect();
        seen.sort();
        seen
    };
    eventually(SOON, || ready(seen().len() >= 40)).await;
    join_all(workers.iter().map(|_| depth_becomes(&sender, Q, 0))).await;
    assert_eq!(seen(), (10..50).map(|n| n.to_string()).collect::<Vec<_>>());
}

pub async fn a_message_waits_for_its_worker(url: &str) {
    let queue = connect(url).await;
    assert_eq!(queue.depth(Q).await.expect("depth"), 0, "a queue that does not exist holds nothing");
    let headers: BTreeMap<_, _> = [("traceparent".to_owned(), "00-ä".to_owned())].into();
    let sent = Envelope { body: br#"{"video_fid":"1"}"#.to_vec(), headers };
    queue.publish(Q, &sent).await.expect("published");
    assert!(queue.exists(Q).await.expect("exists"), "publishing makes the queue");
    depth_becomes(&queue, Q, 1).await;
    let worker = Worker::diligent(&queue, Q);
    let got = worker.has_seen(1).await.remove(0);
    assert_eq!((&got.envelope, got.attempt, got.deferred, got.redelivered), (&sent, 1, 0, false));
    worker.stop().await;
    depth_becomes(&queue, Q, 0).await;
}

pub async fn a_slow_worker_hoards_nothing(url: &str) {
    let queue = connect(url).await;
    let (slow, gate) = Worker::gated(&queue, Q);
    queue.publish(Q, &envelope("slow")).await.expect("published");
    slow.has_seen(1).await;
    for n in 0..5 {
        queue.publish(Q, &envelope(n)).await.expect("published");
    }
    depth_becomes(&queue, Q, 5).await;
    let fast = Worker::diligent(&queue, Q);
    fast.has_seen(5).await;
    assert_eq!(slow.seen().len(), 1, "the slow one holds only what it is at");
    gate.add_permits(1);
    slow.stop().await;
    fast.stop().await;
}

pub async fn slots_bound_what_runs_at_once(url: &str) {
    let queue = connect(url).await;
    let gate = Arc::new(Semaphore::new(0));
    let handle = gate.clone();
    let worker = Worker::start(&queue, Q, 3, move |_| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.expect("gate").forget();
            Verdict::Done
        }
    });
    for n in 0..9 {
        queue.publish(Q, &envelope(n)).await.expect("published");
    }
    for finished in 0..3 {
        // Each slot holds one, the rest is left to whoever else may come.
        worker.has_seen(3 + finished).await;
        depth_becomes(&queue, Q, 6 - finished as u32).await;
        assert_eq!(worker.seen().len(), 3 + finished);
        handle.add_permits(1);
    }
    handle.add_permits(6);
    worker.has_seen(9).await;
    worker.stop().await;
}

pub async fn retries_come_back_later_and_end_among_the_dead(url: &str) {
    let queue = connect(url).await;
    let worker = Worker::stubborn(&queue, Q, Verdict::Retry { reason: "no luck".to_owned() });
    let sent = Envelope { headers: [("job".to_owned(), "1".to_owned())].into(), ..envelope("a") };
    queue.publish(Q, &sent).await.expect("published");
    let seen = worker.has_seen(4).await;
    depth_becomes(&queue, &dead_letters(Q), 1).await;
    assert_eq!(seen.iter().map(|d| d.attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(seen.iter().all(|d| d.envelope == sent && !d.redelivered), "{seen:?}");
    assert_eq!((seen[0].reason.as_deref(), seen[1].reason.as_deref()), (None, Some("no luck")));
    for (pair, delay) in worker.times().windows(2).zip(DELAYS) {
        assert!(pair[1] - pair[0] >= delay, "{:?} is less than {delay:?}", pair[1] - pair[0]);
    }
    worker.stop().await;
    assert_eq!(queue.depth(Q).await.expect("depth"), 0);
    let dead = Worker::diligent(&queue, &dead_letters(Q)).has_seen(1).await.remove(0);
    assert_eq!((&dead.envelope, dead.reason.as_deref()), (&sent, Some("no luck")));
}

pub async fn dead_is_dead_at_once(url: &str) {
    let queue = connect(url).await;
    let worker = Worker::start(&queue, Q, 1, |delivery| {
        let verdict = match text(&delivery).as_str() {
            "bad" => Verdict::Dead { reason: "not a message".to_owned() },
            _ => Verdict::Done,
        };
        ready(verdict)
    });
    queue.publish(Q, &envelope("bad")).await.expect("published");
    queue.publish(Q, &envelope("good")).await.expect("published");
    worker.has_seen(2).await;
    worker.stop().await;
    let dead = Worker::diligent(&queue, &dead_letters(Q)).has_seen(1).await.remove(0);
    assert_eq!((text(&dead).as_str(), dead.reason.as_deref()), ("bad", Some("not a message")));
    assert_eq!(queue.depth(Q).await.expect("depth"), 0);
}

pub async fn dead_letters_can_be_sifted(url: &str) {
    let queue = connect(url).await;
    let sift = async |judge: &dyn Fn(&str) -> Letter| {
        let mut seen = Vec::new();
        let judged = queue.sift(Q, async |letter| {
            seen.push((text(&letter), letter.reason.clone()));
            Ok(judge(&text(&letter)))
        });
        judged.await.expect("sifted");
        seen.sort();
        seen
    };
    assert_eq!(sift(&|_| Letter::Remove).await, [], "no queue, no letters");
    let worker = Worker::stubborn(&queue, Q, Verdict::Dead { reason: "bad".to_owned() });
    for n in 1..=3 {
        queue.publish(Q, &envelope(n)).await.expect("published");
        worker.has_seen(n).await;
        depth_becomes(&queue, &dead_letters(Q), n as u32).await;
    }
    worker.stop().await;
    let bad = |bodies: &[&str]| bodies.iter().map(|n| ((*n).to_owned(), Some("bad".to_owned()))).collect::<Vec<_>>();
    // A look, as often as one likes, changes nothing.
    for _ in 0..25 {
        assert_eq!(sift(&|_| Letter::Keep).await, bad(&["1", "2", "3"]));
    }
    let failing = queue.sift(Q, async |_| anyhow::bail!("no"));
    failing.await.expect_err("the judge's own error");
    let remove_2 = |body: &str| if body == "2" { Letter::Remove } else { Letter::Keep };
    assert_eq!(sift(&remove_2).await, bad(&["1", "2", "3"]));
    assert_eq!(sift(&|_| Letter::Keep).await, bad(&["1", "3"]));
}

pub async fn later_keeps_the_attempt_but_has_an_end(url: &str) {
    let queue = connect_with(url, Options { deferrals: 3, ..options() }).await;
    let worker = Worker::stubborn(&queue, Q, Verdict::Later { after: Duration::from_millis(150) });
    queue.publish(Q, &envelope("a")).await.expect("published");
    let seen = worker.has_seen(4).await;
    depth_becomes(&queue, &dead_letters(Q), 1).await;
    assert_eq!(seen.iter().map(|d| (d.attempt, d.deferred)).collect::<Vec<_>>(), [(1, 0), (1, 1), (1, 2), (1, 3)]);
    for pair in worker.times().windows(2) {
        assert!(pair[1] - pair[0] >= DELAYS[1], "rounded up to a step: {:?}", pair[1] - pair[0]);
    }
    worker.stop().await;
}

pub async fn later_mixes_with_retry(url: &str) {
    let queue = connect(url).await;
    let worker = Worker::start(&queue, Q, 1, |delivery| {
        ready(match (delivery.attempt, delivery.deferred) {
            (1, 0) => Verdict::Retry { reason: "once".to_owned() },
            (2, 0) => Verdict::Later { after: Duration::ZERO },
            _ => Verdict::Done,
        })
    });
    queue.publish(Q, &envelope("a")).await.expect("published");
    let seen = worker.has_seen(3).await;
    worker.stop().await;
    assert_eq!((seen[2].attempt, seen[2].deferred, seen[2].reason.as_deref()), (2, 1, Some("once")));
}

pub async fn a_panic_costs_one_attempt_and_no_worker(url: &str) {
    let queue = connect(url).await;
    let worker = Worker::start(&queue, Q, 1, |delivery| {
        assert!(text(&delivery) != "now" || delivery.attempt > 1, "a panic before the future, on purpose");
        async move {
            assert!(text(&delivery) != "then" || delivery.attempt > 1, "a panic in the future, on purpose");
            Verdict::Done
        }
    });
    for body in ["now", "then", "never"] {
        queue.publish(Q, &envelope(body)).await.expect("published");
    }
    worker.has_seen(5).await;
    worker.stop().await;
    assert_eq!(queue.depth(&dead_letters(Q)).await.expect("depth"), 0);
}

pub async fn two_queues_do_not_mix(url: &str) {
    let queue = connect(url).await;
    let (video, mp3) = (Worker::diligent(&queue, "video"), Worker::diligent(&queue, "mp3"));
    queue.publish("video", &envelope("v")).await.expect("published");
    queue.publish("mp3", &envelope("m")).await.expect("published");
    video.has_seen(1).await;
    mp3.has_seen(1).await;
    assert_eq!((video.bodies(), mp3.bodies()), (vec!["v".to_owned()], vec!["m".to_owned()]));
    video.stop().await;
    mp3.stop().await;
}

pub async fn shutdown_lets_the_running_handler_finish(url: &str) {
    let queue = connect(url).await;
    let (worker, gate) = Worker::gated(&queue, Q);
    queue.publish(Q, &envelope("running")).await.expect("published");
    worker.has_seen(1).await;
    queue.publish(Q, &envelope("waiting")).await.expect("published");
    worker.ask_to_stop();
    gate.add_permits(2);
    worker.stop().await;
    // What it finished is done, what it had not begun is left to others.
    let other = Worker::diligent(&queue, Q);
    other.has_seen(1).await;
    depth_becomes(&queue, Q, 0).await;
    assert_eq!(other.bodies(), ["waiting"]);
    other.stop().await;
}

pub async fn work_that_is_cut_short_comes_again(url: &str) {
    let (queue, other) = (connect(url).await, connect(url).await);
    let (worker, _gate) = Worker::gated(&queue, Q);
    queue.publish(Q, &envelope("a")).await.expect("published");
    worker.has_seen(1).await;
    worker.abort();
    let other = Worker::diligent(&other, Q);
    let seen = other.has_seen(1).await;
    assert!(seen[0].redelivered);
    other.stop().await;
    assert_eq!(queue.depth(Q).await.expect("depth"), 0);
}

/// Deliveries that came to nothing are counted; a poisonous message ends.
pub async fn a_message_that_kills_its_workers_ends_among_the_dead(url: &str) {
    let queue = connect(url).await;
    queue.publish(Q, &envelope("poison")).await.expect("published");
    let mut attempts = Vec::new();
    loop {
        let (worker, _gate) = Worker::gated(&queue, Q);
        let came = async {
            let dead = eventually(SOON, || async { queue.depth(&dead_letters(Q)).await.is_ok_and(|n| n > 0) });
            tokio::select! { seen = worker.has_seen(1) => Some(seen), () = dead => None }
        };
        match came.await {
            Some(seen) => attempts.push(seen[0].attempt),
            None => break worker.stop().await,
        }
        worker.abort();
    }
    assert_eq!(attempts, (1..=21).collect::<Vec<_>>());
}

pub async fn many_may_be_first(url: &str) {
    let queues = join_all((0..6).map(|_| connect(url))).await;
    let message = envelope("a");
    let publishing = join_all(queues.iter().map(|queue| queue.publish(Q, &message)));
    let workers: Vec<_> = queues.iter().map(|queue| Worker::diligent(queue, Q)).collect();
    for outcome in publishing.await {
        outcome.expect("published");
    }
    eventually(SOON, || ready(workers.iter().map(|worker| worker.seen().len()).sum::<usize>() == 6)).await;
}

pub async fn answers_a_ping_and_ends_when_closed(url: &str) {
    let queue = connect(url).await;
    queue.ping().await.expect("alive");
    let worker = Worker::diligent(&queue, Q);
    queue.publish(Q, &envelope("a")).await.expect("published");
    worker.has_seen(1).await;
    queue.ping().await.expect("alive");
    worker.stop().await;
    queue.close().await;
    queue.ping().await.expect_err("closed");
    queue.publish(Q, &envelope("b")).await.expect_err("closed");
    queue.work(Q, 1, Default::default(), |_| ready(Verdict::Done)).await.expect_err("closed");
}
