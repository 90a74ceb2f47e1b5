//! Alone in its process: who gives up leaves no thread behind.

mod common;

use std::fs;
use std::io::Cursor;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use common::{MemorySink, sound};
use transcode::{Encoding, Error, Options};

/// How many of this process's threads are encoders.
fn encoders() -> usize {
    let threads = fs::read_dir("/proc/self/task").expect("Linux");
    let names = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "encoder").count()
}

#[test]
fn no_thread_outlives_the_conversion() {
    let wav = sound::applause(48_000, 2).wav();
    let options = Options { encoding: Some(Encoding::Vbr(0)), threads: NonZeroUsize::new(3), ..Options::default() };
    let (mut most, mut cancelled) = (0, None);
    let mut sink = MemorySink::default();
    let result = transcode::convert(Cursor::new(wav.clone()), &mut sink, &options, &mut |_| {
        most = most.max(encoders());
        if most < 3 {
            return ControlFlow::Continue(());
        }
        cancelled = Some(Instant::now());
        ControlFlow::Break(())
    });
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert!(cancelled.expect("asked").elapsed() < Duration::from_secs(1), "all of them ended at once");
    assert_eq!(encoders(), 0);

    let mut sink = MemorySink::default();
    transcode::convert(Cursor::new(wav), &mut sink, &options, &mut |_| ControlFlow::Continue(())).expect("converts");
    assert_eq!(encoders(), 0);
}
