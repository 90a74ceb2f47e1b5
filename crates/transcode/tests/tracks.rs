//! Several sound tracks, and the one that is wished for.

mod common;

use common::measure::amplitude;
use common::{Media, assert_agrees, convert, decode};
use transcode::{Error, Options, Track};

/// A film with a tone in each track: 500 Hz German, 700 Hz Brazilian, the main one, 900 Hz without
/// a language.
fn film(media: &Media, name: &str, arguments: &str) {
    let tone = |hz| format!("-f lavfi -i sine=frequency={hz}:sample_rate=48000:duration=2");
    let [a, b, c] = [500, 700, 900].map(tone);
    media.ffmpeg(&format!(
        "-f lavfi -i testsrc=size=160x120:rate=25:duration=2 {a} {b} {c} -map 0:v -map 1:a -map 2:a -map 3:a \
         -c:v libx264 -preset ultrafast {arguments} -metadata:s:a:0 language=ger -metadata:s:a:1 language=por \
         -metadata:s:a:1 title=Director -disposition:a 0 -disposition:a:1 default {name}"
    ));
}

/// The tone of the MP3.
fn heard(media: &Media, name: &str, track: Option<Track>) -> Result<u32, Error> {
    let (summary, mp3) = convert(&media.path(name), &Options { track, ..Options::default() })?;
    let decoded = decode(mp3);
    assert_agrees(&summary, &decoded);
    let loudness = |hz: &u32| amplitude(&decoded.planes[0], decoded.rate, f64::from(*hz));
    let loudest = [500, 700, 900].into_iter().max_by(|a, b| loudness(a).total_cmp(&loudness(b)));
    Ok(loudest.expect("three tones"))
}

fn language(code: &str) -> Option<Track> {
    Some(Track::Language(code.to_owned()))
}

#[test]
fn the_wished_one_is_taken() {
    let media = Media::new();
    for (name, arguments) in [("f.mkv", "-c:a libvorbis"), ("f.mp4", "-c:a aac"), ("f.ts", "-c:a ac3")] {
        film(&media, name, arguments);
        for (number, hz) in [(1, 500), (2, 700), (3, 900)] {
            assert_eq!(heard(&media, name, Some(Track::Number(number))).expect("there"), hz, "{name}");
        }
        for code in ["de", "deu", "ger", "DE"] {
            assert_eq!(heard(&media, name, language(code)).expect("there"), 500, "{name} {code}");
        }
        assert_eq!(heard(&media, name, language("pt")).expect("there"), 700, "{name}");
    }
    assert_eq!(heard(&media, "f.mkv", None).expect("there"), 700, "the main one");
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let media = Media::new();
    film(&media, "f.mkv", "-c:a libvorbis");
    media.ffmpeg("-f lavfi -i sine=duration=1 -c:a pcm_s16le one.wav");
    media.ffmpeg("-f lavfi -i testsrc=size=160x120:rate=25:duration=1 -c:v mpeg4 silent.mp4");
    for (name, track, words) in [
        ("f.mkv", Some(Track::Number(4)), "there is no sound track 4: this video has 1 (ger), 2 (por, Director), 3"),
        ("f.mkv", language("fr"), "there is no sound track in “fr”: this video has 1 (ger), 2 (por, Director), 3"),
        ("f.mkv", Some(Track::Number(0)), "there is no sound track 0: this video has 1 (ger), 2 (por, Director), 3"),
        ("one.wav", Some(Track::Number(2)), "there is no sound track 2: this video has only 1"),
        ("silent.mp4", language("de"), "this video has no sound track"),
    ] {
        let error = heard(&media, name, track).expect_err(words);
        assert!(error.is_final() && error.to_string() == words, "{name}: {error}");
    }
}

#[test]
fn one_that_cannot_be_decoded_is_not_replaced_by_another() {
    let media = Media::new();
    media.ffmpeg("-f lavfi -i sine=duration=1 -map 0 -map 0 -c:a pcm_s16le two.mov");
    let mut bytes = media.read("two.mov");
    let at = bytes.windows(4).position(|w| w == b"sowt").expect("a sample entry");
    bytes[at..at + 4].copy_from_slice(b"zzzz");
    media.write("odd.mov", &bytes);
    let error = heard(&media, "odd.mov", Some(Track::Number(1))).expect_err("unknown");
    assert!(matches!(error, Error::UnknownCodec { .. }), "{error:?}");
    heard(&media, "odd.mov", Some(Track::Number(2))).expect("this one is well");
}

#[test]
fn the_sample_rate_is_as_wished_for() {
    let media = Media::new();
    media.ffmpeg("-f lavfi -i sine=frequency=700:sample_rate=44100:duration=3 -c:a pcm_s16le tone.wav");
    for rate in [8_000, 11_025, 16_000, 24_000, 32_000, 44_100, 48_000] {
        let options = Options { sample_rate: Some(rate), ..Options::default() };
        let (summary, mp3) = convert(&media.path("tone.wav"), &options).expect("converts");
        let decoded = decode(mp3);
        assert_agrees(&summary, &decoded);
        assert_eq!(decoded.rate, rate);
        assert!(summary.samples.abs_diff(u64::from(rate) * 3) <= 2, "{rate}: {}", summary.samples);
        let strong = amplitude(&decoded.planes[0], rate, 700.0);
        assert!((0.1..0.15).contains(&strong), "{rate}: {strong}");
    }
    let options = Options { sample_rate: Some(96_000), ..Options::default() };
    let error = convert(&media.path("tone.wav"), &options).map(drop).expect_err("no such MP3");
    assert!(error.is_final() && error.to_string().contains("96000 Hz"), "{error}");
}
