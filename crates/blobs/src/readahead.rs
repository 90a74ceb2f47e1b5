//! A stored file as a blocking `Read + Seek`, for a demuxer on a thread of its own.

use std::{
    collections::VecDeque,
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
};

use bytes::Bytes;
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{Blobs, Error, Stat};

/// How much one request asks for at the most while the reader goes straight on, in bytes.
const MOST_AHEAD: u64 = 1024 * 1024;
/// Blocks already read that are kept, because demuxers go back a little.
const KEPT: usize = 8;

/// Reads a file by blocks, the next ones being fetched while the last are used.
///
/// The window doubles while the reader goes straight on and shrinks to one block after a jump, when
/// nothing is fetched ahead either, so that a reader that picks pieces out of a large file does not
/// fetch what lies between.
///
/// Blocks the thread that reads: never use it on a runtime thread.
pub struct ReadAhead {
    blobs: Blobs,
    file: Arc<Stat>,
    runtime: Handle,
    position: u64,
    kept: VecDeque<(u64, Bytes)>,
    ahead: Option<Fetch>,
    window: u64,
}

struct Fetch {
    first: u64,
    end: u64,
    blocks: JoinHandle<Result<Vec<Bytes>, Error>>,
}

impl ReadAhead {
    pub fn new(blobs: Blobs, file: Stat, runtime: Handle) -> Self {
        let file = Arc::new(file);
        Self { blobs, file, runtime, position: 0, kept: VecDeque::new(), ahead: None, window: 1 }
    }

    fn block(&mut self, n: u64) -> io::Result<Bytes> {
        if let Some((_, bytes)) = self.kept.iter().find(|(kept, _)| *kept == n) {
            return Ok(bytes.clone());
        }
        let goes_on = n == 0 || self.kept.back().is_some_and(|(last, _)| last + 1 == n);
        let fetch = match self.ahead.take() {
            Some(ahead) if (ahead.first..ahead.end).contains(&n) => {
                self.window = (self.window * 2).min((MOST_AHEAD / self.file.block).max(1));
                ahead
            }
            jumped_over => {
                if let Some(fetch) = jumped_over {
                    fetch.blocks.abort();
                }
                self.window = 1;
                self.fetch(n)
            }
        };
        let (first, end) = (fetch.first, fetch.end);
        let blocks = self.runtime.block_on(fetch.blocks).map_err(io::Error::other)??;
        self.kept.extend((first..).zip(blocks));
        // The window may be wider than what is usually kept; what was just fetched stays.
        while self.kept.len() > KEPT.max((end - first) as usize + 1) {
            self.kept.pop_front();
        }
        if goes_on && end * self.file.block < self.file.length {
            self.ahead = Some(self.fetch(end));
        }
        let found = self.kept.iter().find(|(kept, _)| *kept == n);
        found.map(|(_, bytes)| bytes.clone()).ok_or_else(|| Error::Missing(self.file.id.clone()).into())
    }

    fn fetch(&self, first: u64) -> Fetch {
        let (blobs, file, count) = (self.blobs.clone(), self.file.clone(), self.window);
        let blocks = self.runtime.spawn(async move { blobs.blocks(&file, first, count).await });
        Fetch { first, end: first + count, blocks }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.position >= self.file.length {
            return Ok(0);
        }
        let n = self.position / self.file.block;
        let bytes = self.block(n)?;
        let rest = &bytes[(self.position - n * self.file.block) as usize..];
        let taken = rest.len().min(buf.len());
        buf[..taken].copy_from_slice(&rest[..taken]);
        self.position += taken as u64;
        Ok(taken)
    }
}

impl Seek for ReadAhead {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.file.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position =
            target.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a seek to before the file's start"))?;
        Ok(self.position)
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            ahead.blocks.abort();
        }
    }
}
