//! What can go wrong, told apart by what the caller should do about it.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why there is no MP3.
///
/// The [final](Error::is_final) ones read as plain words for the person who sent the file; what
/// the sink got until then is to be thrown away in every case.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum Error {
    #[error("this is not a video or audio file we can read")]
    NotMedia,
    #[error("this video has no sound track")]
    NoSound,
    /// The codec's FFmpeg name.
    #[error("the sound track is in a format we cannot decode ({codec})")]
    UnknownCodec { codec: String },
    /// `read` is what could be decoded, `of` the length the file claims, where it claims one that
    /// it does not reach.
    #[error("{}", damaged(*.read, *.of))]
    Damaged { read: Duration, of: Option<Duration> },
    #[error("the sound is too long: more than {} can not be converted", clock(*.limit))]
    TooLong { limit: Duration },
    /// `limit` in bytes.
    #[error("the MP3 would be too large: more than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("there is no MP3 of {kbps} kbit/s at {sample_rate} Hz")]
    BitRate { kbps: u32, sample_rate: u32 },
    #[error("there is no MP3 of {0} Hz")]
    SampleRate(u32),
    /// `there`: those that there are, as a list for people.
    #[error("there is no sound track {wished}: this video has {there}")]
    NoSuchTrack { wished: String, there: String },
    #[error("there is no VBR quality {0}: it goes from 0 (best) to 9 (smallest)")]
    Quality(u8),
    #[error("the part ends before it begins")]
    EmptyPart,
    /// The sound ends before the [`Part`](crate::Part) begins; `end` is where, if that is known.
    #[error("{}", beyond_end(*.start, *.end))]
    BeyondEnd { start: Duration, end: Option<Duration> },
    /// It took more than it may, or brought the decoder down.
    #[error("this file could not be converted: {0}")]
    Unbearable(String),
    #[error("this video has no chapters to split it at")]
    NoChapters,
    #[error("this video has too many chapters to split it at: more than {limit}")]
    TooManyChapters { limit: usize },
    /// The reader failed; its own error is the source.
    #[error("the input could not be read")]
    Input(
        #[source]
        #[serde(with = "as_text")]
        io::Error,
    ),
    /// The sink failed; its own error is the source.
    #[error("the output could not be written")]
    Output(
        #[source]
        #[serde(with = "as_text")]
        io::Error,
    ),
    #[error("cancelled")]
    Cancelled,
    /// A failure of this program or its libraries, not of the file.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// Whether the same file with the same options would fail again, so that a retry is useless.
    pub fn is_final(&self) -> bool {
        match self {
            Self::NotMedia
            | Self::NoSound
            | Self::UnknownCodec { .. }
            | Self::Damaged { .. }
            | Self::TooLong { .. }
            | Self::TooLarge { .. }
            | Self::BitRate { .. }
            | Self::SampleRate(_)
            | Self::NoSuchTrack { .. }
            | Self::Quality(_)
            | Self::EmptyPart
            | Self::Unbearable(_)
            | Self::BeyondEnd { .. }
            | Self::NoChapters
            | Self::TooManyChapters { .. } => true,
            Self::Input(_) | Self::Output(_) | Self::Cancelled | Self::Internal(_) => false,
        }
    }

    /// An FFmpeg call that fails only for want of memory or by a bug.
    pub(crate) fn ffmpeg(what: &str, code: i32) -> Self {
        Self::Internal(format!("{what}: FFmpeg error {code}"))
    }
}

fn damaged(read: Duration, of: Option<Duration>) -> String {
    match of {
        Some(of) => format!("this file is damaged: only {} of {} could be read", clock(read), clock(of)),
        None if read.is_zero() => "this file is damaged and cannot be read".to_owned(),
        None => format!("this file is damaged: much of its {} of sound could not be read", clock(read)),
    }
}

fn beyond_end(start: Duration, end: Option<Duration>) -> String {
    match end {
        Some(end) => format!("there is no sound at {}: it ends at {}", clock(start), clock(end)),
        None => format!("there is no sound at {}: it ends before", clock(start)),
    }
}

/// `3:10`, or `1:02:03` from an hour up.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// What another process may know of an error of the system.
mod as_text {
    use std::io;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(error: &io::Error, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(error)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<io::Error, D::Error> {
        String::deserialize(deserializer).map(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_errors_read_as_plain_words() {
        let damaged = Error::Damaged { read: Duration::from_secs(190), of: Some(Duration::from_secs(600)) };
        assert_eq!(damaged.to_string(), "this file is damaged: only 3:10 of 10:00 could be read");
        assert!(damaged.is_final());
        let long = Error::TooLong { limit: Duration::from_secs(48 * 3600 + 61) };
        assert!(long.to_string().contains("48:01:01"), "{long}");
        assert!(!Error::Input(io::Error::other("gone")).is_final());
        assert!(!Error::Cancelled.is_final());
    }
}
