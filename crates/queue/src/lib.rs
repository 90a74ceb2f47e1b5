//! Durable queues: publish a message so that it is known to be kept, and work on messages so
//! that each one is handled to an end, tried again later, or laid aside as dead.
//!
//! Delivery is *at least once*: a message whose handling was cut short comes again, so
//! handlers must bear doubles. Only a [`Verdict`] ends a message, and none can go round for
//! ever: attempts and deferrals are counted in the message itself and bounded by [`Options`].

mod amqp;
mod fate;
mod handling;
mod sqlite;

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{bail, ensure};
pub use common::Envelope;
use common::{
    CancellationToken, Secret,
    trace::{self, TRACEPARENT},
};
use tracing::{Instrument, field::Empty};

use crate::{amqp::Amqp, handling::Handler, sqlite::Sqlite};

/// What a publish or a question may take, unless somebody says otherwise.
pub const LIMIT: Duration = Duration::from_secs(10);

/// A message handed to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub envelope: Envelope,
    /// 1 for the first. Retries count; so do deliveries that a crash or a lost connection cut
    /// short, where the server keeps count of them (RabbitMQ's quorum queues and SQLite do,
    /// RabbitMQ's classic queues do not).
    pub attempt: u32,
    /// How often it was put off with [`Verdict::Later`].
    pub deferred: u32,
    /// Why the last attempt failed, or why the message is dead, if a worker said so.
    pub reason: Option<String>,
    /// It may have been handed out before, to someone who did not finish.
    pub redelivered: bool,
}

/// What a worker made of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Handled to an end.
    Done,
    /// Failed, but may go well another time: comes again after the next one of
    /// [`Options::retry_delays`] as the next attempt, or is dead when they are used up.
    Retry { reason: String },
    /// Not now (somebody else is at it, say): comes again as the same attempt, after the
    /// shortest one of [`Options::retry_delays`] that is not shorter than this, or else the
    /// longest. At most [`Options::deferrals`] times; then it is dead.
    Later { after: Duration },
    /// Will never go well: laid aside in the queue's [dead letters](dead_letters).
    Dead { reason: String },
}

/// What becomes of a dead letter that somebody has looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter {
    /// It stays where it is.
    Keep,
    Remove,
}

/// The message is not, or not known to be, in the queue.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No connection, or it was lost before the server confirmed.
    #[error("the queue server is unreachable")]
    Unavailable(#[source] anyhow::Error),
    /// [`Options::confirm_timeout`] went by. The message may yet arrive.
    #[error("the queue server did not confirm in time")]
    TimedOut,
    /// The server is short of memory or disk and takes no messages for now.
    #[error("the queue server takes no messages for now")]
    Blocked,
    /// The server said no, and again: the queue is full, out of order, or cannot be made.
    #[error("the queue server refused the message: {0}")]
    Refused(&'static str),
}

/// How a [`Queue`] behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who we are, for those who look at the server's list of connections: `gateway`, say.
    pub name: String,
    /// For one publish or one question, including the wait for a connection.
    pub confirm_timeout: Duration,
    /// The waits before the second, third, … attempt. One more attempt than there are waits.
    pub retry_delays: Vec<Duration>,
    /// How often a message may be put off with [`Verdict::Later`].
    pub deferrals: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "mp3converter".to_owned(),
            confirm_timeout: LIMIT,
            retry_delays: [1, 5, 30, 120, 600].map(Duration::from_secs).to_vec(),
            deferrals: 1_000,
        }
    }
}

/// The name of the queue that holds the dead letters of `queue`.
pub fn dead_letters(queue: &str) -> String {
    format!("{queue}.dead")
}

/// A queue server. Clones share its connections.
#[derive(Clone)]
pub struct Queue {
    backend: Backend,
}

#[derive(Clone)]
enum Backend {
    Amqp(Arc<Amqp>),
    Sqlite(Arc<Sqlite>),
}

impl Queue {
    /// `amqp://user:password@host:port/vhost`, or `amqps:` for TLS; `sqlite:/PATH` for a file,
    /// which is made if it is missing.
    ///
    /// Connects in the background and keeps reconnecting, so a server that is down is no
    /// error here; a URL or options that can never work are, and a file that cannot be opened.
    pub async fn connect(url: &Secret, options: Options) -> anyhow::Result<Self> {
        ensure!(!options.retry_delays.is_empty(), "retry_delays must not be empty");
        handling::describe();
        let backend = match url.expose().split_once(':').map(|(scheme, _)| scheme) {
            Some("amqp" | "amqps") => Backend::Amqp(Arc::new(Amqp::connect(url, options)?)),
            Some("sqlite") => Backend::Sqlite(Arc::new(Sqlite::connect(url, options).await?)),
            _ => bail!("the queue's URL must begin with amqp:, amqps: or sqlite:"),
        };
        Ok(Self { backend })
    }

    /// Puts a message into `queue`, which is made if it is missing. `Ok` means that the server
    /// has it on disk; the answer takes [`Options::confirm_timeout`] at the most.
    ///
    /// The present span travels along, or else the one that the header `traceparent` names.
    pub async fn publish(&self, queue: &str, envelope: &Envelope) -> Result<(), PublishError> {
        if !trace::is_on() {
            return self.put(queue, envelope).await;
        }
        let mut envelope = envelope.clone();
        let given = envelope.headers.remove(TRACEPARENT).filter(|_| trace::id().is_none());
        let span = tracing::info_span!("publish", queue, trace_id = Empty, otel.kind = Empty, otel.name = Empty);
        trace::join(&span, "producer", format_args!("publish {queue}"), given.as_deref());
        envelope.headers.extend(trace::of(&span).map(|context| (TRACEPARENT.to_owned(), context)));
        self.put(queue, &envelope).instrument(span).await
    }

    async fn put(&self, queue: &str, envelope: &Envelope) -> Result<(), PublishError> {
        match &self.backend {
            Backend::Amqp(amqp) => amqp.publish(queue, envelope).await,
            Backend::Sqlite(sqlite) => sqlite.publish(queue, envelope).await,
        }
    }

    /// Hands messages of `queue`, which is made if it is missing, to `handler`: at most `slots`
    /// at once, and none before a slot is free for it.
    ///
    /// Runs until `shutdown`, through any loss of the server. Then it takes no more messages,
    /// waits for the running handlers (they should watch `shutdown` themselves) and settles
    /// what they return. Dropping the future aborts the handlers; their messages come again.
    ///
    /// Each handler runs on a task of its own; one that panics counts as [`Verdict::Retry`].
    ///
    /// # Errors
    /// When there are no slots or the queue was [closed](Self::close).
    pub async fn work<H, F>(
        &self,
        queue: &str,
        slots: usize,
        shutdown: CancellationToken,
        handler: H,
    ) -> anyhow::Result<()>
    where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output = Verdict> + Send + 'static,
    {
        ensure!(slots > 0, "a worker needs at least one slot");
        let handler: Handler = Arc::new(move |delivery| Box::pin(handler(delivery)));
        match &self.backend {
            Backend::Amqp(amqp) => amqp.work(queue, slots, shutdown, handler).await,
            Backend::Sqlite(sqlite) => sqlite.work(queue, slots, shutdown, handler).await,
        }
    }

    /// Whether the server answers.
    pub async fn ping(&self) -> anyhow::Result<()> {
        match &self.backend {
            Backend::Amqp(amqp) => amqp.ping().await,
            Backend::Sqlite(sqlite) => sqlite.ping().await,
        }
    }

    /// How many messages wait in `queue`, less those that a worker holds. A queue that does
    /// not exist holds none.
    pub async fn depth(&self, queue: &str) -> anyhow::Result<u32> {
        match &self.backend {
            Backend::Amqp(amqp) => amqp.depth(queue).await,
            Backend::Sqlite(sqlite) => sqlite.depth(queue).await,
        }
    }

    /// Shows the [dead letters](dead_letters) of `queue` that are there now to `judge`, who says
    /// what becomes of each. What it keeps may be out of others' sight until all have been seen.
    /// An error of its ends the round; the letter is kept.
    pub async fn sift(
        &self,
        queue: &str,
        judge: impl AsyncFnMut(Delivery) -> anyhow::Result<Letter>,
    ) -> anyhow::Result<()> {
        match &self.backend {
            Backend::Amqp(amqp) => amqp.sift(&dead_letters(queue), judge).await,
            Backend::Sqlite(sqlite) => sqlite.sift(&dead_letters(queue), judge).await,
        }
    }

    /// Whether there is such a queue. Publishing and working make it.
    pub async fn exists(&self, queue: &str) -> anyhow::Result<bool> {
        match &self.backend {
            Backend::Amqp(amqp) => amqp.exists(queue).await,
            // A row names its queue; there is nothing to make beforehand.
            Backend::Sqlite(sqlite) => sqlite.ping().await.map(|()| true),
        }
    }

    /// Ends the connections in good order. All clones are closed with it.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Amqp(amqp) => amqp.close().await,
            Backend::Sqlite(sqlite) => sqlite.close().await,
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.backend {
            Backend::Amqp(amqp) => write!(f, "Queue({amqp})"),
            Backend::Sqlite(sqlite) => write!(f, "Queue({sqlite})"),
        }
    }
}
