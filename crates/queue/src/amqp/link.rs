//! A connection that is kept up: made in the background, watched, and made anew when lost,
//! for as long as it takes.
//!
//! The driver can recover connections by itself, but gives up after a number of tries and does
//! not recover channels that the server closed. One rule is simpler to reason about: whatever
//! breaks is thrown away and built anew.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use common::{CancellationToken, retry::Backoff};
use futures_util::StreamExt;
use lapin::{Channel, Connection, Event};
use tokio::sync::watch;

use super::{
    dial::{Dialer, Socket},
    topology::is_not_found,
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A broker that is back is found within this; one call in it from each process is no burden to anybody.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a caller waits for a connection. A server that restarts is worth a moment; one
/// that is away should not make everybody who asks wait for the whole of their limit.
const PATIENCE: Duration = Duration::from_secs(2);
/// Channels that end with "no such queue" on one connection: those of the queues that it makes.
const MOST_SPOILT: u32 = 100;
/// A trouble that lasts is logged this often.
const REMINDER: Duration = Duration::from_secs(60);

pub(super) fn backoff() -> Backoff {
    Backoff::new(FIRST_PAUSE, LONGEST_PAUSE)
}

/// Keeps a trouble that lasts from filling the log.
#[derive(Default)]
pub(super) struct Nag(Option<Instant>);

impl Nag {
    /// Whether to log it again.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|at| at.elapsed() > REMINDER);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

/// A handle on a kept-up connection. The connection ends when it is dropped.
pub(super) struct Link {
    state: watch::Receiver<State>,
    closing: CancellationToken,
    limit: Duration,
}

#[derive(Clone)]
enum State {
    Down(Arc<str>),
    Up(Arc<Live>),
    Closed,
}

/// A connection that was alive when last looked at.
pub(super) struct Live {
    connection: Connection,
    socket: Socket,
    /// Tells this connection from the ones before and after it.
    pub(super) generation: u64,
    limit: Duration,
}

impl Link {
    /// `role` is for logs and metrics.
    pub(super) fn keep(dialer: Dialer, role: &'static str, limit: Duration) -> Self {
        let (sender, state) = watch::channel(State::Down("not connected yet".into()));
        let closing = CancellationToken::new();
        tokio::spawn(keep_up(dialer.named(role), role, limit, sender, closing.clone()));
        Self { state, closing, limit }
    }

    /// The live connection, waiting for one if need be.
    ///
    /// # Errors
    /// When there is none within a moment, or the link was closed.
    pub(super) async fn live(&self) -> anyhow::Result<Arc<Live>> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, State::Down(_)));
        if let Ok(Ok(state)) = tokio::time::timeout(self.limit.min(PATIENCE), settled).await
            && let State::Up(live) = &*state
        {
            return Ok(live.clone());
        }
        match &*self.state.borrow() {
            // Up at this very moment; the next try will have it.
            State::Up(_) => bail!("not connected in time"),
            State::Down(why) => bail!("not connected: {why}"),
            State::Closed => bail!("the queue is closed"),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(&*self.state.borrow(), State::Up(live) if live.is_connected())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Ends the connection in good order.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        // An error means that the task has ended; so has the connection.
        let _ = self.state.clone().wait_for(|state| matches!(state, State::Closed)).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl Live {
    pub(super) fn new(connection: Connection, socket: Socket, generation: u64, limit: Duration) -> Self {
        Self { connection, socket, generation, limit }
    }

    /// Opens a channel.
    pub(super) async fn channel(&self) -> anyhow::Result<Channel> {
        let mut spoilt = 0;
        loop {
            match self.limited(self.connection.create_channel()).await? {
                // An earlier channel's, of the same number: see `look`. The next number is another one.
                Err(error) if is_not_found(&error) && spoilt < MOST_SPOILT => spoilt += 1,
                opened => return opened.context("cannot open a channel"),
            }
        }
    }

    /// Waits for an answer of the broker, but not for ever: the driver may never come back from
    /// a connection that breaks, or is blocked, at this moment.
    pub(super) async fn limited<T>(&self, answer: impl Future<Output = T>) -> anyhow::Result<T> {
        tokio::time::timeout(self.limit, answer).await.map_err(|_| anyhow!("the broker did not answer in time"))
    }

    /// The server is short of memory or disk and reads nothing from this connection.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Returns, with the reason, when the connection is lost.
    async fn lost(&self, role: &'static str) -> anyhow::Error {
        let mut events = std::pin::pin!(self.connection.events_listener());
        // Should an event get lost, a look at the state once in a while still finds out.
        let mut look = tokio::time::interval(Duration::from_millis(500));
        let mut reason = None;
        loop {
            tokio::select! {
                biased;
                Some(event) = events.next() => match event {
                    Event::ConnectionBlocked(why) => {
                        tracing::warn!(role, why, "the message broker takes no messages for now");
                    }
                    Event::ConnectionUnblocked => {
                        tracing::info!(role, "the message broker takes messages again");
                    }
                    // Channels report here as well.
                    Event::Error(error) => reason = Some(error),
                    _ => {}
                },
                _ = look.tick() => {}
            }
            if !self.is_connected() {
                return reason.map_or_else(|| anyhow!("the connection was closed"), plain);
            }
        }
    }

    pub(super) async fn close(&self) {
        let closed = self.connection.close(200, "OK".into());
        // Whatever comes of it, the socket is shut after it.
        let _ = tokio::time::timeout(self.limit.min(Duration::from_secs(2)), closed).await;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.socket.shut();
    }
}

/// The driver's errors say in their own words what their sources say again.
pub(super) fn plain(error: lapin::Error) -> anyhow::Error {
    anyhow!("{error}")
}

async fn keep_up(
    dialer: Dialer,
    role: &'static str,
    limit: Duration,
    state: watch::Sender<State>,
    closing: CancellationToken,
) {
    let connected = metrics::gauge!("queue_connected", "role" => role);
    connected.set(0.0);
    let mut pause = backoff();
    let mut nag = Nag::default();
    let mut generation = 0;
    while !closing.is_cancelled() {
        let dialled = tokio::select! {
            dialled = dialer.dial() => dialled,
            () = closing.cancelled() => break,
        };
        let why = match dialled {
            Ok((connection, socket)) => {
                generation += 1;
                let since = Instant::now();
                let live = Arc::new(Live::new(connection, socket, generation, limit));
                state.send_replace(State::Up(live.clone()));
                connected.set(1.0);
                tracing::info!(role, broker = %dialer, "connected to the message broker");
                let lost = tokio::select! {
                    lost = live.lost(role) => Some(lost),
                    () = closing.cancelled() => None,
                };
                connected.set(0.0);
                let Some(lost) = lost else {
                    live.close().await;
                    break;
                };
                tracing::warn!(role, error = format!("{lost:#}"), "the connection to the message broker is lost");
                nag = Nag(Some(Instant::now()));
                // One that is lost as soon as it is made must not be made anew at full speed.
                if since.elapsed() > LONGEST_PAUSE {
                    pause = backoff();
                }
                lost
            }
            Err(error) => {
                if nag.is_due() {
                    let error = format!("{error:#}");
                    tracing::warn!(role, broker = %dialer, error, "the message broker cannot be reached; trying on");
                }
                error
            }
        };
        state.send_replace(State::Down(format!("{why:#}").into()));
        tokio::select! {
            () = tokio::time::sleep(pause.delay()) => {}
            () = closing.cancelled() => {}
        }
    }
    state.send_replace(State::Closed);
}
