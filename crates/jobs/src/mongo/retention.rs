//! What is kept, and for how long.

use std::time::Duration;

use common::Id;
use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};

use super::{Answer, Ledger, all, census::number, deleted, older, over_since};
use crate::{Expired, Job, Result};

impl Ledger {
    pub async fn expire(&self, expired: Expired, age: Duration, others_time: Duration) -> Result<Option<Job>> {
        let (filter, fields) = match expired {
            Expired::Video => {
                let claimed_long_ago = older("$video_expired_at", others_time);
                let free = doc! {"$or": [{"video_expired_at": null}, claimed_long_ago], "video_removed_at": null};
                (free, doc! {"video_expired_at": "$$NOW"})
            }
            Expired::Record => {
                let told_long_ago = doc! {"$and": [{"told_at": {"$ne": null}}, older("$told_at", others_time)]};
                let mailed = doc! {"mailed_at": {"$ne": null}};
                (doc! {"$or": [{"state": "cancelled"}, mailed, told_long_ago]}, deleted())
            }
        };
        self.update(all(vec![over_since(age), filter]), fields).await
    }

    pub async fn video_removed(&self, id: &Id) -> Result<bool> {
        let expired = doc! {"_id": id.as_str(), "video_expired_at": {"$ne": null}, "video_removed_at": null};
        self.moved(expired, doc! {"video_removed_at": "$$NOW"}).await
    }

    pub fn kept_bytes<'a>(&'a self, owner: &'a str) -> Answer<'a, u64> {
        Box::pin(async move {
            let nothing_if_null = |field: &str| doc! {"$ifNull": [field, 0_i64]};
            let is_there = doc! {"$eq": [{"$ifNull": ["$video_removed_at", null]}, null]};
            let video = doc! {"$cond": [is_there, nothing_if_null("$video_bytes"), 0_i64]};
            let kept = doc! {"$add": [video, nothing_if_null("$mp3_bytes"), crate::RECORD_BYTES as i64]};
            let sum = [
                doc! {"$match": {"owner": owner, "state": {"$ne": "deleting"}}},
                doc! {"$group": {"_id": null, "bytes": {"$sum": kept}}},
            ];
            let found = self.run(|records| async move { records.aggregate(sum).await?.try_collect::<Vec<_>>().await });
            let found: Vec<Document> = found.await?;
            let bytes = found.first().and_then(|sum| sum.get("bytes")).map_or(0, number);
            Ok(bytes.unsigned_abs())
        })
    }
}
