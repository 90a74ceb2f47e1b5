//! Accounts in an SQLite file: a table like that of `init.sql`, made when it is missing.

use common::Secret;
use sqlite::Schema;
use sqlx::{Executor, Row, SqlitePool};

use super::User;

const SCHEMA: Schema = Schema(&["
    CREATE TABLE user (
        id INTEGER PRIMARY KEY,
        -- In lower case.
        email TEXT NOT NULL COLLATE NOCASE UNIQUE,
        -- An argon2id hash in PHC form.
        password TEXT NOT NULL,
        -- Whether the account may use the converter.
        enabled INTEGER NOT NULL DEFAULT TRUE,
        created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
    ) STRICT;
"]);

pub struct Sqlite {
    pool: SqlitePool,
}

impl Sqlite {
    pub async fn connect(url: &Secret) -> anyhow::Result<Self> {
        Ok(Self { pool: sqlite::open(url, SCHEMA).await? })
    }

    pub async fn find(&self, email: &str) -> anyhow::Result<Option<User>> {
        let query = sqlx::query("SELECT email, password, enabled FROM user WHERE email = ?").bind(email);
        let Some(row) = query.fetch_optional(&self.pool).await? else { return Ok(None) };
        Ok(Some(User {
            email: row.try_get("email")?,
            password: row.try_get("password")?,
            enabled: row.try_get("enabled")?,
        }))
    }

    /// Tells whether the address was free.
    pub async fn insert(&self, email: &str, password: &str) -> anyhow::Result<bool> {
        let query = sqlx::query("INSERT INTO user (email, password) VALUES (?, ?) ON CONFLICT DO NOTHING");
        Ok(query.bind(email).bind(password).execute(&self.pool).await?.rows_affected() == 1)
    }

    /// Tells whether `old` was still there.
    pub async fn replace_password(&self, email: &str, old: &str, new: &str) -> anyhow::Result<bool> {
        let query = sqlx::query("UPDATE user SET password = ? WHERE email = ? AND password = ?");
        Ok(query.bind(new).bind(email).bind(old).execute(&self.pool).await?.rows_affected() == 1)
    }

    pub async fn set_enabled(&self, email: &str, enabled: bool) -> anyhow::Result<bool> {
        let query = sqlx::query("UPDATE user SET enabled = ? WHERE email = ?").bind(enabled).bind(email);
        Ok(query.execute(&self.pool).await?.rows_affected() == 1)
    }

    pub async fn emails(&self) -> anyhow::Result<Vec<String>> {
        Ok(sqlx::query_scalar("SELECT email FROM user ORDER BY email").fetch_all(&self.pool).await?)
    }

    pub async fn ping(&self) -> anyhow::Result<()> {
        Ok(self.pool.execute("SELECT 1 FROM user LIMIT 1").await.map(drop)?)
    }
}
