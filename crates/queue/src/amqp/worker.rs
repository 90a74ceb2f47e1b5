//! One slot of a worker: a channel with a prefetch of one, whose messages go to the handler
//! one after the other and are acknowledged last.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use common::{
    CancellationToken,
    fault::{Mutant, Point},
};
use futures_util::StreamExt;
use lapin::{
    Acker, Channel, Consumer,
    options::{BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tracing::Instrument;

use super::{
    link::{Link, Live, Nag, backoff},
    publisher::{Outgoing, Publisher},
    topology::{Topology, name, waiting_room},
    wire::{self, Counters},
};
use crate::{
    Delivery, Options, dead_letters,
    fate::Fate,
    handling::{self, Handler},
};

pub(super) struct Worker<'a> {
    pub(super) link: &'a Link,
    pub(super) topology: &'a Topology,
    pub(super) publisher: &'a Publisher,
    pub(super) queue: &'a str,
    pub(super) options: &'a Options,
    pub(super) shutdown: CancellationToken,
    pub(super) handler: Handler,
}

impl Worker<'_> {
    /// Works until the shutdown, or until the link is closed.
    pub(super) async fn run_slot(&self) {
        let mut pause = backoff();
        let mut nag = Nag::default();
        while !self.shutdown.is_cancelled() && !self.link.is_closed() {
            let mut handled = 0u64;
            let Err(error) = self.session(&mut handled).await else { return };
            self.topology.forget().await;
            if handled > 0 {
                (pause, nag) = (backoff(), Nag::default());
            }
            let error = format!("{error:#}");
            // A connection that is lost is a matter of the link, which logs it once for all.
            if self.link.is_up() && nag.is_due() {
                tracing::warn!(queue = self.queue, error, "a worker lost its channel; opening another");
            } else {
                tracing::debug!(queue = self.queue, error, "a worker has no channel");
            }
            self.pause(pause.delay()).await;
        }
    }

    /// The life of one channel. `Ok`: the shutdown came. An error leaves what was handed out
    /// unacknowledged, so that the broker hands it out again.
    async fn session(&self, handled: &mut u64) -> anyhow::Result<()> {
        let (live, channel, consumer) = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => return Ok(()),
            opened = self.open() => opened?,
        };
        let outcome = self.consume(&live, &channel, consumer, handled).await;
        // Gives back at once what was handed out but not begun. It fails when there is nothing
        // to close any more, which is as good.
        let _ = live.limited(channel.close(200, "OK".into())).await;
        outcome
    }

    async fn open(&self) -> anyhow::Result<(Arc<Live>, Channel, Consumer)> {
        let live = self.link.live().await?;
        self.topology.ensure_queue(&live, self.queue).await?;
        self.topology.ensure_waiting_rooms(&live, self.queue, &self.options.retry_delays).await?;
        let channel = live.channel().await?;
        live.limited(channel.basic_qos(1, BasicQosOptions { global: false })).await??;
        let consuming =
            channel.basic_consume(name(self.queue)?, "".into(), BasicConsumeOptions::default(), FieldTable::default());
        let consumer = live.limited(consuming).await?.context("cannot subscribe")?;
        Ok((live, channel, consumer))
    }

    async fn consume(
        &self,
        live: &Live,
        channel: &Channel,
        mut consumer: Consumer,
        handled: &mut u64,
    ) -> anyhow::Result<()> {
        // A channel that ends says so on the stream. Should that get lost, a look at its state
        // once in a while still finds out.
        let mut look = tokio::time::interval(Duration::from_secs(1));
        loop {
            let message = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(()),
                message = consumer.next() => message.context("the broker ended the subscription")??,
                _ = look.tick() => {
                    ensure!(channel.status().connected() && live.is_connected(), "the channel is closed");
                    continue;
                }
            };
            let acker = message.acker.clone();
            let delivery = wire::delivery(message);
            let span = handling::span(self.queue, &delivery);
            self.handle(live, &acker, delivery).instrument(span).await?;
            *handled += 1;
        }
    }

    async fn handle(&self, live: &Live, acker: &Acker, delivery: Delivery) -> anyhow::Result<()> {
        if Mutant::AckFirst.is_on() {
            acker.ack(Default::default()).await?;
            return handling::run(&self.handler, self.queue, delivery).await.map(drop).context("cut short");
        }
        let verdict = handling::run(&self.handler, self.queue, delivery.clone()).await;
        let verdict = verdict.context("the handler was cut short")?;
        if !acker.usable() {
            // The broker hands the message out again, to whomever; so its verdict is theirs.
            tracing::warn!(?verdict, "the channel of a message was lost while it was handled; it will come again");
            bail!("the channel is closed");
        }
        let fate = Fate::of(&verdict, &delivery, self.options);
        fate.log();
        Point::Judged.pass();
        self.forward(&fate, acker, &delivery).await?;
        Point::Moved.pass();
        // Last of all: whatever breaks before this makes a double, not a loss.
        let sent = live.limited(acker.ack(Default::default())).await?.context("cannot acknowledge")?;
        ensure!(sent, "cannot acknowledge: the channel is closed");
        handling::count(self.queue, &fate);
        Ok(())
    }

    /// Puts the message where it has to go on.
    ///
    /// When that fails, the message stays with this slot, and is tried on, as long as its
    /// channel lives: handed back, it would only be handled again in vain.
    async fn forward(&self, fate: &Fate, acker: &Acker, delivery: &Delivery) -> anyhow::Result<()> {
        let (to, counters) = match fate {
            Fate::Done => return Ok(()),
            Fate::Again { delay, attempt, deferred, reason, .. } => (
                waiting_room(self.queue, *delay),
                Counters { attempt: *attempt, deferred: *deferred, reason: reason.as_deref() },
            ),
            Fate::Dead { attempt, deferred, reason } => {
                (dead_letters(self.queue), Counters { attempt: *attempt, deferred: *deferred, reason: Some(reason) })
            }
        };
        let outgoing = Outgoing {
            to: &to,
            behind: self.queue,
            delays: &self.options.retry_delays,
            body: &delivery.envelope.body,
            headers: &delivery.envelope.headers,
            counters,
        };
        let mut pause = backoff();
        let mut nag = Nag::default();
        loop {
            let Err(error) = self.publisher.publish(&outgoing).await else { return Ok(()) };
            ensure!(acker.usable(), "the channel is closed");
            let error = anyhow::Error::from(error).context(format!("cannot put a message into {to}"));
            if self.shutdown.is_cancelled() {
                return Err(error);
            }
            if nag.is_due() {
                tracing::warn!(error = format!("{error:#}"), "a message cannot be moved on; trying on");
            }
            self.pause(pause.delay()).await;
        }
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
