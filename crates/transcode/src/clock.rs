//! Where in the file a decoded frame stands, to the sample, whether the file was read up to it or
//! jumped into.
//!
//! A container whose timestamps are finer than samples tells it. One that counts in milliseconds,
//! as Matroska does, tells it only roughly; but codecs make frames of a fixed length, so that from
//! the first frame on only every 1024th sample, say, can begin one, and the timestamp says which.

use std::time::Duration;

use ffmpeg_next::codec::Id;
use ffmpeg_next::frame::Audio;

use crate::input::Source;

/// Frames from which the length of frames is learnt.
const LEARNT_FROM: u32 = 24;

/// Demuxers, by any of their names, that know after a jump where they are. What the others say of
/// it is a guess by the bit rate, or their jump is a read through the whole file.
const JUMPING: &[&str] = &[
    "mov", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf", "ogg", "wav", "w64", "aiff", "au", "caf", "flac",
];

/// Turns timestamps into samples since the file's beginning.
pub(crate) struct Clock {
    /// Seconds.
    tick: f64,
    /// Timestamp of the file's beginning, in seconds.
    origin: f64,
    jumping: bool,
    /// Timestamps may count bytes of a constant bit rate, whose chunks are not the codec's frames.
    counts_bytes: bool,
    rate: u32,
    frames: u32,
    /// Where the second frame begins (the first one may have lost its priming), and what all
    /// lengths after it are multiples of.
    base: i64,
    grain: i64,
    known_grain: i64,
    /// Where the next frame begins if it follows the last one.
    next: Option<i64>,
}

impl Clock {
    pub(crate) fn new(source: &Source<'_>, stream: usize) -> Self {
        let format = source.format_name();
        let is_one_of = |names: &[&str]| format.split(',').any(|name| names.contains(&name));
        let stream = source.context().stream(stream);
        let (tick, known_grain) = stream.map_or((0.0, 0), |stream| {
            // Of codecs whose frames are now long, now short.
            let grain = match stream.parameters().id() {
                Id::VORBIS => 64,
                Id::OPUS => 120,
                _ => 0,
            };
            (f64::from(stream.time_base()), grain)
        });
        Self {
            tick,
            origin: source.start_time() as f64 / 1e6,
            jumping: is_one_of(JUMPING),
            counts_bytes: is_one_of(&["avi"]),
            rate: 0,
            frames: 0,
            base: 0,
            grain: known_grain,
            known_grain,
            next: None,
        }
    }

    /// Time of a timestamp since the file's beginning.
    pub(crate) fn time(&self, ts: i64) -> Duration {
        Duration::try_from_secs_f64(ts as f64 * self.tick - self.origin).unwrap_or_default()
    }

    /// Whether a timestamp alone tells the sample. Not known before some frames were located.
    pub(crate) fn is_exact(&self) -> bool {
        let (tick, grain) = (self.samples_in_a_tick(), self.grain as f64);
        let counts_frames = (tick - grain).abs() < 1e-3;
        self.frames >= LEARNT_FROM && (tick < 1.01 || counts_frames || (grain > 1.25 * tick && !self.counts_bytes))
    }

    /// Whether that still holds after a jump.
    pub(crate) fn survives_a_jump(&self) -> bool {
        self.jumping
    }

    /// What comes next need not follow what came last.
    pub(crate) fn forget(&mut self) {
        self.next = None;
    }

    /// The frame's first sample, counted from the file's beginning; `None` for one without a
    /// timestamp after a jump.
    pub(crate) fn locate(&mut self, frame: &Audio) -> Option<i64> {
        if self.rate != frame.rate() {
            (self.rate, self.frames, self.grain, self.next) = (frame.rate(), 0, self.known_grain, None);
        }
        let told = frame.pts().or(frame.timestamp());
        let told = told.map(|ts| (ts as f64 * self.tick - self.origin) * f64::from(self.rate));
        let at = match (told, self.next) {
            (Some(told), _) if self.frames == 0 => self.first(told),
            (Some(told), _) if self.is_exact() => self.nearest(told),
            (Some(told), Some(next)) if (told - next as f64).abs() <= self.slack() => next,
            (Some(told), _) => told.round() as i64,
            (None, next) => next?,
        };
        let length = frame.samples() as i64;
        match self.frames {
            0 => self.base = at + length,
            n if n < LEARNT_FROM => self.grain = greatest_common_divisor(self.grain, length),
            _ => {}
        }
        self.frames = self.frames.saturating_add(1);
        self.next = Some(at + length);
        self.next.map(|next| next - length)
    }

    /// The file's beginning, if the timestamp cannot tell them apart.
    fn first(&self, told: f64) -> i64 {
        if told.abs() <= self.slack() { 0 } else { told.round() as i64 }
    }

    /// The sample nearest to `told` at which a frame can begin. A recording with gaps may have
    /// left that grid; then what is told is all there is to go by.
    fn nearest(&self, told: f64) -> i64 {
        if self.samples_in_a_tick() < 1.01 {
            return told.round() as i64;
        }
        let grain = self.grain as f64;
        let candidate = self.base as f64 + ((told - self.base as f64) / grain).round() * grain;
        if (candidate - told).abs() <= self.slack() { candidate as i64 } else { told.round() as i64 }
    }

    /// By how many samples a timestamp may be off.
    fn slack(&self) -> f64 {
        self.samples_in_a_tick() + 1.0
    }

    fn samples_in_a_tick(&self) -> f64 {
        self.tick * f64::from(self.rate)
    }
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
