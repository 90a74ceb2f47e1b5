//! The ledger in an SQLite file. Columns are called as the fields in MongoDB are.
//!
//! Every move is one `UPDATE … RETURNING`: SQLite takes the write lock before it looks, so
//! what was looked at is still so when it is changed. Times are this machine's, the only one
//! that can have the file open.

use std::{collections::HashSet, time::Duration};

use common::{Id, Secret, fault::Point};
use sqlite::{millis, now};
use sqlx::{AssertSqlSafe, Sqlite, SqlitePool, query::Query, sqlite::SqliteArguments};
use time::OffsetDateTime;

use crate::{
    Census, Cursor, Error, Expired, GONE, Job, MENDING, NewJob, Output, RECORD_BYTES, REMEMBERED, Result, State, Stuck,
};

/// A move of the record `?2` at the time `?1`, if the condition holds.
macro_rules! step {
    ($fields:literal if $condition:literal) => {
        sqlx::query(concat!(
            "UPDATE jobs SET updated_at = ?1",
            $fields,
            " WHERE _id = ?2 AND ",
            $condition,
            " RETURNING *"
        ))
        .bind(now())
    };
}

/// A move of the record that has stood still longest, since `?2` at the least.
macro_rules! oldest {
    ($fields:literal if $condition:literal) => {
        oldest!($fields in "jobs" if $condition)
    };
    // By an index that only holds what it is about, and that SQLite does not think of by itself.
    ($fields:literal by $index:literal if $condition:literal) => {
        oldest!($fields in "jobs INDEXED BY " $index if $condition)
    };
    ($fields:literal in $($jobs:literal)+ if $condition:literal) => {
        concat!(
            "UPDATE jobs SET updated_at = ?1",
            $fields,
            " WHERE _id = (SELECT _id FROM ",
            $($jobs,)+
            " WHERE ",
            $condition,
            " ORDER BY updated_at LIMIT 1) RETURNING *"
        )
    };
}

// Behind the macros that it uses.
mod line;
mod row;
mod schema;

use self::{row::job, schema::SCHEMA};

type Statement<'a> = Query<'a, Sqlite, SqliteArguments>;

#[derive(Clone, Debug)]
pub struct Ledger {
    pool: SqlitePool,
}

impl Ledger {
    pub async fn connect(url: &Secret) -> anyhow::Result<Self> {
        Ok(Self { pool: sqlite::open(url, SCHEMA).await? })
    }

    pub async fn ping(&self) -> Result<()> {
        self.find("_id", &Id::fresh()).await.map(drop)
    }

    pub async fn create(&self, new: NewJob) -> Result<bool> {
        let id = new.id.clone();
        // What is there already is either its own record, or another under the same key.
        Ok(self.insert(new, State::Uploading).await? || self.find("_id", &id).await?.is_some())
    }

    /// False: a record with this id, video or key is there already.
    pub async fn insert(&self, new: NewJob, state: State) -> Result<bool> {
        let insert = sqlx::query(
            "INSERT INTO jobs (_id, owner, filename, state, video_fid, settings, key, created_at, updated_at, \
             lined_up_at, traceparent) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?8, ?9) ON CONFLICT DO NOTHING",
        );
        let settings = serde_json::to_string(&new.settings).map_err(|e| Error(e.into()))?;
        let insert = insert.bind(new.id.as_str()).bind(&new.owner).bind(&new.filename).bind(state.as_str());
        let insert =
            insert.bind(new.video_fid.as_str()).bind(settings).bind(&new.key).bind(now()).bind(&new.traceparent);
        Ok(insert.execute(&self.pool).await.map_err(away)?.rows_affected() > 0)
    }

    pub async fn by_key(&self, owner: &str, key: &str) -> Result<Option<Job>> {
        let query = sqlx::query("SELECT * FROM jobs WHERE owner = ? AND key = ?").bind(owner).bind(key);
        let found = query.fetch_optional(&self.pool).await.map_err(away)?;
        found.as_ref().map(job).transpose()
    }

    /// `key` is the name of a column.
    pub async fn find(&self, key: &'static str, id: &Id) -> Result<Option<Job>> {
        let query = sqlx::query(AssertSqlSafe(format!("SELECT * FROM jobs WHERE {key} = ?"))).bind(id.as_str());
        let found = query.fetch_optional(&self.pool).await.map_err(away)?;
        found.as_ref().map(job).transpose()
    }

    pub async fn removed(&self, ids: &[Id]) -> Result<HashSet<Id>> {
        let ids = serde_json::to_string(ids).map_err(|e| Error(e.into()))?;
        let among = "SELECT _id FROM removed WHERE _id IN (SELECT value FROM json_each(?))";
        let found: Vec<String> = sqlx::query_scalar(among).bind(ids).fetch_all(&self.pool).await.map_err(away)?;
        Ok(found.into_iter().filter_map(|id| id.parse().ok()).collect())
    }

    async fn update(&self, statement: Statement<'_>) -> Result<Option<Job>> {
        // All rows, though there is one at the most: the commit comes after the last one, and
        // who stops at the first does not hear whether it went well.
        let moved = statement.fetch_all(&self.pool).await.map_err(away)?;
        moved.first().map(job).transpose()
    }

    async fn moved(&self, statement: Statement<'_>) -> Result<bool> {
        Ok(self.update(statement).await?.is_some())
    }

    pub async fn still_uploading(&self, id: &Id) -> Result<bool> {
        self.moved(step!("" if "state = 'uploading'").bind(id.as_str())).await
    }

    pub async fn abandon(&self, id: &Id) -> Result<bool> {
        self.moved(step!(", state = 'deleting', key = NULL" if "state = 'uploading'").bind(id.as_str())).await
    }

    pub async fn stored(&self, id: &Id, video_bytes: u64) -> Result<Option<Job>> {
        let step = step!(", state = 'stored', video_bytes = ?3, lined_up_at = ?1" if "state = 'uploading'");
        if let Some(job) = self.update(step.bind(id.as_str()).bind(video_bytes as i64)).await? {
            return Ok(Some(job));
        }
        // A caller who repeats a move finds it made.
        Ok(self.find("_id", id).await?.filter(|job| job.was_accepted_with(video_bytes)))
    }

    pub async fn queued(&self, id: &Id) -> Result<bool> {
        self.moved(step!(", state = 'queued'" if "state = 'stored'").bind(id.as_str())).await
    }

    pub async fn take(&self, id: &Id, output: &Id, ttl: Duration) -> Result<Option<Job>> {
        let step = step!(
            ", state = 'converting', percent = 0, attempt = attempt + 1, outputs = outputs || ' ' || ?3, \
             attempts_before = attempts_before + (state = 'converting' AND NOT heard), heard = 0, \
             lease_until = ?1 + ?4, leased_at = ?1"
            if "(state IN ('stored', 'queued') OR (state = 'converting' AND lease_until <= ?1))"
        );
        self.update(step.bind(id.as_str()).bind(output.as_str()).bind(millis(ttl))).await
    }

    pub async fn renew(&self, id: &Id, attempt: u32, percent: u8, ttl: Duration) -> Result<bool> {
        let step = step!(", percent = ?4, heard = 1, lease_until = ?1 + ?5" if "state = 'converting' AND attempt = ?3");
        self.moved(step.bind(id.as_str()).bind(attempt).bind(percent).bind(millis(ttl))).await
    }

    pub async fn release(&self, id: &Id, attempt: u32) -> Result<bool> {
        let step = step!(
            ", state = 'queued', percent = 0, attempts_before = attempts_before + 1"
            if "state = 'converting' AND attempt = ?3"
        );
        self.moved(step.bind(id.as_str()).bind(attempt)).await
    }

    pub async fn done(&self, id: &Id, attempt: u32, output: &Output) -> Result<Option<Job>> {
        let step = step!(
            ", state = 'done', percent = 100, mp3_fid = ?4, mp3_bytes = ?5, duration_s = ?6, ended_at = ?1"
            if "state = 'converting' AND attempt = ?3"
        );
        let step = step.bind(id.as_str()).bind(attempt).bind(output.mp3_fid.as_str()).bind(output.mp3_bytes as i64);
        if let Some(job) = self.update(step.bind(output.duration.as_secs_f64())).await? {
            return Ok(Some(job));
        }
        // As in `stored`: a repeated move finds its own result.
        Ok(self.find("_id", id).await?.filter(|job| job.mp3_fid.as_ref() == Some(&output.mp3_fid)))
    }

    pub async fn failed(&self, id: &Id, attempt: u32, reason: &str) -> Result<Option<Job>> {
        let step = step!(", state = 'failed', reason = ?4, ended_at = ?1" if "state = 'converting' AND attempt = ?3");
        if let Some(job) = self.update(step.bind(id.as_str()).bind(attempt).bind(reason)).await? {
            return Ok(Some(job));
        }
        Ok(self.find("_id", id).await?.filter(|job| job.state == State::Failed && job.attempt == attempt))
    }

    pub async fn done_elsewhere(&self, id: &Id, mp3_fid: &Id) -> Result<bool> {
        let step = step!(
            ", state = 'done', percent = 100, mp3_fid = ?3, told_at = ?1, ended_at = ?1"
            if "state IN ('uploading', 'stored', 'queued', 'converting')"
        );
        self.moved(step.bind(id.as_str()).bind(mp3_fid.as_str())).await
    }

    /// `field` is the name of a column.
    pub async fn note(&self, id: &Id, run: u32, field: &'static str) -> Result<bool> {
        let sql = format!(
            "UPDATE jobs SET updated_at = ?1, {field} = ?1 WHERE _id = ?2 AND run = ?3 AND {field} IS NULL RETURNING *"
        );
        self.moved(sqlx::query(AssertSqlSafe(sql)).bind(now()).bind(id.as_str()).bind(run)).await
    }

    pub async fn retold(&self, id: &Id, run: u32) -> Result<bool> {
        let step = step!(", unmailed_at = ?1, told_at = ?1" if "run = ?3 AND unmailed_at IS NULL");
        self.moved(step.bind(id.as_str()).bind(run)).await
    }

    pub async fn cancel(&self, id: &Id) -> Result<bool> {
        let step =
            step!(", state = 'cancelled', ended_at = ?1" if "state IN ('uploading', 'stored', 'queued', 'converting')");
        self.moved(step.bind(id.as_str())).await
    }

    pub async fn retry(&self, id: &Id) -> Result<bool> {
        let step = step!(
            ", state = 'stored', percent = 0, reason = NULL, run = run + 1, attempts_before = attempt, \
             told_at = NULL, mailed_at = NULL, unmailed_at = NULL, ended_at = NULL, lined_up_at = ?1"
            if "state IN ('failed', 'cancelled') AND video_expired_at IS NULL"
        );
        self.moved(step.bind(id.as_str())).await
    }

    pub async fn deleting(&self, id: &Id) -> Result<Option<Job>> {
        let step = step!(", state = 'deleting', key = NULL" if "state IN ('done', 'failed', 'cancelled', 'deleting')");
        self.update(step.bind(id.as_str())).await
    }

    pub async fn tidied(&self, id: &Id, outputs: &[Id]) -> Result<bool> {
        let step = step!(
            ", outputs = coalesce(' ' || mp3_fid, '')"
            if "state IN ('done', 'failed', 'cancelled') AND outputs = ?3"
        );
        let outputs: String = outputs.iter().map(|output| format!(" {output}")).collect();
        self.moved(step.bind(id.as_str()).bind(outputs)).await
    }

    pub async fn remove(&self, id: &Id) -> Result<bool> {
        // Noted first: a record that is being deleted has no way back.
        let note = "INSERT OR IGNORE INTO removed SELECT _id, ?2 FROM jobs WHERE _id = ?1 AND state = 'deleting'";
        sqlx::query(note).bind(id.as_str()).bind(now()).execute(&self.pool).await.map_err(away)?;
        let forget = sqlx::query("DELETE FROM removed WHERE at <= ?").bind(now() - millis(REMEMBERED));
        forget.execute(&self.pool).await.map_err(away)?;
        Point::Remembered.pass();
        let delete = sqlx::query("DELETE FROM jobs WHERE _id = ? AND state = 'deleting'").bind(id.as_str());
        Ok(delete.execute(&self.pool).await.map_err(away)?.rows_affected() > 0)
    }

    pub async fn list(&self, owner: &str, cursor: Option<&Cursor>, limit: usize) -> Result<Vec<Job>> {
        let query = sqlx::query(
            "SELECT * FROM jobs WHERE owner = ?1 AND state <> 'deleting' \
             AND (?2 IS NULL OR (created_at, _id) < (?2, ?3)) \
             ORDER BY created_at DESC, _id DESC LIMIT ?4",
        );
        let query = query.bind(owner).bind(cursor.map(|cursor| cursor.created_ms));
        let query = query.bind(cursor.map(|cursor| cursor.id.as_str())).bind(limit as i64);
        query.fetch_all(&self.pool).await.map_err(away)?.iter().map(job).collect()
    }

    pub async fn standing(&self, age: Duration, limit: usize) -> Result<Vec<Job>> {
        let query = sqlx::query(
            "SELECT * FROM jobs WHERE updated_at <= ?1 \
             AND (state NOT IN ('done', 'failed', 'cancelled') OR (state IN ('done', 'failed') AND told_at IS NULL)) \
             ORDER BY updated_at LIMIT ?2",
        );
        let query = query.bind(now() - millis(age)).bind(limit as i64);
        query.fetch_all(&self.pool).await.map_err(away)?.iter().map(job).collect()
    }

    /// Counts anew each time: here all who ask are one machine, and an index has the answer.
    pub async fn census(&self, _every: Duration) -> Result<Option<Census>> {
        let counts = sqlx::query_as("SELECT state, count(*) FROM jobs GROUP BY state").fetch_all(&self.pool).await;
        let waiting = "SELECT min(lined_up_at) FROM jobs WHERE state IN ('stored', 'queued')";
        let since: Option<i64> = sqlx::query_scalar(waiting).fetch_one(&self.pool).await.map_err(away)?;
        let waited = since.map_or(0, |since| now() - since);
        Census::new(counts.map_err(away)?, waited).map(Some)
    }

    pub async fn changed(&self, since: Option<OffsetDateTime>, limit: usize) -> Result<Vec<Job>> {
        let query = match since {
            Some(since) => sqlx::query("SELECT * FROM jobs WHERE updated_at >= ?1 ORDER BY updated_at LIMIT ?2")
                .bind((since.unix_timestamp_nanos() / 1_000_000) as i64)
                .bind(limit as i64),
            None => sqlx::query("SELECT * FROM jobs ORDER BY updated_at DESC LIMIT 1"),
        };
        query.fetch_all(&self.pool).await.map_err(away)?.iter().map(job).collect()
    }

    pub async fn here(&self, worker: &Id, role: &'static str) -> Result<()> {
        let seen = sqlx::query(
            "INSERT INTO workers (_id, seen_at, role) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET seen_at = ?2",
        );
        let since = sqlx::query(
            "INSERT INTO roles VALUES (?1, ?2, ?2) \
             ON CONFLICT DO UPDATE SET since = iif(seen_at > ?3, since, ?2), seen_at = ?2",
        );
        let since = since.bind(role).bind(now()).bind(now() - millis(GONE));
        since.execute(&self.pool).await.map_err(away)?;
        seen.bind(worker.as_str()).bind(now()).bind(role).execute(&self.pool).await.map_err(away)?;
        Ok(())
    }

    pub async fn any(&self, role: &'static str, age: Duration) -> Result<bool> {
        let gone = sqlx::query("DELETE FROM workers WHERE seen_at <= ?").bind(now() - millis(GONE));
        gone.execute(&self.pool).await.map_err(away)?;
        let any = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM workers WHERE role = ? AND seen_at > ?)");
        let any = any.bind(role).bind(now() - millis(age));
        any.fetch_one(&self.pool).await.map_err(away)
    }

    pub async fn claim(&self, stuck: Stuck, age: Duration) -> Result<Option<Job>> {
        let sql = match stuck {
            Stuck::Upload => oldest!(", state = 'deleting', key = NULL" if "state = 'uploading' AND updated_at <= ?2"),
            Stuck::Stored => oldest!("" if "state = 'stored' AND NOT held AND updated_at <= ?2"),
            Stuck::Queued => oldest!("" if "state = 'queued' AND updated_at <= ?2"),
            Stuck::Lease => oldest!(
                ", state = 'stored', attempts_before = attempts_before + NOT heard"
                if "state = 'converting' AND lease_until <= ?2"
            ),
            Stuck::Untold => oldest!(
                "" by "jobs_untold" if "state IN ('done', 'failed') AND told_at IS NULL AND updated_at <= ?2"
            ),
            Stuck::Unmailed => oldest!(
                "" by "jobs_unmailed"
                if "state IN ('done', 'failed') AND mailed_at IS NULL AND unmailed_at IS NULL AND told_at <= ?2 \
                    AND told_at >= (SELECT since FROM roles WHERE role = 'notification') AND updated_at <= ?3"
            ),
            Stuck::Deleting => oldest!("" if "state = 'deleting' AND updated_at <= ?2"),
            Stuck::Untidy => oldest!(
                "" if "state IN ('done', 'failed', 'cancelled') AND outputs <> coalesce(' ' || mp3_fid, '') \
                       AND updated_at <= ?2"
            ),
        };
        let now = now();
        let claim = sqlx::query(sql).bind(now).bind(now - millis(age));
        self.update(if stuck == Stuck::Unmailed { claim.bind(now - millis(age.min(MENDING))) } else { claim }).await
    }

    pub async fn expire(&self, expired: Expired, age: Duration, others_time: Duration) -> Result<Option<Job>> {
        let sql = match expired {
            Expired::Video => oldest!(
                ", video_expired_at = ?1"
                by "jobs_with_video"
                if "state IN ('done', 'failed', 'cancelled') AND coalesce(ended_at, updated_at) <= ?2 \
                    AND video_removed_at IS NULL AND (video_expired_at IS NULL OR video_expired_at <= ?3)"
            ),
            Expired::Record => oldest!(
                ", state = 'deleting', key = NULL"
                by "jobs_by_end"
                if "state IN ('done', 'failed', 'cancelled') AND coalesce(ended_at, updated_at) <= ?2 \
                    AND (state = 'cancelled' OR mailed_at IS NOT NULL OR told_at <= ?3)"
            ),
        };
        let now = now();
        self.update(sqlx::query(sql).bind(now).bind(now - millis(age)).bind(now - millis(others_time))).await
    }

    pub async fn video_removed(&self, id: &Id) -> Result<bool> {
        let step = step!(", video_removed_at = ?1" if "video_expired_at IS NOT NULL AND video_removed_at IS NULL");
        self.moved(step.bind(id.as_str())).await
    }

    pub async fn kept_bytes(&self, owner: &str) -> Result<u64> {
        let sum = "SELECT coalesce(sum(iif(video_removed_at IS NULL, coalesce(video_bytes, 0), 0) \
                   + coalesce(mp3_bytes, 0) + ?), 0) FROM jobs WHERE owner = ? AND state <> 'deleting'";
        let sum = sqlx::query_scalar(sum).bind(RECORD_BYTES as i64).bind(owner);
        let sum: i64 = sum.fetch_one(&self.pool).await.map_err(away)?;
        Ok(sum.unsigned_abs())
    }
}

fn away(error: sqlx::Error) -> Error {
    Error(error.into())
}
