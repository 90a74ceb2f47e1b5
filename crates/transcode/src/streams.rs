//! Which sound of a container to take, and how much of it the container says there is.

use std::time::Duration;

use ffmpeg_next::{Stream, ffi, media};

use crate::ffmpeg::rescale_to_micros;
use crate::headers;
use crate::input::Source;
use crate::{Error, Track, language, tags};

/// Sound streams that answer to the wish, the one to take first; the others stand in if it cannot
/// be decoded.
pub(crate) fn sound_streams(source: &Source<'_>, wished: Option<&Track>) -> Result<Vec<usize>, Error> {
    let context = source.context();
    let is_sound = |stream: &Stream<'_>| stream.parameters().medium() == media::Type::Audio;
    let all: Vec<usize> = context.streams().filter(is_sound).map(|stream| stream.index()).collect();
    let mut chosen = match wished {
        None => all.clone(),
        Some(Track::Number(number)) => number.checked_sub(1).and_then(|at| all.get(at)).copied().into_iter().collect(),
        Some(Track::Language(code)) => {
            let speaks = |stream: &usize| language_of(source, *stream).is_some_and(|there| language::is(&there, code));
            all.iter().copied().filter(speaks).collect()
        }
    };
    let best = context.streams().best(media::Type::Audio).map(|stream| stream.index());
    chosen.sort_by_key(|index| Some(*index) != best);
    match wished {
        Some(wished) if chosen.is_empty() && !all.is_empty() => Err(Error::NoSuchTrack {
            wished: match wished {
                Track::Number(number) => number.to_string(),
                Track::Language(code) => format!("in “{code}”"),
            },
            there: list(source, &all),
        }),
        _ => Ok(chosen),
    }
}

/// The sound tracks with their numbers, and what the container says of each.
fn list(source: &Source<'_>, streams: &[usize]) -> String {
    const MOST: usize = 20;
    let one = |(at, stream): (usize, &usize)| {
        let title = source.stream_tag(*stream, c"title").and_then(|title| tags::clean(&title));
        let title = title.map(|title| title.chars().take(40).collect());
        let facts: Vec<String> = language_of(source, *stream).into_iter().chain(title).collect();
        let number = at + 1;
        if facts.is_empty() { number.to_string() } else { format!("{number} ({})", facts.join(", ")) }
    };
    let mut tracks: Vec<String> = streams.iter().enumerate().take(MOST).map(one).collect();
    if streams.len() > MOST {
        tracks.push(format!("… {}", streams.len()));
    }
    if tracks.len() == 1 { format!("only {}", tracks[0]) } else { tracks.join(", ") }
}

/// As the container has it, but no longer than the longest of codes (RFC 5646, section 4.4.1).
fn language_of(source: &Source<'_>, stream: usize) -> Option<String> {
    let code = source.stream_tag(stream, c"language").and_then(|code| tags::clean(&code))?;
    Some(code.chars().take(35).collect()).filter(|code| code != "und")
}

/// The length a container's header claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nothing, or no more than could be guessed from the file's size or last timestamps.
    None,
    /// The sound track's own.
    Track(Duration),
    /// Where in the file the sound track ends.
    TrackEnd(Duration),
    /// The whole film's, of which the sound may be less.
    File(Duration),
}

impl Claim {
    pub(crate) fn of(source: &Source<'_>, stream: usize) -> Self {
        let of_stream = stream_duration(source, stream).filter(|_| !is_guessed(source));
        let of_file = file_duration(source).filter(|_| !is_guessed(source));
        let head = source.head();
        let claim = match source.format_name().as_str() {
            "matroska,webm" => matroska_duration(source, stream).map(Self::TrackEnd),
            "asf" => headers::asf_duration(&head).map(Self::File),
            "avi" => headers::avi_duration(&head).filter(|whole| Some(*whole) > of_stream).map(Self::File),
            "wav" => headers::wav_duration(&head).map(Self::Track),
            _ => None,
        };
        claim.or(of_stream.map(Self::Track)).or(of_file.map(Self::File)).unwrap_or(Self::None)
    }

    /// The length, whatever it is of.
    pub(crate) fn length(self) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::Track(length) | Self::TrackEnd(length) | Self::File(length) => Some(length),
        }
    }
}

/// Whether FFmpeg made the length up from the bit rate or the last timestamps it found.
fn is_guessed(source: &Source<'_>) -> bool {
    use ffi::AVDurationEstimationMethod::AVFMT_DURATION_FROM_STREAM;
    // SAFETY: the context is open.
    let method = unsafe { (*source.context().as_ptr()).duration_estimation_method };
    method != AVFMT_DURATION_FROM_STREAM
}

/// The best guess at the sound's length, to measure progress by.
pub(crate) fn likely_duration(source: &Source<'_>, stream: usize) -> Option<Duration> {
    stream_duration(source, stream).or_else(|| file_duration(source))
}

fn stream_duration(source: &Source<'_>, stream: usize) -> Option<Duration> {
    let stream = source.context().stream(stream)?;
    from_micros(rescale_to_micros(stream.duration(), stream.time_base()))
}

fn file_duration(source: &Source<'_>) -> Option<Duration> {
    from_micros(source.context().duration())
}

/// Matroska has no field for a track's length; muxers write a tag, `00:01:02.123000000`. FFmpeg's
/// counts from the file's beginning, mkvmerge's from the track's: taken as the former, a claim is
/// at worst too small.
fn matroska_duration(source: &Source<'_>, stream: usize) -> Option<Duration> {
    source
        .stream_tag(stream, c"DURATION")
        .or_else(|| source.stream_tag(stream, c"DURATION-eng"))
        .and_then(|text| parse_clock(&text))
}

fn parse_clock(text: &str) -> Option<Duration> {
    let (hours, rest) = text.trim().split_once(':')?;
    let (minutes, seconds) = rest.split_once(':')?;
    let (hours, minutes) = (hours.parse::<u32>().ok()?, minutes.parse::<u32>().ok()?);
    let whole = u64::from(hours) * 3600 + u64::from(minutes) * 60;
    let seconds = seconds.parse::<f64>().ok()?;
    Duration::from_secs(whole).checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// `None` for FFmpeg's "unknown" (negative) and for nothing at all.
fn from_micros(micros: i64) -> Option<Duration> {
    u64::try_from(micros).ok().filter(|micros| *micros > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matroska_duration_tag_is_read() {
        let duration = parse_clock("01:02:03.500000000").expect("a time");
        assert_eq!(duration, Duration::from_millis(3_723_500));
        assert_eq!(parse_clock("62.5"), None);
        assert_eq!(parse_clock("aa:00:01"), None);
        assert!(parse_clock("4294967295:4294967295:00").is_some());
        assert_eq!(parse_clock("00:00:1.8e19"), Some(Duration::from_secs(18_000_000_000_000_000_000)));
        assert_eq!(parse_clock("00:00:-1"), None);
        assert_eq!(parse_clock("00:00:nan"), None);
    }
}
