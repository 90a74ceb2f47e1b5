//! The promise, whatever dies: *every accepted upload ends in exactly one MP3 and at least one mail,
//! or in one failure and its mail.* Each test breaks the product on purpose and then has the whole
//! state checked.

mod crashes;
mod load;
mod mutants;
mod nemesis;
mod post;

use std::{path::PathBuf, time::Duration};

use e2e::Product;
use testkit::media;

/// For what must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(40);

/// Of the [long film](long_film), in seconds.
const LONG: f64 = 600.0;

/// Impatient, so that seconds do for what takes minutes in life.
fn impatient() -> Vec<(&'static str, String)> {
    let env = [
        ("RECONCILE_INTERVAL", "300ms"),
        ("LEASE", "5s"),
        ("REPUBLISH_STORED_AFTER", "1s"),
        ("REPUBLISH_QUEUED_AFTER", "2s"),
        // No upload takes longer.
        ("UPLOAD_DEADLINE", "60s"),
        ("RENOTIFY_AFTER", "1500ms"),
        // Never, but where it is to be seen.
        ("REMAIL_AFTER", "4d"),
        ("SHUTDOWN_GRACE", "0s"),
        // No write takes longer, even on a busy machine.
        ("SWEEP_AGE", "120s"),
    ];
    env.map(|(name, value)| (name, value.to_owned())).into()
}

fn film(product: &impl Product, seconds: f64) -> PathBuf {
    let path = product.path(&format!("{seconds}s.mkv"));
    if !path.exists() {
        media::film(&path, seconds, &media::Film::default()).expect("a film");
    }
    path
}

/// Takes long enough to be converted that something can happen meanwhile.
fn long_film(product: &impl Product) -> PathBuf {
    let path = product.path("long.mkv");
    if !path.exists() {
        // It is the sound that takes its time; a picture now and then keeps the file small.
        let film = media::Film { arguments: vec!["-r", "1", "-crf", "40"], ..media::Film::default() };
        media::film(&path, LONG, &film).expect("a film");
    }
    path
}

/// Converts to nothing: it has no sound.
fn silent_film(product: &impl Product) -> PathBuf {
    let path = product.path("silent.mp4");
    if !path.exists() {
        media::silent_film(&path, 1.0).expect("a film");
    }
    path
}
