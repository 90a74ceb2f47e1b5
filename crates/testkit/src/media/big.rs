//! Films of many bytes, made as fast as the disk takes them.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::ensure;

use super::film::{Film, film, words};
use super::tool::ffmpeg;

const SIZE: &str = "640x360";
/// Two bytes for each pixel of an uncompressed frame, 25 frames a second.
const PICTURE_BYTES_PER_SECOND: u64 = 640 * 360 * 2 * 25;
const SOUND_BYTES_PER_SECOND: u64 = 48_000 * 2 * 2;

/// Makes a QuickTime film (`.mov`) of exactly `bytes` and returns its length in seconds.
/// Its picture is not compressed and its index is at the end, as cameras leave it; its
/// sound, PCM, is a spoken minute over and over.
///
/// # Errors
/// When ffmpeg or espeak-ng fails, or `bytes` is under 32 MiB.
pub fn big_film(path: &Path, bytes: u64) -> anyhow::Result<f64> {
    ensure!(bytes >= 32 << 20, "a big film has 32 MiB or more");
    ensure!(path.extension().is_some_and(|e| e == "mov"), "a big film is a .mov");
    // Room for the index; what is over is filled up at the end.
    let room = (bytes / 200).max(1 << 20);
    let seconds = ((bytes - room) / (PICTURE_BYTES_PER_SECOND + SOUND_BYTES_PER_SECOND)) as f64;

    let parts = tempfile::tempdir_in(path.parent().unwrap_or(Path::new(".")))?;
    let picture = parts.path().join("picture.mov");
    let source = format!("testsrc2=size={SIZE}:rate=25:duration=1");
    let mut call = words(&["-f", "lavfi", "-i", &source, "-c:v", "rawvideo", "-pix_fmt", "uyvy422"]);
    call.push(picture.clone().into());
    ffmpeg(call)?;
    let sound = parts.path().join("sound.wav");
    film(&sound, seconds.min(60.0), &Film { rate: 48_000, ..Film::default() })?;

    // Copied over and over: nothing is encoded, so the disk sets the pace.
    let mut call = words(&["-stream_loop", "-1", "-i"]);
    call.push(picture.into());
    call.extend(words(&["-stream_loop", "-1", "-i"]));
    call.push(sound.into());
    call.extend(words(&["-map", "0:v", "-map", "1:a", "-c", "copy", "-t", &seconds.to_string()]));
    call.push(path.into());
    ffmpeg(call)?;
    fill_up(path, bytes)?;
    Ok(seconds)
}

/// Appends a `free` box, which every reader skips (ISO/IEC 14496-12, 8.1.2).
fn fill_up(path: &Path, bytes: u64) -> anyhow::Result<()> {
    let now = path.metadata()?.len();
    ensure!(now + 8 <= bytes, "the film came out at {now} bytes, over {bytes}");
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(&u32::try_from(bytes - now)?.to_be_bytes())?;
    file.write_all(b"free")?;
    file.set_len(bytes)?;
    Ok(())
}
