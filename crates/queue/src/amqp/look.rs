//! Looks at queues that may be missing, on a connection of their own.
//!
//! "No such queue" closes a channel, and the driver (lapin 4.12) remembers that error under the
//! channel's number for as long as the connection lives: when the numbers have gone round, after
//! 2,047 channels, the next one that is opened under it fails with it. So a connection on which
//! that happened too often is thrown away.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex;

use super::{dial::Dialer, link::Live, topology};

/// Queues found missing over one connection; fewer than there are channels, by far.
const MOST_MISSES: u32 = 500;

pub(super) struct Look {
    dialer: Dialer,
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: Option<Arc<Live>>,
    misses: u32,
}

impl Look {
    pub(super) fn new(dialer: Dialer, limit: Duration) -> Self {
        Self { dialer: dialer.named("look"), limit, state: Mutex::default() }
    }

    /// The number of messages that are ready in `queue`; `None` if there is no such queue.
    pub(super) async fn at(&self, queue: &str) -> anyhow::Result<Option<u32>> {
        let mut state = self.state.lock().await;
        let live = match state.live.take().filter(|live| live.is_connected()) {
            Some(live) => live,
            None => {
                state.misses = 0;
                let (connection, socket) = self.dialer.dial().await?;
                Arc::new(Live::new(connection, socket, 0, self.limit))
            }
        };
        let found = topology::exists(&live, queue).await?;
        state.misses += u32::from(found.is_none());
        match state.misses < MOST_MISSES {
            true => state.live = Some(live),
            false => live.close().await,
        }
        Ok(found)
    }

    pub(super) async fn close(&self) {
        if let Some(live) = self.state.lock().await.live.take() {
            live.close().await;
        }
    }
}
