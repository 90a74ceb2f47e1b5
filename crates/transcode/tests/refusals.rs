//! What is not media, has no sound or is damaged ends as a final error in plain words.

mod common;

use std::time::Duration;

use common::{Media, convert, convert_and_decode};
use transcode::{Error, Options};

fn refusal(media: &Media, name: &str) -> Error {
    let result = convert(&media.path(name), &Options::default()).map(|(summary, _)| summary);
    let error = result.expect_err(name);
    assert!(error.is_final(), "{name}: {error:?}");
    error
}

fn assert_not_media(media: &Media, name: &str) {
    let error = refusal(media, name);
    assert!(matches!(error, Error::NotMedia), "{name}: {error:?}");
    assert_eq!(error.to_string(), "this is not a video or audio file we can read");
}

#[test]
fn what_is_not_media_is_refused() {
    let media = Media::new();
    media.speech();
    media.ffmpeg("-f lavfi -i testsrc=size=640x480 -frames:v 1 picture.png");
    media.ffmpeg("-f lavfi -i testsrc=size=640x480 -frames:v 1 picture.jpg");
    media.ffmpeg("-i speech.wav -c:a pcm_s16le -f s16le raw.pcm");
    let text = "It was a dark and stormy night; the rain fell in torrents. ".repeat(2000);
    media.write("novel.txt", text.as_bytes());
    media.write("novel.mp3", text.as_bytes());
    media.write("empty.mp4", b"");
    media.write("one.mp4", b"\0");
    media.write("zeros.mp4", &vec![0; 300_000]);
    media.write("page.html", b"<!doctype html><html><body>404</body></html>");
    media.write("data.json", br#"{"video": [1, 2, 3]}"#);
    media.write("subtitles.srt", b"1\n00:00:01,000 --> 00:00:02,000\nHello\n\n");
    media.write("archive.zip", &[&b"PK\x03\x04\x14\0\0\0\x08\0"[..], &[7; 5000]].concat());
    media.write("program", &[&b"\x7fELF\x02\x01\x01\0"[..], &[1, 2, 3, 4].repeat(5000)].concat());
    for name in [
        "picture.png",
        "picture.jpg",
        "raw.pcm",
        "novel.txt",
        "novel.mp3",
        "empty.mp4",
        "one.mp4",
        "zeros.mp4",
        "page.html",
        "data.json",
        "subtitles.srt",
        "archive.zip",
        "program",
    ] {
        assert_not_media(&media, name);
    }
}

#[test]
fn playlists_and_scripts_in_disguise_open_nothing() {
    let media = Media::new();
    let speech = media.speech();
    let secret = speech.display();
    for (name, text) in [
        ("hls.mp4", format!("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{secret}\n#EXT-X-ENDLIST\n")),
        ("concat.mp4", format!("ffconcat version 1.0\nfile '{secret}'\n")),
        (
            "dash.mp4",
            format!(
                "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" \
                 type=\"static\"><Period><AdaptationSet><Representation>\
                 <BaseURL>{secret}</BaseURL></Representation></AdaptationSet></Period></MPD>"
            ),
        ),
        ("sdp.mp4", "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n".to_owned()),
    ] {
        media.write(name, text.as_bytes());
        assert_not_media(&media, name);
    }
}

#[test]
fn noise_never_becomes_an_mp3() {
    let media = Media::new();
    for seed in 1..=40_u64 {
        let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let noise: Vec<u8> = (0..400_000)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                (x >> 24) as u8
            })
            .collect();
        media.write("noise", &noise);
        assert_not_media(&media, "noise");
    }
}

#[test]
fn a_film_without_sound_says_so() {
    let media = Media::new();
    media.film("silent.mp4", "-c:v libx264 -an");
    media.film("silent.mkv", "-c:v libx264 -an");
    media.ffmpeg("-f lavfi -i testsrc=size=160x120 -frames:v 1 -c:v png -disposition:v:0 attached_pic cover.mkv");
    for name in ["silent.mp4", "silent.mkv", "cover.mkv"] {
        let error = refusal(&media, name);
        assert!(matches!(error, Error::NoSound), "{name}: {error:?}");
        assert_eq!(error.to_string(), "this video has no sound track");
    }
}

#[test]
fn cover_art_is_no_hindrance() {
    let media = Media::new();
    media.speech();
    media.ffmpeg("-f lavfi -i testsrc=size=160x120 -frames:v 1 cover.png");
    for name in ["c.mp3", "c.m4a", "c.flac"] {
        media.ffmpeg(&format!(
            "-i speech.wav -i cover.png -map 0 -map 1 -c:v copy -disposition:v:0 attached_pic {name}"
        ));
        convert_and_decode(&media.path(name));
    }
}

#[test]
fn a_codec_nobody_can_decode_is_named() {
    let media = Media::new();
    media.film("f.mkv", "-c:v libx264 -c:a ac3");
    let mut bytes = media.read("f.mkv");
    let at = bytes.windows(5).position(|w| w == b"A_AC3").expect("a codec id");
    bytes[at..at + 5].copy_from_slice(b"A_XYZ");
    media.write("odd.mkv", &bytes);
    let error = refusal(&media, "odd.mkv");
    assert!(matches!(error, Error::UnknownCodec { .. }), "{error:?}");
    assert!(error.to_string().contains("a format we cannot decode"), "{error}");
}

/// Ten seconds, so that half of it is far from what is tolerated.
fn long_film(media: &Media, name: &str, args: &str) {
    media.ffmpeg(&format!(
        "-f lavfi -i testsrc=size=320x240:rate=25:duration=12 \
         -f lavfi -i sine=frequency=440:sample_rate=48000:duration=12 \
         -c:v mpeg4 -b:v 500k {args} {name}"
    ));
}

fn cut(media: &Media, name: &str, part: f64) {
    let bytes = media.read(name);
    media.write("cut", &bytes[..(bytes.len() as f64 * part) as usize]);
}

#[test]
fn a_file_cut_short_is_damaged() {
    let media = Media::new();
    for (name, args) in [
        ("f.mp4", "-c:a aac -movflags faststart"),
        ("f.mov", "-c:a pcm_s16le -movflags faststart"),
        ("f.mkv", "-c:a aac"),
        ("bare.mkv", "-c:a ac3 -map_metadata -1 -flags +bitexact -fflags +bitexact"),
        ("f.webm", "-c:a libopus -c:v libvpx -deadline realtime"),
        ("f.avi", "-c:a libmp3lame"),
        ("f.flv", "-c:v flv -c:a aac"),
        ("f.wmv", "-c:v wmv2 -c:a wmav2"),
        ("f.wav", "-vn"),
        ("f.flac", "-vn"),
        ("f.mp3", "-vn -c:a libmp3lame"),
    ] {
        long_film(&media, name, args);
        convert_and_decode(&media.path(name));
        cut(&media, name, 0.5);
        let error = refusal(&media, "cut");
        let Error::Damaged { read, of } = error else {
            panic!("{name}: {error:?}");
        };
        let (read, of) = (read.as_secs_f64(), of.expect("a length is claimed").as_secs_f64());
        assert!((3.0..9.0).contains(&read), "{name}: read {read}");
        assert!((11.5..12.6).contains(&of), "{name}: of {of}");
    }
}

#[test]
fn an_mp4_whose_index_was_cut_off_is_damaged() {
    let media = Media::new();
    long_film(&media, "f.mp4", "-c:a aac");
    convert_and_decode(&media.path("f.mp4"));
    cut(&media, "f.mp4", 0.9);
    let error = refusal(&media, "cut");
    assert_eq!(error.to_string(), "this file is damaged and cannot be read");
}

#[test]
fn sound_shorter_than_the_film_is_no_damage() {
    let media = Media::new();
    for (name, codecs) in [
        ("f.mp4", "-c:v mpeg4 -c:a aac"),
        ("f.mkv", "-c:v mpeg4 -c:a aac"),
        ("f.avi", "-c:v mpeg4 -c:a libmp3lame"),
        ("f.flv", "-c:v flv -c:a aac"),
        ("f.wmv", "-c:v wmv2 -c:a wmav2"),
        ("f.ts", "-c:v mpeg2video -c:a mp2"),
        ("f.webm", "-c:v libvpx -deadline realtime -c:a libopus"),
    ] {
        media.ffmpeg(&format!(
            "-f lavfi -i testsrc=size=160x120:rate=25:duration=20 \
             -f lavfi -i sine=sample_rate=48000:duration=5 {codecs} {name}"
        ));
        let (summary, _) = convert_and_decode(&media.path(name));
        let seconds = summary.duration.as_secs_f64();
        assert!((4.9..5.2).contains(&seconds), "{name}: {seconds}");
    }
}

#[test]
fn sound_that_begins_late_is_no_damage() {
    let media = Media::new();
    for name in ["f.mp4", "f.mkv", "f.ts"] {
        media.ffmpeg(&format!(
            "-f lavfi -i testsrc=size=160x120:rate=25:duration=20 -itsoffset 12 \
             -f lavfi -i sine=sample_rate=48000:duration=8 -c:v mpeg4 -c:a aac {name}"
        ));
        let (summary, _) = convert_and_decode(&media.path(name));
        let seconds = summary.duration.as_secs_f64();
        assert!((7.9..8.2).contains(&seconds), "{name}: {seconds}");
    }
}

#[test]
fn what_an_editor_cut_off_is_no_damage() {
    let media = Media::new();
    long_film(&media, "f.mp4", "-g 25 -c:a aac");
    // The media stay, an edit list says what to play of them.
    media.ffmpeg("-ss 5.5 -i f.mp4 -t 4 -c copy edited.mp4");
    let (summary, _) = convert_and_decode(&media.path("edited.mp4"));
    let seconds = summary.duration.as_secs_f64();
    assert!((3.9..4.6).contains(&seconds), "{seconds}");
}

/// A file with every `step`-th byte from the `from`-th on turned over.
fn flip(media: &Media, name: &str, from: usize, step: usize) {
    let mut bytes = media.read(name);
    for byte in bytes[from..].iter_mut().step_by(step) {
        *byte ^= 0xFF;
    }
    media.write("flipped", &bytes);
}

#[test]
fn a_scratch_is_survived_and_a_wreck_is_not() {
    let media = Media::new();
    long_film(&media, "f.flac", "-vn");
    let len = media.read("f.flac").len();
    // One byte in the middle: one frame at most is lost.
    flip(&media, "f.flac", len / 2, len);
    let (summary, _) = convert_and_decode(&media.path("flipped"));
    assert!(summary.duration > Duration::from_millis(11_800), "{summary:?}");
    flip(&media, "f.flac", 10_000, 500);
    let error = refusal(&media, "flipped");
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
}

#[test]
fn no_flipped_byte_brings_it_down() {
    let media = Media::new();
    let (mut fine, mut refused) = (0, 0);
    for (name, args) in [
        ("f.mp4", "-t 2 -c:a aac -movflags faststart"),
        ("f.mkv", "-t 2 -c:a libvorbis"),
        ("f.ts", "-t 2 -c:a ac3"),
        ("f.avi", "-t 2 -c:a libmp3lame"),
    ] {
        long_film(&media, name, args);
        for (from, step) in [(0, 97), (37, 1009), (500, 311), (2000, 4999), (100, 20_011)] {
            flip(&media, name, from, step);
            match convert(&media.path("flipped"), &Options::default()) {
                Ok(_) => fine += 1,
                Err(e) => {
                    assert!(e.is_final(), "{name} {from} {step}: {e:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(fine > 0 && refused > 0, "{fine} fine, {refused} refused");
}
