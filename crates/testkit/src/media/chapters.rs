//! Films in chapters, and what becomes of them.

use std::fmt::Write;
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::Context;

use super::film::words;
use super::tool::ffmpeg;

/// Gives the film chapters, each a title and its length in seconds. Nothing is encoded again.
///
/// # Errors
/// When ffmpeg fails, or the container has no chapters.
pub fn divide(film: &Path, chapters: &[(&str, f64)]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(film.parent().unwrap_or(Path::new(".")))?;
    let (list, divided) =
        (folder.path().join("chapters.txt"), folder.path().join(film.file_name().unwrap_or_default()));
    let (mut text, mut end) = (";FFMETADATA1\n".to_owned(), 0.0);
    for (title, seconds) in chapters {
        let begin = end;
        end += seconds * 1e3;
        writeln!(text, "[CHAPTER]\nTIMEBASE=1/1000\nSTART={begin:.0}\nEND={end:.0}\ntitle={title}")?;
    }
    std::fs::write(&list, text)?;
    let mut call = words(&["-i"]);
    call.push(film.into());
    call.extend(words(&["-f", "ffmetadata", "-i"]));
    call.push(list.into());
    call.extend(words(&["-map", "0", "-map_metadata", "0", "-map_chapters", "1", "-c", "copy"]));
    call.push(divided.clone().into());
    ffmpeg(call)?;
    Ok(std::fs::rename(divided, film)?)
}

/// The files in a zip, by name and in order; their checksums are compared.
///
/// # Errors
/// When it is none, or something in it is wrong.
pub fn unzip(bytes: &[u8]) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes))?;
    let count = zip.len();
    let file = |at| {
        let mut file = zip.by_index(at)?;
        let (name, mut content) = (file.name()?.into_owned(), Vec::new());
        file.read_to_end(&mut content).with_context(|| name.clone())?;
        Ok((name, content))
    };
    (0..count).map(file).collect()
}
