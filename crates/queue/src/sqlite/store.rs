//! The table of messages. The only place that knows SQL.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::Context;
use common::{Id, Secret};
use sqlite::{Schema, millis, now};
use sqlx::{Row, SqlitePool, sqlite::SqliteRow};

use crate::{Delivery, Envelope, PublishError, dead_letters, fate::Fate};

const SCHEMA: Schema = Schema(&["
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL,
        body BLOB NOT NULL,
        -- A JSON object of texts.
        headers TEXT NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 1,
        deferred INTEGER NOT NULL DEFAULT 0,
        reason TEXT,
        -- Deliveries of this attempt that were cut short.
        returns INTEGER NOT NULL DEFAULT 0,
        -- Who is at it.
        claim TEXT,
        -- Nobody may take it before: it waits for its next attempt, or somebody is at it.
        free_at INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX messages_in_order ON messages (queue, id, free_at);
    CREATE INDEX messages_by_time ON messages (queue, free_at);
"]);
/// Such headers are the queue's own.
const RESERVED: &str = "x-";
/// As long as a name may be on any other server.
const NAME_MAX: usize = 255;

#[derive(Clone, Debug)]
pub(super) struct Store {
    pool: SqlitePool,
}

/// A message that is ours for now.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    row: i64,
    claim: String,
    /// How often a delivery was cut short since the last verdict.
    pub(super) returns: u32,
    pub(super) delivery: Delivery,
}

impl Store {
    pub(super) async fn open(url: &Secret) -> anyhow::Result<Self> {
        Ok(Self { pool: sqlite::open(url, SCHEMA).await? })
    }

    pub(super) async fn insert(&self, queue: &str, envelope: &Envelope) -> Result<(), PublishError> {
        let ours = |name: &str| name.starts_with(RESERVED) || name.len() > NAME_MAX;
        let headers: BTreeMap<_, _> = envelope.headers.iter().filter(|(name, _)| !ours(name)).collect();
        let headers = serde_json::to_string(&headers).map_err(|_| PublishError::Refused("its headers are no texts"))?;
        let insert = sqlx::query("INSERT INTO messages (queue, body, headers) VALUES (?, ?, ?)");
        match insert.bind(queue).bind(&envelope.body).bind(headers).execute(&self.pool).await {
            Ok(_) => Ok(()),
            Err(error) if sqlite::is_full(&error) => Err(PublishError::Blocked),
            Err(error) => Err(PublishError::Unavailable(error.into())),
        }
    }

    /// When the next message of `queue` is free, as a time from now; `None` if there is none.
    pub(super) async fn next(&self, queue: &str) -> sqlx::Result<Option<Duration>> {
        let query = sqlx::query_scalar("SELECT min(free_at) FROM messages WHERE queue = ?").bind(queue);
        let at: Option<i64> = query.fetch_one(&self.pool).await?;
        Ok(at.map(|at| Duration::from_millis(at.saturating_sub(now()).max(0).unsigned_abs())))
    }

    /// Takes the oldest message that is free, for `lease`.
    pub(super) async fn claim(&self, queue: &str, lease: Duration) -> anyhow::Result<Option<Claimed>> {
        // The plus sign keeps SQLite from sorting all that are free instead of walking in order
        // to the first.
        let query = sqlx::query(
            "UPDATE messages SET returns = returns + (claim IS NOT NULL), claim = ?1, free_at = ?2 + ?3 \
             WHERE id = (SELECT id FROM messages WHERE queue = ?4 AND +free_at <= ?2 ORDER BY id LIMIT 1) RETURNING *",
        );
        let query = query.bind(Id::fresh().to_string()).bind(now()).bind(millis(lease)).bind(queue);
        // All rows, though there is one at the most: the commit comes after the last one.
        let rows = query.fetch_all(&self.pool).await?;
        rows.first().map(claimed).transpose()
    }

    /// Keeps a message for another `lease`. False: it is no longer ours.
    pub(super) async fn keep(&self, message: &Claimed, lease: Duration) -> sqlx::Result<bool> {
        let query = sqlx::query("UPDATE messages SET free_at = ?1 WHERE id = ?2 AND claim = ?3");
        let query = query.bind(now() + millis(lease)).bind(message.row).bind(&message.claim);
        Ok(query.execute(&self.pool).await?.rows_affected() > 0)
    }

    /// Gives back, at once, what was not handled to an end.
    pub(super) async fn give_back(&self, message: &Claimed) -> sqlx::Result<()> {
        let query = sqlx::query(
            "UPDATE messages SET claim = NULL, free_at = 0, returns = returns + 1 WHERE id = ? AND claim = ?",
        );
        query.bind(message.row).bind(&message.claim).execute(&self.pool).await.map(drop)
    }

    /// Carries a verdict out. False: the message is no longer ours, and nothing was done.
    pub(super) async fn settle(&self, message: &Claimed, queue: &str, fate: &Fate) -> sqlx::Result<bool> {
        let (to, free_at, attempt, deferred, reason) = match fate {
            Fate::Done => {
                let query = sqlx::query("DELETE FROM messages WHERE id = ? AND claim = ?");
                let done = query.bind(message.row).bind(&message.claim).execute(&self.pool).await?;
                return Ok(done.rows_affected() > 0);
            }
            Fate::Again { delay, attempt, deferred, reason, .. } => {
                // One more, because our clock ticks in milliseconds: never too early.
                (queue.to_owned(), now() + millis(*delay) + 1, attempt, deferred, reason.as_deref())
            }
            Fate::Dead { attempt, deferred, reason } => {
                (dead_letters(queue), 0, attempt, deferred, Some(reason.as_str()))
            }
        };
        let query = sqlx::query(
            "UPDATE messages SET queue = ?1, free_at = ?2, attempt = ?3, deferred = ?4, reason = ?5, \
             claim = NULL, returns = 0 WHERE id = ?6 AND claim = ?7",
        );
        let query = query.bind(to).bind(free_at).bind(attempt).bind(deferred).bind(reason);
        let moved = query.bind(message.row).bind(&message.claim).execute(&self.pool).await?;
        Ok(moved.rows_affected() > 0)
    }

    pub(super) async fn depth(&self, queue: &str) -> sqlx::Result<u32> {
        let query = sqlx::query_scalar("SELECT count(*) FROM messages WHERE queue = ? AND free_at <= ?");
        query.bind(queue).bind(now()).fetch_one(&self.pool).await
    }

    /// All messages of `queue` in order, each with its row.
    pub(super) async fn list(&self, queue: &str) -> anyhow::Result<Vec<(i64, Delivery)>> {
        let query = sqlx::query("SELECT * FROM messages WHERE queue = ? ORDER BY id").bind(queue);
        let rows = query.fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok((row.try_get("id")?, delivery(row)?))).collect()
    }

    pub(super) async fn remove(&self, row: i64) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM messages WHERE id = ?").bind(row).execute(&self.pool).await.map(drop)
    }

    /// Another number after every commit of another connection.
    pub(super) async fn version(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar("PRAGMA data_version").fetch_one(&self.pool).await
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

fn claimed(row: &SqliteRow) -> anyhow::Result<Claimed> {
    let (row_id, claim, returns) = (row.try_get("id")?, row.try_get("claim")?, row.try_get("returns")?);
    Ok(Claimed { row: row_id, claim, returns, delivery: delivery(row)? })
}

fn delivery(row: &SqliteRow) -> anyhow::Result<Delivery> {
    let returns: u32 = row.try_get("returns")?;
    let headers: &str = row.try_get("headers")?;
    let envelope = Envelope {
        body: row.try_get("body")?,
        headers: serde_json::from_str(headers).context("the headers of a message")?,
    };
    Ok(Delivery {
        envelope,
        attempt: row.try_get::<u32, _>("attempt")?.saturating_add(returns),
        deferred: row.try_get("deferred")?,
        reason: row.try_get("reason")?,
        redelivered: returns > 0,
    })
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite:{}", self.pool.connect_options().get_filename().display())
    }
}
