//! Who waits, and who waits for others of the same owner.

use std::time::Duration;

use common::Id;
use sqlite::{millis, now};

use super::{Ledger, away, row::parse};
use crate::{Job, Result};

impl Ledger {
    pub async fn waiting(&self, limit: usize) -> Result<Vec<Id>> {
        let query = sqlx::query_scalar::<_, String>(
            "SELECT _id FROM jobs WHERE state IN ('stored', 'queued') ORDER BY held, lined_up_at, _id LIMIT ?",
        );
        let found = query.bind(limit as i64).fetch_all(&self.pool).await.map_err(away)?;
        found.iter().map(|id| parse(id)).collect()
    }

    pub async fn queued_of(&self, owner: &str, within: Duration) -> Result<u64> {
        let count = "SELECT count(*) FROM jobs WHERE state = 'queued' AND owner = ? AND updated_at > ?";
        let query = sqlx::query_scalar::<_, i64>(count).bind(owner).bind(now().saturating_sub(millis(within)));
        Ok(query.fetch_one(&self.pool).await.map_err(away)?.unsigned_abs())
    }

    pub async fn hold(&self, id: &Id) -> Result<bool> {
        self.moved(step!(", held = 1" if "state = 'stored'").bind(id.as_str())).await
    }

    pub async fn holding(&self) -> Result<Vec<String>> {
        let query = sqlx::query_scalar("SELECT DISTINCT owner FROM jobs WHERE state = 'stored' AND held");
        query.fetch_all(&self.pool).await.map_err(away)
    }

    pub async fn let_go(&self, owner: &str) -> Result<Option<Job>> {
        let sql = oldest!(", held = 0" if "state = 'stored' AND held AND owner = ?2");
        self.update(sqlx::query(sql).bind(now()).bind(owner)).await
    }
}
