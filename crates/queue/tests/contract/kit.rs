//! Workers that a test can watch.

use std::{
    future::ready,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use common::{CancellationToken, Secret};
use queue::{Delivery, Envelope, Options, Queue, Verdict};
use testkit::eventually;
use tokio::{sync::Semaphore, task::JoinHandle};

/// For what must happen.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits short enough for a test, long enough to be told from none.
pub const DELAYS: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];

pub fn options() -> Options {
    Options {
        name: "contract".to_owned(),
        confirm_timeout: Duration::from_secs(10),
        retry_delays: DELAYS.to_vec(),
        ..Options::default()
    }
}

pub async fn connect(url: &str) -> Queue {
    connect_with(url, options()).await
}

pub async fn connect_with(url: &str, options: Options) -> Queue {
    Queue::connect(&Secret::new(url), options).await.expect("a good URL")
}

pub fn envelope(body: impl ToString) -> Envelope {
    Envelope { body: body.to_string().into_bytes(), headers: Default::default() }
}

/// A call of `Queue::work`, and all that its handler was given, with the time.
pub struct Worker {
    seen: Arc<Mutex<Vec<(Instant, Delivery)>>>,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Worker {
    /// A worker whose handler does as `verdict` says.
    pub fn start<F>(
        queue: &Queue,
        name: &str,
        slots: usize,
        verdict: impl Fn(Delivery) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Verdict> + Send + 'static,
    {
        let (queue, name, seen) = (queue.clone(), name.to_owned(), Arc::<Mutex<Vec<_>>>::default());
        let shutdown = CancellationToken::new();
        let (list, stop) = (seen.clone(), shutdown.clone());
        let task = tokio::spawn(async move {
            let handler = move |delivery: Delivery| {
                list.lock().expect("lock").push((Instant::now(), delivery.clone()));
                verdict(delivery)
            };
            queue.work(&name, slots, stop, handler).await
        });
        Self { seen, shutdown, task }
    }

    /// One slot, every message done at once.
    pub fn diligent(queue: &Queue, name: &str) -> Self {
        Self::start(queue, name, 1, |_| ready(Verdict::Done))
    }

    /// One slot, always the same verdict.
    pub fn stubborn(queue: &Queue, name: &str, verdict: Verdict) -> Self {
        Self::start(queue, name, 1, move |_| ready(verdict.clone()))
    }

    /// One slot; each message waits until the test adds a permit.
    pub fn gated(queue: &Queue, name: &str) -> (Self, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        let handle = gate.clone();
        let worker = Self::start(queue, name, 1, move |_| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.expect("gate").forget();
                Verdict::Done
            }
        });
        (worker, handle)
    }

    pub fn seen(&self) -> Vec<Delivery> {
        self.seen.lock().expect("lock").iter().map(|(_, delivery)| delivery.clone()).collect()
    }

    pub fn times(&self) -> Vec<Instant> {
        self.seen.lock().expect("lock").iter().map(|(at, _)| *at).collect()
    }

    /// The bodies seen, in order of their text.
    pub fn bodies(&self) -> Vec<String> {
        let mut bodies: Vec<_> = self.seen().into_iter().map(|seen| text(&seen)).collect();
        bodies.sort();
        bodies
    }

    /// Waits until the handler was called so often, and returns what it was given.
    #[track_caller]
    pub fn has_seen(&self, count: usize) -> impl Future<Output = Vec<Delivery>> + '_ {
        eventually(SOON, move || {
            let seen = self.seen();
            ready(if seen.len() >= count { Ok(seen) } else { Err(seen) })
        })
    }

    pub fn ask_to_stop(&self) {
        self.shutdown.cancel();
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(SOON, self.task).await.expect("it stops soon");
        ended.expect("no panic").expect("work ends well");
    }

    /// Cut short, as by a crash.
    pub fn abort(self) {
        self.task.abort();
    }
}

pub fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.envelope.body.clone()).expect("text")
}

/// Fails unless `queue` comes to hold `count` messages.
#[track_caller]
pub fn depth_becomes(queue: &Queue, name: &str, count: u32) -> impl Future<Output = ()> {
    let (queue, name) = (queue.clone(), name.to_owned());
    eventually(SOON, move || {
        let (queue, name) = (queue.clone(), name.clone());
        async move {
            match queue.depth(&name).await {
                Ok(depth) if depth == count => Ok(()),
                other => Err(other),
            }
        }
    })
}
