//! Films that last, so that their conversion can be watched.

use std::path::Path;

use super::film::{Film, film, words};
use super::tool::ffmpeg;

/// Makes a film (`.mp4`) of `minutes`: one and the same minute over and over, nothing of which
/// is encoded twice.
///
/// # Errors
/// When ffmpeg or espeak-ng fails.
pub fn long_film(path: &Path, minutes: u32) -> anyhow::Result<()> {
    let parts = tempfile::tempdir_in(path.parent().unwrap_or(Path::new(".")))?;
    let minute = parts.path().join("minute.mp4");
    // It is the sound that takes its time; a picture now and then keeps the file small.
    film(&minute, 60.0, &Film { channels: 1, arguments: vec!["-r", "1", "-crf", "40"], ..Film::default() })?;
    let mut call = words(&["-stream_loop", &minutes.saturating_sub(1).to_string(), "-i"]);
    call.push(minute.into());
    call.extend(words(&["-c", "copy"]));
    call.push(path.into());
    ffmpeg(call).map(drop)
}
