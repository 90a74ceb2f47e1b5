//! Cuts sound into segments that overlap, encodes one, and joins what became of them.
//!
//! An encoder that starts in the middle needs a run-up before it hears as one does that was there
//! from the beginning (its psychoacoustic model looks back), and until its bit reservoir is as
//! full. So each segment is given some frames more at its front, which are thrown away, and two
//! more at its end, which LAME needs to look ahead. What both neighbours have encoded is where
//! the seam is laid.

use std::sync::atomic::{AtomicBool, Ordering};

use lame::{Mode, Settings};

use super::samples_per_frame;
use crate::Error;
use crate::mp3::seam::{Piece, join};

/// At 44.1 kHz and its fractions a constant bit rate comes about by padding some frames of each
/// 49. Segments that begin elsewhere would be padded elsewhere.
const CYCLE: usize = 49;

/// What the segments in memory may be together, and the shortest and longest of them, in
/// [`CYCLE`]s; at 48 kHz in stereo one is 450 kB of samples. Long ones waste less on run-ups.
const CYCLES: usize = 66;
const SHORTEST: usize = 12;
const LONGEST: usize = 22;

/// Samples that may come at once; few decoders give more.
const LAST_PUSH: usize = 16 * 1024;

/// Frames at the end that the next segment has as well.
const LOOK_AHEAD: usize = 2;

/// Frames of a run-up after which the encoder has settled: from there on the seam may be laid.
const SETTLED: u64 = 41;

/// Samples between two looks at whether the work is still wanted.
const CHUNK: usize = 8 * 1152;

/// How an input is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Samples in a frame.
    frame: usize,
    /// Frames before a segment's start.
    run_up: usize,
    /// Cycles in the longest segment.
    longest: usize,
}

impl Plan {
    fn new(settings: Settings, threads: usize) -> Self {
        let frame = samples_per_frame(settings.rate);
        let run_up = match settings.mode {
            Mode::Vbr(2..) => CYCLE,
            // Each frame hangs on the reservoir that those before it left.
            Mode::Vbr(_) | Mode::Cbr(_) => 2 * CYCLE,
        };
        // One for each thread, and the one that fills up.
        let longest = (CYCLES / (threads + 1)).clamp(SHORTEST, LONGEST);
        Self { frame, run_up, longest }
    }

    /// Frames in the segment of this number: the first ones are short, so that a short film, too,
    /// has some for every core.
    fn len(&self, number: usize) -> usize {
        let cycles = 6 * (1 + number / 4);
        cycles.min(self.longest) * CYCLE
    }
}

/// A part of the sound, and what to do with it.
pub(crate) struct Segment {
    settings: Settings,
    planes: [Vec<f32>; 2],
    /// Which frame of the whole MP3 is its first, run-up included.
    first: u64,
    /// Where it really begins, and where the next one does.
    start: u64,
    end: u64,
    is_last: bool,
}

/// Gathers samples until there is a segment of them.
pub(crate) struct Cutter {
    plan: Plan,
    settings: Settings,
    planes: [Vec<f32>; 2],
    first: u64,
    start: u64,
    number: usize,
}

impl Cutter {
    /// With `settings` for the whole stream.
    pub(crate) fn new(settings: Settings, threads: usize) -> Self {
        let plan = Plan::new(settings, threads);
        Self { plan, settings, planes: [Vec::new(), Vec::new()], first: 0, start: 0, number: 0 }
    }

    /// The frame that the segment now gathered begins with.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Takes samples; mono has one plane only.
    pub(crate) fn push(&mut self, planes: [&[f32]; 2]) {
        for (kept, new) in self.planes.iter_mut().zip(planes).take(self.settings.channels) {
            kept.extend_from_slice(new);
        }
    }

    /// The next segment, once there is enough for it.
    pub(crate) fn cut(&mut self) -> Option<Segment> {
        let run_up = (self.start - self.first) as usize;
        let len = self.plan.len(self.number);
        let samples = (run_up + len + LOOK_AHEAD) * self.plan.frame;
        if self.planes[0].len() < samples {
            return None;
        }
        let next_run_up = (run_up + len - self.plan.run_up) * self.plan.frame;
        // With room for the decoder's last frame too: to outgrow it would be to double it.
        let next_frames = self.plan.run_up + self.plan.len(self.number + 1) + LOOK_AHEAD;
        let next_samples = next_frames * self.plan.frame + LAST_PUSH;
        let planes = std::array::from_fn(|channel| {
            let plane = &mut self.planes[channel];
            if plane.is_empty() {
                return Vec::new();
            }
            let mut next = Vec::with_capacity(next_samples);
            next.extend_from_slice(plane.get(next_run_up..).unwrap_or_default());
            let mut plane = std::mem::replace(plane, next);
            plane.truncate(samples);
            plane
        });
        let segment = self.segment(planes, self.start + len as u64, false);
        self.number += 1;
        self.start += len as u64;
        self.first = self.start - self.plan.run_up as u64;
        Some(segment)
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> Segment {
        let planes = std::mem::take(&mut self.planes);
        self.segment(planes, u64::MAX, true)
    }

    fn segment(&self, planes: [Vec<f32>; 2], end: u64, is_last: bool) -> Segment {
        let settings = Settings { tag: self.settings.tag && self.start == 0, ..self.settings };
        Segment { settings, planes, first: self.first, start: self.start, end, is_last }
    }
}

/// An encoded segment.
pub(crate) struct Encoded {
    piece: Piece,
    start: u64,
    /// The frame that the next segment begins with.
    pub(super) end: u64,
    /// LAME's tag frame, of the segment that begins the stream; empty where there is none.
    pub(super) tag: Vec<u8>,
}

/// Encodes one segment with an encoder of its own.
pub(crate) fn encode(segment: Segment, stop: &AtomicBool) -> Result<Encoded, Error> {
    let mut encoder = lame::Encoder::new(segment.settings).map_err(super::failed)?;
    let mut bytes = Vec::new();
    let [left, right] = &segment.planes;
    let right = if segment.settings.channels == 1 { left } else { right };
    for (left, right) in left.chunks(CHUNK).zip(right.chunks(CHUNK)) {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        encoder.encode([left, right], &mut bytes).map_err(super::failed)?;
    }
    let finish = if segment.is_last { lame::Encoder::finish } else { lame::Encoder::break_off };
    finish(&mut encoder, &mut bytes).map_err(super::failed)?;
    let tag = encoder.tag_frame();
    bytes.drain(..tag.len());
    let piece = Piece::parse(bytes, segment.first).ok_or_else(|| Error::Internal("LAME made odd frames".to_owned()))?;
    Ok(Encoded { piece, start: segment.start, end: segment.end, tag })
}

/// Puts encoded segments together, one after the other.
#[derive(Default)]
pub(crate) struct Joiner {
    last: Option<Piece>,
    /// The frame of it that comes next.
    from: u64,
}

impl Joiner {
    /// Appends to `out` what is sure now.
    pub(crate) fn push(&mut self, next: Encoded, out: &mut Vec<u8>) {
        if let Some(last) = &mut self.last {
            let range = next.piece.first() + SETTLED..=next.start;
            self.from = join(last, self.from, &next.piece, range, out);
        }
        self.last = Some(next.piece);
    }

    /// Appends what is left.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(last) = self.last.take() {
            out.extend_from_slice(last.from(self.from));
        }
    }
}
