//! Files in a folder: `STORE/ID` holds the bytes and `STORE/ID.json` what is known of them.
//!
//! Both are written under temporary names and renamed when they are on disk, the bytes last:
//! their name is what makes a file be there. Whatever dies in between leaves temporaries, or
//! knowledge of a file that does not exist; the sweep removes either.

mod writer;

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use bytes::Bytes;
use common::{Id, Secret, fault::Point};
use percent_encoding::percent_decode_str;

pub use self::writer::Writer;
use crate::{Disk, Error, Meta, Stat, Usage};

/// What is read at once at the least; small enough for a reader that jumps about.
const BLOCK: u64 = 256 * 1024;
/// Ends the name of what is not yet complete.
const PARTIAL: &str = ".part";
const KNOWLEDGE: &str = ".json";

#[derive(Clone, Debug)]
pub struct Folder {
    path: Arc<Path>,
}

impl Folder {
    pub async fn connect(url: &Secret, store: &str) -> anyhow::Result<Self> {
        let path = url.expose().strip_prefix("file:").unwrap_or_default();
        // file:///path and file:/path name the same.
        let path = path.strip_prefix("//").unwrap_or(path);
        let path = percent_decode_str(path).decode_utf8().context("not the path of a folder")?;
        let path = Path::new(path.as_ref());
        anyhow::ensure!(path.is_absolute(), "an absolute path is expected after file:");
        let folder = Self { path: path.join(store).into() };
        let made = folder.clone();
        blocking(move || {
            fs::create_dir_all(&made.path)?;
            made.path.parent().map_or(Ok(()), sync_folder)
        })
        .await
        .with_context(|| format!("cannot make {}", folder.path.display()))?;
        Ok(folder)
    }

    pub async fn ping(&self) -> Result<(), Error> {
        let folder = self.clone();
        blocking(move || folder.check()).await.map_err(away)
    }

    pub async fn usage(&self) -> Result<Usage, Error> {
        let folder = self.clone();
        blocking(move || folder.measure()).await.map_err(away)
    }

    fn measure(&self) -> io::Result<Usage> {
        let mut bytes = 0;
        for entry in fs::read_dir(&*self.path)? {
            // What goes away while we look takes nothing up.
            bytes += self.unless_missing(entry?.metadata())?.map_or(0, |data| data.len());
        }
        let disk = rustix::fs::statvfs(&*self.path)?;
        let size = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok(Usage { bytes, disk: Some(Disk { size: size(disk.f_blocks), free: size(disk.f_bavail) }) })
    }

    pub async fn create(&self, id: Id, meta: Meta) -> Result<Writer, Error> {
        let folder = self.clone();
        let names = Names::new(&folder.path, &id);
        let partial = names.partial.clone();
        let file = blocking(move || File::options().write(true).create_new(true).open(partial)).await;
        let stat = Stat { id, length: 0, meta, block: BLOCK };
        Ok(Writer::new(names, file.map_err(away)?, stat))
    }

    pub async fn stat(&self, id: &Id) -> Result<Option<Stat>, Error> {
        let (folder, id) = (self.clone(), id.clone());
        let found = blocking(move || {
            let names = Names::new(&folder.path, &id);
            let Some(length) = folder.unless_missing(fs::metadata(&names.whole))?.map(|data| data.len()) else {
                return Ok(None);
            };
            let meta = match folder.unless_missing(fs::read(&names.knowledge))? {
                Some(json) => serde_json::from_slice(&json)?,
                None => Meta::default(),
            };
            Ok(Some(Stat { id, length, meta, block: BLOCK }))
        });
        found.await.map_err(away)
    }

    /// Blocks `first..first + count`, fewer at the file's end.
    pub async fn blocks(&self, file: &Stat, first: u64, count: u64) -> Result<Vec<Bytes>, Error> {
        let (folder, id) = (self.clone(), file.id.clone());
        let begin = first * file.block;
        let end = (first + count).saturating_mul(file.block).min(file.length);
        if begin >= end {
            return Ok(Vec::new());
        }
        let block = file.block as usize;
        let read = blocking(move || {
            let Some(file) = folder.unless_missing(File::open(folder.path.join(id.as_str())))? else {
                return Ok(None);
            };
            let mut bytes = vec![0; (end - begin) as usize];
            match file.read_exact_at(&mut bytes, begin) {
                Ok(()) => Ok(Some(Bytes::from(bytes))),
                // Somebody cut it off.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(None),
                Err(e) => Err(e),
            }
        });
        let bytes = read.await.map_err(away)?.ok_or_else(|| Error::Missing(file.id.clone()))?;
        Ok((0..bytes.len()).step_by(block).map(|at| bytes.slice(at..bytes.len().min(at + block))).collect())
    }

    pub async fn delete(&self, id: &Id) -> Result<(), Error> {
        let (folder, id) = (self.clone(), id.clone());
        let deleted = blocking(move || {
            let names = Names::new(&folder.path, &id);
            // The bytes first: a reader finds a whole file or none.
            for path in [&names.whole, &names.partial, &names.knowledge, &names.partial_knowledge] {
                folder.unless_missing(fs::remove_file(path))?;
                Point::Unfiled.pass();
            }
            sync_folder(&folder.path)
        });
        deleted.await.map_err(away)
    }

    pub async fn sweep(&self, age: Duration) -> Result<u64, Error> {
        let folder = self.clone();
        blocking(move || folder.remove_remains(age)).await.map_err(away)
    }

    fn remove_remains(&self, age: Duration) -> io::Result<u64> {
        let Some(before) = SystemTime::now().checked_sub(age) else { return Ok(0) };
        let mut ids = HashSet::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            // Names that are not ours are nobody's remains.
            let Some((id, end)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
            let Ok(id) = id.parse::<Id>() else { continue };
            let remains = end.ends_with(&PARTIAL[1..])
                || (end == &KNOWLEDGE[1..]
                    && self.unless_missing(fs::metadata(self.path.join(id.as_str())))?.is_none());
            // A write that goes on has touched its file just now.
            let old = self
                .unless_missing(entry.metadata())?
                .and_then(|data| data.modified().ok())
                .is_some_and(|at| at < before);
            if remains && old {
                self.unless_missing(fs::remove_file(entry.path()))?;
                ids.insert(id);
            }
        }
        Ok(ids.len() as u64)
    }

    pub async fn list(&self, after: &Id, before: &Id, limit: usize) -> Result<Vec<(Id, Option<Id>)>, Error> {
        let (folder, after, before) = (self.clone(), after.clone(), before.clone());
        blocking(move || folder.list_now(&after, &before, limit)).await.map_err(away)
    }

    fn list_now(&self, after: &Id, before: &Id, limit: usize) -> io::Result<Vec<(Id, Option<Id>)>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let id = entry?.file_name().to_str().and_then(|name| name.parse::<Id>().ok());
            ids.extend(id.filter(|id| after < id && id < before));
        }
        ids.sort_unstable();
        ids.truncate(limit);
        let listed = ids.into_iter().map(|id| {
            let json = self.unless_missing(fs::read(Names::new(&self.path, &id).knowledge))?;
            // What cannot be read says nothing.
            let meta: Option<Meta> = json.and_then(|json| serde_json::from_slice(&json).ok());
            Ok((id, meta.and_then(|meta| meta.job_id)))
        });
        listed.collect()
    }

    fn check(&self) -> io::Result<()> {
        let is_there = fs::metadata(&self.path)?.is_dir();
        if is_there { Ok(()) } else { Err(ErrorKind::NotADirectory.into()) }
    }

    /// `None` for what is not there, provided that the folder is: on a disk that was taken away
    /// nothing is there, and nothing follows from that.
    fn unless_missing<T>(&self, outcome: io::Result<T>) -> io::Result<Option<T>> {
        match outcome {
            Err(e) if e.kind() == ErrorKind::NotFound => self.check().map(|()| None),
            other => other.map(Some),
        }
    }
}

/// All the names under which a file may be found.
#[derive(Debug)]
struct Names {
    folder: PathBuf,
    whole: PathBuf,
    partial: PathBuf,
    knowledge: PathBuf,
    partial_knowledge: PathBuf,
}

impl Names {
    fn new(folder: &Path, id: &Id) -> Self {
        let name = |end: &str| folder.join(format!("{id}{end}"));
        Self {
            folder: folder.to_owned(),
            whole: name(""),
            partial: name(PARTIAL),
            knowledge: name(KNOWLEDGE),
            partial_knowledge: name(&format!("{KNOWLEDGE}{PARTIAL}")),
        }
    }
}

/// Makes the names in a folder as durable as its files.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Disks may take their time, which no runtime thread has.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn away(error: io::Error) -> Error {
    Error::Unavailable(error.into())
}
