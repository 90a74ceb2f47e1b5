//! Accounts in MySQL or MariaDB: the table `user` of `init.sql`, or of an older installation,
//! which has `id`, `email` and `password` only.

use std::time::Duration;

use anyhow::Context;
use common::Error;
use sqlx::{
    Connection, Executor, Row,
    mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlRow, MySqlSslMode},
};
use url::Url;

use super::User;

/// Far more than a few hundred log-ins a second need.
const CONNECTIONS: u32 = 10;

/// The SQL state of a column that is not there.
const NO_COLUMN: &str = "42S22";

pub struct MySql {
    pool: MySqlPool,
    /// For a connection and the statement.
    limit: Duration,
}

/// What is wrong with a URL, if anything.
pub fn check(url: &str) -> anyhow::Result<()> {
    options(url).map(drop)
}

fn options(url: &str) -> anyhow::Result<MySqlConnectOptions> {
    let asked_for_tls = Url::parse(url)?.query_pairs().any(|(key, _)| key == "ssl-mode" || key == "sslmode");
    let mut options: MySqlConnectOptions = url.parse()?;
    if !asked_for_tls {
        // Said here rather than left to the driver: MySQL 8 takes passwords over TLS alone, and
        // many an older server has no TLS. Who minds asks for `required`.
        options = options.ssl_mode(MySqlSslMode::Preferred);
    }
    if options.get_database().is_none() {
        options = options.database("auth");
    }
    Ok(options)
}

impl MySql {
    pub fn connect(url: &str, limit: Duration) -> anyhow::Result<Self> {
        // For a connection, new or used: what is left is the statement's.
        let acquire = limit * 3 / 4;
        let pool = MySqlPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(acquire)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // A lax server would cut off a hash that does not fit into its column.
                    connection.execute("SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')").await?;
                    Ok(())
                })
            })
            .after_release(move |connection, _| {
                Box::pin(async move {
                    // Without a limit, a connection whose peer vanished would never be given up.
                    let alive = tokio::time::timeout(acquire, connection.ping()).await;
                    alive.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map(|()| true)
                })
            })
            .connect_lazy_with(options(url)?);
        Ok(Self { pool, limit })
    }

    pub async fn find(&self, email: &str) -> anyhow::Result<Option<User>> {
        // All columns, since an old table may lack some of ours.
        let query = sqlx::query("SELECT * FROM `user` WHERE email = ?").bind(email);
        self.within(async { query.fetch_optional(&self.pool).await?.map(|row| user(&row)).transpose() }).await
    }

    /// Tells whether the address was free.
    pub async fn insert(&self, email: &str, password: &str) -> anyhow::Result<bool> {
        let query = sqlx::query("INSERT INTO `user` (email, password) VALUES (?, ?)").bind(email).bind(password);
        self.within(async {
            match query.execute(&self.pool).await {
                Ok(_) => Ok(true),
                Err(error) if error.as_database_error().is_some_and(|e| e.is_unique_violation()) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Tells whether `old` was still there.
    pub async fn replace_password(&self, email: &str, old: &str, new: &str) -> anyhow::Result<bool> {
        // The column's own collation takes `Secret` and `secret` for the same.
        let query = sqlx::query(
            "UPDATE `user` SET password = ? \
             WHERE email = ? AND CONVERT(password USING utf8mb4) COLLATE utf8mb4_bin = ?",
        )
        .bind(new)
        .bind(email)
        .bind(old);
        self.within(async { Ok(query.execute(&self.pool).await?.rows_affected() == 1) }).await
    }

    pub async fn set_enabled(&self, email: &str, enabled: bool) -> Result<bool, Error> {
        let query = sqlx::query("UPDATE `user` SET enabled = ? WHERE email = ?").bind(enabled).bind(email);
        // Rows that were found, not only those that changed: so the driver asks for it.
        let updated = self.within(async {
            match query.execute(&self.pool).await {
                Ok(done) => Ok(Some(done.rows_affected() == 1)),
                Err(error) if error.as_database_error().and_then(|e| e.code()).as_deref() == Some(NO_COLUMN) => {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        });
        let updated = updated.await.map_err(Error::unavailable("database"))?;
        updated.ok_or(Error::Conflict("the table has no column `enabled` yet: run init.sql once more"))
    }

    pub async fn emails(&self) -> anyhow::Result<Vec<String>> {
        let query = sqlx::query_scalar("SELECT email FROM `user` ORDER BY email");
        self.within(query.fetch_all(&self.pool)).await
    }

    async fn within<T>(&self, work: impl Future<Output = sqlx::Result<T>>) -> anyhow::Result<T> {
        Ok(tokio::time::timeout(self.limit, work).await.context("MySQL did not answer in time")??)
    }

    pub async fn ping(&self) -> anyhow::Result<()> {
        self.within(async { self.pool.execute("SELECT 1").await.map(drop) }).await
    }
}

fn user(row: &MySqlRow) -> sqlx::Result<User> {
    let enabled = match row.try_get::<bool, _>("enabled") {
        Err(sqlx::Error::ColumnNotFound(_)) => true,
        other => other?,
    };
    Ok(User { email: row.try_get("email")?, password: row.try_get("password")?, enabled })
}
