//! Files in GridFS: bucket `fs` of a database, as any GridFS client reads and writes them.
//!
//! The driver's own upload stream sends one chunk at a time and its download stream cannot
//! seek, so the chunks are written and read here.

mod chunk;

use std::{
    collections::VecDeque,
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use common::{Id, Secret};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use mongodb::{
    Client, Collection, Database, IndexModel,
    bson::{self, Bson, Document, RawDocumentBuf, doc, oid::ObjectId},
    error::{ErrorKind, WriteFailure},
    options::{ClientOptions, IndexOptions, WriteConcern},
};
use tokio::{sync::OnceCell, task::JoinHandle};

use self::chunk::Chunk;
use crate::{Error, Meta, Stat};

/// GridFS' usual chunk size: with its envelope it fills a power of two in the server.
const CHUNK: usize = 255 * 1024;
/// Chunks in one insert or one query: about 1 MiB.
const BATCH: usize = 4;
/// Inserts under way for one file while the next batch fills up.
const IN_FLIGHT: usize = 3;
/// No single request to the server takes longer; above all not for ever.
const LIMIT: Duration = Duration::from_secs(30);
/// `IndexOptionsConflict` and `IndexKeySpecsConflict`: somebody made the index with other options.
const INDEX_CONFLICTS: [i32; 2] = [85, 86];

#[derive(Clone, Debug)]
pub struct Bucket {
    database: Database,
    files: Collection<Document>,
    chunks: Collection<RawDocumentBuf>,
    indexed: Arc<OnceCell<()>>,
}

impl Bucket {
    pub async fn connect(url: &Secret, name: &str) -> anyhow::Result<Self> {
        let mut options = ClientOptions::parse(url.expose()).await?;
        options.app_name.get_or_insert_with(|| "mp3converter".to_owned());
        options.server_selection_timeout.get_or_insert(Duration::from_secs(5));
        options.connect_timeout.get_or_insert(Duration::from_secs(5));
        // A user is told "safe" on the strength of this; a weaker wish in the URL does not count.
        options.write_concern =
            Some(WriteConcern::builder().w(mongodb::options::Acknowledgment::Majority).journal(true).build());
        let database = Client::with_options(options)?.database(name);
        let (files, chunks) = (database.collection("fs.files"), database.collection("fs.chunks"));
        Ok(Self { database, files, chunks, indexed: Arc::default() })
    }

    pub async fn ping(&self) -> Result<(), Error> {
        let database = self.database.clone();
        limited(async move { database.run_command(doc! {"ping": 1}).await.map(drop) }).await
    }

    pub async fn create(&self, id: Id, meta: Meta) -> Result<Writer, Error> {
        self.indexed.get_or_try_init(|| self.make_indexes()).await?;
        Ok(Writer {
            bucket: self.clone(),
            file: oid(&id),
            stat: Stat { id, length: 0, meta, block: CHUNK as u64 },
            head: None,
            current: None,
            next: 0,
            batch: Vec::with_capacity(BATCH),
            inserts: VecDeque::new(),
            over: false,
        })
    }

    /// The driver's own index on chunks is not unique, which lets a repeated insert corrupt a file.
    async fn make_indexes(&self) -> Result<(), Error> {
        let unique = IndexOptions::builder().unique(true).build();
        let by_chunk = IndexModel::builder().keys(doc! {"files_id": 1, "n": 1}).options(unique).build();
        let by_name = IndexModel::builder().keys(doc! {"filename": 1, "uploadDate": 1}).build();
        let (files, chunks) = (self.files.clone(), self.chunks.clone());
        let made = limited(async move {
            files.create_index(by_name).await.map(drop).or_else(ignore_conflict)?;
            chunks.create_index(by_chunk).await.map(drop).or_else(ignore_conflict)
        });
        made.await
    }

    pub async fn stat(&self, id: &Id) -> Result<Option<Stat>, Error> {
        let (files, key) = (self.files.clone(), oid(id));
        let found = limited(async move { files.find_one(doc! {"_id": key}).await }).await?;
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
                },
            })
        }))
    }

    pub fn stream(&self, file: &Stat, range: Range<u64>) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        let (bucket, file) = (self.clone(), file.clone());
        let block = file.block;
        let step = (BATCH as u64 * CHUNK as u64 / block).max(1);
        let blocks = if range.is_empty() { 0..0 } else { range.start / block..range.end.div_ceil(block) };
        let end = blocks.end;
        stream::iter(blocks.step_by(step as usize))
            .map(move |first| {
                let (bucket, file, count) = (bucket.clone(), file.clone(), step.min(end - first));
                async move { Ok((first, bucket.blocks(&file, first, count).await?)) }
            })
            // One batch is on its way to the reader while the next comes from the server.
            .buffered(2)
            .map_ok(move |(first, blocks)| {
                let range = range.clone();
                stream::iter((first..).zip(blocks).map(move |(n, bytes)| {
                    let begins = n * block;
                    let from = range.start.saturating_sub(begins) as usize;
                    let to = (range.end - begins).min(bytes.len() as u64) as usize;
                    Ok(bytes.slice(from..to))
                }))
            })
            .try_flatten()
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
        let found = limited(async move {
            let mut cursor = chunks.find(range).sort(doc! {"n": 1}).batch_size(wanted).await?;
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
        limited(async move {
            files.delete_one(doc! {"_id": key}).await?;
            chunks.delete_many(doc! {"files_id": key}).await.map(drop)
        })
        .await
    }

    pub async fn sweep(&self, age: Duration) -> Result<u64, Error> {
        let Some(begun) = SystemTime::now().checked_sub(age) else { return Ok(0) };
        let seconds = begun.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs()) as u32;
        let mut youngest = [0; 12];
        youngest[..4].copy_from_slice(&seconds.to_be_bytes());
        let orphans = [
            doc! {"$match": {"files_id": {"$lt": ObjectId::from_bytes(youngest)}}},
            doc! {"$sort": {"files_id": 1, "n": 1}},
            doc! {"$group": {"_id": "$files_id"}},
            doc! {"$lookup": {"from": "fs.files", "localField": "_id", "foreignField": "_id", "as": "file"}},
            doc! {"$match": {"file": []}},
            doc! {"$limit": 1_000},
        ];
        let chunks = self.chunks.clone();
        limited(async move {
            let found: Vec<Document> = chunks.aggregate(orphans).allow_disk_use(true).await?.try_collect().await?;
            let ids: Vec<Bson> = found.into_iter().filter_map(|mut orphan| orphan.remove("_id")).collect();
            if !ids.is_empty() {
                chunks.delete_many(doc! {"files_id": {"$in": &ids}}).await?;
            }
            Ok(ids.len() as u64)
        })
        .await
    }

    async fn insert(self, batch: Vec<RawDocumentBuf>) -> Result<(), Error> {
        limited(async move { self.chunks.insert_many(batch).ordered(false).await.map(drop) }).await
    }
}

/// See [`crate::Writer`].
#[derive(Debug)]
pub struct Writer {
    bucket: Bucket,
    file: ObjectId,
    stat: Stat,
    /// Chunk 0, kept back until the end because it may still be corrected.
    head: Option<Chunk>,
    current: Option<Chunk>,
    /// The number of the chunk after `current`.
    next: u32,
    batch: Vec<RawDocumentBuf>,
    inserts: VecDeque<JoinHandle<Result<(), Error>>>,
    over: bool,
}

impl Writer {
    pub fn written(&self) -> u64 {
        self.stat.length
    }

    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        self.stat.length += bytes.len() as u64;
        while !bytes.is_empty() {
            let (file, next) = (self.file, &mut self.next);
            let chunk = self.current.get_or_insert_with(|| {
                let chunk = Chunk::new(ObjectId::new().bytes(), file.bytes(), *next, CHUNK);
                *next += 1;
                chunk
            });
            bytes = chunk.fill(bytes);
            if chunk.is_full() {
                self.seal()?;
                if self.batch.len() == BATCH {
                    self.send().await?;
                }
            }
        }
        Ok(())
    }

    pub fn rewrite_head(&mut self, offset: usize, bytes: &[u8]) {
        let head = self.head.as_mut().or(self.current.as_mut());
        if let Some(place) = head.and_then(|chunk| chunk.data_mut().get_mut(offset..offset + bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }

    fn seal(&mut self) -> Result<(), Error> {
        match self.current.take() {
            Some(chunk) if self.next == 1 => self.head = Some(chunk),
            Some(chunk) => self.batch.push(document(chunk)?),
            None => {}
        }
        Ok(())
    }

    /// Puts the batch on its way, once there is room. Each insert is a task of its own: dropping
    /// a driver's future in mid-write leaves its connection in an unknown state.
    async fn send(&mut self) -> Result<(), Error> {
        while self.inserts.len() >= IN_FLIGHT {
            self.settle_one().await?;
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        self.inserts.push_back(tokio::spawn(self.bucket.clone().insert(batch)));
        Ok(())
    }

    async fn settle_one(&mut self) -> Result<(), Error> {
        match self.inserts.front_mut() {
            None => Ok(()),
            Some(insert) => {
                let outcome = insert.await;
                self.inserts.pop_front();
                outcome.map_err(|e| Error::Unavailable(e.into()))?
            }
        }
    }

    pub async fn finish(mut self) -> Result<Stat, Error> {
        // In a task of its own, so that a caller who stops waiting does not cut it in two.
        let finished = tokio::spawn(async move {
            let outcome = self.commit().await;
            match outcome {
                Ok(()) => self.over = true,
                Err(_) => self.discard().await,
            }
            outcome.map(|()| self.stat.clone())
        });
        finished.await.map_err(|e| Error::Unavailable(e.into()))?
    }

    async fn commit(&mut self) -> Result<(), Error> {
        self.seal()?;
        if let Some(head) = self.head.take() {
            self.batch.push(document(head)?);
        }
        if !self.batch.is_empty() {
            self.send().await?;
        }
        while !self.inserts.is_empty() {
            self.settle_one().await?;
        }
        let meta = &self.stat.meta;
        let mut metadata = Document::new();
        for (key, value) in [
            ("username", meta.username.as_deref()),
            ("filename", meta.filename.as_deref()),
            ("content_type", meta.content_type.as_deref()),
            ("job_id", meta.job_id.as_ref().map(Id::as_str)),
        ] {
            metadata.extend(value.map(|value| (key.to_owned(), Bson::from(value))));
        }
        let mut record = doc! {
            "_id": self.file,
            "length": self.stat.length as i64,
            "chunkSize": CHUNK as i32,
            "uploadDate": bson::DateTime::now(),
            "metadata": metadata,
        };
        record.extend(meta.filename.as_ref().map(|name| ("filename".to_owned(), Bson::from(name))));
        let files = self.bucket.files.clone();
        limited(async move { files.insert_one(record).await.map(drop) }).await
    }

    pub async fn abort(mut self) {
        self.discard().await;
    }

    async fn discard(&mut self) {
        self.over = true;
        discard(self.bucket.clone(), self.stat.id.clone(), std::mem::take(&mut self.inserts)).await;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.over
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let inserts = std::mem::take(&mut self.inserts);
            runtime.spawn(discard(self.bucket.clone(), self.stat.id.clone(), inserts));
        }
    }
}

/// Removes what was written, after the last insert has ended: a chunk must not arrive behind the broom.
async fn discard(bucket: Bucket, id: Id, inserts: VecDeque<JoinHandle<Result<(), Error>>>) {
    for insert in inserts {
        let _ = insert.await;
    }
    if let Err(error) = bucket.delete(&id).await {
        tracing::warn!(blob.id = %id, %error, "remains of an interrupted write were left for the sweep");
    }
}

/// Runs a request in a task of its own, which a caller's end or the time limit does not cut off.
async fn limited<T: Send + 'static>(
    request: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::time::timeout(LIMIT, tokio::spawn(request)).await {
        Ok(Ok(outcome)) => outcome.map_err(|e| Error::Unavailable(e.into())),
        Ok(Err(panic)) => Err(Error::Unavailable(panic.into())),
        Err(_) => Err(Error::Unavailable(anyhow::anyhow!("no answer within {} s", LIMIT.as_secs()))),
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

fn document(chunk: Chunk) -> Result<RawDocumentBuf, Error> {
    RawDocumentBuf::from_bytes(chunk.into_document()).map_err(|e| Error::Unavailable(e.into()))
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
