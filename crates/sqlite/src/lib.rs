//! How the embedded databases are opened: what was said to be safe is on disk, several
//! processes may share a file, and the tables are there.
//!
//! Knows nothing of what is kept; the ports that keep something bring their own tables.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use common::Secret;
use sqlx::{
    AssertSqlSafe, Connection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// For another process that is writing.
const BUSY: Duration = Duration::from_secs(5);
/// For our own connection.
const ACQUIRE: Duration = Duration::from_secs(5);
/// `SQLITE_BUSY` and `SQLITE_LOCKED`, without what stands in the higher bits.
const LOCKED: [i32; 2] = [5, 6];
const FULL: i32 = 13;

/// The tables of one port, as the steps by which they came to be: the first one makes them in an
/// empty file, each further one changes what the steps before it made. A step that was released
/// never changes. `PRAGMA user_version` says how many steps a file has seen.
#[derive(Clone, Copy, Debug)]
pub struct Schema(pub &'static [&'static str]);

/// The database at a `sqlite:/PATH` URL (special characters as `%xx`), made if it is missing.
///
/// # Errors
/// When the file cannot be made, is no database of ours, or was written by a newer version.
pub async fn open(url: &Secret, schema: Schema) -> anyhow::Result<SqlitePool> {
    let options: SqliteConnectOptions = url.expose().parse().context("not a URL of an SQLite file")?;
    let path = options.get_filename().to_owned();
    // Nor a database in memory, of which each who opened it would see another.
    let plain = path.is_absolute() && !url.expose().contains('?');
    ensure!(plain, "an absolute path is expected after sqlite:, and nothing else");
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // In this mode a commit that was answered outlives a power cut; the default outlives
        // only this process.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY);
    let deadline = tokio::time::Instant::now() + BUSY;
    loop {
        match prepare(options.clone(), schema).await {
            Ok(pool) => return Ok(pool),
            // Two who make the file at once can meet in places where SQLite does not wait.
            Err(error) if is_locked(&error) && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(error.context(format!("cannot open {}", path.display()))),
        }
    }
}

async fn prepare(options: SqliteConnectOptions, schema: Schema) -> anyhow::Result<SqlitePool> {
    // SQLite writes one at a time anyway. Waiting for our one connection is fair, waiting for
    // its lock is not.
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE).connect_with(options).await?;
    let mut connection = pool.acquire().await?;
    // The write lock first: of two who find an empty file one waits, and then finds it made.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let version: i32 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *transaction).await?;
    let steps = schema.0;
    let Some(missing) = usize::try_from(version).ok().and_then(|seen| steps.get(seen..)) else {
        bail!("it was written by a newer version of this program ({version} instead of {})", steps.len());
    };
    for step in missing {
        sqlx::raw_sql(*step).execute(&mut *transaction).await?;
    }
    if !missing.is_empty() {
        let stamp = format!("PRAGMA user_version = {}", steps.len());
        sqlx::raw_sql(AssertSqlSafe(stamp)).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    drop(connection);
    Ok(pool)
}

/// Now, in milliseconds since 1970, the form in which all times are kept.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    millis(since)
}

/// A span of time in milliseconds.
pub fn millis(span: Duration) -> i64 {
    // Half of what fits, so that two can be added.
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 2)
}

/// Whether the disk is full.
pub fn is_full(error: &sqlx::Error) -> bool {
    code(error) == Some(FULL)
}

fn is_locked(error: &anyhow::Error) -> bool {
    error.downcast_ref::<sqlx::Error>().and_then(code).is_some_and(|code| LOCKED.contains(&code))
}

/// SQLite's primary result code.
fn code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: Schema = Schema(&["CREATE TABLE t (a TEXT) STRICT"]);
    const NEWER: Schema = Schema(&[SCHEMA.0[0], "ALTER TABLE t ADD COLUMN b TEXT NOT NULL DEFAULT 'new'"]);

    fn url(folder: &tempfile::TempDir) -> Secret {
        Secret::new(format!("sqlite:{}/a%20b.db", folder.path().display()))
    }

    #[tokio::test]
    async fn what_is_told_to_be_safe_survives_a_power_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = open(&url(&folder), SCHEMA).await.expect("made");
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&pool).await.expect("asked");
        let synchronous: i32 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&pool).await.expect("asked");
        assert_eq!((mode.as_str(), synchronous), ("wal", 2));
        assert!(folder.path().join("a b.db").is_file());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_may_be_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut opening = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let url = url(&folder);
            opening.spawn(async move { open(&url, SCHEMA).await.expect("opened") });
        }
        for pool in opening.join_all().await {
            sqlx::query("INSERT INTO t VALUES ('x')").execute(&pool).await.expect("inserted");
        }
    }

    #[tokio::test]
    async fn a_file_of_an_older_version_is_brought_up_to_date() {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = open(&url(&folder), SCHEMA).await.expect("made");
        sqlx::query("INSERT INTO t VALUES ('old')").execute(&pool).await.expect("inserted");
        drop(pool);
        for _ in 0..2 {
            let pool = open(&url(&folder), NEWER).await.expect("opened");
            let row: (String, String) = sqlx::query_as("SELECT a, b FROM t").fetch_one(&pool).await.expect("a row");
            assert_eq!(row, ("old".to_owned(), "new".to_owned()));
        }
    }

    #[tokio::test]
    async fn what_cannot_be_opened_says_why() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(open(&url(&folder), NEWER).await.expect("made"));
        let error = open(&url(&folder), SCHEMA).await.expect_err("newer");
        assert!(format!("{error:#}").contains("newer version"), "{error:#}");
        for bad in
            ["sqlite:", "sqlite::memory:", "sqlite:x.db", "sqlite:/tmp/x.db?mode=memory", "sqlite:/no/such/folder/x.db"]
        {
            open(&Secret::new(bad), SCHEMA).await.expect_err(bad);
        }
    }
}
