//! Files that are not the films they seem to be, and a film that is odd.

use std::fs::OpenOptions;
use std::path::Path;

use anyhow::Context;

use super::film::{Film, film, words};
use super::tool::ffmpeg;

/// Writes a text, whatever the path's extension says.
///
/// # Errors
/// When the file cannot be written.
pub fn text_file(path: &Path) -> anyhow::Result<()> {
    let text = "This is not a film, nor was it ever one.\n".repeat(500);
    std::fs::write(path, text).context("text file")
}

/// Writes an HLS playlist that names `target`, a file on the converter's own disk.
///
/// # Errors
/// When the file cannot be written.
pub fn playlist_in_disguise(path: &Path, target: &Path) -> anyhow::Result<()> {
    let target = target.display();
    let playlist = format!("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{target}\n#EXT-X-ENDLIST\n");
    std::fs::write(path, playlist).context("playlist")
}

/// Writes one of ffmpeg's own concat scripts that names `target`.
///
/// # Errors
/// When the file cannot be written.
pub fn concat_in_disguise(path: &Path, target: &Path) -> anyhow::Result<()> {
    std::fs::write(path, format!("ffconcat version 1.0\nfile '{}'\n", target.display())).context("concat script")
}

/// Makes an MP4 that lost its second half, and with it its index.
///
/// # Errors
/// When ffmpeg or espeak-ng fails.
pub fn damaged_film(path: &Path) -> anyhow::Result<()> {
    film(path, 5.0, &Film::default())?;
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(file.metadata()?.len() / 2).context("damaged film")
}

/// Makes a 3GP film whose sound is AMR, as old telephones do. Few ffmpegs can encode
/// it, so the frames are written here (RFC 4867, 5.3); what they hold is noise.
///
/// # Errors
/// When ffmpeg fails.
pub fn amr_film(path: &Path, seconds: u32) -> anyhow::Result<()> {
    /// 12.2 kbit/s (mode 7), good quality bit set; 31 bytes follow.
    const HEADER: u8 = 7 << 3 | 1 << 2;
    let mut sound = b"#!AMR\n".to_vec();
    let mut noise = 0x2545_f491_u32;
    for _frame in 0..seconds * 50 {
        sound.push(HEADER);
        for _ in 0..31 {
            // xorshift32: the same noise every time.
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            sound.push(noise.to_le_bytes()[3]);
        }
    }
    let raw = tempfile::Builder::new().suffix(".amr").tempfile()?;
    std::fs::write(raw.path(), sound)?;

    let source = "testsrc2=size=176x144:rate=25";
    let mut call = words(&["-f", "lavfi", "-i", source, "-f", "amr", "-i"]);
    call.push(raw.path().into());
    call.extend(words(&["-map", "0:v", "-map", "1:a", "-c:v", "h263", "-c:a", "copy", "-t", &seconds.to_string()]));
    call.push(path.into());
    ffmpeg(call).map(drop)
}
