//! One MP3 for each chapter.

mod common;

use std::fmt::Write;
use std::time::Duration;

use common::{Media, assert_agrees, convert, decode, split};
use id3::TagLike;
use transcode::{Encoding, Error, Options, Part, Tag};

/// `name`: 30 s of a sweep in chapters that end so many milliseconds from the beginning.
fn chaptered(media: &Media, name: &str, args: &str, ends: &[u32]) {
    if !media.path("sweep.wav").exists() {
        media.ffmpeg(
            "-f lavfi -i aevalsrc=0.4*sin(2*PI*(200*t+20*t*t))|0.3*sin(2*PI*(900*t-10*t*t)):s=44100:d=30 sweep.wav",
        );
    }
    let (mut text, mut start) = (";FFMETADATA1\ntitle=Ein Film\n".to_owned(), 0);
    for (at, end) in ends.iter().enumerate() {
        write!(text, "[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle=Teil {at}\n").expect("a string");
        start = *end;
    }
    media.write("chapters.txt", text.as_bytes());
    media.ffmpeg(&format!(
        "-i sweep.wav -f ffmetadata -i chapters.txt -map 0 -map_metadata 1 -map_chapters 1 {args} {name}"
    ));
}

/// Each is the part of the film that its chapter is, exactly, and they follow each other.
#[test]
fn each_chapter_is_its_part_of_the_film() {
    let media = Media::new();
    for (name, args) in [("f.mp4", "-c:a aac"), ("f.mkv", "-c:a flac"), ("f.m4a", "-c:a alac")] {
        chaptered(&media, name, args, &[9_000, 9_750, 30_000]);
        let (summary, files) = split(&media.path(name), &Options::default()).expect("converts");
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["01 Teil 0.mp3", "02 Teil 1.mp3", "03 Teil 2.mp3"], "{name}");
        let mut samples = 0;
        for ((_, mp3), (start, end)) in files.iter().zip([(0, Some(9_000)), (9_000, Some(9_750)), (9_750, None)]) {
            let part = Part { start: Duration::from_millis(start), end: end.map(Duration::from_millis) };
            let encoding = Some(Encoding::default());
            let (alone, expected) =
                convert(&media.path(name), &Options { part, encoding, ..Options::default() }).expect("converts");
            let decoded = decode(mp3.clone());
            assert_agrees(&alone, &decoded);
            assert!(decoded.planes == decode(expected).planes, "{name} from {start} ms on");
            samples += alone.samples;
        }
        assert_eq!((summary.samples, summary.sample_rate), (samples, 44_100), "{name}");
        let tag = |at: usize| id3::Tag::read_from2(std::io::Cursor::new(&files[at].1)).expect("a tag");
        for at in 0..3 {
            let tag = tag(at);
            assert_eq!(tag.title().map(str::to_owned), Some(format!("Teil {at}")), "{name}");
            assert_eq!(
                (tag.album(), tag.track(), tag.total_tracks()),
                (Some("Ein Film"), Some(at as u32 + 1), Some(3))
            );
            assert_eq!(tag.chapters().count(), 0, "it is one itself");
        }
    }
}

#[test]
fn wishes_hold_for_each_and_for_all() {
    let media = Media::new();
    chaptered(&media, "f.mkv", "-c:a flac", &[10_000, 20_000, 30_000]);
    let part = Part { start: Duration::from_secs(15), end: Some(Duration::from_secs(28)) };
    let options = Options {
        encoding: Some(Encoding::Cbr(64)),
        channels: Some(transcode::Channels::Mono),
        tags: vec![(Tag::Album, "Alles".to_owned()), (Tag::Artist, "Ich".to_owned())],
        part,
        ..Options::default()
    };
    let (summary, files) = split(&media.path("f.mkv"), &options).expect("converts");
    assert_eq!((summary.samples, summary.channels), (13 * 44_100, 1));
    let lengths: Vec<usize> = files.iter().map(|(_, mp3)| decode(mp3.clone()).planes[0].len()).collect();
    assert_eq!(lengths, [5 * 44_100, 8 * 44_100]);
    for (_, mp3) in &files {
        let tag = id3::Tag::read_from2(std::io::Cursor::new(mp3)).expect("a tag");
        assert_eq!((tag.album(), tag.artist()), (Some("Alles"), Some("Ich")));
    }
    let refused = |options: &Options| split(&media.path("f.mkv"), options).map(drop).expect_err("refused");
    let error = refused(&Options { max_duration: Duration::from_secs(20), ..Options::default() });
    assert!(matches!(error, Error::TooLong { .. }), "{error}");
    let error = refused(&Options { max_output_bytes: Some(20_000), ..Options::default() });
    assert!(matches!(error, Error::TooLarge { limit: 20_000 }), "{error}");
}

/// They are as loud beside each other as they were.
#[test]
fn one_loudness_for_all() {
    let media = Media::new();
    media.ffmpeg("-f lavfi -i aevalsrc=if(lt(t\\,15)\\,0.02\\,0.2)*sin(2*PI*500*t):s=44100:d=30 sweep.wav");
    chaptered(&media, "f.mkv", "-c:a flac", &[15_000, 30_000]);
    let options = Options { loudness: Some(-20), ..Options::default() };
    let (_, files) = split(&media.path("f.mkv"), &options).expect("converts");
    let level = |mp3: &[u8]| {
        let plane = &decode(mp3.to_vec()).planes[0];
        let middle = &plane[plane.len() / 4..plane.len() * 3 / 4];
        (middle.iter().map(|sample| sample * sample).sum::<f32>() / middle.len() as f32).sqrt()
    };
    let ratio = level(&files[1].1) / level(&files[0].1);
    assert!((9.5..10.5).contains(&ratio), "{ratio}");
}

#[test]
fn without_chapters_there_is_nothing_to_split() {
    let media = Media::new();
    chaptered(&media, "f.mkv", "-c:a flac", &[]);
    let error = split(&media.path("f.mkv"), &Options::default()).map(drop).expect_err("nothing to split");
    assert!(error.is_final() && error.to_string() == "this video has no chapters to split it at", "{error}");
    // Those that the sound does not reach are left out.
    chaptered(&media, "g.mkv", "-c:a flac", &[10_000, 29_990, 40_000]);
    let (_, files) = split(&media.path("g.mkv"), &Options::default()).expect("converts");
    assert!((2..=3).contains(&files.len()), "{}", files.len());
}
