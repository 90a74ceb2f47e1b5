//! Both builds of LAME make the same MP3s, but for the last bits of a float.

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

#[test]
fn what_mp3_has_not_is_refused() {
    let settings = Settings { rate: 44_100, channels: 2, mode: Mode::Vbr(2), tag: true };
    assert!(Encoder::new(Settings { rate: 1, ..settings }).is_err());
    let error = Encoder::new(Settings { channels: 3, ..settings }).map(drop).expect_err("three channels");
    assert!(error.to_string().contains("channels"), "{error}");
}
