//! The queues behind a queue: itself, its dead letters, and one for each wait of a retry.
//!
//! A queue that exists is taken as it stands, whoever made it. One that is missing is made as
//! a quorum queue that neither forgets messages nor hands out a poisonous one for ever.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use lapin::{
    ErrorKind,
    options::QueueDeclareOptions,
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::sync::Mutex;

use super::link::Live;
use crate::dead_letters;

/// How often the broker hands out a message that comes back unacknowledged (its worker
/// crashed, say) before it lays it aside as dead. A classic queue has no such limit.
const DELIVERY_LIMIT: u32 = 20;

/// Dead letters may be looked at as often as one likes. Without a limit of its own a queue has
/// the broker's, beyond which it would drop them.
const LOOKS: u32 = i32::MAX.unsigned_abs();

/// The name of the queue in which messages of `queue` wait for `delay`. There is one for each
/// length of wait, because a queue's messages expire in their order.
pub(super) fn waiting_room(queue: &str, delay: Duration) -> String {
    format!("{queue}.retry.{}", delay.as_millis())
}

/// Makes queues as needed and remembers which ones it has seen.
#[derive(Default)]
pub(super) struct Topology {
    seen: Mutex<HashMap<u64, HashSet<String>>>,
}

impl Topology {
    /// Makes sure of `queue` and its dead letters.
    pub(super) async fn ensure_queue(&self, live: &Arc<Live>, queue: &str) -> anyhow::Result<()> {
        let dead = dead_letters(queue);
        // The dead letters come first: once the queue is there, it may be used.
        self.ensure(live, &dead, quorum([delivery_limit(LOOKS)])).await?;
        let arguments = dead_lettering_to(&dead).into_iter().chain([delivery_limit(DELIVERY_LIMIT)]);
        self.ensure(live, queue, quorum(arguments)).await
    }

    /// Makes sure of the places where messages of `queue` wait.
    pub(super) async fn ensure_waiting_rooms(
        &self,
        live: &Arc<Live>,
        queue: &str,
        delays: &[Duration],
    ) -> anyhow::Result<()> {
        for &delay in delays {
            let expiry = ("x-message-ttl", AMQPValue::LongLongInt(delay.as_millis().try_into()?));
            let arguments = quorum(dead_lettering_to(queue).into_iter().chain([expiry]));
            self.ensure(live, &waiting_room(queue, delay), arguments).await?;
        }
        Ok(())
    }

    /// To be called when a queue turned out to be missing: all are looked at again.
    pub(super) async fn forget(&self) {
        self.seen.lock().await.clear();
    }

    async fn ensure(&self, live: &Arc<Live>, queue: &str, arguments: FieldTable) -> anyhow::Result<()> {
        let mut seen = self.seen.lock().await;
        // A broker that comes back may have lost its disk: another connection, another look.
        seen.retain(|&generation, _| generation == live.generation);
        let seen = seen.entry(live.generation).or_default();
        if seen.contains(queue) {
            return Ok(());
        }
        if exists(live, queue).await?.is_none() {
            declare(live, queue, arguments).await?;
        }
        seen.insert(queue.to_owned());
        Ok(())
    }
}

/// The number of messages that are ready in `queue`; `None` if there is no such queue.
pub(super) async fn exists(live: &Live, queue: &str) -> anyhow::Result<Option<u32>> {
    // The broker answers "no such queue" by closing the channel: one to throw away.
    let channel = live.channel().await?;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    match live.limited(channel.queue_declare(name(queue)?, options, FieldTable::default())).await? {
        Ok(found) => {
            close(live, &channel).await;
            Ok(Some(found.message_count()))
        }
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot look at queue {queue}")),
    }
}

async fn declare(live: &Live, queue: &str, arguments: FieldTable) -> anyhow::Result<()> {
    let channel = live.channel().await?;
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    match live.limited(channel.queue_declare(name(queue)?, options, arguments)).await? {
        Ok(_) => {
            close(live, &channel).await;
            tracing::info!(queue, "made a queue");
            Ok(())
        }
        // Someone else made it, otherwise, since we looked: then it is there, which will do.
        Err(_) if exists(live, queue).await.is_ok_and(|found| found.is_some()) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot make queue {queue}")),
    }
}

pub(super) async fn close(live: &Live, channel: &lapin::Channel) {
    // A channel that is not closed in order goes with its connection; nothing hangs on it.
    let _ = live.limited(channel.close(200, "OK".into())).await;
}

pub(super) fn is_not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(e) if *e.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}

/// The driver panics at names over 255 bytes.
pub(super) fn name(queue: &str) -> anyhow::Result<ShortString> {
    ShortString::try_new(queue).with_context(|| format!("not a name for a queue: {queue}"))
}

fn quorum(more: impl IntoIterator<Item = (&'static str, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), text("quorum"));
    for (name, value) in more {
        table.insert(name.into(), value);
    }
    table
}

/// Through the default exchange. *At least once* makes the broker keep a message until its
/// new queue has it; it asks for *reject-publish*, without which it falls back to at most once.
fn dead_lettering_to(queue: &str) -> [(&'static str, AMQPValue); 4] {
    [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(queue)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ]
}

fn delivery_limit(limit: u32) -> (&'static str, AMQPValue) {
    ("x-delivery-limit", AMQPValue::LongLongInt(limit.into()))
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
