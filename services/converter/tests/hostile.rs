//! Media that are made to do harm, in a child process of the converter: each ends as an MP3 or with
//! a reason in plain words, in bounded time and memory, and no child takes the parent with it.
#![cfg(target_os = "linux")]

mod media;

use std::{
    io::Cursor,
    ops::ControlFlow,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use media::Hostile;
use sandbox::{Limits, Sandbox};
use testkit::media::decode_mp3;
use transcode::{FileSink, Options};

/// Enough for honest films of this size, many times over.
const MEMORY: u64 = 256 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

const NONE: [&str; 0] = [];

fn convert(sandbox: &Sandbox, Hostile { name, bytes }: &Hostile) -> bool {
    let options = Options { max_duration: Duration::from_secs(60), ..Options::default() };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp3");
    let mut sink = FileSink::new(std::fs::File::create(&path).expect("a file"));
    let began = Instant::now();
    let outcome = sandbox.convert(Cursor::new(bytes.clone()), &mut sink, &options, &mut |_| ControlFlow::Continue(()));
    assert!(began.elapsed() < PATIENCE + Duration::from_secs(5), "{name}: {:?}", began.elapsed());
    drop(sink);
    match outcome {
        Ok(summary) => {
            let mp3 = std::fs::read(path).expect("an MP3");
            let pcm = decode_mp3(&mp3).unwrap_or_else(|error| panic!("{name}: {error:#}"));
            assert_eq!(pcm.rate, summary.sample_rate, "{name}");
            true
        }
        Err(error) => {
            assert!(error.is_final(), "{name} would be tried again: {error:?}");
            let words = error.to_string();
            assert!(words.len() < 1_000 && !words.contains(char::is_control), "{name}: {words:?}");
            false
        }
    }
}

/// Those of them that became an MP3.
fn convert_all(all: Vec<Hostile>) -> Vec<String> {
    let limits = Limits { memory: MEMORY, time: PATIENCE, silence: Duration::from_secs(30) };
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_converter"), limits).expect("a sandbox");
    let (left, good) = (Mutex::new(all.into_iter()), Mutex::new(Vec::new()));
    let next = || left.lock().expect("no panic").next();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(one) = next() {
                    if convert(&sandbox, &one) {
                        good.lock().expect("no panic").push(one.name);
                    }
                }
            });
        }
    });
    good.into_inner().expect("no panic")
}

#[test]
fn nothing_and_next_to_nothing() {
    assert_eq!(convert_all(media::next_to_nothing()), NONE);
}

#[test]
fn files_that_end_early_or_were_scratched() {
    let all = media::damaged();
    let count = all.len();
    let good = convert_all(all).len();
    assert!(good > 10 && good < count, "{good} of {count}");
}

#[test]
fn boxes_in_boxes_and_boxes_without_end() {
    assert_eq!(convert_all(media::boxes()), NONE);
}

#[test]
fn ten_thousand_streams() {
    convert_all(media::streams(10_000));
}

#[test]
fn tags_of_many_megabytes_do_not_come_along() {
    let all = media::tags(3 << 20);
    let count = all.len();
    assert_eq!(convert_all(all).len(), count);
}

#[test]
fn small_files_that_claim_or_hold_very_much() {
    assert_eq!(convert_all(media::bombs()), NONE);
}
