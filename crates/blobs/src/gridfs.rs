//! Files in GridFS: bucket `fs` of a database, as any GridFS client reads and writes them.
//!
//! The driver's own upload stream sends one chunk at a time and its download stream cannot
//! seek, so the chunks are written and read here.

mod chunk;
mod writer;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use common::{Id, Secret, fault::Point};
use futures_util::TryStreamExt;
use mongodb::{
    Collection, Database, IndexModel,
    bson::{Binary, Bson, Document, RawDocumentBuf, doc, oid::ObjectId, spec::BinarySubtype},
    error::{ErrorKind, WriteFailure},
    options::IndexOptions,
};
use tokio::sync::OnceCell;

pub use self::writer::Writer;
use crate::{Disk, Error, Meta, Stat, Usage};

/// GridFS' usual chunk size: with its envelope it fills a power of two in the server.
const CHUNK: usize = 255 * 1024;
/// Chunks in one insert: about 1 MiB.
const BATCH: usize = 4;
/// `IndexOptionsConflict` and `IndexKeySpecsConflict`: somebody made the index with other options.
const INDEX_CONFLICTS: [i32; 2] = [85, 86];

#[derive(Clone, Debug)]
pub struct Bucket {
    database: Database,
    files: Collection<Document>,
    chunks: Collection<RawDocumentBuf>,
    indexed: Arc<OnceCell<()>>,
    /// For a single request; above all none takes for ever.
    limit: Duration,
}

impl Bucket {
    pub async fn connect(url: &Secret, name: &str, limit: Duration) -> anyhow::Result<Self> {
        let database = mongo::client(url).await?.database(name);
        let (files, chunks) = (database.collection("fs.files"), database.collection("fs.chunks"));
        Ok(Self { database, files, chunks, indexed: Arc::default(), limit })
    }

    pub async fn ping(&self) -> Result<(), Error> {
        let database = self.database.clone();
        self.limited(async move { database.run_command(doc! {"ping": 1}).await.map(drop) }).await
    }

    pub async fn usage(&self) -> Result<Usage, Error> {
        let database = self.database.clone();
        let stats = self.limited(async move { database.run_command(doc! {"dbStats": 1}).await }).await?;
        let number = |key: &str| stats.get(key).and_then(integer);
        // As long as a database is empty, it has no disk.
        let disk = number("fsTotalSize").filter(|size| *size > 0).zip(number("fsUsedSize"));
        let disk = disk.map(|(size, used)| Disk { size, free: size.saturating_sub(used) });
        Ok(Usage { bytes: number("dataSize").unwrap_or(0), disk })
    }

    pub async fn create(&self, id: Id, meta: Meta) -> Result<Writer, Error> {
        self.indexed.get_or_try_init(|| self.make_indexes()).await?;
        Ok(Writer::new(self.clone(), Stat { id, length: 0, meta, block: CHUNK as u64 }))
    }

    /// The driver's own index on chunks is not unique, which lets a repeated insert corrupt a file.
    async fn make_indexes(&self) -> Result<(), Error> {
        let unique = IndexOptions::builder().unique(true).build();
        let by_chunk = IndexModel::builder().keys(doc! {"files_id": 1, "n": 1}).options(unique).build();
        let by_name = IndexModel::builder().keys(doc! {"filename": 1, "uploadDate": 1}).build();
        let (files, chunks) = (self.files.clone(), self.chunks.clone());
        let made = self.limited(async move {
            files.create_index(by_name).await.map(drop).or_else(ignore_conflict)?;
            chunks.create_index(by_chunk).await.map(drop).or_else(ignore_conflict)
        });
        made.await
    }

    pub async fn stat(&self, id: &Id) -> Result<Option<Stat>, Error> {
        let (files, key) = (self.files.clone(), oid(id));
        let found = self.limited(async move { files.find_one(doc! {"_id": key}).await }).await?;
        Ok(found.and_then(|file| {
            let meta = file.get_document("metadata").ok();
            let text = |key: &str| meta?.get_str(key).ok().map(str::to_owned);
            Some(Stat {
                id: id.clone(),
                length: integer(file.get("length")?)?,
                block: integer(file.get("chunkSize")?).filter(|size| *size > 0)?,
                meta: Meta {
                    username: text("username"),
                    filename: text("filename").or_else(|| file.get_str("filename").ok().map(str::to_owned)),
                    content_type: text("content_type"),
                    job_id: text("job_id").and_then(|id| id.parse().ok()),
                    waveform: text("waveform"),
                },
            })
        }))
    }

    /// Chunks `first..first + count`, each of exactly the length that the file's record says.
    pub async fn blocks(&self, file: &Stat, first: u64, count: u64) -> Result<Vec<Bytes>, Error> {
        let end = (first + count).min(file.length.div_ceil(file.block));
        if first >= end {
            return Ok(Vec::new());
        }
        let (chunks, key) = (self.chunks.clone(), oid(&file.id));
        let range = doc! {"files_id": key, "n": {"$gte": first as i64, "$lt": end as i64}};
        let wanted = (end - first) as u32;
        let found = self.limited(async move {
            // With a limit the server closes the cursor itself; else its end would be asked for as well.
            let find = chunks.find(range).sort(doc! {"n": 1}).limit(wanted.into()).batch_size(wanted);
            let mut cursor = find.await?;
            let mut found = Vec::with_capacity(wanted as usize);
            while cursor.advance().await? {
                let data = cursor.current().get_binary("data").map(|data| Bytes::copy_from_slice(data.bytes));
                found.push(data.ok());
            }
            Ok(found)
        });
        let expected = (first..end).map(|n| file.block.min(file.length - n * file.block));
        let found = found.await?;
        if found.len() as u64 != end - first {
            return Err(Error::Missing(file.id.clone()));
        }
        found
            .into_iter()
            .zip(expected)
            .map(|(data, length)| {
                data.filter(|data| data.len() as u64 == length).ok_or_else(|| Error::Missing(file.id.clone()))
            })
            .collect()
    }

    pub async fn delete(&self, id: &Id) -> Result<(), Error> {
        let (files, chunks, key) = (self.files.clone(), self.chunks.clone(), oid(id));
        // The record first: a reader finds a whole file or none.
        self.limited(async move {
            files.delete_one(doc! {"_id": key}).await?;
            Point::Unfiled.pass();
            chunks.delete_many(doc! {"files_id": key}).await.map(drop)
        })
        .await
    }

    pub async fn sweep(&self, age: Duration) -> Result<u64, Error> {
        let orphans = [
            doc! {"$match": {"files_id": {"$lt": oid(&Id::made_before(age))}}},
            doc! {"$sort": {"files_id": 1, "n": 1}},
            doc! {"$group": {"_id": "$files_id"}},
            doc! {"$lookup": {"from": "fs.files", "localField": "_id", "foreignField": "_id", "as": "file"}},
            doc! {"$match": {"file": []}},
            doc! {"$limit": 1_000},
        ];
        let (files, chunks) = (self.files.clone(), self.chunks.clone());
        self.limited(async move {
            let found: Vec<Document> = chunks.aggregate(orphans).allow_disk_use(true).await?.try_collect().await?;
            let mut ids: Vec<Bson> = found.into_iter().filter_map(|mut orphan| orphan.remove("_id")).collect();
            // The search took its time; a write may have ended meanwhile.
            let whole = files.distinct("_id", doc! {"_id": {"$in": &ids}}).await?;
            ids.retain(|id| !whole.contains(id));
            if !ids.is_empty() {
                chunks.delete_many(doc! {"files_id": {"$in": &ids}}).await?;
            }
            Ok(ids.len() as u64)
        })
        .await
    }

    /// Looks at `limit` records at the most, whosever they are, so that it never takes long.
    pub async fn list(&self, after: &Id, before: &Id, limit: usize) -> Result<Vec<(Id, Option<Id>)>, Error> {
        let range = doc! {"$gt": oid(after), "$lt": oid(before)};
        let files = self.files.clone();
        let found = self.limited(async move {
            let find = files.find(doc! {"_id": range}).projection(doc! {"metadata.job_id": 1});
            find.sort(doc! {"_id": 1}).limit(limit as i64).await?.try_collect::<Vec<_>>().await
        });
        let listed = found.await?.into_iter().filter_map(|file| {
            let id = file.get_object_id("_id").ok()?.to_hex().parse::<Id>().ok()?;
            let job = file.get_document("metadata").and_then(|meta| meta.get_str("job_id")).ok();
            Some((id, job.and_then(|job| job.parse::<Id>().ok())))
        });
        Ok(listed.collect())
    }

    /// Fails unless a file that is to be made has all its chunks: a sweep may have taken a write
    /// that went on for very long for remains.
    async fn expect_chunks(&self, file: ObjectId, count: u64) -> Result<(), Error> {
        let chunks = self.chunks.clone();
        let found = self.limited(async move { chunks.count_documents(doc! {"files_id": file}).await }).await?;
        let lost = || Error::Unavailable(anyhow::anyhow!("{found} of {count} chunks are left"));
        if found == count { Ok(()) } else { Err(lost()) }
    }

    /// Changes what chunk `n` holds from `at` on.
    async fn rewrite(&self, id: &Id, n: u32, at: usize, bytes: Vec<u8>) -> Result<(), Error> {
        let (chunks, key) = (self.chunks.clone(), doc! {"files_id": oid(id), "n": n as i32});
        let changed = self.limited(async move {
            let Some(chunk) = chunks.find_one(key.clone()).await? else { return Ok(false) };
            let mut data = chunk.get_binary("data").map(|data| data.bytes.to_vec()).unwrap_or_default();
            let Some(place) = data.get_mut(at..at + bytes.len()) else { return Ok(false) };
            place.copy_from_slice(&bytes);
            let data = Binary { subtype: BinarySubtype::Generic, bytes: data };
            Ok(chunks.update_one(key, doc! {"$set": {"data": data}}).await?.matched_count == 1)
        });
        if changed.await? { Ok(()) } else { Err(Error::Missing(id.clone())) }
    }

    /// Without a limit, for whoever cleans up has to know when it ends; the writer's patience has one.
    async fn insert_chunks(self, batch: Vec<RawDocumentBuf>) -> Result<(), Error> {
        let inserted = self.chunks.insert_many(batch).ordered(false).await;
        inserted.map(drop).map_err(|e| Error::Unavailable(e.into()))
    }

    /// Makes the file visible. Without a limit, as [`insert_chunks`](Self::insert_chunks).
    async fn insert_record(self, record: Document) -> Result<(), Error> {
        self.files.insert_one(record).await.map(drop).map_err(|e| Error::Unavailable(e.into()))
    }

    /// Runs a request in a task of its own, which a caller's end or the time limit does not cut off.
    async fn limited<T: Send + 'static>(
        &self,
        request: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.limit, tokio::spawn(request)).await {
            Ok(Ok(outcome)) => outcome.map_err(|e| Error::Unavailable(e.into())),
            Ok(Err(panic)) => Err(Error::Unavailable(panic.into())),
            Err(_) => Err(self.no_answer()),
        }
    }

    fn no_answer(&self) -> Error {
        Error::Unavailable(anyhow::anyhow!("no answer within {:?}", self.limit))
    }
}

fn ignore_conflict(error: mongodb::error::Error) -> mongodb::error::Result<()> {
    let code = match error.kind.as_ref() {
        ErrorKind::Command(command) => command.code,
        ErrorKind::Write(WriteFailure::WriteError(write)) => write.code,
        _ => return Err(error),
    };
    if INDEX_CONFLICTS.contains(&code) {
        tracing::warn!(code, "the store has an index of the same keys with other options, and keeps it");
        return Ok(());
    }
    Err(error)
}

fn oid(id: &Id) -> ObjectId {
    ObjectId::parse_str(id.as_str()).expect("an Id has the form of an ObjectId")
}

/// Numbers as the various drivers write them.
fn integer(value: &Bson) -> Option<u64> {
    match *value {
        Bson::Int32(n) => u64::try_from(n).ok(),
        Bson::Int64(n) => u64::try_from(n).ok(),
        Bson::Double(n) if n >= 0.0 => Some(n as u64),
        _ => None,
    }
}
