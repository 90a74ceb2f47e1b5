//! Queues in an SQLite file, which any number of processes on one machine may share.
//!
//! A message is a row. Who takes it writes a claim of its own into the row and the time until
//! which the claim holds, and keeps putting that time off while the handler runs. Whoever
//! finds the time gone by, the claimant's process having died, may take the message. A verdict
//! counts only while the row still bears the claim under which it was reached.
//!
//! Workers who wait look at a counter that SQLite keeps in shared memory and that changes with
//! every commit of others; their own process tells them of its own.

mod store;
mod worker;

use std::{fmt, future::pending, time::Duration};

use anyhow::ensure;
use common::{CancellationToken, Secret};
use futures_util::future::join_all;
use tokio::sync::watch;

use self::{store::Store, worker::Worker};
use crate::{
    Delivery, Envelope, Letter, Options, PublishError,
    handling::{self, Handler},
};

/// How often a worker looks whether another process has put something in.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) struct Sqlite {
    store: Store,
    options: Options,
    /// Changes with every message that may have become free.
    news: watch::Sender<()>,
    closed: CancellationToken,
}

impl Sqlite {
    pub(crate) async fn connect(url: &Secret, options: Options) -> anyhow::Result<Self> {
        let store = Store::open(url).await?;
        Ok(Self { store, options, news: watch::Sender::new(()), closed: CancellationToken::new() })
    }

    pub(crate) async fn publish(&self, queue: &str, envelope: &Envelope) -> Result<(), PublishError> {
        if self.closed.is_cancelled() {
            return Err(PublishError::Unavailable(anyhow::anyhow!("the queue is closed")));
        }
        let kept = tokio::time::timeout(self.options.confirm_timeout, self.store.insert(queue, envelope)).await;
        let kept = kept.unwrap_or(Err(PublishError::TimedOut));
        handling::count_published(queue, &kept);
        kept?;
        self.news.send_replace(());
        Ok(())
    }

    pub(crate) async fn sift(
        &self,
        queue: &str,
        mut judge: impl AsyncFnMut(Delivery) -> anyhow::Result<Letter>,
    ) -> anyhow::Result<()> {
        ensure!(!self.closed.is_cancelled(), "the queue is closed");
        for (row, delivery) in self.store.list(queue).await? {
            if judge(delivery).await? == Letter::Remove {
                self.store.remove(row).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn work(
        &self,
        queue: &str,
        slots: usize,
        shutdown: CancellationToken,
        handler: Handler,
    ) -> anyhow::Result<()> {
        ensure!(!self.closed.is_cancelled(), "the queue is closed");
        let worker = Worker {
            store: &self.store,
            news: &self.news,
            queue,
            options: &self.options,
            shutdown,
            closed: &self.closed,
            handler,
        };
        tokio::select! {
            _ = join_all((0..slots).map(|_| worker.run_slot())) => {}
            () = self.watch_others() => {}
        }
        ensure!(worker.shutdown.is_cancelled(), "the queue is closed");
        Ok(())
    }

    /// Passes on that others have changed something. Never ends.
    async fn watch_others(&self) {
        let mut last = None;
        loop {
            tokio::time::sleep(LOOK).await;
            // What is wrong, the workers will find out and say.
            let Ok(version) = self.store.version().await else { continue };
            // The first look has nothing to compare with: something may have come before it.
            if last.replace(version) != Some(version) {
                self.news.send_replace(());
            }
            if self.closed.is_cancelled() {
                pending::<()>().await;
            }
        }
    }

    pub(crate) async fn ping(&self) -> anyhow::Result<()> {
        ensure!(!self.closed.is_cancelled(), "the queue is closed");
        self.store.version().await?;
        Ok(())
    }

    pub(crate) async fn depth(&self, queue: &str) -> anyhow::Result<u32> {
        Ok(self.store.depth(queue).await?)
    }

    pub(crate) async fn close(&self) {
        self.closed.cancel();
        self.store.close().await;
    }
}

impl fmt::Display for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}
