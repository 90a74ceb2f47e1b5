//! The world around a conversion fails, or its caller has enough.

mod common;

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Counted, Media, MemorySink, SECONDS};
use transcode::{Error, FileSink, Options, Progress, Sink};

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Does something to each read.
struct Tampered<F> {
    inner: Cursor<Vec<u8>>,
    before_read: F,
}

impl<F: FnMut(u64) -> io::Result<()>> Read for Tampered<F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (self.before_read)(self.inner.position())?;
        let few = buf.len().min(8 * 1024);
        self.inner.read(&mut buf[..few])
    }
}

impl<F> Seek for Tampered<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

fn tampered<F>(bytes: &[u8], before_read: F) -> Tampered<F> {
    Tampered { inner: Cursor::new(bytes.to_vec()), before_read }
}

/// Files in which the sound is spread over the whole length.
fn films(media: &Media) -> Vec<(&'static str, Vec<u8>)> {
    let video = "-c:v libx264 -preset ultrafast -b:v 800k";
    for (name, args) in [
        ("f.mp4", format!("{video} -c:a aac -movflags faststart")),
        ("f.mkv", format!("{video} -c:a libvorbis")),
        ("f.ts", format!("{video} -c:a ac3")),
        ("f.avi", "-c:v mpeg4 -c:a libmp3lame".to_owned()),
        ("f.wav", "-vn".to_owned()),
    ] {
        media.film(name, &args);
    }
    ["f.mp4", "f.mkv", "f.ts", "f.avi", "f.wav"].map(|name| (name, media.read(name))).into()
}

#[test]
fn a_reader_that_fails_is_not_taken_for_a_damaged_file() {
    let media = Media::new();
    for (name, bytes) in films(&media) {
        for part in [0, 1, 30, 60, 90] {
            let limit = bytes.len() as u64 * part / 100;
            let reader = tampered(&bytes, move |position| {
                if position >= limit {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "chunk 7 is gone"));
                }
                Ok(())
            });
            let mut sink = MemorySink::default();
            let result = transcode::convert(reader, &mut sink, &Options::default(), &mut go_on);
            let error = result.expect_err(name);
            assert!(!error.is_final(), "{name} at {part} %: {error:?}");
            let Error::Input(inner) = error else {
                panic!("{name} at {part} %: {error:?}");
            };
            assert_eq!(inner.to_string(), "chunk 7 is gone");
            assert_eq!(inner.kind(), io::ErrorKind::TimedOut);
        }
    }
}

#[test]
fn a_reader_that_ends_before_its_end_or_panics_is_an_input_error_too() {
    struct Short(Cursor<Vec<u8>>);
    impl Read for Short {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0.position() > 100_000 { Ok(0) } else { self.0.read(buf) }
        }
    }
    impl Seek for Short {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    let media = Media::new();
    media.speech();
    let bytes = media.read("speech.wav");
    let short = Short(Cursor::new(bytes.clone()));
    let mut sink = MemorySink::default();
    let result = transcode::convert(short, &mut sink, &Options::default(), &mut go_on);
    assert!(matches!(result, Err(Error::Input(_))), "{result:?}");

    let reader = tampered(&bytes, |position| {
        assert!(position < 100_000, "a bug in the reader");
        Ok(())
    });
    let result = transcode::convert(reader, &mut sink, &Options::default(), &mut go_on);
    let Err(Error::Input(inner)) = result else {
        panic!("{result:?}");
    };
    assert!(inner.to_string().contains("a bug in the reader"), "{inner}");
}

#[test]
fn interruptions_are_retried_but_not_for_ever() {
    let media = Media::new();
    media.speech();
    let bytes = media.read("speech.wav");
    let mut turn = 0;
    let reader = tampered(&bytes, move |_| {
        turn += 1;
        if turn % 2 == 0 { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    });
    let mut sink = MemorySink::default();
    let summary = transcode::convert(reader, &mut sink, &Options::default(), &mut go_on);
    assert_eq!(summary.expect("converts").samples, 48_000 * SECONDS);

    let reader = tampered(&bytes, |_| Err(io::ErrorKind::Interrupted.into()));
    let mut sink = MemorySink::default();
    let result = transcode::convert(reader, &mut sink, &Options::default(), &mut go_on);
    assert!(matches!(result, Err(Error::Input(_))), "{result:?}");
}

#[test]
fn a_sink_that_fails_is_an_output_error() {
    struct Full {
        room: usize,
        head: bool,
    }
    impl Sink for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.room = self.room.checked_sub(bytes.len()).ok_or_else(|| io::Error::other("disk full"))?;
            Ok(())
        }
        fn rewrite_head(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
            if self.head { Ok(()) } else { Err(io::Error::other("disk full")) }
        }
    }
    let media = Media::new();
    let speech = media.speech();
    for (room, head) in [(0, true), (40_000, true), (usize::MAX, false)] {
        let file = std::fs::File::open(&speech).expect("opens");
        let mut sink = Full { room, head };
        let result = transcode::convert(file, &mut sink, &Options::default(), &mut go_on);
        let Err(error @ Error::Output(_)) = result else {
            panic!("{result:?}");
        };
        assert!(!error.is_final());
        let source = std::error::Error::source(&error).expect("the sink's error");
        assert_eq!(source.to_string(), "disk full");
    }
}

#[test]
fn progress_rises_and_is_told_sparingly() {
    let media = Media::new();
    media.speech();
    let bytes = media.read("speech.wav");
    let reader = tampered(&bytes, |_| {
        thread::sleep(Duration::from_millis(10));
        Ok(())
    });
    let mut told: Vec<(Instant, Progress)> = Vec::new();
    let mut sink = MemorySink::default();
    transcode::convert(reader, &mut sink, &Options::default(), &mut |progress| {
        told.push((Instant::now(), progress));
        ControlFlow::Continue(())
    })
    .expect("converts");
    assert!(told.len() > 3, "{told:?}");
    for pair in told.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= Duration::from_millis(95), "{pair:?}");
        assert!(pair[1].1.done >= pair[0].1.done, "{pair:?}");
    }
    let (_, last) = told.last().expect("told");
    assert_eq!(last.total, Some(Duration::from_secs(SECONDS)));
    assert!(last.percent().expect("a total") > 50.0, "{last:?}");
}

#[test]
fn a_caller_who_has_enough_is_heard_at_once() {
    let media = Media::new();
    media.speech();
    let bytes = media.read("speech.wav");
    let reads = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&reads);
    let reader = tampered(&bytes, move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(20));
        Ok(())
    });
    let mut sink = MemorySink::default();
    let result = transcode::convert(reader, &mut sink, &Options::default(), &mut |_| ControlFlow::Break(()));
    let error = result.expect_err("cancelled");
    assert!(matches!(error, Error::Cancelled) && !error.is_final(), "{error:?}");
    // 100 ms of 20 ms each, where the whole file would have taken ninety.
    let reads = reads.load(Ordering::Relaxed);
    assert!(reads < 20, "{reads} reads");
}

#[test]
fn a_probe_without_end_can_be_cancelled() {
    /// A transport stream's sync bytes for ever: FFmpeg looks and looks for programs.
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            thread::sleep(Duration::from_millis(20));
            for byte in buf.iter_mut() {
                *byte = if self.0.is_multiple_of(188) { 0x47 } else { 0x1f };
                self.0 += 1;
            }
            Ok(buf.len())
        }
    }
    impl Seek for Endless {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0 = match to {
                SeekFrom::Start(position) => position,
                SeekFrom::End(_) => 1 << 40,
                SeekFrom::Current(by) => self.0.saturating_add_signed(by),
            };
            Ok(self.0)
        }
    }
    let begun = Instant::now();
    let mut sink = MemorySink::default();
    let result = transcode::convert(Endless(0), &mut sink, &Options::default(), &mut |progress| {
        assert_eq!(progress.total, None, "still probing");
        if begun.elapsed() > Duration::from_millis(300) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(sink.bytes.is_empty());
}

#[test]
fn a_panic_of_the_caller_reaches_the_caller() {
    let media = Media::new();
    media.speech();
    let reader = tampered(&media.read("speech.wav"), |_| {
        thread::sleep(Duration::from_millis(20));
        Ok(())
    });
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = SetOnDrop(Arc::clone(&dropped));
    let reader = Tampered {
        inner: reader.inner,
        before_read: {
            let before_read = reader.before_read;
            move |position| {
                let _ = &flag;
                before_read(position)
            }
        },
    };
    let mut sink = MemorySink::default();
    let result = catch_unwind(AssertUnwindSafe(|| {
        transcode::convert(reader, &mut sink, &Options::default(), &mut |_| panic!("no more"))
    }));
    let payload = result.expect_err("panics");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"no more"));
    assert!(dropped.load(Ordering::Relaxed), "the reader was let go");
}

struct SetOnDrop(Arc<AtomicBool>);
impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_pictures_of_a_film_are_not_read() {
    let media = Media::new();
    media.speech();
    // Each second of pictures in one piece, then its sound.
    media.ffmpeg(
        "-f lavfi -i nullsrc=size=640x480:rate=25:duration=4 -i speech.wav -map 0:v -map 1:a \
         -vf geq=random(1)*255:128:128 -c:v libx264 -preset ultrafast -b:v 40M -g 25 -c:a aac \
         -movflags empty_moov -frag_duration 1000000 film.mp4",
    );
    let bytes = media.read("film.mp4");
    assert!(bytes.len() > 20_000_000, "{}", bytes.len());

    let read = Arc::new(AtomicU64::new(0));
    let len = bytes.len() as u64;
    let reader = Counted(Cursor::new(bytes), Arc::clone(&read));
    let mut sink = MemorySink::default();
    transcode::convert(reader, &mut sink, &Options::default(), &mut go_on).expect("converts");
    let read = read.load(Ordering::Relaxed);
    // Beside the 5 MB that finding out about the streams may take.
    assert!(read < 5_000_000 + len / 20, "{read} of {len} bytes read");
}

#[test]
fn a_file_sink_writes_the_same_bytes() {
    let media = Media::new();
    let speech = media.speech();
    let (_, expected) = common::convert(&speech, &Options::default()).expect("converts");
    let file = std::fs::File::open(&speech).expect("opens");
    let mut sink = FileSink::create(media.path("out.mp3")).expect("creates");
    transcode::convert(file, &mut sink, &Options::default(), &mut go_on).expect("converts");
    drop(sink.into_inner());
    assert_eq!(media.read("out.mp3"), expected);
}
