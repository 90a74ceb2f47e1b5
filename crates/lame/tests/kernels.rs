//! Both builds of LAME make the same MP3s, but for the last bits of a float, and so does libmp3lame.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lame::{Encoder, Mode, Settings};

/// A stretch of everything: noise that swells, silence, the smallest floats, and a square wave of
/// four times full scale.
fn sound() -> Vec<f32> {
    let mut seed = 1_u32;
    let mut noise = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed as f32 / u32::MAX as f32 - 0.5
    };
    let mut sound: Vec<f32> = (0..150_000_u32).map(|at| noise() * at as f32 / 150_000.0).collect();
    sound.extend([0.0; 30_000]);
    sound.extend((0..30_000_u32).map(|at| if at % 2 == 0 { f32::MIN_POSITIVE / 3.0 } else { -1e-30 }));
    sound.extend((0..30_000_u32).map(|at| if at / 50 % 2 == 0 { 4.0 } else { -4.0 }));
    sound
}

fn encode(mut encoder: Encoder) -> (Vec<u8>, Vec<u8>) {
    let (sound, mut out) = (sound(), Vec::new());
    for part in sound.chunks(1000) {
        encoder.encode([part, part], &mut out).expect("encodes");
    }
    encoder.finish(&mut out).expect("finishes");
    (out, encoder.tag_frame())
}

#[test]
fn both_kernels_do_the_same() {
    for mode in [Mode::Vbr(0), Mode::Vbr(2), Mode::Vbr(9), Mode::Cbr(64), Mode::Cbr(160)] {
        for (rate, channels) in [(44_100, 2), (48_000, 1), (22_050, 2), (8_000, 1)] {
            if rate == 8_000 && mode == Mode::Cbr(160) {
                continue;
            }
            let settings = Settings { rate, channels, mode, tag: true };
            let (fast, fast_tag) = encode(Encoder::new(settings).expect("set up"));
            let (portable, portable_tag) = encode(Encoder::portable(settings).expect("set up"));
            let ratio = fast.len() as f64 / portable.len() as f64;
            assert!((ratio - 1.0).abs() < 0.01, "{settings:?}: {ratio}");
            assert_eq!(fast_tag.len(), portable_tag.len(), "{settings:?}");
            assert_eq!(fast[..3], fast_tag[..3], "{settings:?}: the tag's room is in front");
        }
    }
}

const RATE: u32 = 44_100;

/// Samples that come out of a decoder before the first that went into the encoder.
const LAG: usize = 576 + 529;

/// Ten seconds of what keeps a psychoacoustic model busy: two chords with overtones that beat against each
/// other, a tone that sweeps through all bands, breaths of noise, and a click twice a second.
fn music() -> [Vec<f32>; 2] {
    let mut seed = 7_u32;
    let mut noise = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed as f32 / u32::MAX as f32 - 0.5
    };
    let mut side = |chord: [f32; 3], click: u32| {
        let mut phase = 0.0_f32;
        (0..10 * RATE)
            .map(|at| {
                let time = at as f32 / RATE as f32;
                let tones: f32 = (1..=6)
                    .flat_map(|overtone| chord.map(|pitch| (pitch * overtone as f32, 0.08 / overtone as f32)))
                    .map(|(pitch, size)| size * (std::f32::consts::TAU * (pitch * time).fract()).sin())
                    .sum();
                phase = (phase + (60.0 + 1_600.0 * time) / RATE as f32).fract();
                let breath = (time * 0.7).fract().powi(4) * noise();
                let tick = if at % (RATE / 2) == click { 0.7 } else { 0.0 };
                tones + 0.1 * (std::f32::consts::TAU * phase).sin() + 0.2 * breath + tick
            })
            .collect::<Vec<f32>>()
    };
    [side([220.0, 277.2, 329.6], 0), side([220.3, 261.6, 392.0], 9_000)]
}

fn ffmpeg(args: &str, from: &Path, to: &Path) -> Vec<u8> {
    let (before, after) = args.split_once("FROM").expect("where the input goes");
    let ran = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(before.split_whitespace())
        .arg("-i")
        .arg(from)
        .args(after.split_whitespace())
        .arg(to)
        .output()
        .expect("ffmpeg starts");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    fs::read(to).expect("ffmpeg wrote it")
}

/// How far above what the MP3 gets wrong the sound is, in decibels.
fn fidelity(name: &str, mp3: &[u8], [left, right]: &[Vec<f32>; 2]) -> f64 {
    let at = |ending: &str| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{ending}"));
    fs::write(at("mp3"), mp3).expect("written");
    let bytes = ffmpeg("FROM -f f32le", &at("mp3"), &at("raw"));
    let decoded: Vec<f32> =
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four"))).skip(2 * LAG).collect();
    let (mut signal, mut wrong) = (0.0, 0.0);
    for (got, want) in decoded.iter().zip(left.iter().zip(right).flat_map(|(l, r)| [l, r])) {
        signal += f64::from(*want).powi(2);
        wrong += f64::from(got - want).powi(2);
    }
    10.0 * (signal / wrong).log10()
}

#[test]
fn libmp3lame_does_the_same() {
    let music = music();
    let raw = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("music.f32");
    let both = music[0].iter().zip(&music[1]).flat_map(|(l, r)| [*l, *r]);
    fs::write(&raw, both.flat_map(f32::to_le_bytes).collect::<Vec<u8>>()).expect("written");
    for (name, mode, option) in [
        ("V0", Mode::Vbr(0), "-q:a 0"),
        ("V2", Mode::Vbr(2), "-q:a 2"),
        ("V9", Mode::Vbr(9), "-q:a 9"),
        ("128k", Mode::Cbr(128), "-b:a 128k"),
        ("320k", Mode::Cbr(320), "-b:a 320k"),
    ] {
        let args = format!(
            "-f f32le -ar {RATE} -ac 2 FROM -c:a libmp3lame -ar {RATE} {option} -write_xing 0 -id3v2_version 0 -f mp3"
        );
        let theirs = ffmpeg(&args, &raw, &raw.with_extension(format!("{name}.mp3")));
        let their_fidelity = fidelity(&format!("libmp3lame-{name}"), &theirs, &music);
        let settings = Settings { rate: RATE, channels: 2, mode, tag: false };
        for (kernel, encoder) in [("fast", Encoder::new(settings)), ("portable", Encoder::portable(settings))] {
            let (mut encoder, mut ours) = (encoder.expect("set up"), Vec::new());
            for (left, right) in music[0].chunks(1000).zip(music[1].chunks(1000)) {
                encoder.encode([left, right], &mut ours).expect("encodes");
            }
            encoder.finish(&mut ours).expect("finishes");
            let size = ours.len() as f64 / theirs.len() as f64;
            let difference = fidelity(&format!("{kernel}-{name}"), &ours, &music) - their_fidelity;
            assert!((size - 1.0).abs() < 0.002, "{kernel} {name}: {size} times the size");
            assert!(difference.abs() < 0.02, "{kernel} {name}: {difference} dB of {their_fidelity} dB");
        }
    }
}

#[test]
fn what_mp3_has_not_is_refused() {
    let settings = Settings { rate: 44_100, channels: 2, mode: Mode::Vbr(2), tag: true };
    assert!(Encoder::new(Settings { rate: 1, ..settings }).is_err());
    let error = Encoder::new(Settings { channels: 3, ..settings }).map(drop).expect_err("three channels");
    assert!(error.to_string().contains("channels"), "{error}");
}
