//! The ledger in MongoDB. Times are the server's (`$$NOW`), so that workers' clocks do not matter.

mod census;
mod line;
mod record;
mod retention;

use std::{collections::HashSet, sync::Arc, time::Duration};

use common::{
    Id, Secret,
    fault::{Mutant, Point},
};
use futures_util::{TryStreamExt, future::BoxFuture};
use mongodb::{
    Collection, IndexModel,
    bson::{Bson, DateTime, Document, doc},
    options::{IndexOptions, ReturnDocument},
};
use time::OffsetDateTime;
use tokio::sync::OnceCell;

use self::{census::Census, record::Record};
use crate::{Cursor, Error, GONE, Job, MENDING, NewJob, Output, REMEMBERED, Result, Role, State, Stuck};

/// The server's code for a key that is there already.
const DUPLICATE_KEY: i32 = 11_000;

#[derive(Clone, Debug)]
pub struct Ledger {
    records: Collection<Record>,
    workers: Collection<Document>,
    /// Since when there have been workers of a kind.
    roles: Collection<Document>,
    /// Notes of records that were removed.
    removed: Collection<Document>,
    census: Census,
    indexed: Arc<OnceCell<()>>,
    /// For a single request.
    limit: Duration,
}

/// The states out of which a job can still move by itself.
fn active() -> Bson {
    ["uploading", "stored", "queued", "converting"].map(Bson::from).to_vec().into()
}

fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

/// True for a field that lies at least `age` in the past.
fn older(field: &str, age: Duration) -> Document {
    doc! {"$expr": {"$lte": [field, {"$subtract": ["$$NOW", millis(age)]}]}}
}

fn all(conditions: Vec<Document>) -> Document {
    doc! {"$and": conditions}
}

/// In a box: the compiler puts the body of an `async fn` into every crate that awaits it. What calls
/// the driver, whose code is generic, is compiled here instead, once for all services.
type Answer<'a, T> = BoxFuture<'a, Result<T>>;

impl Ledger {
    pub async fn connect(url: &Secret, limit: Duration) -> anyhow::Result<Self> {
        let database = mongo::client(url).await?.database("mp3converter");
        let (records, workers) = (database.collection("jobs"), database.collection("workers"));
        let (roles, removed) = (database.collection("roles"), database.collection("removed"));
        let census = Census::new(&database, limit);
        Ok(Self { records, workers, roles, removed, census, indexed: Arc::default(), limit })
    }

    async fn run<T, F>(&self, request: impl FnOnce(Collection<Record>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = mongodb::error::Result<T>> + Send + 'static,
    {
        limited(self.limit, request(self.records.clone())).await
    }

    fn make_indexes(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let unique = IndexOptions::builder().unique(true).build();
            let sparse = IndexOptions::builder().sparse(true).build();
            let keyed = doc! {"key": {"$type": "string"}};
            let once =
                IndexOptions::builder().unique(!Mutant::OpenIndex.is_on()).partial_filter_expression(keyed).build();
            let indexes = [
                IndexModel::builder().keys(doc! {"owner": 1, "created_at": -1, "_id": -1}).build(),
                IndexModel::builder().keys(doc! {"video_fid": 1}).options(unique).build(),
                IndexModel::builder().keys(doc! {"mp3_fid": 1}).options(sparse).build(),
                IndexModel::builder().keys(doc! {"owner": 1, "key": 1}).options(once).build(),
                IndexModel::builder().keys(doc! {"state": 1, "updated_at": 1}).build(),
                IndexModel::builder().keys(doc! {"state": 1, "held": 1, "lined_up_at": 1, "_id": 1}).build(),
                IndexModel::builder().keys(doc! {"updated_at": 1}).build(),
                IndexModel::builder().keys(doc! {"told_at": 1, "state": 1}).build(),
                IndexModel::builder().keys(doc! {"state": 1, "ended_at": 1}).build(),
                IndexModel::builder().keys(doc! {"video_removed_at": 1, "state": 1, "ended_at": 1}).build(),
                IndexModel::builder().keys(doc! {"mailed_at": 1, "unmailed_at": 1, "state": 1, "told_at": 1}).build(),
            ];
            self.run(|records| async move { records.create_indexes(indexes).await.map(drop) }).await?;
            // Of the time before ends were noted.
            let over = doc! {"state": {"$in": ["done", "failed", "cancelled"]}, "ended_at": null};
            let ended = vec![doc! {"$set": {"ended_at": "$updated_at"}}];
            self.run(|records| async move { records.update_many(over, ended).await.map(drop) }).await?;
            let expires = IndexOptions::builder().expire_after(REMEMBERED).build();
            let (removed, by_age) = (self.removed.clone(), IndexModel::builder().keys(doc! {"at": 1}).options(expires));
            limited(self.limit, async move { removed.create_index(by_age.build()).await.map(drop) }).await
        })
    }

    pub async fn ping(&self) -> Result<()> {
        self.find_by(doc! {"_id": ""}).await.map(drop)
    }

    pub async fn create(&self, new: NewJob) -> Result<bool> {
        let id = new.id.clone();
        // A duplicate is either its own record, or another under the same key.
        Ok(self.insert(new, State::Uploading).await? || self.find("_id", &id).await?.is_some())
    }

    /// False: a record with this id, video or key is there already.
    pub async fn insert(&self, new: NewJob, state: State) -> Result<bool> {
        self.indexed.get_or_try_init(|| self.make_indexes()).await?;
        let id = new.id.clone();
        self.put(id, Record::begun(new, state)?).await
    }

    fn put(&self, id: Id, begun: Document) -> Answer<'_, bool> {
        // An insert could not ask for the server's time.
        let is_new = doc! {"$eq": [{"$type": "$state"}, "missing"]};
        let begin = vec![doc! {"$replaceWith": {"$cond": [is_new, begun, "$$ROOT"]}}];
        Box::pin(self.run(move |records| async move {
            match records.update_one(doc! {"_id": id.as_str()}, begin).upsert(true).await {
                Err(e) if is_duplicate(&e) => Ok(false),
                // What is there already is ours from before an answer that was lost, or somebody else's.
                outcome => outcome.map(|put| put.upserted_id.is_some()),
            }
        }))
    }

    pub async fn find(&self, key: &'static str, id: &Id) -> Result<Option<Job>> {
        self.find_by(doc! {key: id.as_str()}).await
    }

    fn find_by(&self, filter: Document) -> Answer<'_, Option<Job>> {
        Box::pin(async move {
            let found = self.run(|records| async move { records.find_one(filter).await }).await?;
            found.map(Job::try_from).transpose()
        })
    }

    fn find_all(&self, filter: Document, order: Document, limit: usize) -> Answer<'_, Vec<Job>> {
        Box::pin(async move {
            let found = self.run(|records| async move {
                records.find(filter).sort(order).limit(limit as i64).await?.try_collect::<Vec<_>>().await
            });
            found.await?.into_iter().map(Job::try_from).collect()
        })
    }

    pub fn removed<'a>(&'a self, ids: &'a [Id]) -> Answer<'a, HashSet<Id>> {
        Box::pin(async move {
            let ids: Vec<_> = ids.iter().map(Id::as_str).collect();
            let (removed, among) = (self.removed.clone(), doc! {"_id": {"$in": ids}});
            let found =
                limited(self.limit, async move { removed.find(among).await?.try_collect::<Vec<_>>().await }).await?;
            Ok(found.iter().filter_map(|note| note.get_str("_id").ok()?.parse().ok()).collect())
        })
    }

    pub async fn by_key(&self, owner: &str, key: &str) -> Result<Option<Job>> {
        self.find_by(doc! {"owner": owner, "key": key}).await
    }

    /// One move: where `filter` holds, set `fields` (values may be aggregation expressions).
    fn update(&self, filter: Document, mut fields: Document) -> Answer<'_, Option<Job>> {
        fields.insert("updated_at", "$$NOW");
        let pipeline = vec![doc! {"$set": fields}];
        Box::pin(async move {
            let moved = self.run(|records| async move {
                let oldest = doc! {"updated_at": 1};
                records.find_one_and_update(filter, pipeline).sort(oldest).return_document(ReturnDocument::After).await
            });
            moved.await?.map(Job::try_from).transpose()
        })
    }

    async fn moved(&self, filter: Document, fields: Document) -> Result<bool> {
        Ok(self.update(filter, fields).await?.is_some())
    }

    pub async fn still_uploading(&self, id: &Id) -> Result<bool> {
        self.moved(doc! {"_id": id.as_str(), "state": "uploading"}, doc! {}).await
    }

    pub async fn abandon(&self, id: &Id) -> Result<bool> {
        self.moved(doc! {"_id": id.as_str(), "state": "uploading"}, deleted()).await
    }

    pub async fn stored(&self, id: &Id, video_bytes: u64) -> Result<Option<Job>> {
        let fields = doc! {"state": "stored", "video_bytes": video_bytes as i64, "lined_up_at": "$$NOW"};
        if let Some(job) = self.update(doc! {"_id": id.as_str(), "state": "uploading"}, fields).await? {
            return Ok(Some(job));
        }
        // The driver repeats a move whose answer was lost, and the second one finds it made.
        Ok(self.find("_id", id).await?.filter(|job| job.was_accepted_with(video_bytes)))
    }

    pub async fn queued(&self, id: &Id) -> Result<bool> {
        self.moved(doc! {"_id": id.as_str(), "state": "stored"}, doc! {"state": "queued"}).await
    }

    pub async fn take(&self, id: &Id, output: &Id, ttl: Duration) -> Result<Option<Job>> {
        let free = doc! {"$or": [
            {"state": {"$in": ["stored", "queued"]}},
            all(vec![doc! {"state": "converting"}, older("$lease_until", Duration::ZERO)]),
        ]};
        let fields = doc! {
            "state": "converting",
            "percent": 0,
            "attempt": {"$add": ["$attempt", 1]},
            "attempts_before": and_unheard(),
            "heard": false,
            "outputs": {"$concatArrays": ["$outputs", [output.as_str()]]},
            "lease_until": {"$add": ["$$NOW", millis(ttl)]},
            "leased_at": "$$NOW",
        };
        self.update(all(vec![doc! {"_id": id.as_str()}, free]), fields).await
    }

    fn held(id: &Id, attempt: u32) -> Document {
        doc! {"_id": id.as_str(), "state": "converting", "attempt": attempt as i32}
    }

    pub async fn renew(&self, id: &Id, attempt: u32, percent: u8, ttl: Duration) -> Result<bool> {
        let fields =
            doc! {"percent": i32::from(percent), "heard": true, "lease_until": {"$add": ["$$NOW", millis(ttl)]}};
        self.moved(Self::held(id, attempt), fields).await
    }

    pub async fn release(&self, id: &Id, attempt: u32) -> Result<bool> {
        let fields = doc! {"state": "queued", "percent": 0, "attempts_before": {"$add": ["$attempts_before", 1]}};
        self.moved(Self::held(id, attempt), fields).await
    }

    pub async fn done(&self, id: &Id, attempt: u32, output: &Output) -> Result<Option<Job>> {
        let fields = doc! {
            "state": "done",
            "percent": 100,
            "mp3_fid": output.mp3_fid.as_str(),
            "mp3_bytes": output.mp3_bytes as i64,
            "duration_s": output.duration.as_secs_f64(),
            "ended_at": "$$NOW",
        };
        if let Some(job) = self.update(Self::held(id, attempt), fields).await? {
            return Ok(Some(job));
        }
        // As in `stored`: a repeated move finds its own result.
        Ok(self.find("_id", id).await?.filter(|job| job.mp3_fid.as_ref() == Some(&output.mp3_fid)))
    }

    pub async fn failed(&self, id: &Id, attempt: u32, reason: &str) -> Result<Option<Job>> {
        // A reason is a text, never an expression, even if it begins with a dollar sign.
        let fields = doc! {"state": "failed", "reason": {"$literal": reason}, "ended_at": "$$NOW"};
        if let Some(job) = self.update(Self::held(id, attempt), fields).await? {
            return Ok(Some(job));
        }
        Ok(self.find("_id", id).await?.filter(|job| job.state == State::Failed && job.attempt == attempt))
    }

    pub async fn done_elsewhere(&self, id: &Id, mp3_fid: &Id) -> Result<bool> {
        let fields = doc! {
            "state": "done",
            "percent": 100,
            "mp3_fid": mp3_fid.as_str(),
            "told_at": "$$NOW",
            "ended_at": "$$NOW",
        };
        self.moved(doc! {"_id": id.as_str(), "state": {"$in": active()}}, fields).await
    }

    pub async fn note(&self, id: &Id, run: u32, field: &'static str) -> Result<bool> {
        self.moved(doc! {"_id": id.as_str(), "run": run as i32, field: null}, doc! {field: "$$NOW"}).await
    }

    pub async fn retold(&self, id: &Id, run: u32) -> Result<bool> {
        let unmailed = doc! {"_id": id.as_str(), "run": run as i32, "unmailed_at": null};
        self.moved(unmailed, doc! {"unmailed_at": "$$NOW", "told_at": "$$NOW"}).await
    }

    pub async fn cancel(&self, id: &Id) -> Result<bool> {
        let fields = doc! {"state": "cancelled", "ended_at": "$$NOW"};
        self.moved(doc! {"_id": id.as_str(), "state": {"$in": active()}}, fields).await
    }

    pub async fn retry(&self, id: &Id) -> Result<bool> {
        let fields = doc! {
            "state": "stored",
            "percent": 0,
            "reason": null,
            "run": {"$add": ["$run", 1]},
            "attempts_before": "$attempt",
            "told_at": null,
            "mailed_at": null,
            "unmailed_at": null,
            "ended_at": null,
            "lined_up_at": "$$NOW",
        };
        let again = doc! {"_id": id.as_str(), "state": {"$in": ["failed", "cancelled"]}, "video_expired_at": null};
        self.moved(again, fields).await
    }

    pub async fn deleting(&self, id: &Id) -> Result<Option<Job>> {
        let over = ["done", "failed", "cancelled", "deleting"].map(Bson::from).to_vec();
        self.update(doc! {"_id": id.as_str(), "state": {"$in": over}}, deleted()).await
    }

    pub async fn tidied(&self, id: &Id, outputs: &[Id]) -> Result<bool> {
        let outputs: Vec<_> = outputs.iter().map(Id::as_str).collect();
        let over = ["done", "failed", "cancelled"].map(Bson::from).to_vec();
        let same = doc! {"_id": id.as_str(), "state": {"$in": over}, "outputs": outputs};
        self.moved(same, doc! {"outputs": counting()}).await
    }

    pub fn remove<'a>(&'a self, id: &'a Id) -> Answer<'a, bool> {
        Box::pin(async move {
            let filter = doc! {"_id": id.as_str(), "state": "deleting"};
            // Noted first: a record that is being deleted has no way back.
            let note = [
                doc! {"$match": &filter},
                doc! {"$project": {"at": "$$NOW"}},
                doc! {"$merge": {"into": self.removed.name()}},
            ];
            self.run(|records| async move { records.aggregate(note).await.map(drop) }).await?;
            Point::Remembered.pass();
            let removed = self.run(|records| async move { records.delete_one(filter).await }).await?;
            Ok(removed.deleted_count > 0)
        })
    }

    pub async fn list(&self, owner: &str, cursor: Option<&Cursor>, limit: usize) -> Result<Vec<Job>> {
        let mut filter = doc! {"owner": owner, "state": {"$ne": "deleting"}};
        if let Some(Cursor { created_ms, id }) = cursor {
            let at = DateTime::from_millis(*created_ms);
            filter.insert(
                "$or",
                [doc! {"created_at": {"$lt": at}}, doc! {"created_at": at, "_id": {"$lt": id.as_str()}}].to_vec(),
            );
        }
        self.find_all(filter, doc! {"created_at": -1, "_id": -1}, limit).await
    }

    pub async fn standing(&self, age: Duration, limit: usize) -> Result<Vec<Job>> {
        let going = ["uploading", "stored", "queued", "converting", "deleting"].map(Bson::from).to_vec();
        let untold = doc! {"state": {"$in": ["done", "failed"]}, "told_at": null};
        let filter = all(vec![doc! {"$or": [{"state": {"$in": going}}, untold]}, older("$updated_at", age)]);
        self.find_all(filter, doc! {"updated_at": 1}, limit).await
    }

    pub fn census(&self, every: Duration) -> Answer<'_, Option<crate::Census>> {
        Box::pin(async move {
            // It counts along one of them.
            self.indexed.get_or_try_init(|| self.make_indexes()).await?;
            self.census.of(&self.records.clone_with_type(), every).await
        })
    }

    pub async fn changed(&self, since: Option<OffsetDateTime>, limit: usize) -> Result<Vec<Job>> {
        let (filter, order, limit) = match since {
            Some(since) => {
                let since = DateTime::from_millis((since.unix_timestamp_nanos() / 1_000_000) as i64);
                (doc! {"updated_at": {"$gte": since}}, 1, limit)
            }
            None => (doc! {}, -1, 1),
        };
        self.find_all(filter, doc! {"updated_at": order}, limit).await
    }

    pub fn here<'a>(&'a self, worker: &'a Id, role: &'static str) -> Answer<'a, ()> {
        Box::pin(async move {
            let (workers, key) = (self.workers.clone(), doc! {"_id": worker.as_str()});
            let lately = doc! {"$gt": ["$seen_at", {"$subtract": ["$$NOW", millis(GONE)]}]};
            let since = doc! {"$cond": [lately, "$since", "$$NOW"]};
            let seen = vec![doc! {"$set": {"role": role, "seen_at": "$$NOW"}}];
            let (roles, since) = (self.roles.clone(), vec![doc! {"$set": {"since": since, "seen_at": "$$NOW"}}]);
            limited(self.limit, async move {
                roles.update_one(doc! {"_id": role}, since).upsert(true).await?;
                workers.update_one(key, seen).upsert(true).await.map(drop)
            })
            .await
        })
    }

    pub fn any(&self, role: &'static str, age: Duration) -> Answer<'_, bool> {
        Box::pin(async move {
            let (workers, gone) = (self.workers.clone(), older("$seen_at", GONE));
            let lately = doc! {"$expr": {"$gt": ["$seen_at", {"$subtract": ["$$NOW", millis(age)]}]}};
            limited(self.limit, async move {
                workers.delete_many(gone).await?;
                Ok(workers.find_one(all(vec![doc! {"role": role}, lately])).await?.is_some())
            })
            .await
        })
    }

    fn since(&self, role: &'static str) -> Answer<'_, Option<DateTime>> {
        Box::pin(async move {
            let roles = self.roles.clone();
            let found = limited(self.limit, async move { roles.find_one(doc! {"_id": role}).await }).await?;
            Ok(found.and_then(|role| role.get_datetime("since").ok().copied()))
        })
    }

    pub async fn claim(&self, stuck: Stuck, age: Duration) -> Result<Option<Job>> {
        let still = || older("$updated_at", age);
        let (filter, fields) = match stuck {
            Stuck::Upload => (vec![doc! {"state": "uploading"}, still()], deleted()),
            Stuck::Stored => (vec![doc! {"state": "stored", "held": {"$ne": true}}, still()], doc! {}),
            Stuck::Queued => (vec![doc! {"state": "queued"}, still()], doc! {}),
            Stuck::Lease => {
                let fields = doc! {"state": "stored", "attempts_before": and_unheard()};
                (vec![doc! {"state": "converting"}, older("$lease_until", age)], fields)
            }
            Stuck::Untold => (vec![doc! {"state": {"$in": ["done", "failed"]}, "told_at": null}, still()], doc! {}),
            Stuck::Unmailed => {
                let Some(since) = self.since(Role::Notification.name()).await? else { return Ok(None) };
                let over = doc! {"state": {"$in": ["done", "failed"]}, "told_at": {"$gte": since}};
                let claimed = older("$updated_at", age.min(MENDING));
                (vec![doc! {"mailed_at": null, "unmailed_at": null}, over, older("$told_at", age), claimed], doc! {})
            }
            Stuck::Deleting => (vec![doc! {"state": "deleting"}, still()], doc! {}),
            Stuck::Untidy => {
                let others = doc! {"$expr": {"$ne": ["$outputs", counting()]}};
                (vec![doc! {"state": {"$in": ["done", "failed", "cancelled"]}}, others, still()], doc! {})
            }
        };
        self.update(all(filter), fields).await
    }
}

/// What can be over for good, and has been for so long.
fn over_since(age: Duration) -> Document {
    let over = doc! {"state": {"$in": ["done", "failed", "cancelled"]}, "ended_at": {"$type": "date"}};
    all(vec![over, older("$ended_at", age)])
}

/// Leases that do not count, and the present one, if its worker may never have heard that it has it.
fn and_unheard() -> Document {
    let unheard = doc! {"$and": [{"$eq": ["$state", "converting"]}, {"$eq": ["$heard", false]}]};
    doc! {"$add": ["$attempts_before", {"$cond": [unheard, 1, 0]}]}
}

/// The outputs that a record has when there is none that does not count.
fn counting() -> Document {
    doc! {"$cond": [{"$gt": ["$mp3_fid", null]}, ["$mp3_fid"], []]}
}

/// What a record becomes when its end is decided: its key is free for the next upload.
fn deleted() -> Document {
    doc! {"state": "deleting", "key": "$$REMOVE"}
}

/// Runs a request in a task of its own, which a caller's end or the time limit does not cut off.
async fn limited<T: Send + 'static>(
    limit: Duration,
    request: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
) -> Result<T> {
    match tokio::time::timeout(limit, tokio::spawn(request)).await {
        Ok(Ok(outcome)) => outcome.map_err(|e| Error(e.into())),
        Ok(Err(panic)) => Err(Error(panic.into())),
        Err(_) => Err(Error(anyhow::anyhow!("no answer within {limit:?}"))),
    }
}

fn is_duplicate(error: &mongodb::error::Error) -> bool {
    use mongodb::error::{ErrorKind, WriteFailure};
    matches!(error.kind.as_ref(), ErrorKind::Write(WriteFailure::WriteError(e)) if e.code == DUPLICATE_KEY)
}
