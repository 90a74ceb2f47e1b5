//! On several threads the MP3 is as good as LAME makes it on one: of the same length and size, the
//! same sound but for a few frames, and those no worse.

mod common;

use std::io::Cursor;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use common::mp3::frames;
use common::sound::{self, Sound};
use common::{Decoded, MemorySink, assert_agrees, decode, decode_with_ffmpeg};
use transcode::{Encoding, Options, Summary};

fn encode(sound: &Sound, encoding: Encoding, threads: usize) -> (Summary, Vec<u8>) {
    let options = Options { encoding, threads: NonZeroUsize::new(threads), ..Options::default() };
    let mut sink = MemorySink::default();
    let input = Cursor::new(sound.wav());
    let summary = transcode::convert(input, &mut sink, &options, &mut |_| ControlFlow::Continue(()));
    (summary.expect("converts"), sink.bytes)
}

/// In decibel, over all channels of a stretch.
fn signal_to_noise(sound: &Sound, decoded: &Decoded, stretch: std::ops::Range<usize>) -> f64 {
    let (mut signal, mut noise) = (1e-9, 1e-9);
    for (original, decoded) in sound.planes.iter().zip(&decoded.planes) {
        for at in stretch.clone() {
            signal += f64::from(original[at]).powi(2);
            noise += f64::from(original[at] - decoded[at]).powi(2);
        }
    }
    10.0 * f64::log10(signal / noise)
}

/// Compares one thread with three.
fn check(sound: &Sound, encoding: Encoding, alike: f64) {
    let name = format!("{} at {} Hz, {} channels, {encoding:?}", sound.name, sound.rate, sound.planes.len());
    let (single_summary, single_mp3) = encode(sound, encoding, 1);
    let (summary, mp3) = encode(sound, encoding, 3);
    let size = mp3.len() as f64 / single_mp3.len() as f64;
    assert!((size - 1.0).abs() < 0.005, "{name}: {size} times the size");
    assert_eq!(summary.samples, single_summary.samples, "{name}");
    let (single, ours) = (decode(single_mp3.clone()), decode(mp3.clone()));
    assert_agrees(&summary, &ours);
    let all = frames(&mp3);
    assert_eq!(all.len(), frames(&single_mp3).len(), "{name}");

    let frame = if sound.rate >= 32_000 { 1152 } else { 576 };
    let len = ours.planes[0].len();
    let differs = |at: &usize| {
        let stretch = *at..(at + frame).min(len);
        ours.planes.iter().zip(&single.planes).any(|(a, b)| a[stretch.clone()] != b[stretch.clone()])
    };
    let different: Vec<usize> = (0..len).step_by(frame).filter(differs).collect();
    let share = 1.0 - different.len() as f64 / len.div_ceil(frame) as f64;
    let mut worst = 0.0_f64;
    for at in &different {
        let stretch = at.saturating_sub(10 * frame)..(at + 10 * frame).min(len);
        let loss = signal_to_noise(sound, &single, stretch.clone()) - signal_to_noise(sound, &ours, stretch);
        worst = worst.max(loss);
    }
    println!("{name}: {share:.4} alike, at worst {worst:.3} dB worse, {size:.5} times the size");
    if std::env::var_os("ONLY_TELL").is_none() {
    assert!(share >= alike, "{name}: {share} of the frames are alike");
    assert!(worst < 0.1, "{name}: {worst} dB worse");
    }
    if std::env::var_os("ONLY_TELL").is_some() {return}
    let other = decode_with_ffmpeg(&mp3, summary.channels);
    for (ours, other) in ours.planes.iter().zip(&other) {
        assert_eq!(ours.len(), other.len(), "{name}: FFmpeg decodes as much");
        let apart = ours.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 2e-4, "{name}: FFmpeg decodes something else: {apart}");
    }
}


#[test]
fn explore() {
    use Encoding::*;
    let e=|n:&str,d:&str|std::env::var(n).unwrap_or(d.into());
    for rate in e("RATES","44100").split(',').map(|r|r.parse().unwrap()) {
        for sound in [sound::speech(rate, 2), sound::music(rate, 2), sound::applause(rate, 2), sound::silences(rate, 2), sound::tones(rate, 2)] {
        for q in e("Q","0 2").split_whitespace() { let q:u32=q.parse().unwrap();
    check(&sound, if q<10 {Vbr(q as u8)} else {Cbr(q)}, 0.98);
        }
        }
    }
}
