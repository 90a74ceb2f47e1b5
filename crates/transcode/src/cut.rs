//! The part of the sound that is wanted: which packets need not be decoded, and which samples of
//! a frame are kept.

use std::ops::Range;
use std::time::Duration;

use ffmpeg_next::Packet;
use ffmpeg_next::frame::Audio;

use crate::clock::Clock;
use crate::decode::Decoder;
use crate::input::Source;
use crate::{Error, Part};

/// What is decoded before the part begins and thrown away: decoders need some sound to swing in.
/// MP3's bit reservoir reaches back the furthest, by a few frames.
const RUN_UP: Duration = Duration::from_secs(1);

/// Less than this is read through rather than jumped over.
const WORTH_A_JUMP: Duration = Duration::from_secs(10);

/// Follows the sound from the beginning of the file to the end of the part.
pub(crate) struct Cut {
    part: Part,
    clock: Clock,
    /// In samples of the last frame's rate: where the next sample stands, once the part has begun.
    inside: Option<i64>,
    rate: u32,
    over: bool,
    jump: Jump,
    /// Packets were left out since the last frame.
    skipping: bool,
    /// The first sample's place in the file, and the end of what has been heard.
    heard: Option<(Duration, Duration)>,
}

/// How far the attempt to jump ahead has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Jump {
    Possible,
    /// Nothing was read since.
    Made,
    Over,
}

impl Cut {
    pub(crate) fn new(source: &Source<'_>, stream: usize, part: Part) -> Self {
        let (clock, heard) = (Clock::new(source, stream), None);
        Self { part, clock, inside: None, rate: 0, over: false, jump: Jump::Possible, skipping: false, heard }
    }

    /// Whether the part's end was reached: what follows need not be read.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Length of the sound before the part that was passed over.
    pub(crate) fn passed_over(&self) -> Duration {
        let (begin, end) = self.heard.unwrap_or_default();
        end.min(self.part.start).saturating_sub(begin)
    }

    /// Why nothing was kept, if that is because the sound ends before the part begins. `claimed`
    /// is where the container says it ends.
    pub(crate) fn check_reached(&self, claimed: Option<Duration>) -> Result<(), Error> {
        let ended = self.heard.map(|(_, end)| end);
        match (ended, self.part.start) {
            (Some(ended), start) if ended <= start => {
                // After a jump past the end nothing was heard of the end.
                let end = if self.jump == Jump::Made { claimed } else { claimed.or(Some(ended)) };
                Err(Error::BeyondEnd { start, end })
            }
            _ => Ok(()),
        }
    }

    /// Whether the packet lies so far before the part that it need not be decoded; jumps over
    /// what follows it where that saves reading.
    pub(crate) fn skips(
        &mut self,
        source: &mut Source<'_>,
        decoder: &mut Decoder,
        packet: &Packet,
    ) -> Result<bool, Error> {
        if self.part.start.is_zero() || self.inside.is_some() || !self.clock.is_exact() {
            return Ok(false);
        }
        let Some(pts) = packet.pts() else {
            return Ok(self.skipping);
        };
        let time = self.clock.time(pts.saturating_add(packet.duration()));
        let begin = self.part.start.saturating_sub(RUN_UP);
        match self.jump {
            Jump::Possible if time + WORTH_A_JUMP < begin && self.clock.survives_a_jump() => {
                self.jump = if source.jump(begin)? || source.jump(Duration::ZERO)? { Jump::Made } else { Jump::Over };
                self.skipping = true;
                return Ok(true);
            }
            // It went too far: back, and on foot.
            Jump::Made if self.clock.time(pts) > self.part.start => {
                self.jump = Jump::Over;
                source.jump(Duration::ZERO)?;
                return Ok(true);
            }
            Jump::Made => self.jump = Jump::Over,
            _ => {}
        }
        if time < begin {
            self.skipping = true;
        } else if self.skipping {
            self.skipping = false;
            self.clock.forget();
            decoder.flush();
        }
        Ok(self.skipping)
    }

    /// Which of the frame's samples belong to the part.
    pub(crate) fn keep(&mut self, frame: &Audio) -> Range<usize> {
        let all = 0..frame.samples();
        if self.part == Part::default() {
            return all;
        }
        if self.rate != frame.rate() {
            let old = std::mem::replace(&mut self.rate, frame.rate());
            self.inside = self.inside.map(|at| at * i64::from(self.rate) / i64::from(old.max(1)));
        }
        // Inside the part sound is counted, as everywhere: gaps in the timestamps are not looked at.
        let Some(at) = self.inside.or_else(|| self.clock.locate(frame)) else {
            return 0..0;
        };
        let end = at + all.end as i64;
        let seconds = |at: i64| Duration::from_secs_f64(at.max(0) as f64 / f64::from(frame.rate()));
        self.heard = Some((self.heard.map_or(seconds(at), |(begin, _)| begin), seconds(end)));
        let within = |time: Duration| (self.sample(time) - at).clamp(0, all.end as i64) as usize;
        let kept = within(self.part.start)..self.part.end.map_or(all.end, within);
        self.over = self.part.end.is_some_and(|time| self.sample(time) <= end);
        if end > self.sample(self.part.start) {
            self.inside = Some(end);
        }
        kept
    }

    fn sample(&self, time: Duration) -> i64 {
        let nanos = time.as_nanos() * u128::from(self.rate);
        i64::try_from((nanos + 500_000_000) / 1_000_000_000).unwrap_or(i64::MAX)
    }
}
