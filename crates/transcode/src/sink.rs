//! Where the MP3 goes, and the two things this crate adds on the way: a buffer and a limit.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use crate::Error;

/// [`Sink::rewrite_head`] only ever touches the first so many bytes: the ID3 tag, with a picture and
/// chapters at the most 1.4 MB, and the frame after it, which holds the length and the seek table.
/// Whoever cannot change bytes that have gone out keeps back these.
pub const HEAD_MAX: usize = 1536 * 1024;

/// Takes the MP3 as it is made.
pub trait Sink {
    /// Appends all of `bytes`.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Replaces bytes written before; `offset + bytes.len()` is not past what was written. Of an MP3
    /// called at most once, after the last `write`, and for its first [`HEAD_MAX`] bytes at the most.
    /// Of a zip ([`Split`](crate::Split)) called several times, at the end of each MP3 in it, for bytes
    /// anywhere.
    fn rewrite_head(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

/// A [`Sink`] into a file that was empty when it was handed over.
#[derive(Debug)]
pub struct FileSink(File);

impl FileSink {
    pub fn new(file: File) -> Self {
        Self(file)
    }

    /// Makes the file, or empties the one that is there.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        File::create(path).map(Self)
    }

    pub fn into_inner(self) -> File {
        self.0
    }
}

impl Sink for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn rewrite_head(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(offset))?;
        self.0.write_all(bytes)?;
        self.0.seek(SeekFrom::End(0)).map(drop)
    }
}

/// Bytes gathered before the sink is called: MP3 frames are a few hundred bytes each.
const BUFFER: usize = 32 * 1024;

/// Gathers small writes, counts bytes and keeps the limit.
pub(crate) struct Output<'a> {
    sink: &'a mut dyn Sink,
    buffer: Vec<u8>,
    sent: u64,
    limit: Option<u64>,
}

impl<'a> Output<'a> {
    pub(crate) fn new(sink: &'a mut dyn Sink, limit: Option<u64>) -> Self {
        Self { sink, buffer: Vec::with_capacity(2 * BUFFER), sent: 0, limit }
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.fill(|out| {
            out.extend_from_slice(bytes);
            Ok(())
        })
    }

    /// Lets `fill` append to the buffer, then sends it on when there is enough.
    pub(crate) fn fill(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>) -> Result<(), Error> {
        fill(&mut self.buffer)?;
        if let Some(limit) = self.limit
            && self.written() > limit
        {
            return Err(Error::TooLarge { limit });
        }
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    /// Bytes so far, buffered ones included.
    pub(crate) fn written(&self) -> u64 {
        self.sent + self.buffer.len() as u64
    }

    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        if !self.buffer.is_empty() {
            self.sink.write(&self.buffer).map_err(Error::Output)?;
            self.sent += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    pub(crate) fn rewrite_head(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.flush()?;
        self.sink.rewrite_head(offset, bytes).map_err(Error::Output)
    }
}
