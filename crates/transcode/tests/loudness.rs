//! Sound that is turned up or down to a loudness, as the program `ffmpeg` measures it.

mod common;

use std::fs::File;
use std::ops::ControlFlow;
use std::process::Command;

use common::measure::peak;
use common::{Media, MemorySink, assert_agrees, convert, decode};
use transcode::{Channels, Encoding, Options};

/// Integrated loudness in LUFS and true peak in dBTP, by FFmpeg's own EBU R 128.
fn loudness(media: &Media, name: &str) -> (f64, f64) {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-i"])
        .arg(media.path(name))
        .args(["-af", "ebur128=peak=true:dualmono=true:framelog=verbose", "-f", "null", "-"])
        .output()
        .expect("ffmpeg is needed for this test");
    assert!(output.status.success());
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    let summary = report.rsplit("Summary:").next().expect("a summary").to_owned();
    let number = |label: &str| {
        let line = summary.lines().find(|line| line.trim().starts_with(label)).unwrap_or_else(|| panic!("{report}"));
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    };
    (number("I:"), number("Peak:"))
}

fn normalized(media: &Media, name: &str, options: &Options) -> (f64, f64) {
    let (summary, mp3) = convert(&media.path(name), options).unwrap_or_else(|e| panic!("{name}: {e}"));
    media.write("out.mp3", &mp3);
    let decoded = decode(mp3);
    assert_agrees(&summary, &decoded);
    for plane in &decoded.planes {
        assert!(peak(plane) < 1.0, "{name} {options:?}: {} clips", peak(plane));
    }
    loudness(media, "out.mp3")
}

#[test]
fn speech_and_noise_get_as_loud_as_was_wished_for_and_do_not_clip() {
    let media = Media::new();
    media.speech();
    for (name, filter) in [("soft.wav", "volume=-20dB"), ("as_is.flac", "anull"), ("loud.wav", "volume=6dB")] {
        media.ffmpeg(&format!("-stream_loop 4 -i speech.wav -af {filter} {name}"));
        for lufs in [-23, -16, -14] {
            let options = Options { loudness: Some(lufs), ..Options::default() };
            let (got, peak) = normalized(&media, name, &options);
            assert!((got - f64::from(lufs)).abs() < 1.0, "{name} to {lufs}: {got} LUFS");
            assert!(peak < -0.2, "{name} to {lufs}: {peak} dBTP");
        }
    }
    // In the rates and channels of the presets too.
    let podcast = Options { loudness: Some(-16), encoding: Some(Encoding::Cbr(128)), ..Options::default() };
    let voice = Options { channels: Some(Channels::Mono), sample_rate: Some(24_000), ..podcast.clone() };
    for options in [podcast, Options { encoding: Some(Encoding::Vbr(6)), ..voice }] {
        let (got, peak) = normalized(&media, "soft.wav", &options);
        assert!((got + 16.0).abs() < 1.0 && peak < -0.2, "{options:?}: {got} LUFS, {peak} dBTP");
    }
}

#[test]
fn the_length_stays_and_silence_too() {
    let media = Media::new();
    media.ffmpeg("-f lavfi -i anullsrc=r=44100:cl=stereo:d=2 -c:a pcm_s16le silence.wav");
    // Clicks far above what there is else, so that the limiter has to work.
    media.ffmpeg("-f lavfi -i aevalsrc=if(lt(mod(t\\,0.5)\\,0.001)\\,0.9\\,0.02*sin(3000*t)):s=44100:d=3.3 clicks.wav");
    media.ffmpeg("-f lavfi -i sine=d=0.1 -c:a pcm_s16le short.wav");
    for (name, samples) in [("silence.wav", 88_200), ("clicks.wav", 145_530), ("short.wav", 4_410)] {
        let options = Options { loudness: Some(-16), ..Options::default() };
        let (summary, mp3) = convert(&media.path(name), &options).expect("converts");
        let decoded = decode(mp3);
        assert_agrees(&summary, &decoded);
        assert_eq!(summary.samples, samples, "{name}");
        let loudest = peak(&decoded.planes[0]);
        assert!(loudest < 1.0 && (name != "silence.wav" || loudest < 1e-4), "{name}: {loudest}");
    }
}

#[test]
fn progress_covers_both_passes() {
    let media = Media::new();
    media.ffmpeg("-f lavfi -i sine=d=600 -c:a pcm_s16le long.wav");
    let (mut told, mut sink) = (Vec::new(), MemorySink::default());
    let options = Options { loudness: Some(-16), ..Options::default() };
    let file = File::open(media.path("long.wav")).expect("opens");
    transcode::convert(file, &mut sink, &options, &mut |progress| {
        told.extend(progress.percent());
        ControlFlow::Continue(())
    })
    .expect("converts");
    assert!(told.is_sorted() && told.iter().all(|percent| *percent <= 100.0), "{told:?}");
    for half in [0.0..50.0, 50.0..100.0] {
        assert!(told.iter().any(|percent| half.contains(percent)), "{half:?}: {told:?}");
    }
}
