//! One MP3 for each chapter, all in one zip.

use std::io::{Read, Seek};
use std::time::Duration;

use crate::convert::{Opened, pass, too_long};
use crate::loudness::Level;
use crate::monitor::Monitor;
use crate::reader::Shared;
use crate::sink::Sink;
use crate::zip::{self, Zip};
use crate::{Error, Options, Part, Summary, chapters, tags};

/// So many files anybody may want; more are somebody's attack.
pub const MAX_CHAPTERS: usize = 999;

/// Chapters that end so shortly before the sound does go on to its end.
const ROUGH: Duration = Duration::from_secs(1);

/// Longest name in characters, without number and extension.
const MAX_CHARS: usize = 80;

/// What becomes a file of its own.
pub(crate) struct Chapter {
    /// Counting from 1, and how many there are.
    pub(crate) number: usize,
    pub(crate) of: usize,
    pub(crate) title: Option<String>,
    part: Part,
    length: Duration,
}

/// Those of the wanted part of the sound. Fails where there are none.
pub(crate) fn chapters<'m, R>(input: R, options: &Options, monitor: &'m Monitor<'m>) -> Result<Vec<Chapter>, Error>
where
    R: Read + Seek + Send + 'static,
{
    let Opened { source, length, .. } = Opened::new(input, options, monitor)?;
    let whole = length.map_or(Duration::MAX, |length| options.part.start.saturating_add(length));
    let told: Vec<_> = chapters::within(source.chapters(), options.part).collect();
    let of = told.len();
    if of == 0 || of > MAX_CHAPTERS {
        return Err(if of == 0 { Error::NoChapters } else { Error::TooManyChapters { limit: MAX_CHAPTERS } });
    }
    let chapter = |(at, (start, end, title)): (usize, chapters::Told)| {
        let is_end = at + 1 == of && end.saturating_add(ROUGH) >= whole;
        let part = Part { start, end: if is_end { options.part.end } else { Some(end) } };
        let title = title.as_deref().and_then(tags::clean);
        Chapter { number: at + 1, of, title, part, length: end - start }
    };
    let chapters: Vec<Chapter> = told.into_iter().enumerate().map(chapter).collect();
    let all = total(&chapters);
    if all > options.max_duration {
        return Err(too_long(options));
    }
    monitor.fix_total(all);
    Ok(chapters)
}

fn total(chapters: &[Chapter]) -> Duration {
    chapters.iter().fold(Duration::ZERO, |sum, chapter| sum.saturating_add(chapter.length))
}

/// Converts one after the other. `before`: sound that was measured for that.
pub(crate) fn convert<'m, R>(
    chapters: &[Chapter],
    input: &Shared<R>,
    sink: &mut dyn Sink,
    options: &Options,
    level: Option<Level>,
    before: Duration,
    monitor: &'m Monitor<'m>,
) -> Result<Summary, Error>
where
    R: Read + Seek + Send + 'static,
{
    let limit = options.max_output_bytes.unwrap_or(u64::MAX).min(zip::MOST);
    let (mut zip, mut all, mut beyond) = (Zip::new(sink), Summary::default(), None);
    for chapter in chapters {
        monitor.begin_pass(before + all.duration);
        let left = Some(limit.saturating_sub(zip.written()));
        let options = Options { part: chapter.part, max_output_bytes: left, ..options.clone() };
        let mut file = zip.begin(chapter.file_name());
        match pass(input.clone(), &mut file, &options, level, Some(chapter), monitor) {
            Ok(made) => {
                file.finish().map_err(Error::Output)?;
                all = Summary {
                    duration: all.duration + made.duration,
                    samples: all.samples + made.samples,
                    packets_skipped: all.packets_skipped + made.packets_skipped,
                    waveform: Vec::new(),
                    ..made
                };
            }
            // A film's sound may end before its pictures do.
            Err(error @ Error::BeyondEnd { .. }) => beyond = Some(error),
            Err(Error::TooLarge { .. }) => return Err(Error::TooLarge { limit }),
            Err(error) => return Err(error),
        }
    }
    match beyond {
        Some(error) if all.samples == 0 => Err(error),
        _ => Ok(Summary { bytes_out: zip.finish().map_err(Error::Output)?, ..all }),
    }
}

impl Chapter {
    /// `07 The End.mp3`: in order, and a name on every system.
    fn file_name(&self) -> String {
        let digits = self.of.to_string().len().max(2);
        let tame = |c| if matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|') { '-' } else { c };
        let title: String = self.title.iter().flat_map(|title| title.chars()).map(tame).take(MAX_CHARS).collect();
        let name = format!("{:0digits$} {}", self.number, title.trim());
        format!("{}.mp3", name.trim_end_matches(['.', ' ']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_names_everywhere() {
        let name = |number, of, title: Option<&str>| {
            let title = title.map(str::to_owned);
            let length = Duration::ZERO;
            Chapter { number, of, title, part: Part::default(), length }.file_name()
        };
        assert_eq!(name(1, 9, None), "01.mp3");
        assert_eq!(name(7, 100, Some("Ünder: „den“ Linden?")), "007 Ünder- „den“ Linden-.mp3");
        assert_eq!(name(2, 3, Some("../../etc/passwd")), "02 ..-..-etc-passwd.mp3");
        assert_eq!(name(3, 3, Some("To be continued...")), "03 To be continued.mp3");
        assert_eq!(name(3, 3, Some(&"𝄞".repeat(300))).chars().count(), 3 + MAX_CHARS + 4);
    }
}
