//! A file being written into a folder.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    sync::Arc,
};

use common::fault::Point;
use tokio::task::JoinHandle;

use super::{Names, away, blocking, sync_folder};
use crate::{Error, Meta, Stat};

/// Bytes gathered for one write.
const PIECE: usize = 1 << 20;

/// See [`crate::Writer`].
#[derive(Debug)]
pub struct Writer {
    names: Arc<Names>,
    file: Arc<File>,
    stat: Stat,
    piece: Vec<u8>,
    /// The last piece, on its way while the next one fills up.
    writing: Option<JoinHandle<io::Result<()>>>,
    corrections: Vec<(u64, Vec<u8>)>,
    over: bool,
}

impl Writer {
    pub(super) fn new(names: Names, file: File, stat: Stat) -> Self {
        Self {
            names: Arc::new(names),
            file: Arc::new(file),
            stat,
            piece: Vec::new(),
            writing: None,
            corrections: Vec::new(),
            over: false,
        }
    }

    pub fn meta_mut(&mut self) -> &mut Meta {
        &mut self.stat.meta
    }

    pub fn written(&self) -> u64 {
        self.stat.length
    }

    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stat.length += bytes.len() as u64;
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE { self.send().await } else { Ok(()) }
    }

    pub fn rewrite(&mut self, offset: u64, bytes: &[u8]) {
        self.corrections.push((offset, bytes.to_vec()));
    }

    /// Puts the piece on its way once the one before it has arrived.
    async fn send(&mut self) -> Result<(), Error> {
        self.settle().await?;
        let piece = std::mem::take(&mut self.piece);
        let (file, offset) = (self.file.clone(), self.stat.length - piece.len() as u64);
        self.writing = Some(tokio::task::spawn_blocking(move || file.write_all_at(&piece, offset)));
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Error> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let outcome = writing.await;
        self.writing = None;
        outcome.map_err(io::Error::other).flatten().map_err(away)
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
        self.send().await?;
        self.settle().await?;
        let (names, file) = (self.names.clone(), self.file.clone());
        let (corrections, meta) = (std::mem::take(&mut self.corrections), self.stat.meta.clone());
        let committed = blocking(move || {
            for (offset, bytes) in corrections {
                file.write_all_at(&bytes, offset)?;
            }
            file.sync_all()?;
            let knowledge = File::create_new(&names.partial_knowledge)?;
            knowledge.write_all_at(&serde_json::to_vec(&meta)?, 0)?;
            knowledge.sync_all()?;
            fs::rename(&names.partial_knowledge, &names.knowledge)?;
            Point::Chunked.pass();
            // From here on it is there.
            fs::rename(&names.partial, &names.whole)?;
            sync_folder(&names.folder)
        });
        committed.await.map_err(away)
    }

    pub async fn abort(mut self) {
        self.discard().await;
    }

    async fn discard(&mut self) {
        self.over = true;
        discard(self.names.clone(), self.writing.take()).await;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.over
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(discard(self.names.clone(), self.writing.take()));
        }
    }
}

/// Removes what was written. After a commit that failed half-way the whole file may be there:
/// nobody was told of it, so it goes as well.
async fn discard(names: Arc<Names>, writing: Option<JoinHandle<io::Result<()>>>) {
    if let Some(writing) = writing {
        let _ = writing.await;
    }
    let removed = blocking(move || {
        for path in [&names.whole, &names.partial, &names.knowledge, &names.partial_knowledge] {
            match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    });
    if let Err(error) = removed.await {
        tracing::warn!(%error, "the remains of an interrupted write are left for the sweep");
    }
}
