//! The census: made by one of those who ask, kept in a record of its own, and read by the rest.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::{
    Collection, Database,
    bson::{Bson, DateTime, Document, doc},
    options::{Hint, ReturnDocument},
};

use super::{limited, millis};
use crate::{Census as Counted, Result};

/// The one record.
const KEY: &str = "jobs";

#[derive(Clone, Debug)]
pub(super) struct Census {
    kept: Collection<Document>,
    limit: Duration,
}

impl Census {
    pub(super) fn new(database: &Database, limit: Duration) -> Self {
        Self { kept: database.collection("census"), limit }
    }

    /// The census of `records`, `every` old at the most; `None` while the first one is being made.
    pub(super) async fn of(&self, records: &Collection<Document>, every: Duration) -> Result<Option<Counted>> {
        let mut found = self.ask(every).await?;
        if found.get_bool("due").unwrap_or(false) {
            found = self.take(records.clone()).await?;
        }
        let Ok(states) = found.get_document("states") else { return Ok(None) };
        let counts = states.iter().map(|(state, count)| (state.clone(), number(count))).collect();
        Counted::new(counts, found.get("waited_ms").map_or(0, number)).map(Some)
    }

    /// The record as it stands. `due`: it is for us, and for nobody else, to count.
    async fn ask(&self, every: Duration) -> Result<Document> {
        let never = DateTime::from_millis(0);
        let due = doc! {"$lte": [{"$ifNull": ["$at", never]}, {"$subtract": ["$$NOW", millis(every)]}]};
        let asked = vec![doc! {"$set": {"due": due.clone(), "at": {"$cond": [due, "$$NOW", "$at"]}}}];
        let kept = self.kept.clone();
        let asking = async move {
            let update = kept.find_one_and_update(doc! {"_id": KEY}, asked);
            update.upsert(true).return_document(ReturnDocument::After).await
        };
        Ok(limited(self.limit, asking).await?.unwrap_or_default())
    }

    async fn take(&self, records: Collection<Document>) -> Result<Document> {
        // In the order of an index, so that none of the records themselves is read.
        let by_state = [doc! {"$sort": {"state": 1}}, doc! {"$group": {"_id": "$state", "count": {"$sum": 1}}}];
        let index = Hint::Keys(doc! {"state": 1, "updated_at": 1});
        let longest = [
            doc! {"$match": {"state": {"$in": ["stored", "queued"]}}},
            doc! {"$sort": {"lined_up_at": 1}},
            doc! {"$limit": 1},
            doc! {"$project": {"waited_ms": {"$subtract": ["$$NOW", "$lined_up_at"]}}},
        ];
        let kept = self.kept.clone();
        limited(self.limit, async move {
            let counts: Vec<Document> = records.aggregate(by_state).hint(index).await?.try_collect().await?;
            let counted = counts.iter().filter_map(|found| Some((found.get_str("_id").ok()?, found.get("count")?)));
            let states: Document = counted.map(|(state, count)| (state.to_owned(), count.clone())).collect();
            let longest: Vec<Document> = records.aggregate(longest).await?.try_collect().await?;
            let waited = longest.first().and_then(|found| found.get("waited_ms")).map_or(0, number);
            let census = doc! {"states": states, "waited_ms": waited};
            kept.update_one(doc! {"_id": KEY}, doc! {"$set": census.clone()}).await?;
            Ok(census)
        })
        .await
    }
}

/// The server counts in whatever type has room.
pub(super) fn number(value: &Bson) -> i64 {
    match *value {
        Bson::Int32(n) => n.into(),
        Bson::Int64(n) => n,
        Bson::Double(n) => n as i64,
        _ => 0,
    }
}
