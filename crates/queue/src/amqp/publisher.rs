//! Publishing: persistent, mandatory, confirmed, one message at a time on each channel.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{anyhow, bail};
use common::{fault::Mutant, retry::Backoff};
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::sync::Semaphore;

use super::{
    link::{Link, Live},
    topology::{Topology, name},
    wire::{self, Counters},
};
use crate::{PublishError, handling};

/// Messages under way at once. A confirm takes a disk's time, so several waits should overlap.
const CHANNELS: usize = 4;

/// Tries within the limit; their pauses add up to less than a second.
const TRIES: usize = 5;

pub(super) struct Publisher {
    pub(super) link: Link,
    topology: Topology,
    limit: Duration,
    permits: Semaphore,
    /// Channels that have done well so far, with the generation of their connection.
    idle: Mutex<Vec<(u64, Channel)>>,
}

/// One message for the broker.
pub(super) struct Outgoing<'a> {
    /// The queue that gets it.
    pub(super) to: &'a str,
    /// The queue to make sure of before, with its dead letters: `to` itself, or the queue that
    /// it stands behind.
    pub(super) behind: &'a str,
    /// The waits for which `behind` needs places as well.
    pub(super) delays: &'a [Duration],
    pub(super) body: &'a [u8],
    pub(super) headers: &'a BTreeMap<String, String>,
    pub(super) counters: Counters<'a>,
}

/// How a single try ended, if not well: whether another one may go better.
enum Failure {
    Passing(PublishError),
    Lasting(PublishError),
}

impl Failure {
    /// The channel broke; the message may have arrived.
    fn lost(cause: anyhow::Error) -> Self {
        Self::Passing(PublishError::Unavailable(cause))
    }

    fn into_error(self) -> PublishError {
        match self {
            Self::Passing(error) | Self::Lasting(error) => error,
        }
    }

    fn refused(why: &'static str) -> Self {
        Self::Passing(PublishError::Refused(why))
    }
}

impl Publisher {
    pub(super) fn new(link: Link, limit: Duration) -> Self {
        let permits = Semaphore::new(CHANNELS);
        Self { link, topology: Topology::default(), limit, permits, idle: Mutex::default() }
    }

    pub(super) async fn publish(&self, outgoing: &Outgoing<'_>) -> Result<(), PublishError> {
        let outcome = tokio::time::timeout(self.limit, self.publish_within_limit(outgoing)).await;
        let outcome = outcome.unwrap_or(Err(PublishError::TimedOut));
        handling::count_published(outgoing.to, &outcome);
        outcome
    }

    /// What may pass in a moment is tried again: a channel that broke because the broker
    /// restarted, a queue that was deleted (it is made again), or one that is only just being
    /// made or is between two leaders (the broker then refuses). A message that comes twice
    /// by this is borne by every receiver.
    async fn publish_within_limit(&self, outgoing: &Outgoing<'_>) -> Result<(), PublishError> {
        let mut pause = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        for _ in 1..TRIES {
            match self.attempt(outgoing).await {
                Ok(()) => return Ok(()),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(_)) => {}
            }
            self.topology.forget().await;
            tokio::time::sleep(pause.delay()).await;
        }
        self.attempt(outgoing).await.map_err(Failure::into_error)
    }

    async fn attempt(&self, outgoing: &Outgoing<'_>) -> Result<(), Failure> {
        let live = self.link.live().await.map_err(|cause| Failure::Lasting(PublishError::Unavailable(cause)))?;
        if live.is_blocked() {
            // The driver would hold the message back and send it some day.
            return Err(Failure::Lasting(PublishError::Blocked));
        }
        self.ensure(&live, outgoing).await.map_err(Failure::lost)?;
        let _permit = self.permits.acquire().await.map_err(|e| Failure::lost(e.into()))?;
        let channel = self.channel(&live).await.map_err(Failure::lost)?;
        let properties = wire::properties(outgoing.headers, &outgoing.counters);
        let confirmation = send(&channel, outgoing, properties).await.map_err(Failure::lost)?;
        match confirmation {
            Confirmation::Ack(None) => {
                let mut idle = self.lock_idle();
                idle.retain(|&(generation, _)| generation == live.generation);
                idle.push((live.generation, channel));
                Ok(())
            }
            // From here on the channel is dropped: one that has seen trouble is not used again.
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Err(Failure::refused("there is no such queue")),
            Confirmation::Nack(None) => Err(Failure::refused("the queue did not take it")),
            Confirmation::NotRequested => Err(Failure::lost(anyhow!("the channel does not confirm"))),
        }
    }

    async fn ensure(&self, live: &Arc<Live>, outgoing: &Outgoing<'_>) -> anyhow::Result<()> {
        self.topology.ensure_queue(live, outgoing.behind).await?;
        self.topology.ensure_waiting_rooms(live, outgoing.behind, outgoing.delays).await
    }

    async fn channel(&self, live: &Live) -> anyhow::Result<Channel> {
        loop {
            let Some((generation, channel)) = self.lock_idle().pop() else { break };
            if generation == live.generation && channel.status().connected() {
                return Ok(channel);
            }
        }
        let channel = live.channel().await?;
        live.limited(channel.confirm_select(ConfirmSelectOptions::default())).await??;
        Ok(channel)
    }

    fn lock_idle(&self) -> MutexGuard<'_, Vec<(u64, Channel)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send(channel: &Channel, outgoing: &Outgoing<'_>, properties: BasicProperties) -> anyhow::Result<Confirmation> {
    if !channel.status().connected() {
        bail!("the channel is closed");
    }
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let queue = name(outgoing.to)?;
    let confirm = channel.basic_publish("".into(), queue, options, outgoing.body, properties).await?;
    if Mutant::NoConfirms.is_on() {
        return Ok(Confirmation::Ack(None));
    }
    Ok(confirm.await?)
}
