//! Alone in its process: memory does not depend on the length of what is converted.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use transcode::{Options, Sink};

const RATE: u64 = 8_000;

/// A WAV file that is nowhere: a header and as much of a rough tone as one likes.
struct Endless {
    header: Vec<u8>,
    len: u64,
    position: u64,
}

impl Endless {
    fn new(minutes: u64) -> Self {
        let data = minutes * 60 * RATE * 2;
        let mut header = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        header.extend((RATE as u32).to_le_bytes());
        header.extend((2 * RATE as u32).to_le_bytes());
        header.extend(b"\x02\0\x10\0data");
        header.extend((data as u32).to_le_bytes());
        let len = header.len() as u64 + data;
        Self { header, len, position: 0 }
    }
}

impl Read for Endless {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len - self.position).unwrap_or(usize::MAX);
        let n = buf.len().min(left);
        for byte in &mut buf[..n] {
            let at = self.position;
            *byte = match self.header.get(at as usize) {
                Some(byte) => *byte,
                None => (at * at / 37) as u8 / 4,
            };
            self.position += 1;
        }
        Ok(n)
    }
}

impl Seek for Endless {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(position) => position,
            SeekFrom::Current(by) => self.position.saturating_add_signed(by),
            SeekFrom::End(by) => self.len.saturating_add_signed(by),
        };
        Ok(self.position)
    }
}

struct Nowhere;

impl Sink for Nowhere {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn rewrite_head(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn memory_does_not_grow_with_length() {
    let convert = |minutes| {
        let on_progress = &mut |_| ControlFlow::Continue(());
        let options = Options::default();
        let summary = transcode::convert(Endless::new(minutes), &mut Nowhere, &options, on_progress).expect("converts");
        assert_eq!(summary.samples, minutes * 60 * RATE);
    };
    // By then segments have their full length.
    convert(20);
    let short = peak_kib();
    convert(80);
    let long = peak_kib();
    assert!(long < short + 16 * 1024, "{short} KiB, then {long} KiB");
    assert!(long < 128 * 1024, "{long} KiB");
}
