//! Stored files: put, get (whole or a range) and delete, wherever they are kept.
//!
//! `mongodb://` keeps them in GridFS, `file:` in a folder. A file is written once under an id
//! of its own, is visible to readers only when complete, and is never changed afterwards.

mod file;
mod gridfs;
mod readahead;

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use common::{Id, Secret};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

pub use readahead::ReadAhead;

/// What a single request to the store's server may take, unless somebody says otherwise.
pub const LIMIT: Duration = Duration::from_secs(30);
/// What [`Blobs::stream`] reads at once, in bytes, or a whole block if that is more.
const BATCH: u64 = 1 << 20;

/// One store of files, such as the uploads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    backend: Backend,
}

#[derive(Clone, Debug)]
enum Backend {
    GridFs(gridfs::Bucket),
    File(file::Folder),
}

/// What is known about a file beside its bytes. All of it is optional on files made by others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    /// The owner's e-mail address.
    pub username: Option<String>,
    /// As the client named it.
    pub filename: Option<String>,
    pub content_type: Option<String>,
    pub job_id: Option<Id>,
    /// Of a sound, how loud it is, in points of two hexadecimal digits each.
    pub waveform: Option<String>,
}

impl Meta {
    /// The points of the waveform, from 0 to 255, if they are known.
    pub fn points(&self) -> Option<Vec<u8>> {
        let digits = self.waveform.as_deref()?.as_bytes().chunks(2);
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
    }
}

/// A complete file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    pub id: Id,
    /// In bytes.
    pub length: u64,
    pub meta: Meta,
    /// The unit in which the store reads, in bytes.
    block: u64,
}

/// What a store takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Of all that is in it, remains included.
    pub bytes: u64,
    /// The disk that it is on, if the store tells; one that was never used may not.
    pub disk: Option<Disk>,
}

/// A disk, which others may use too. In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    pub size: u64,
    pub free: u64,
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server did not answer or answered with an error, the disk is full or gone; again
    /// later may help.
    #[error("the store does not answer: {0}")]
    Unavailable(#[source] anyhow::Error),
    /// The file, or a part of it, is not there.
    #[error("the file {0} is not complete in the store")]
    Missing(Id),
}

impl From<Error> for std::io::Error {
    fn from(e: Error) -> Self {
        let kind = match e {
            Error::Unavailable(_) => std::io::ErrorKind::ConnectionAborted,
            Error::Missing(_) => std::io::ErrorKind::NotFound,
        };
        Self::new(kind, e)
    }
}

impl Blobs {
    /// The store called `name` at `url`. `mongodb://`, `mongodb+srv://`: the database `name`;
    /// connects when first used, and again whenever needed; fails only on an unusable URL. No
    /// single request takes longer than `limit`.
    /// `file:/PATH` (special characters as `%xx`): the folder `name` in that one, made if it is
    /// missing; fails when it cannot be.
    pub async fn connect(url: &Secret, name: &str, limit: Duration) -> anyhow::Result<Self> {
        let scheme = url.expose().split_once(':').map_or("", |(scheme, _)| scheme);
        let backend = match scheme {
            "mongodb" | "mongodb+srv" => Backend::GridFs(gridfs::Bucket::connect(url, name, limit).await?),
            "file" => Backend::File(file::Folder::connect(url, name).await?),
            other => anyhow::bail!("no store is known for {other:?} URLs"),
        };
        Ok(Self { backend })
    }

    /// Begins a file. `id` must be fresh: never one that was used before, not even in vain.
    pub async fn create(&self, id: Id, meta: Meta) -> Result<Writer, Error> {
        let inner = match &self.backend {
            Backend::GridFs(bucket) => WriterInner::GridFs(bucket.create(id, meta).await?),
            Backend::File(folder) => WriterInner::File(folder.create(id, meta).await?),
        };
        Ok(Writer { inner })
    }

    /// The file called `id`, if it is there and complete.
    pub async fn stat(&self, id: &Id) -> Result<Option<Stat>, Error> {
        match &self.backend {
            Backend::GridFs(bucket) => bucket.stat(id).await,
            Backend::File(folder) => folder.stat(id).await,
        }
    }

    /// The bytes of `range`, in order, a few blocks ahead of the reader.
    pub fn stream(&self, file: &Stat, range: Range<u64>) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        let range = range.start.min(file.length)..range.end.min(file.length);
        let (blobs, file) = (self.clone(), file.clone());
        let block = file.block;
        let step = (BATCH / block).max(1);
        let blocks = if range.is_empty() { 0..0 } else { range.start / block..range.end.div_ceil(block) };
        let end = blocks.end;
        stream::iter(blocks.step_by(step as usize))
            .map(move |first| {
                let (blobs, file, count) = (blobs.clone(), file.clone(), step.min(end - first));
                async move { Ok((first, blobs.blocks(&file, first, count).await?)) }
            })
            // One batch is on its way to the reader while the next comes from the store.
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

    /// Whole blocks `first..first + count` as they are stored, fewer at the file's end.
    async fn blocks(&self, file: &Stat, first: u64, count: u64) -> Result<Vec<Bytes>, Error> {
        match &self.backend {
            Backend::GridFs(bucket) => bucket.blocks(file, first, count).await,
            Backend::File(folder) => folder.blocks(file, first, count).await,
        }
    }

    /// Removes the file and whatever an interrupted write left under its id. Not there: success.
    pub async fn delete(&self, id: &Id) -> Result<(), Error> {
        match &self.backend {
            Backend::GridFs(bucket) => bucket.delete(id).await,
            Backend::File(folder) => folder.delete(id).await,
        }
    }

    /// Removes remains of interrupted writes begun more than `age` ago; says of how many.
    pub async fn sweep(&self, age: Duration) -> Result<u64, Error> {
        match &self.backend {
            Backend::GridFs(bucket) => bucket.sweep(age).await,
            Backend::File(folder) => folder.sweep(age).await,
        }
    }

    /// The whole files between two ids, in their order, `limit` at the most: each with the job that it is of, if it
    /// says so.
    pub async fn list(&self, after: &Id, before: &Id, limit: usize) -> Result<Vec<(Id, Option<Id>)>, Error> {
        match &self.backend {
            Backend::GridFs(bucket) => bucket.list(after, before, limit).await,
            Backend::File(folder) => folder.list(after, before, limit).await,
        }
    }

    /// What the store takes up. `mongodb://` asks the server's books; `file:` looks at every file.
    pub async fn usage(&self) -> Result<Usage, Error> {
        match &self.backend {
            Backend::GridFs(bucket) => bucket.usage().await,
            Backend::File(folder) => folder.usage().await,
        }
    }

    /// Whether the store answers.
    pub async fn ping(&self) -> Result<(), Error> {
        match &self.backend {
            Backend::GridFs(bucket) => bucket.ping().await,
            Backend::File(folder) => folder.ping().await,
        }
    }
}

/// A file being written. Dropped before [`Writer::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Writer {
    inner: WriterInner,
}

#[derive(Debug)]
enum WriterInner {
    GridFs(gridfs::Writer),
    File(file::Writer),
}

impl Writer {
    /// Makes it cheap to [`rewrite`](Self::rewrite) the first `bytes`: GridFS keeps them in memory until
    /// [`finish`](Self::finish). To be said before anything is written.
    #[must_use]
    pub fn keeping_head(mut self, bytes: usize) -> Self {
        if let WriterInner::GridFs(writer) = &mut self.inner {
            writer.keep_head(bytes);
        }
        self
    }

    /// Appends. Waits while too much is on its way to the store.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.inner {
            WriterInner::GridFs(writer) => writer.write(bytes).await,
            WriterInner::File(writer) => writer.write(bytes).await,
        }
    }

    /// Overwrites bytes already written. Outside of the head that is kept, GridFS waits for all that is
    /// on its way, and then changes a chunk in the store.
    ///
    /// # Panics
    /// When they were not written.
    pub async fn rewrite(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        assert!(offset.saturating_add(bytes.len() as u64) <= self.written(), "beyond what was written");
        match &mut self.inner {
            WriterInner::GridFs(writer) => writer.rewrite(offset, bytes).await,
            WriterInner::File(writer) => {
                writer.rewrite(offset, bytes);
                Ok(())
            }
        }
    }

    /// Notes how loud the sound is that was written: points from 0 to 255.
    pub fn note_waveform(&mut self, points: &[u8]) {
        let text = points.iter().map(|point| format!("{point:02x}")).collect();
        match &mut self.inner {
            WriterInner::GridFs(writer) => writer.meta_mut().waveform = Some(text),
            WriterInner::File(writer) => writer.meta_mut().waveform = Some(text),
        }
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        match &self.inner {
            WriterInner::GridFs(writer) => writer.written(),
            WriterInner::File(writer) => writer.written(),
        }
    }

    /// Makes the file durable and visible. After an error the file is not there, or the id is
    /// to be deleted: what the store did cannot be known when its answer was lost.
    pub async fn finish(self) -> Result<Stat, Error> {
        match self.inner {
            WriterInner::GridFs(writer) => writer.finish().await,
            WriterInner::File(writer) => writer.finish().await,
        }
    }

    /// Gives up and removes what was written.
    pub async fn abort(self) {
        match self.inner {
            WriterInner::GridFs(writer) => writer.abort().await,
            WriterInner::File(writer) => writer.abort().await,
        }
    }
}
