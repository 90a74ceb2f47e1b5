//! Media in, MP3 out: one blocking function, [`convert`], that knows nothing of networks, stores
//! or jobs. It reads a film or a recording through `Read + Seek`, decodes its sound with FFmpeg's
//! libraries, encodes it with LAME and hands the MP3 to a [`Sink`] while it is being made.
//!
//! The stages are modules in the order the sound passes them:
//! `reader` → `input` (probe, demux) → `decode` → `cut` → `shape` (`resample`, `loudness`) →
//! `encode` → `sink`, a `chain` that `convert` feeds. Where a loudness is wished for, `measure` comes
//! first; sound that is MP3 already goes from `input` through `copy` to `sink`. `clock` tells `cut`
//! where in the file a frame stands, and `tags` makes the ID3 tag in front, with cover and `chapters`.
//! `split` goes that way once for each chapter, with a `zip` as the sink.
//!
//! The bytes are somebody else's and may be hostile: only whitelisted demuxers and sound decoders
//! are ever opened, no protocol is, and every length is bounded.

mod chain;
mod chapters;
mod clock;
mod convert;
mod copy;
mod cut;
mod decode;
mod encode;
mod error;
mod ffmpeg;
mod headers;
mod input;
mod language;
mod limiter;
mod loudness;
mod measure;
mod monitor;
#[doc(hidden)]
pub mod mp3;
mod reader;
mod resample;
mod shape;
mod sink;
mod split;
mod streams;
mod tags;
mod waveform;
mod whitelist;
mod zip;

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use convert::convert;
pub use error::Error;
pub use ffmpeg::versions;
pub use monitor::Progress;
pub use sink::{FileSink, HEAD_MAX, Sink};
pub use split::MAX_CHAPTERS;
pub use tags::Tag;
pub use waveform::POINTS as WAVEFORM_POINTS;

/// How to convert; `Options::default()` is VBR V2, or the sound as it is where it is MP3 already,
/// and at most 48 hours of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// `None`: sound that is MP3 already is taken over as it is, all other sound becomes
    /// [`Encoding::default`].
    pub encoding: Option<Encoding>,
    /// `None`: as many as the source has, more than two being mixed to stereo.
    pub channels: Option<Channels>,
    /// In Hz, one of the nine that MP3 has. `None`: the source's own, or the nearest above.
    pub sample_rate: Option<u32>,
    /// Turns the sound up or down to this loudness, in LUFS (EBU R 128). Peaks are held below -1.5
    /// dBTP. The input is read twice, and [`Progress`] covers both.
    pub loudness: Option<i8>,
    /// `None`: the one that the container, or its number of channels, puts first.
    pub track: Option<Track>,
    /// Only this part of the sound.
    pub part: Part,
    /// `Some`: the sink gets a zip of MP3s.
    pub split: Option<Split>,
    /// More sound than this is refused with [`Error::TooLong`].
    pub max_duration: Duration,
    /// A larger MP3 than this is refused with [`Error::TooLarge`].
    pub max_output_bytes: Option<u64>,
    /// What the ID3 tag shall say, whatever the container says.
    pub tags: Vec<(Tag, String)>,
    /// The ID3 title when the container has none; usually the file's name without its extension.
    pub title_fallback: Option<String>,
    /// How many threads may encode at the same time; with one, all is done on the caller's.
    /// `None` takes as many as this process may use cores.
    pub threads: Option<NonZeroUsize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            encoding: None,
            channels: None,
            sample_rate: None,
            loudness: None,
            track: None,
            part: Part::default(),
            split: None,
            max_duration: Duration::from_secs(48 * 3600),
            max_output_bytes: None,
            tags: Vec::new(),
            title_fallback: None,
            threads: None,
        }
    }
}

impl Options {
    /// Whether something other than [`encoding`](Self::encoding) asks for another sound than the
    /// source's own.
    pub fn changes_sound(&self) -> bool {
        self.channels.is_some() || self.sample_rate.is_some() || self.loudness.is_some() || self.part != Part::default()
    }

    fn threads(&self) -> usize {
        self.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
    }
}

/// Channels of the MP3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channels {
    /// All channels of the source mixed into one.
    Mono,
    /// Of a source with one channel, the same on both sides.
    Stereo,
}

/// Which of several sound tracks; one that is not there is [`Error::NoSuchTrack`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Track {
    /// Counting from 1, sound tracks only.
    Number(usize),
    /// An ISO 639 code of two or three letters, whichever of a language's codes the container uses.
    Language(String),
}

/// What becomes an MP3 of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Split {
    /// Each chapter of the container's; where it has none: [`Error::NoChapters`]. Sound outside of
    /// chapters is left out. One loudness is made for all of them, [`Options::max_duration`] and
    /// [`Options::max_output_bytes`] hold for all together, and none is taken over as it is.
    Chapters,
}

/// A part of the sound, in time since the file's beginning; the default is all of it.
///
/// Exact to the sample of the source. Where the container has an index, or timestamps to search
/// by, what lies before and behind the part is not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Beyond the sound's end: [`Error::BeyondEnd`].
    pub start: Duration,
    /// `None`, or beyond the sound's end: up to there. Not after `start`: [`Error::EmptyPart`].
    pub end: Option<Duration>,
}

impl Part {
    /// How much of so much sound this is.
    fn length_of(&self, whole: Duration) -> Duration {
        self.end.map_or(whole, |end| end.min(whole)).saturating_sub(self.start)
    }
}

/// What LAME aims for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// Variable bit rate, LAME's V0 (best) to V9 (smallest).
    Vbr(u8),
    /// Constant bit rate in kbit/s. MP3 knows 32 to 320 from 32 kHz up, 8 to 160 at 16 to 24 kHz
    /// and 8 to 64 below; see [`Error::BitRate`].
    Cbr(u32),
}

impl Default for Encoding {
    fn default() -> Self {
        Self::Vbr(2)
    }
}

/// What was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Length of the MP3's sound, `samples / sample_rate`.
    pub duration: Duration,
    /// Samples of each channel that a gapless player plays.
    pub samples: u64,
    /// Of the MP3, in Hz.
    pub sample_rate: u32,
    /// Of the MP3: 1 or 2.
    pub channels: u8,
    /// How loud it is, in 240 points from 0 to 255, the loudest being 255. Empty where sound was taken
    /// over as it is, unheard.
    pub waveform: Vec<u8>,
    /// Bytes the sink got, tag included.
    pub bytes_out: u64,
    /// FFmpeg's name of the sound track's codec, e.g. `aac`.
    pub input_codec: String,
    /// FFmpeg's name of the container, e.g. `matroska,webm`.
    pub input_format: String,
    /// Sound packets that could not be decoded and were left out.
    pub packets_skipped: u64,
}
