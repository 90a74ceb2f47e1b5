//! A zip of MP3s, uncompressed, which leaves as it is made.
//!
//! The first frame of an MP3 is known when its last one is, and with it the checksum that stands
//! in front of both. Both are put in place afterwards, as a [`Sink`] allows; libraries that write zips
//! into streams leave it at what has gone out. The format is APPNOTE.TXT's, without its extensions to
//! 64 bits: [`MOST`] is more than a day of MP3 at any bit rate.

use std::io;

use crc32fast::Hasher;

use crate::{HEAD_MAX, Sink};

/// Bytes of all MP3s together, so that every number in the directory fits into 32 bits.
pub(crate) const MOST: u64 = u32::MAX as u64 - (4 << 20);

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;

/// 2.0, the oldest version there is readers of; made on Unix, which is where the mode is from.
const VERSION: u16 = 20;
const UNIX: u16 = 3 << 8;
const MODE: u32 = 0o100_644 << 16;
/// Names are UTF-8.
const UTF8: u16 = 1 << 11;
/// The first of January 1980: the same film gives the same zip.
const DATE: u16 = 1 << 5 | 1;

pub(crate) struct Zip<'a> {
    sink: &'a mut dyn Sink,
    written: u64,
    entries: Vec<Entry>,
}

struct Entry {
    name: String,
    begin: u64,
    size: u64,
    checksum: u32,
}

/// One file in it, until [`finish`](Self::finish); one that nothing is written to is none.
pub(crate) struct Writing<'z, 'a> {
    zip: &'z mut Zip<'a>,
    entry: Entry,
    /// The bytes that may still be rewritten, and the checksum of those behind them.
    front: Vec<u8>,
    rest: Hasher,
}

impl<'a> Zip<'a> {
    pub(crate) fn new(sink: &'a mut dyn Sink) -> Self {
        Self { sink, written: 0, entries: Vec::new() }
    }

    pub(crate) fn begin(&mut self, name: String) -> Writing<'_, 'a> {
        let entry = Entry { name, begin: self.written, size: 0, checksum: 0 };
        Writing { zip: self, entry, front: Vec::new(), rest: Hasher::new() }
    }

    /// Bytes so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.sink.write(bytes)
    }

    /// Writes the directory; returns the size of the whole.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        let (begin, count) = (self.written, self.entries.len() as u16);
        let mut directory: Vec<u8> = self.entries.iter().flat_map(Entry::central).collect();
        let size = directory.len() as u32;
        directory.extend(END.to_le_bytes());
        for number in [0, 0, count, count] {
            directory.extend(u16::to_le_bytes(number));
        }
        directory.extend(size.to_le_bytes());
        directory.extend((begin as u32).to_le_bytes());
        directory.extend([0; 2]);
        self.append(&directory)?;
        Ok(self.written)
    }
}

impl Sink for Writing<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.entry.size == 0 {
            self.zip.append(&self.entry.local())?;
        }
        let (front, rest) = bytes.split_at(bytes.len().min(HEAD_MAX - self.front.len()));
        self.front.extend_from_slice(front);
        self.rest.update(rest);
        self.entry.size += bytes.len() as u64;
        self.zip.append(bytes)
    }

    fn rewrite_head(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let begin = offset as usize;
        let place = self.front.get_mut(begin..begin + bytes.len());
        place.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(bytes);
        let data = self.entry.begin + self.entry.local().len() as u64;
        self.zip.sink.rewrite_head(data + offset, bytes)
    }
}

impl Writing<'_, '_> {
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.entry.size == 0 {
            return Ok(());
        }
        let mut all = Hasher::new();
        all.update(&self.front);
        all.combine(&self.rest);
        self.entry.checksum = all.finalize();
        self.zip.sink.rewrite_head(self.entry.begin, &self.entry.local())?;
        self.zip.entries.push(self.entry);
        Ok(())
    }
}

impl Entry {
    /// What stands in front of the file.
    fn local(&self) -> Vec<u8> {
        let mut header = LOCAL.to_le_bytes().to_vec();
        self.describe(&mut header);
        header.extend_from_slice(self.name.as_bytes());
        header
    }

    /// The file in the directory.
    fn central(&self) -> Vec<u8> {
        let mut header = CENTRAL.to_le_bytes().to_vec();
        header.extend((UNIX | VERSION).to_le_bytes());
        self.describe(&mut header);
        // No comment, on the only disk, of no kind in particular.
        header.extend([0; 6]);
        header.extend(MODE.to_le_bytes());
        header.extend((self.begin as u32).to_le_bytes());
        header.extend_from_slice(self.name.as_bytes());
        header
    }

    /// What both say.
    fn describe(&self, header: &mut Vec<u8>) {
        let (stored, midnight) = (0, 0);
        for number in [VERSION, UTF8, stored, midnight, DATE] {
            header.extend(u16::to_le_bytes(number));
        }
        let size = self.size as u32;
        for number in [self.checksum, size, size] {
            header.extend(number.to_le_bytes());
        }
        for length in [self.name.len() as u16, 0] {
            header.extend(length.to_le_bytes());
        }
    }
}
