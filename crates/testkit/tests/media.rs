//! The media makers and the judge of what comes out.

use std::path::Path;

use testkit::media::{
    Film, Pcm, amr_film, big_film, compare, damaged_film, decode_mp3, film, reference, silent_film, similarity, speech,
};

fn mp3_of(source: &Path, dir: &Path) -> Pcm {
    let mp3 = dir.join("out.mp3");
    let status = std::process::Command::new("ffmpeg")
        .args(["-loglevel", "error", "-y", "-i"])
        .arg(source)
        .args(["-vn", "-q:a", "2"])
        .arg(&mp3)
        .status()
        .expect("ffmpeg starts");
    assert!(status.success());
    decode_mp3(&std::fs::read(mp3).expect("an mp3")).expect("it decodes")
}

#[test]
fn a_film_sounds_the_same_as_its_mp3_to_the_frame() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("film.mp4");
    film(&path, 6.0, &Film::default()).expect("a film");

    let mp3 = mp3_of(&path, dir.path());
    let wanted = reference(&path, 44_100, 2).expect("a reference");
    assert_eq!((mp3.rate, mp3.channels), (44_100, 2));
    assert!((mp3.seconds() - 6.0).abs() < 0.03, "{} s", mp3.seconds());
    let likeness = compare(&wanted, &mp3);
    assert!(likeness.similarity > 0.98 && likeness.lag == 0, "{likeness:?}");
}

#[test]
fn swapped_channels_a_wrong_speed_and_a_shift_are_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("film.wav");
    film(&path, 4.0, &Film::default()).expect("a film");
    let sound = reference(&path, 44_100, 2).expect("a reference");
    assert!(similarity(&sound, &sound) > 0.999_999);

    let mut swapped = sound.clone();
    swapped.samples.swap(0, 1);
    assert!(similarity(&sound, &swapped) < 0.5);

    let mut faster = sound.clone();
    for channel in &mut faster.samples {
        let mut at = 0;
        channel.retain(|_| {
            at += 1;
            at % 50 != 0
        });
    }
    assert!(similarity(&sound, &faster) < 0.5);

    let mut late = sound.clone();
    for channel in &mut late.samples {
        channel.splice(0..0, [0.0; 1105]);
    }
    let likeness = compare(&sound, &late);
    assert_eq!(likeness.lag, 1105);
    assert!(likeness.similarity > 0.99);
}

#[test]
fn every_usual_kind_of_film_can_be_made() {
    let dir = tempfile::tempdir().expect("a folder");
    for extension in ["mov", "mkv", "webm", "avi", "ts", "mpg", "wmv", "flv", "3gp", "m4a", "opus"] {
        let path = dir.path().join(format!("film.{extension}"));
        let rate = if extension == "webm" || extension == "opus" { 48_000 } else { 44_100 };
        film(&path, 1.0, &Film { rate, ..Film::default() }).expect(extension);
        assert!(reference(&path, 44_100, 2).expect(extension).seconds() > 0.9);
    }
    for audio in ["ac3", "eac3", "dca", "flac", "libmp3lame", "libopus", "libvorbis", "pcm_s16le", "alac"] {
        let path = dir.path().join("film.mkv");
        let film_of_six = Film { audio: Some(audio), rate: 48_000, ..Film::default() };
        film(&path, 1.0, &film_of_six).expect(audio);
    }
    let six = dir.path().join("six.mkv");
    film(&six, 1.0, &Film { channels: 6, rate: 48_000, ..Film::default() }).expect("5.1");
    assert_eq!(reference(&six, 48_000, 6).expect("5.1").samples.len(), 6);
    amr_film(&dir.path().join("amr.3gp"), 1).expect("AMR");
    speech("hello there", &dir.path().join("hello.wav")).expect("speech");
}

#[test]
fn what_has_no_sound_has_none() {
    let dir = tempfile::tempdir().expect("a folder");
    let silent = dir.path().join("silent.mp4");
    silent_film(&silent, 1.0).expect("a silent film");
    assert!(reference(&silent, 44_100, 2).is_err());
    let damaged = dir.path().join("damaged.mp4");
    damaged_film(&damaged).expect("a damaged film");
    assert!(reference(&damaged, 44_100, 2).is_err());
    assert!(decode_mp3(b"no mp3 at all").is_err());
}

#[test]
fn a_big_film_has_the_size_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("big.mov");
    let seconds = big_film(&path, 64 << 20).expect("a big film");
    assert_eq!(path.metadata().expect("a file").len(), 64 << 20);
    let sound = reference(&path, 48_000, 2).expect("its sound");
    assert!((sound.seconds() - seconds).abs() < 0.1, "{} instead of {seconds} s", sound.seconds());
}
