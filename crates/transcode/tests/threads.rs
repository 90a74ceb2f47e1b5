//! On several threads the MP3 is as good as LAME makes it on one: of the same length and size, the
//! same sound but for a few frames, and those no worse.

mod common;

use std::io::Cursor;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use common::mp3::frames;
use common::sound::{self, Sound};
use common::{MemorySink, assert_agrees, decode, decode_with_ffmpeg};
use transcode::Encoding::{Cbr, Vbr};
use transcode::{Encoding, Options, Summary};

fn encode(sound: &Sound, encoding: Encoding, threads: usize) -> (Summary, Vec<u8>) {
    let options = Options { encoding: Some(encoding), threads: NonZeroUsize::new(threads), ..Options::default() };
    let mut sink = MemorySink::default();
    let input = Cursor::new(sound.wav());
    let summary = transcode::convert(input, &mut sink, &options, &mut |_| ControlFlow::Continue(()));
    (summary.expect("converts"), sink.bytes)
}

/// In decibel, over all channels of a stretch.
fn signal_to_noise(sound: &Sound, decoded: &[Vec<f32>], stretch: std::ops::Range<usize>) -> f64 {
    let (mut signal, mut noise) = (1e-9, 1e-9);
    for (original, decoded) in sound.planes.iter().zip(decoded) {
        for at in stretch.clone() {
            signal += f64::from(original[at]).powi(2);
            noise += f64::from(original[at] - decoded[at]).powi(2);
        }
    }
    10.0 * f64::log10(signal / noise)
}

/// The share of frames that sound exactly the same, and by how many decibel the noise is more,
/// at the worst place where they do not.
fn compare(sound: &Sound, single: &[Vec<f32>], ours: &[Vec<f32>]) -> (f64, f64) {
    let frame = if sound.rate >= 32_000 { 1152 } else { 576 };
    let len = sound.planes[0].len();
    for plane in ours.iter().chain(single) {
        assert_eq!(plane.len(), len, "exact to the sample");
    }
    let differs = |at: &usize| {
        let stretch = *at..(at + frame).min(len);
        ours.iter().zip(single).any(|(a, b)| a[stretch.clone()] != b[stretch.clone()])
    };
    let different: Vec<usize> = (0..len).step_by(frame).filter(differs).collect();
    let losses = different.iter().map(|at| {
        let stretch = at.saturating_sub(20 * frame)..(at + 20 * frame).min(len);
        signal_to_noise(sound, single, stretch.clone()) - signal_to_noise(sound, ours, stretch)
    });
    (1.0 - different.len() as f64 / len.div_ceil(frame) as f64, losses.fold(0.0, f64::max))
}

/// Compares one thread with three: at least this share of the frames is `alike`.
fn check(sound: &Sound, encoding: Encoding, alike: f64) {
    let name = format!("{} at {} Hz, {} channels, {encoding:?}", sound.name, sound.rate, sound.planes.len());
    let (single_summary, single_mp3) = encode(sound, encoding, 1);
    let (summary, mp3) = encode(sound, encoding, 3);
    let size = mp3.len() as f64 / single_mp3.len() as f64;
    assert!((size - 1.0).abs() < 0.005, "{name}: {size} times the size");
    assert_eq!(summary.samples, single_summary.samples, "{name}");
    let (all, of_single) = (frames(&mp3), frames(&single_mp3));
    assert_eq!(all.len(), of_single.len(), "{name}");
    if let Cbr(kbps) = encoding {
        assert!(all.iter().all(|frame| frame.bit_rate == kbps), "{name}: one bit rate throughout");
        assert_eq!(size, 1.0, "{name}: padded as one encoder does it");
    }
    let ours = decode(mp3.clone());
    assert_agrees(&summary, &ours);
    let by_symphonia = [decode(single_mp3.clone()).planes, ours.planes];
    let by_ffmpeg = [single_mp3, mp3].map(|mp3| decode_with_ffmpeg(&mp3, summary.channels));
    for (decoder, [single, ours]) in [("symphonia", by_symphonia), ("FFmpeg", by_ffmpeg)] {
        let (share, worse) = compare(sound, &single, &ours);
        println!("{name}, by {decoder}: {share:.4} alike, at worst {worse:.3} dB worse, {size:.5} times the size");
        assert!(share >= alike, "{name}, by {decoder}: {share} of the frames are alike");
        assert!(worse < 0.1, "{name}, by {decoder}: {worse} dB worse");
    }
}

macro_rules! checks {
    ($($test:ident: $sound:ident at $rate:literal, $channels:literal: $($encoding:expr => $alike:literal),*;)*) => {$(
        #[test]
        fn $test() {
            let sound = sound::$sound($rate, $channels);
            $(check(&sound, $encoding, $alike);)*
        }
    )*};
}

checks! {
    speech: speech at 44_100, 2: Vbr(2) => 0.98, Cbr(128) => 0.98;
    music: music at 48_000, 2: Vbr(2) => 0.98, Vbr(0) => 0.97;
    applause: applause at 44_100, 2: Vbr(2) => 0.98, Cbr(192) => 0.98;
    silences: silences at 44_100, 2: Vbr(4) => 0.98, Cbr(320) => 0.97;
    tones: tones at 44_100, 2: Vbr(2) => 0.98, Cbr(64) => 0.98;
    mono: speech at 48_000, 1: Vbr(9) => 0.98;
    slow_music: music at 22_050, 2: Vbr(5) => 0.98;
    slow_applause: applause at 24_000, 1: Cbr(64) => 0.98;
    very_slow_silences: silences at 8_000, 2: Vbr(2) => 0.98;
    very_slow_tones: tones at 11_025, 1: Cbr(32) => 0.98;
}
