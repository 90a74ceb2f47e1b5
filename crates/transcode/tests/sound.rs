//! What the MP3 is like: rate, channels, mix, length, encoding, tags.

mod common;

use std::time::Duration;

use common::measure::{amplitude, likeness_at, peak};
use common::{Media, assert_agrees, convert, convert_and_decode, decode};
use id3::TagLike;
use transcode::{Encoding, Error, Options};

/// `tone.wav`: a tone at 440 Hz, so that a wrong rate is heard as a wrong pitch.
fn tone(media: &Media, rate: u32, channels: u8, seconds: f32) {
    media.ffmpeg(&format!(
        "-f lavfi -i sine=frequency=440:sample_rate={rate}:duration={seconds} \
         -ac {channels} -c:a pcm_s16le tone.wav"
    ));
}

#[test]
fn the_rate_stays_or_goes_to_the_nearest_mp3_has() {
    let media = Media::new();
    for (source, mp3) in [
        (8_000, 8_000),
        (11_025, 11_025),
        (12_000, 12_000),
        (16_000, 16_000),
        (22_050, 22_050),
        (24_000, 24_000),
        (32_000, 32_000),
        (44_100, 44_100),
        (48_000, 48_000),
        (6_000, 8_000),
        (18_900, 22_050),
        (37_800, 44_100),
        (88_200, 44_100),
        (96_000, 48_000),
        (192_000, 48_000),
    ] {
        tone(&media, source, 1, 2.0);
        let (summary, decoded) = convert_and_decode(&media.path("tone.wav"));
        assert_eq!((summary.sample_rate, summary.channels), (mp3, 1), "{source}");
        let off = summary.samples.abs_diff(u64::from(mp3) * 2);
        let allowed = if source == mp3 { 0 } else { 2 };
        assert!(off <= allowed, "{source}: {off} samples off");
        let sound = &decoded.planes[0];
        let strong = amplitude(sound, mp3, 440.0);
        assert!((0.1..0.15).contains(&strong), "{source}: {strong}");
        assert!(amplitude(sound, mp3, 880.0) < 0.002, "{source}");
    }
}

#[test]
fn mono_stays_mono_and_stereo_stereo() {
    let media = Media::new();
    for channels in [1, 2] {
        tone(&media, 44_100, channels, 1.0);
        let (summary, _) = convert_and_decode(&media.path("tone.wav"));
        assert_eq!(summary.channels, channels);
        assert_eq!(summary.samples, 44_100);
    }
}

/// A tone for each channel of 5.1, as loud as it gets.
const SURROUND: [(&str, f64); 6] =
    [("FL", 500.0), ("FR", 700.0), ("FC", 1100.0), ("LFE", 60.0), ("BL", 1700.0), ("BR", 2300.0)];

fn surround(media: &Media, name: &str, codec: &str) {
    let tones: Vec<String> = SURROUND.iter().map(|(_, hz)| format!("0.999*sin({hz}*2*PI*t)")).collect();
    let source = format!("aevalsrc={}:c=5.1:s=48000:d=2", tones.join("|"));
    media.ffmpeg(&format!("-f lavfi -i {source} -c:a {codec} {name}"));
}

#[test]
fn surround_is_mixed_to_the_right_sides_and_does_not_clip() {
    let media = Media::new();
    for (name, codec) in [("s.flac", "flac"), ("s.mkv", "ac3"), ("s.wav", "pcm_f32le")] {
        surround(&media, name, codec);
        let (summary, decoded) = convert_and_decode(&media.path(name));
        assert_eq!(summary.channels, 2);
        let at = |side: usize, hz| amplitude(&decoded.planes[side], 48_000, hz);
        for (side, front, back) in [(0, 500.0, 1700.0), (1, 700.0, 2300.0)] {
            let other = 1 - side;
            assert!(at(side, front) > 0.35, "{name}: {}", at(side, front));
            assert!(at(other, front) < 0.01, "{name}: {}", at(other, front));
            assert!(at(other, back) < 0.01, "{name}: {}", at(other, back));
            // Centre and back are 3 dB down.
            for hz in [1100.0, back] {
                let relative = at(side, hz) / at(side, front);
                assert!((relative - 0.707).abs() < 0.03, "{name}: {hz} {relative}");
            }
            assert!(peak(&decoded.planes[side]) < 1.05, "{name}");
        }
    }
}

#[test]
fn channels_without_a_layout_are_mixed_all_the_same() {
    let media = Media::new();
    // Eleven channels, for which there is no usual layout: tones from 500 Hz up by 200.
    let tones: Vec<String> = (0..11).map(|i| format!("0.9*sin({}*2*PI*t)", 500 + 200 * i)).collect();
    let source = format!("aevalsrc={}:s=48000:d=1", tones.join("|"));
    media.ffmpeg(&format!("-f lavfi -i {source} -c:a pcm_s16le many.wav"));
    let (summary, decoded) = convert_and_decode(&media.path("many.wav"));
    assert_eq!(summary.channels, 2);
    for i in 0..11 {
        let hz = f64::from(500 + 200 * i);
        let side = i as usize % 2;
        let here = amplitude(&decoded.planes[side], 48_000, hz);
        let there = amplitude(&decoded.planes[1 - side], 48_000, hz);
        assert!(here > 0.1 && there < 0.02, "{hz}: {here} {there}");
    }
}

#[test]
fn every_length_is_exact() {
    let media = Media::new();
    for rate in [8_000, 22_050, 44_100] {
        for samples in [1, 2, 575, 576, 577, 1151, 1152, 1153, 4608, 30_000] {
            media.ffmpeg(&format!(
                "-f lavfi -i sine=sample_rate={rate} -af atrim=end_sample={samples} \
                 -c:a pcm_s16le short.wav"
            ));
            let (summary, _) = convert_and_decode(&media.path("short.wav"));
            assert_eq!(summary.samples, samples, "at {rate} Hz");
        }
    }
}

#[test]
fn every_encoding_is_made_and_sounds_the_same() {
    let media = Media::new();
    let speech = media.speech();
    let originals = media.pcm("speech.wav", 48_000, 2);
    let mut sizes = Vec::new();
    for encoding in [Encoding::Vbr(0), Encoding::Vbr(2), Encoding::Vbr(9), Encoding::Cbr(320), Encoding::Cbr(128)] {
        let options = Options { encoding: Some(encoding), ..Options::default() };
        let (summary, mp3) = convert(&speech, &options).expect("converts");
        let tag: &[u8] = if matches!(encoding, Encoding::Cbr(_)) { b"Info" } else { b"Xing" };
        assert_eq!(&mp3[36..40], tag, "{encoding:?}");
        if let Encoding::Cbr(kbps) = encoding {
            let bytes = f64::from(kbps) * 1000.0 / 8.0 * summary.duration.as_secs_f64();
            assert!((mp3.len() as f64 / bytes - 1.0).abs() < 0.03, "{encoding:?}");
        }
        sizes.push(mp3.len());
        let decoded = decode(mp3);
        assert_agrees(&summary, &decoded);
        assert_eq!(summary.samples, 192_000);
        for (original, sound) in originals.iter().zip(&decoded.planes) {
            assert!(likeness_at(original, sound, 0) > 0.97, "{encoding:?}");
        }
    }
    assert!(sizes[0] > sizes[1] && sizes[1] > sizes[2], "V0 > V2 > V9: {sizes:?}");
}

#[test]
fn an_mp3_that_does_not_exist_is_refused_in_plain_words() {
    let media = Media::new();
    tone(&media, 22_050, 1, 0.5);
    for (encoding, words) in [(Encoding::Cbr(320), "320 kbit/s at 22050 Hz"), (Encoding::Vbr(10), "quality 10")] {
        let options = Options { encoding: Some(encoding), ..Options::default() };
        let error = convert(&media.path("tone.wav"), &options).map(drop).expect_err("refused");
        assert!(error.is_final() && error.to_string().contains(words), "{error}");
    }
}

#[test]
fn wild_floats_do_no_harm() {
    let media = Media::new();
    let mut wav = b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0\x03\0\x02\0".to_vec();
    wav.extend(48_000_u32.to_le_bytes());
    wav.extend((48_000_u32 * 8).to_le_bytes());
    wav.extend(b"\x08\0\x20\0data");
    wav.extend((8 * 48_000_u32).to_le_bytes());
    for i in 0..96_000_usize {
        let wild = [f32::NAN, 0.5, f32::INFINITY, -1e38, f32::MIN_POSITIVE / 2.0, f32::NEG_INFINITY];
        wav.extend(wild[i / 7 % wild.len()].to_le_bytes());
    }
    let (summary, _) = convert_and_decode(&media.write("wild.wav", &wav));
    assert_eq!(summary.samples, 48_000);
}

#[test]
fn a_change_of_rate_and_channels_on_the_way_is_followed() {
    let media = Media::new();
    // As broadcast does it: an AC-3 stream that turns from stereo at 48 kHz to 5.1 at 44.1 kHz.
    for (name, layout, rate) in [("a", "stereo", 48_000), ("b", "5.1", 44_100), ("c", "mono", 32_000)] {
        media.ffmpeg(&format!(
            "-f lavfi -i aevalsrc=0.5*sin(440*2*PI*t):s={rate}:d=2 \
             -af pan={layout}|c0=c0{} -c:a ac3 -b:a 384k {name}.ac3",
            if layout == "mono" { "" } else { "|c1=c0" },
        ));
    }
    let joined = ["a.ac3", "b.ac3", "c.ac3"].map(|name| media.read(name)).concat();
    let (summary, decoded) = convert_and_decode(&media.write("joined.ac3", &joined));
    assert_eq!((summary.sample_rate, summary.channels), (48_000, 2));
    let seconds = summary.duration.as_secs_f64();
    assert!((seconds - 6.0).abs() < 0.15, "{seconds}");
    for second in [0.5, 2.5, 4.5] {
        let from = (second * 48_000.0) as usize;
        let part = &decoded.planes[0][from..from + 48_000];
        let strong = amplitude(part, 48_000, 440.0);
        assert!(strong > 0.15, "at {second} s: {strong}");
    }
}

#[test]
fn tags_are_taken_over() {
    let media = Media::new();
    media.speech();
    let given = "-metadata artist=Björk -metadata album=两行 -metadata date=2019-04-01 \
                 -metadata genre=Pop -metadata track=3/12 -metadata comment=hello \
                 -metadata composer=C -metadata copyright=D -metadata album_artist=E";
    for name in ["t.mp4", "t.mkv", "t.ogg", "t.flac", "t.mp3"] {
        media.ffmpeg(&format!("-i speech.wav -t 1 -metadata title=Ünder {given} {name}"));
        let options = Options { title_fallback: Some("unused".to_owned()), ..Options::default() };
        let (_, mp3) = convert(&media.path(name), &options).expect("converts");
        let tag = id3::Tag::read_from2(std::io::Cursor::new(&mp3)).expect("a tag");
        assert_eq!(tag.version(), id3::Version::Id3v23);
        assert_eq!(tag.title(), Some("Ünder"), "{name}");
        assert_eq!(tag.artist(), Some("Björk"), "{name}");
        assert_eq!(tag.album(), Some("两行"), "{name}");
        assert_eq!(tag.year(), Some(2019), "{name}");
        assert_eq!(tag.genre_parsed().as_deref(), Some("Pop"), "{name}");
        assert_eq!(tag.track(), Some(3), "{name}");
        assert_eq!(tag.album_artist(), Some("E"), "{name}");
        assert_eq!(decode(mp3).rate, 48_000, "{name}: sound behind the tag");
    }
}

#[test]
fn the_title_falls_back_to_the_file_name_and_not_to_a_track_name() {
    let media = Media::new();
    media.speech();
    media.ffmpeg("-i speech.wav -t 1 -metadata:s:a:0 title=Commentary t.mkv");
    let options = Options { title_fallback: Some("Summer 2019".to_owned()), ..Options::default() };
    let (_, mp3) = convert(&media.path("t.mkv"), &options).expect("converts");
    let tag = id3::Tag::read_from2(std::io::Cursor::new(mp3)).expect("a tag");
    assert_eq!(tag.title(), Some("Summer 2019"));
}

#[test]
fn the_picture_is_that_of_the_sound() {
    let media = Media::new();
    // Loud, quiet, silent: 20 s each.
    let volume = "if(lt(t\\,20)\\,0.5\\,if(lt(t\\,40)\\,0.1\\,0))";
    media.ffmpeg(&format!("-f lavfi -i aevalsrc={volume}*sin(500*2*PI*t):s=44100:d=60 -c:a flac steps.flac"));
    for loudness in [None, Some(-16)] {
        let options = Options { loudness, ..Options::default() };
        let (summary, _) = convert(&media.path("steps.flac"), &options).expect("converts");
        let points = &summary.waveform;
        assert_eq!(points.len(), 240);
        assert!(points[1..79].iter().all(|point| *point > 250), "{points:?}");
        assert!(points[81..159].iter().all(|point| (45..57).contains(point)), "{points:?}");
        assert!(points[161..].iter().all(|point| *point == 0), "{points:?}");
    }
}

#[test]
fn limits_hold() {
    let media = Media::new();
    let speech = media.speech();
    media.ffmpeg("-i speech.wav -c:a ac3 speech.ac3");
    let options = Options { max_duration: Duration::from_secs(3), ..Options::default() };
    // Told by the header, and found out on the way.
    for path in [speech.clone(), media.path("speech.ac3")] {
        let error = convert(&path, &options).map(drop).expect_err("too long");
        assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
        assert!(error.is_final() && error.to_string().contains("0:03"), "{error}");
    }
    let options = Options { max_output_bytes: Some(20_000), ..Options::default() };
    let error = convert(&speech, &options).map(drop).expect_err("too large");
    assert!(matches!(error, Error::TooLarge { limit: 20_000 }), "{error:?}");
    assert!(error.is_final());
}
