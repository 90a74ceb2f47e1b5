//! A part of the sound: exact to the sample, and at no more cost than that part.

mod common;

use std::fs::File;
use std::ops::ControlFlow;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::measure::{amplitude, likeness_at};
use common::{Counted, Media, MemorySink, assert_agrees, convert, decode};
use transcode::{Channels, Encoding, Error, Options, Part};

const SECONDS: u64 = 40;

/// `sweep.wav`: never the same twice.
fn sweep(media: &Media, rate: u32) {
    media.ffmpeg(&format!(
        "-f lavfi -i aevalsrc=0.4*sin(2*PI*(300*t+20*t*t))|0.4*sin(2*PI*(2000*t-15*t*t)):s={rate}:d={SECONDS} \
         -c:a pcm_s16le sweep.wav"
    ));
}

fn film(media: &Media, name: &str, args: &str) {
    media.ffmpeg(&format!(
        "-f lavfi -i testsrc=size=160x120:rate=25:duration={SECONDS} -i sweep.wav -map 0:v -map 1:a {args} {name}"
    ));
}

fn part(start: f64, end: Option<f64>) -> Options {
    let part = Part { start: Duration::from_secs_f64(start), end: end.map(Duration::from_secs_f64) };
    Options { part, ..Options::default() }
}

/// How much later than the film its first sample of sound stands, in seconds.
fn lateness(media: &Media, name: &str) -> f64 {
    let probe = |args: &[&str]| {
        let usual = ["-v", "error", "-select_streams", "a:0", "-of", "csv=p=0"];
        let mut ffprobe = Command::new("ffprobe");
        let output = ffprobe.args(usual).args(args).arg(media.path(name)).output().expect("ffprobe is needed");
        let text = String::from_utf8(output.stdout).expect("text");
        let first = text.lines().next().unwrap_or_default().trim_end_matches(',').to_owned();
        first.parse::<f64>().unwrap_or(0.0)
    };
    let sound = probe(&["-read_intervals", "%+#9", "-show_entries", "frame=pts_time"]);
    // What lies before zero is priming.
    sound - probe(&["-show_entries", "format=start_time"]).max(0.0)
}

/// A part from the middle of the film is what stands there in the whole.
fn check(name: &str, args: &str, rate: u32) {
    let media = Media::new();
    sweep(&media, rate);
    film(&media, name, args);
    let late = (lateness(&media, name) * f64::from(rate)).round() as i64;
    // Encoded, as a part is: MP3 that is taken over as it is has its own priming.
    let encoded = Options { encoding: Some(Encoding::default()), ..Options::default() };
    let whole = decode(convert(&media.path(name), &encoded).expect("converts").1);
    for (start, end) in [(25.123_456, 27.5), (3.3, 4.7)] {
        let (summary, mp3) = convert(&media.path(name), &part(start, Some(end))).expect("converts");
        let decoded = decode(mp3);
        assert_agrees(&summary, &decoded);
        let sample = |time: f64| (time * f64::from(rate)).round() as i64;
        assert_eq!(summary.samples as i64, sample(end) - sample(start), "{name}: {start}");
        let from = (sample(start) - late) as usize;
        for (part, whole) in decoded.planes.iter().zip(&whole.planes) {
            let there = &whole[from..from + part.len()];
            let likeness = likeness_at(there, part, 0);
            assert!(likeness > 0.99, "{name}: {likeness} at {start}");
        }
    }
}

macro_rules! films {
    ($($test:ident: $name:literal, $args:expr, $rate:literal;)*) => {$(
        #[test]
        fn $test() {
            check($name, $args, $rate);
        }
    )*};
}

films! {
    mp4_aac: "f.mp4", "-c:v libx264 -preset ultrafast -c:a aac -b:a 160k", 48_000;
    mp4_aac_at_44100: "f.mp4", "-c:v libx264 -preset ultrafast -c:a aac -b:a 160k -movflags faststart", 44_100;
    mp4_fragmented: "f.mp4", "-c:v libx264 -preset ultrafast -c:a aac -movflags frag_keyframe+empty_moov", 48_000;
    mov_pcm: "f.mov", "-c:v libx264 -preset ultrafast -c:a pcm_s16be", 48_000;
    mkv_aac: "f.mkv", "-c:v libx264 -preset ultrafast -c:a aac -b:a 160k", 48_000;
    mkv_aac_at_44100: "f.mkv", "-c:v libx264 -preset ultrafast -c:a aac -b:a 160k", 44_100;
    mkv_flac: "f.mkv", "-c:v libx264 -preset ultrafast -c:a flac", 44_100;
    mkv_mp3: "f.mkv", "-c:v libx264 -preset ultrafast -c:a libmp3lame -b:a 192k", 44_100;
    mkv_vorbis: "f.mkv", "-c:v libx264 -preset ultrafast -c:a libvorbis -q:a 6", 44_100;
    mkv_ac3: "f.mkv", "-c:v libx264 -preset ultrafast -c:a ac3 -b:a 192k", 48_000;
    mkv_pcm: "f.mkv", "-c:v libx264 -preset ultrafast -c:a pcm_s16le", 44_100;
    webm_opus: "f.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -c:a libopus -b:a 128k", 48_000;
    avi_mp3: "f.avi", "-c:v mpeg4 -c:a libmp3lame -b:a 192k", 48_000;
    avi_pcm: "f.avi", "-c:v mpeg4 -c:a pcm_s16le", 44_100;
    ts_aac: "f.ts", "-c:v libx264 -preset ultrafast -c:a aac -b:a 160k", 44_100;
    ts_ac3: "f.ts", "-c:v libx264 -preset ultrafast -c:a ac3 -b:a 192k", 48_000;
    mpg_mp2: "f.mpg", "-c:v mpeg2video -c:a mp2 -b:a 256k", 48_000;
    wmv_wma: "f.wmv", "-c:v wmv2 -c:a wmav2 -b:a 192k", 44_100;
    flv_aac: "f.flv", "-c:v libx264 -preset ultrafast -c:a aac -b:a 160k", 44_100;
    wav: "f.wav", "-vn -c:a pcm_s24le", 44_100;
    flac: "f.flac", "-vn -c:a flac", 44_100;
    ogg_vorbis: "f.ogg", "-vn -c:a libvorbis -q:a 6", 44_100;
    ogg_opus: "f.ogg", "-vn -c:a libopus -b:a 128k", 48_000;
    m4a: "f.m4a", "-vn -c:a aac -b:a 160k", 44_100;
    mp3_cbr: "f.mp3", "-vn -c:a libmp3lame -b:a 192k", 44_100;
    mp3_vbr: "f.mp3", "-vn -c:a libmp3lame -q:a 2", 44_100;
    adts: "f.aac", "-vn -c:a aac -b:a 160k", 44_100;
    raw_ac3: "f.ac3", "-vn -c:a ac3 -b:a 192k", 48_000;
}

#[test]
fn what_lies_around_the_part_is_not_read_and_progress_is_its_own() {
    let media = Media::new();
    sweep(&media, 48_000);
    for (name, codecs) in [
        ("f.mp4", "-c:v libx264 -preset ultrafast -x264-params nal-hrd=cbr -minrate 2M -c:a aac"),
        ("f.mkv", "-c:v libx264 -preset ultrafast -x264-params nal-hrd=cbr -minrate 2M -c:a aac"),
        ("f.ts", "-c:v libx264 -preset ultrafast -x264-params nal-hrd=cbr -minrate 2M -c:a ac3"),
        ("f.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -minrate 2M -c:a libopus"),
    ] {
        film(&media, name, &format!("{codecs} -b:v 2M -maxrate 2M -bufsize 1M -g 50"));
        let file = File::open(media.path(name)).expect("opens");
        let size = file.metadata().expect("a size").len();
        let read = Arc::new(AtomicU64::new(0));
        let mut totals = Vec::new();
        let mut sink = MemorySink::default();
        let summary =
            transcode::convert(Counted(file, read.clone()), &mut sink, &part(30.0, Some(33.0)), &mut |progress| {
                totals.extend(progress.total);
                ControlFlow::Continue(())
            });
        assert_eq!(summary.expect("converts").samples, 3 * 48_000, "{name}");
        let read = read.load(Ordering::Relaxed);
        assert!(read < size * 45 / 100, "{name}: {read} of {size} bytes were read");
        assert!(totals.iter().all(|total| total.as_secs() == 3), "{name}: {totals:?}");
    }
}

#[test]
fn the_ends_may_be_left_open_or_lie_beyond() {
    let media = Media::new();
    sweep(&media, 44_100);
    let seconds = |start, end| {
        let (summary, mp3) = convert(&media.path("sweep.wav"), &part(start, end)).expect("converts");
        assert_agrees(&summary, &decode(mp3));
        summary.samples as f64 / 44_100.0
    };
    assert_eq!(seconds(0.0, Some(1.5)), 1.5);
    assert_eq!(seconds(38.5, None), 1.5);
    assert_eq!(seconds(38.5, Some(100.0)), 1.5);
    assert_eq!(seconds(0.0, Some(40.0)), 40.0);
    assert_eq!(seconds(39.0 + 1.0 / 44_100.0, Some(39.0 + 2.0 / 44_100.0)) * 44_100.0, 1.0);
}

#[test]
fn a_part_that_is_not_there_is_told_in_plain_words() {
    let media = Media::new();
    sweep(&media, 48_000);
    film(&media, "f.mp4", "-c:v libx264 -preset ultrafast -c:a aac");
    film(&media, "f.mkv", "-c:v libx264 -preset ultrafast -c:a libvorbis");
    film(&media, "f.ts", "-c:v libx264 -preset ultrafast -c:a ac3");
    film(&media, "f.mp3", "-vn -c:a libmp3lame");
    for name in ["f.mp4", "f.mkv", "f.ts", "f.mp3", "sweep.wav"] {
        for start in [41.0, 3_700.0] {
            let error = convert(&media.path(name), &part(start, None)).map(drop).expect_err("nothing there");
            assert!(matches!(error, Error::BeyondEnd { .. }) && error.is_final(), "{name}: {error:?}");
            let clock = if start > 60.0 { "1:01:40" } else { "0:41" };
            assert!(
                error.to_string().starts_with(&format!("there is no sound at {clock}: it ends")),
                "{name}: {error}"
            );
        }
    }
    for (start, end) in [(2.0, 1.0), (2.0, 2.0), (0.0, 0.0)] {
        let error = convert(&media.path("f.mp4"), &part(start, Some(end))).map(drop).expect_err("no part");
        assert!(matches!(error, Error::EmptyPart) && error.is_final(), "{error:?}");
    }
    // What is missing is not taken for the end.
    let half = media.read("sweep.wav");
    let path = media.write("half.wav", &half[..half.len() / 2]);
    let error = convert(&path, &part(30.0, None)).map(drop).expect_err("half of it");
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    let error = convert(&path, &part(15.0, Some(30.0))).map(drop).expect_err("half of it");
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    convert(&path, &part(15.0, Some(18.0))).expect("this part is there");
}

#[test]
fn the_limit_is_for_the_part() {
    let media = Media::new();
    sweep(&media, 48_000);
    let options = |part: Options| Options { max_duration: Duration::from_secs(5), ..part };
    convert(&media.path("sweep.wav"), &options(part(20.0, Some(24.0)))).expect("short enough");
    let error = convert(&media.path("sweep.wav"), &options(part(20.0, None))).map(drop).expect_err("20 s");
    assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
}

#[test]
fn channels_are_as_wished_for() {
    let media = Media::new();
    let tones = "0.4*sin(500*2*PI*t)|0.4*sin(700*2*PI*t)";
    media.ffmpeg(&format!("-f lavfi -i aevalsrc={tones}:s=44100:d=2 -c:a pcm_s16le stereo.wav"));
    media.ffmpeg("-f lavfi -i aevalsrc=0.4*sin(500*2*PI*t):s=44100:d=2 -c:a aac mono.m4a");
    media.ffmpeg(&format!("-f lavfi -i aevalsrc={tones}|{tones}|{tones}:c=5.1:s=48000:d=2 -c:a flac surround.flac"));
    for (name, channels, planes) in [
        ("stereo.wav", Some(Channels::Mono), 1),
        ("stereo.wav", Some(Channels::Stereo), 2),
        ("surround.flac", Some(Channels::Mono), 1),
        ("mono.m4a", Some(Channels::Stereo), 2),
        ("mono.m4a", None, 1),
    ] {
        let options = Options { channels, ..Options::default() };
        let (summary, mp3) = convert(&media.path(name), &options).expect("converts");
        let decoded = decode(mp3);
        assert_agrees(&summary, &decoded);
        assert_eq!(decoded.planes.len(), planes, "{name}");
        let at = |side: usize, hz| amplitude(&decoded.planes[side], decoded.rate, hz);
        match (name, channels) {
            ("stereo.wav", Some(Channels::Mono)) => {
                assert!((at(0, 500.0) - 0.2).abs() < 0.01 && (at(0, 700.0) - 0.2).abs() < 0.01);
            }
            ("stereo.wav", _) => assert!(at(0, 500.0) > 0.39 && at(1, 500.0) < 0.01),
            ("surround.flac", _) => assert!(at(0, 500.0) > 0.1 && at(0, 700.0) > 0.1),
            // As loud on either side as it was alone.
            (_, Some(Channels::Stereo)) => assert!(at(0, 500.0) > 0.38 && at(1, 500.0) > 0.38),
            _ => assert!(at(0, 500.0) > 0.38),
        }
    }
}
