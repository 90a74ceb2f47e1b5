//! Which sound of a container to take, and how much of it the container says there is.

use std::time::Duration;

use ffmpeg_next::{ffi, media};

use crate::ffmpeg::rescale_to_micros;
use crate::headers;
use crate::input::Source;

/// Sound streams, the one to take first; the others stand in if it cannot be decoded.
pub(crate) fn sound_streams(source: &Source<'_>) -> Vec<usize> {
    let context = source.context();
    let best = context.streams().best(media::Type::Audio).map(|s| s.index());
    let others = context
        .streams()
        .filter(|s| s.parameters().medium() == media::Type::Audio)
        .map(|s| s.index())
        .filter(|index| Some(*index) != best);
    best.into_iter().chain(others).collect()
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
