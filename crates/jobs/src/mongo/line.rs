//! Who waits, and who waits for others of the same owner.

use std::time::Duration;

use common::Id;
use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};

use super::{Answer, Ledger, all, millis};
use crate::{Job, Result};

impl Ledger {
    pub fn waiting(&self, limit: usize) -> Answer<'_, Vec<Id>> {
        Box::pin(async move {
            let found = self.run(|records| async move {
                let waiting = doc! {"state": {"$in": ["stored", "queued"]}};
                // Where there is no such field it comes first.
                let first = doc! {"held": 1, "lined_up_at": 1, "_id": 1};
                let ids = records.clone_with_type::<Document>();
                let ids = ids.find(waiting).sort(first).limit(limit as i64).projection(doc! {"_id": 1});
                ids.await?.try_collect::<Vec<_>>().await
            });
            let found = found.await?;
            Ok(found.iter().filter_map(|record| record.get_str("_id").ok()?.parse().ok()).collect())
        })
    }

    pub fn queued_of<'a>(&'a self, owner: &'a str, within: Duration) -> Answer<'a, u64> {
        let young = doc! {"$expr": {"$gt": ["$updated_at", {"$subtract": ["$$NOW", millis(within)]}]}};
        let queued = all(vec![doc! {"state": "queued", "owner": owner}, young]);
        Box::pin(self.run(|records| async move { records.count_documents(queued).await }))
    }

    pub async fn hold(&self, id: &Id) -> Result<bool> {
        self.moved(doc! {"_id": id.as_str(), "state": "stored"}, doc! {"held": true}).await
    }

    pub fn holding(&self) -> Answer<'_, Vec<String>> {
        let held = doc! {"state": "stored", "held": true};
        Box::pin(async move {
            let owners = self.run(|records| async move { records.distinct("owner", held).await }).await?;
            Ok(owners.iter().filter_map(|owner| owner.as_str().map(str::to_owned)).collect())
        })
    }

    pub async fn let_go(&self, owner: &str) -> Result<Option<Job>> {
        self.update(doc! {"state": "stored", "held": true, "owner": owner}, doc! {"held": "$$REMOVE"}).await
    }
}
