//! Sound that is MP3 already is not encoded again.

mod common;

use std::time::Duration;

use common::mp3::frames;
use common::{Media, assert_agrees, convert, decode};
use transcode::{Encoding, Error, Options};

/// The bytes behind ID3 tag and frame in front.
fn sound_of(mp3: &[u8]) -> &[u8] {
    let bytes: usize = frames(mp3).iter().map(|frame| frame.len).sum();
    &mp3[mp3.len() - bytes..]
}

#[test]
fn frames_stay_as_they_are_in_every_container() {
    let media = Media::new();
    media.speech();
    for (args, constant) in [("-q:a 2", false), ("-b:a 128k", true), ("-ar 22050 -ac 1 -b:a 48k", true)] {
        media.ffmpeg(&format!("-i speech.wav -c:a libmp3lame {args} -metadata title=Words source.mp3"));
        let source = media.read("source.mp3");
        let original = decode(source.clone());
        for name in ["source.mp3", "f.mkv", "f.mp4", "f.avi", "f.nut"] {
            if name != "source.mp3" {
                media.ffmpeg(&format!(
                    "-f lavfi -i testsrc=size=160x120:rate=25:duration=4 -i source.mp3 -map 0:v -map 1:a \
                     -c:v mpeg4 -c:a copy {name}"
                ));
            }
            let (summary, mp3) = convert(&media.path(name), &Options::default()).expect("converts");
            assert_eq!(summary.input_codec, "mp3", "{name}");
            assert!(sound_of(&mp3) == sound_of(&source), "{name} {args}: the same frames");
            let tag: &[u8] = if constant { b"Info" } else { b"Xing" };
            assert!(mp3[..2000].windows(4).any(|bytes| bytes == tag), "{name} {args}");
            let decoded = decode(mp3);
            assert_agrees(&summary, &decoded);
            // These two tell of the gaps at both ends; others can not.
            if ["source.mp3", "f.mp4"].contains(&name) {
                let extra = decoded.planes[0].len() as i64 - original.planes[0].len() as i64;
                let most = if name == "f.mp4" { 1152 } else { 0 };
                assert!((0..=most).contains(&extra), "{name} {args}: {extra} samples more");
                let len = original.planes[0].len();
                assert!(decoded.planes.iter().zip(&original.planes).all(|(ours, theirs)| ours[..len] == theirs[..]));
            }
        }
    }
}

#[test]
fn who_asks_for_an_encoding_gets_it() {
    let media = Media::new();
    media.speech();
    media.ffmpeg("-i speech.wav -c:a libmp3lame -b:a 128k source.mp3");
    let options = Options { encoding: Some(Encoding::Cbr(64)), ..Options::default() };
    let (_, mp3) = convert(&media.path("source.mp3"), &options).expect("converts");
    assert!(frames(&mp3).iter().all(|frame| frame.bit_rate == 64));
}

#[test]
fn limits_hold_for_copies_too() {
    let media = Media::new();
    media.speech();
    media.ffmpeg("-i speech.wav -c:a libmp3lame -b:a 128k -write_xing 0 source.mp3");
    let options = Options { max_duration: Duration::from_secs(3), ..Options::default() };
    let error = convert(&media.path("source.mp3"), &options).map(drop).expect_err("too long");
    assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
    let options = Options { max_output_bytes: Some(20_000), ..Options::default() };
    let error = convert(&media.path("source.mp3"), &options).map(drop).expect_err("too large");
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
}

#[test]
fn what_is_of_another_kind_is_encoded_behind_the_copy() {
    let media = Media::new();
    media.speech();
    media.ffmpeg("-i speech.wav -c:a libmp3lame -b:a 128k -write_xing 0 -id3v2_version 0 a.mp3");
    media.ffmpeg("-i speech.wav -ar 22050 -ac 1 -c:a libmp3lame -b:a 64k -write_xing 0 -id3v2_version 0 b.mp3");
    let (a, b) = (media.read("a.mp3"), media.read("b.mp3"));
    let mixed = media.write("mixed.mp3", &[a.clone(), b].concat());
    let (summary, mp3) = convert(&mixed, &Options::default()).expect("converts");
    assert_eq!((summary.sample_rate, summary.channels), (48_000, 2));
    let seconds = summary.duration.as_secs_f64();
    assert!((seconds - 8.0).abs() < 0.2, "{seconds}");
    assert!(sound_of(&mp3).starts_with(&a));
    assert_agrees(&summary, &decode(mp3));
}

#[test]
fn holes_are_noticed() {
    let media = Media::new();
    media.speech();
    media.ffmpeg("-i speech.wav -c:a libmp3lame -b:a 128k source.mp3");
    let whole = media.read("source.mp3");
    let mut holey = whole.clone();
    for (at, byte) in holey.iter_mut().enumerate().skip(5_000) {
        if at / 900 % 2 == 0 {
            *byte = (at * at / 7) as u8;
        }
    }
    let error = convert(&media.write("holey.mp3", &holey), &Options::default()).map(drop).expect_err("damaged");
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    // A rough edge is no damage.
    let cut = &whole[..whole.len() - 100];
    let (summary, mp3) = convert(&media.write("cut.mp3", cut), &Options::default()).expect("converts");
    assert!(summary.duration > Duration::from_millis(3900), "{summary:?}");
    assert_eq!(summary.samples, decode(mp3).planes[0].len() as u64);
}
