//! One slot of a worker: takes a message, has it handled, and settles it, one after the other.

use std::time::Duration;

use common::{CancellationToken, fault::Point, retry::Backoff};
use tokio::{runtime::Handle, sync::watch};
use tracing::Instrument;

use super::store::{Claimed, Store};
use crate::{
    Options,
    fate::Fate,
    handling::{self, Handler},
};

/// How long a message stays with a process that gives no sign of life.
const LEASE: Duration = Duration::from_secs(5);
/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);
/// A look at the table, should the news of a message ever get lost.
const LOOK: Duration = Duration::from_secs(10);
/// Deliveries that may be cut short, each by the end of its process, before the message is dead.
const RETURNS: u32 = 20;

pub(super) struct Worker<'a> {
    pub(super) store: &'a Store,
    pub(super) news: &'a watch::Sender<()>,
    pub(super) queue: &'a str,
    pub(super) options: &'a Options,
    pub(super) shutdown: CancellationToken,
    pub(super) closed: &'a CancellationToken,
    pub(super) handler: Handler,
}

impl Worker<'_> {
    /// Works until the shutdown, or until the queue is closed.
    pub(super) async fn run_slot(&self) {
        let mut pause = backoff();
        let mut news = self.news.subscribe();
        while !self.is_over() {
            news.mark_unchanged();
            let waiting = match self.take().await {
                Ok(Taken::Message(message)) => {
                    pause = backoff();
                    let span = handling::span(self.queue, &message.delivery);
                    self.handle(*message).instrument(span).await;
                    continue;
                }
                Ok(Taken::Nothing { next }) => next,
                Err(_) if self.is_over() => return,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(queue = self.queue, error, "a worker cannot get at its queue; trying on");
                    pause.delay()
                }
            };
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = self.closed.cancelled() => {}
                _ = news.changed() => {}
                () = tokio::time::sleep(waiting) => {}
            }
        }
    }

    fn is_over(&self) -> bool {
        self.shutdown.is_cancelled() || self.closed.is_cancelled()
    }

    async fn take(&self) -> anyhow::Result<Taken> {
        // Only a look, as long as there is nothing: who tries to take needs the write lock.
        match self.store.next(self.queue).await? {
            Some(Duration::ZERO) => {}
            next => return Ok(Taken::Nothing { next: next.unwrap_or(LOOK).min(LOOK) }),
        }
        match self.store.claim(self.queue, LEASE).await? {
            Some(message) => Ok(Taken::Message(Box::new(message))),
            // Somebody else was quicker; what is next is to be found out.
            None => Ok(Taken::Nothing { next: Duration::ZERO }),
        }
    }

    async fn handle(&self, message: Claimed) {
        let held = Held { store: self.store, news: self.news, message: Some(message) };
        let Some(message) = &held.message else { return };
        let settled = tokio::select! {
            settled = self.run(message) => settled,
            never = self.keep(message) => match never {},
        };
        if settled {
            held.settled();
        }
    }

    /// False: no verdict was reached or none could be kept, and the message will come again.
    async fn run(&self, message: &Claimed) -> bool {
        let fate = if message.returns > RETURNS {
            let reason = format!("its workers died {} times", message.returns);
            Fate::Dead { attempt: message.delivery.attempt, deferred: message.delivery.deferred, reason }
        } else {
            let verdict = handling::run(&self.handler, self.queue, message.delivery.clone()).await;
            let Some(verdict) = verdict else { return false };
            Fate::of(&verdict, &message.delivery, self.options)
        };
        fate.log();
        Point::Judged.pass();
        let mut pause = backoff();
        loop {
            match self.store.settle(message, self.queue, &fate).await {
                Ok(true) => {
                    handling::count(self.queue, &fate);
                    // A retry, or dead letters that somebody waits for.
                    self.news.send_replace(());
                    return true;
                }
                Ok(false) => {
                    tracing::warn!("the message went to another worker meanwhile; this verdict is dropped");
                    return true;
                }
                Err(error) if self.is_over() => {
                    tracing::error!(%error, "what became of a message could not be written down; it will come again");
                    return false;
                }
                Err(error) => {
                    tracing::warn!(%error, "what became of a message cannot be written down; trying on");
                    tokio::time::sleep(pause.delay()).await;
                }
            }
        }
    }

    /// Gives signs of life. Never ends; without them the message goes to others in time.
    async fn keep(&self, message: &Claimed) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(BEAT).await;
            match self.store.keep(message, LEASE).await {
                Ok(true) => {}
                Ok(false) => tracing::debug!("the message is with another worker"),
                Err(error) => tracing::warn!(%error, "a message may go to another worker while it is handled"),
            }
        }
    }
}

enum Taken {
    Message(Box<Claimed>),
    /// There may be one after `next`.
    Nothing {
        next: Duration,
    },
}

/// A message in hand. Dropped before it is settled, it is given back.
struct Held<'a> {
    store: &'a Store,
    news: &'a watch::Sender<()>,
    message: Option<Claimed>,
}

impl Held<'_> {
    fn settled(mut self) {
        self.message = None;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let Some(message) = self.message.take() else { return };
        // Without a runtime there is no hurry: the claim runs out.
        let Ok(runtime) = Handle::try_current() else { return };
        let (store, news) = (self.store.clone(), self.news.clone());
        runtime.spawn(async move {
            // If this fails, the claim runs out by itself.
            if store.give_back(&message).await.is_ok() {
                news.send_replace(());
            }
        });
    }
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(5))
}
