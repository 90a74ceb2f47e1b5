//! Writing one file: chunks fill up, go off in batches, and the record comes last.

use std::{collections::VecDeque, time::Duration};

use common::{Id, fault::Point};
use mongodb::bson::{Bson, DateTime, Document, RawDocumentBuf, doc, oid::ObjectId};
use tokio::{task::JoinHandle, time::Instant};

use super::{BATCH, Bucket, CHUNK, chunk::Chunk, oid};
use crate::{Error, Meta, Stat};

/// Inserts under way for one file while the next batch fills up.
const IN_FLIGHT: usize = 3;

/// One that is under way, and until when it is waited for. A task of its own: dropping a driver's future in
/// mid-write leaves its connection in an unknown state.
#[derive(Debug)]
struct Insert {
    task: JoinHandle<Result<(), Error>>,
    until: Instant,
}

impl Insert {
    fn begin(limit: Duration, insert: impl Future<Output = Result<(), Error>> + Send + 'static) -> Self {
        Self { task: tokio::spawn(insert), until: Instant::now() + limit }
    }
}

/// See [`crate::Writer`].
#[derive(Debug)]
pub struct Writer {
    bucket: Bucket,
    file: ObjectId,
    stat: Stat,
    /// The first so many chunks are kept back until the end, because they are going to be rewritten.
    kept: u32,
    head: Vec<Chunk>,
    current: Option<Chunk>,
    /// The number of the chunk after `current`.
    next: u32,
    batch: Vec<RawDocumentBuf>,
    inserts: VecDeque<Insert>,
    over: bool,
}

impl Writer {
    /// A writer of the file that `stat` describes, still empty.
    pub fn new(bucket: Bucket, stat: Stat) -> Self {
        Self {
            file: oid(&stat.id),
            bucket,
            stat,
            kept: 0,
            head: Vec::new(),
            current: None,
            next: 0,
            batch: Vec::with_capacity(BATCH),
            inserts: VecDeque::new(),
            over: false,
        }
    }

    pub fn meta_mut(&mut self) -> &mut Meta {
        &mut self.stat.meta
    }

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

    pub fn keep_head(&mut self, bytes: usize) {
        self.kept = bytes.div_ceil(CHUNK) as u32;
    }

    pub async fn rewrite(&mut self, offset: u64, mut bytes: &[u8]) -> Result<(), Error> {
        let (mut n, mut at) = ((offset / CHUNK as u64) as u32, (offset % CHUNK as u64) as usize);
        while !bytes.is_empty() {
            let (here, rest) = bytes.split_at(bytes.len().min(CHUNK - at));
            self.rewrite_chunk(n, at, here).await?;
            (n, at, bytes) = (n + 1, 0, rest);
        }
        Ok(())
    }

    async fn rewrite_chunk(&mut self, n: u32, at: usize, bytes: &[u8]) -> Result<(), Error> {
        let current = self.current.as_mut().filter(|_| n + 1 == self.next);
        if let Some(chunk) = current.or_else(|| self.head.get_mut(n as usize)) {
            chunk.data_mut()[at..at + bytes.len()].copy_from_slice(bytes);
            return Ok(());
        }
        if !self.batch.is_empty() {
            self.send().await?;
        }
        while !self.inserts.is_empty() {
            self.settle_one().await?;
        }
        self.bucket.rewrite(&self.stat.id, n, at, bytes.to_vec()).await
    }

    fn seal(&mut self) -> Result<(), Error> {
        match self.current.take() {
            Some(chunk) if self.next <= self.kept => self.head.push(chunk),
            Some(chunk) => self.batch.push(document(chunk)?),
            None => {}
        }
        Ok(())
    }

    /// Puts the batch on its way, once there is room.
    async fn send(&mut self) -> Result<(), Error> {
        while self.inserts.len() >= IN_FLIGHT {
            self.settle_one().await?;
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        self.inserts.push_back(Insert::begin(self.bucket.limit, self.bucket.clone().insert_chunks(batch)));
        Ok(())
    }

    async fn settle_one(&mut self) -> Result<(), Error> {
        let Some(insert) = self.inserts.front_mut() else { return Ok(()) };
        // One that has no answer yet stays: it may arrive all the same, and `discard` must know of it.
        let answered = tokio::time::timeout_at(insert.until, &mut insert.task).await;
        let outcome = answered.map_err(|_| self.bucket.no_answer())?;
        self.inserts.pop_front();
        outcome.map_err(|e| Error::Unavailable(e.into()))?
    }

    pub async fn finish(mut self) -> Result<Stat, Error> {
        // In a task of its own, so that a caller who stops waiting does not cut it in two.
        let finished = tokio::spawn(async move {
            let outcome = self.commit().await;
            match outcome {
                Ok(()) => self.over = true,
                // What is still on its way is waited for, but by nobody who waits: see `drop`.
                Err(_) if !self.inserts.is_empty() => {}
                Err(_) => self.discard().await,
            }
            outcome.map(|()| self.stat.clone())
        });
        finished.await.map_err(|e| Error::Unavailable(e.into()))?
    }

    async fn commit(&mut self) -> Result<(), Error> {
        self.seal()?;
        for chunk in std::mem::take(&mut self.head) {
            self.batch.push(document(chunk)?);
            if self.batch.len() == BATCH {
                self.send().await?;
            }
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
            ("waveform", meta.waveform.as_deref()),
            ("job_id", meta.job_id.as_ref().map(Id::as_str)),
        ] {
            metadata.extend(value.map(|value| (key.to_owned(), Bson::from(value))));
        }
        let mut record = doc! {
            "_id": self.file,
            "length": self.stat.length as i64,
            "chunkSize": CHUNK as i32,
            "uploadDate": DateTime::now(),
            "metadata": metadata,
        };
        record.extend(meta.filename.as_ref().map(|name| ("filename".to_owned(), Bson::from(name))));
        self.bucket.expect_chunks(self.file, self.next.into()).await?;
        Point::Chunked.pass();
        self.inserts.push_back(Insert::begin(self.bucket.limit, self.bucket.clone().insert_record(record)));
        self.settle_one().await
    }

    /// Waits until what was written is gone, but not for ever: it goes on by itself.
    pub async fn abort(mut self) {
        let gone = tokio::spawn(self.discard());
        let _ = tokio::time::timeout(self.bucket.limit, gone).await;
    }

    fn discard(&mut self) -> impl Future<Output = ()> + Send + use<> {
        self.over = true;
        discard(self.bucket.clone(), self.stat.id.clone(), std::mem::take(&mut self.inserts))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.over
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(self.discard());
        }
    }
}

/// Removes what was written, after the last insert has ended: a chunk must not arrive behind the broom.
async fn discard(bucket: Bucket, id: Id, inserts: VecDeque<Insert>) {
    for insert in inserts {
        let _ = insert.task.await;
    }
    if let Err(error) = bucket.delete(&id).await {
        tracing::warn!(blob.id = %id, %error, "remains of an interrupted write were left for the sweep");
    }
}

fn document(chunk: Chunk) -> Result<RawDocumentBuf, Error> {
    RawDocumentBuf::from_bytes(chunk.into_document()).map_err(|e| Error::Unavailable(e.into()))
}
