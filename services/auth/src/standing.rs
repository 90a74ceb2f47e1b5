//! Whether an account may still come in: as the database says, or while that is away, as it last
//! said.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use common::{Error, Result};

use crate::users::Users;

/// For so long the last word counts. While the database is away nobody can disable an account
/// in it either.
const RECALL: Duration = Duration::from_secs(3_600);
/// For a database that may be away, when there is a last word to go by.
const PATIENCE: Duration = Duration::from_secs(1);
/// Accounts that are remembered.
const MOST: usize = 10_000;

/// What the database said last, of each account and when.
#[derive(Default)]
pub struct Standing {
    last: Mutex<HashMap<String, (bool, Instant)>>,
}

impl Standing {
    /// Whether the account of this name is enabled; `None`: there is no such account.
    pub async fn of(&self, name: &str, users: &Users) -> Result<Option<bool>> {
        let Some(last) = self.recall(name) else {
            let user = users.find(name).await?;
            return Ok(self.note(name, user.map(|user| user.enabled)));
        };
        let asked = tokio::time::timeout(PATIENCE, users.find(name)).await;
        match asked.map_err(Error::unavailable("database")).flatten() {
            Ok(user) => Ok(self.note(name, user.map(|user| user.enabled))),
            Err(Error::Unavailable { cause, .. }) => {
                tracing::debug!(error = format!("{cause:#}"), "an account counts as it stood last");
                Ok(Some(last))
            }
            Err(other) => Err(other),
        }
    }

    fn recall(&self, name: &str) -> Option<bool> {
        let last = self.lock().get(name).copied();
        last.filter(|(_, at)| at.elapsed() < RECALL).map(|(enabled, _)| enabled)
    }

    fn note(&self, name: &str, enabled: Option<bool>) -> Option<bool> {
        let mut last = self.lock();
        let Some(enabled) = enabled else {
            last.remove(name);
            return None;
        };
        if last.len() >= MOST && !last.contains_key(name) {
            last.clear();
        }
        last.insert(name.to_owned(), (enabled, Instant::now()));
        Some(enabled)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (bool, Instant)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
