//! RabbitMQ. The only place that knows AMQP, and the driver for it.
//!
//! Messages are published and consumed on separate connections: a broker that is short of
//! memory stops reading from those that publish, and acknowledgements must go on.
//!
//! For each queue `q` there are `q.dead` (dead letters) and, where a worker works on it,
//! `q.retry.<ms>` for each wait of a retry: a message waits there until the broker moves it
//! back to `q`. It is put there, confirmed, before the original is acknowledged, so a crash in
//! between makes a double and never a loss. Nothing is ever requeued on purpose.
//!
//! Whatever brings its worker's process down again and again is laid aside by the broker after
//! some deliveries if `q` is a quorum queue, as those made here are. On a classic queue made by
//! hand nobody counts such deliveries; the receiver's own record of attempts has to.

mod dial;
mod link;
mod look;
mod publisher;
mod topology;
mod wire;
mod worker;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use common::{CancellationToken, Secret};
use futures_util::future::join_all;
use lapin::options::BasicGetOptions;

use self::{
    dial::Dialer,
    link::{Link, Live},
    look::Look,
    publisher::{Outgoing, Publisher},
    topology::Topology,
    wire::Counters,
    worker::Worker,
};
use crate::{Delivery, Envelope, Letter, Options, PublishError, handling::Handler};

/// What the broker may take to put messages back that were looked at.
const PUT_BACK: Duration = Duration::from_secs(2);

pub(crate) struct Amqp {
    dialer: Dialer,
    options: Options,
    publisher: Publisher,
    /// Made when the first worker starts: who only publishes needs none.
    consuming: OnceLock<Consuming>,
    look: Look,
}

struct Consuming {
    link: Link,
    topology: Topology,
}

impl Amqp {
    pub(crate) fn connect(url: &Secret, options: Options) -> anyhow::Result<Self> {
        let limit = options.confirm_timeout;
        let dialer = Dialer::new(url, &options.name, limit)?;
        let publisher = Publisher::new(Link::keep(dialer.clone(), "publish", limit), limit);
        let look = Look::new(dialer.clone(), limit);
        Ok(Self { dialer, options, publisher, consuming: OnceLock::new(), look })
    }

    pub(crate) async fn publish(&self, queue: &str, envelope: &Envelope) -> Result<(), PublishError> {
        let Envelope { body, headers } = envelope;
        let counters = Counters::FRESH;
        let outgoing = Outgoing { to: queue, behind: queue, delays: &[], body, headers, counters };
        self.publisher.publish(&outgoing).await
    }

    pub(crate) async fn work(
        &self,
        queue: &str,
        slots: usize,
        shutdown: CancellationToken,
        handler: Handler,
    ) -> anyhow::Result<()> {
        ensure!(!self.publisher.link.is_closed(), "the queue is closed");
        let Consuming { link, topology } = self.consuming.get_or_init(|| Consuming {
            link: Link::keep(self.dialer.clone(), "work", self.options.confirm_timeout),
            topology: Topology::default(),
        });
        let worker =
            Worker { link, topology, publisher: &self.publisher, queue, options: &self.options, shutdown, handler };
        join_all((0..slots).map(|_| worker.run_slot())).await;
        ensure!(worker.shutdown.is_cancelled(), "the queue is closed");
        Ok(())
    }

    /// Every connection in use answers. A broker that takes no messages for now is alive.
    pub(crate) async fn ping(&self) -> anyhow::Result<()> {
        let links = [Some(&self.publisher.link), self.consuming.get().map(|consuming| &consuming.link)];
        for link in links.into_iter().flatten() {
            let live = link.live().await?;
            if !live.is_blocked() {
                topology::close(&live, &live.channel().await?).await;
            }
        }
        Ok(())
    }

    pub(crate) async fn exists(&self, queue: &str) -> anyhow::Result<bool> {
        Ok(self.look_at(queue).await?.is_some())
    }

    pub(crate) async fn depth(&self, queue: &str) -> anyhow::Result<u32> {
        Ok(self.look_at(queue).await?.unwrap_or(0))
    }

    async fn look_at(&self, queue: &str) -> anyhow::Result<Option<u32>> {
        // A broker that is away is known to be.
        self.publisher.link.live().await?;
        self.look.at(queue).await
    }

    pub(crate) async fn sift(
        &self,
        queue: &str,
        mut judge: impl AsyncFnMut(Delivery) -> anyhow::Result<Letter>,
    ) -> anyhow::Result<()> {
        let Some(count) = self.look_at(queue).await? else { return Ok(()) };
        let live: Arc<Live> = self.publisher.link.live().await?;
        let channel = live.channel().await?;
        let mut kept = 0;
        let sifting = async {
            for _ in 0..count {
                let get = channel.basic_get(topology::name(queue)?, BasicGetOptions::default());
                let Some(message) = live.limited(get).await?.context("cannot get a message")? else { break };
                let acker = message.delivery.acker.clone();
                kept += 1;
                if judge(wire::delivery(message.delivery)).await? == Letter::Remove {
                    let sent = live.limited(acker.ack(Default::default())).await?.context("cannot acknowledge")?;
                    ensure!(sent, "cannot acknowledge: the channel is closed");
                    kept -= 1;
                }
            }
            Ok(())
        };
        let outcome = sifting.await;
        // What was not acknowledged goes back to its queue, a moment later.
        topology::close(&live, &channel).await;
        let deadline = Instant::now() + PUT_BACK;
        while topology::exists(&live, queue).await?.unwrap_or(0) < kept && Instant::now() < deadline {
            tokio::time::sleep(PUT_BACK / 100).await;
        }
        outcome
    }

    pub(crate) async fn close(&self) {
        if let Some(consuming) = self.consuming.get() {
            consuming.link.close().await;
        }
        self.look.close().await;
        self.publisher.link.close().await;
    }
}

impl fmt::Display for Amqp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dialer.fmt(f)
    }
}
