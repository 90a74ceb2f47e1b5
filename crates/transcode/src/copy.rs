//! Sound that is MP3 already goes over frame by frame, unchanged: faster by far than to encode it
//! again, and nothing is lost. What containers say of its gaps goes into the frame in front.

use ffmpeg_next::packet::Ref;
use ffmpeg_next::packet::side_data::Type;
use ffmpeg_next::{Packet, codec, ffi};

use crate::encode::Encoder;
use crate::input::Source;
use crate::mp3::frame::{Header, SideInfo};
use crate::mp3::info::{self, DECODER_DELAY, Info};
use crate::resample::Target;

/// The longest gap at the front that can be told of, decoding's own included.
const LONGEST_GAP: u64 = 0xFFF + DECODER_DELAY;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copied {
    Whole,
    /// Something in it was no frame, or one with values that no encoder writes.
    Broken,
    /// Here begins MP3 of another kind, which cannot stand in the same stream.
    Other,
}

/// Copies the frames of one stream.
#[derive(Debug)]
pub(crate) struct Copier {
    /// The first frame's, which all others have to be like.
    kind: Option<Header>,
    info: Info,
    is_constant: bool,
    /// Samples to be left out at the beginning, decoding's own delay included, where that is known.
    front: Option<u64>,
    /// Samples to be left out at the end.
    end: u64,
    is_over: bool,
    /// Samples that were copied before an encoder went on.
    handed_over: u64,
}

impl Copier {
    /// If the stream is MP3.
    pub(crate) fn of(source: &Source<'_>, stream: usize) -> Option<Self> {
        let codec = source.context().stream(stream)?.parameters().id();
        (codec == codec::Id::MP3).then(|| Self {
            kind: None,
            info: Info::default(),
            is_constant: true,
            front: None,
            end: 0,
            is_over: false,
            handed_over: 0,
        })
    }

    /// Rate and channels, once there was a frame.
    pub(crate) fn target(&self) -> Option<Target> {
        self.kind.map(|kind| Target { rate: kind.rate(), channels: kind.channels() })
    }

    /// Whether it has met [`Copied::Other`].
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Lets an encoder go on where the frames end that could be copied, if there were any.
    pub(crate) fn hand_over(&mut self) -> Option<(Target, Info)> {
        let target = self.target()?;
        self.handed_over = self.samples();
        Some((target, std::mem::take(&mut self.info)))
    }

    /// What that encoder made stands behind the frames that were copied.
    pub(crate) fn take_back(&mut self, encoder: Encoder) {
        self.is_constant = false;
        self.end = encoder.padding().saturating_sub(DECODER_DELAY);
        self.info = encoder.into_info();
        self.handed_over = 0;
    }

    /// Samples of each channel that a gapless player plays; while an encoder goes on, those
    /// before it.
    pub(crate) fn samples(&self) -> u64 {
        if self.handed_over > 0 {
            return self.handed_over;
        }
        let all = self.kind.map_or(0, |kind| self.info.frames() * kind.samples() as u64);
        all.saturating_sub(self.gaps().map_or(0, |(front, end)| front + end))
    }

    /// Samples to be left out at the front, decoding's own delay included, and at the end; `None`
    /// where nobody knows. Matroska often tells of the end alone: then decoding's delay is all there
    /// is in front.
    fn gaps(&self) -> Option<(u64, u64)> {
        let front = self.front.or((self.end > 0).then_some(DECODER_DELAY))?;
        Some((front.max(DECODER_DELAY), self.end))
    }

    /// Appends a packet's frames, and before the first the room for [`head_frame`](Self::head_frame).
    pub(crate) fn copy(&mut self, packet: &Packet, out: &mut Vec<u8>) -> Copied {
        let (mut data, mut copied) = (packet.data().unwrap_or_default(), Copied::Whole);
        let (skip, discard) = gaps(packet);
        while !data.is_empty() {
            let Some(header) = Header::parse(data).filter(|header| header.len() <= data.len()) else {
                return Copied::Broken;
            };
            let (frame, rest) = data.split_at(header.len());
            data = rest;
            if self.kind.is_some_and(|kind| !kind.is_like(header)) {
                self.is_over = true;
                return Copied::Other;
            }
            if SideInfo::parse(header, frame).is_none_or(|info| !info.is_valid) {
                copied = Copied::Broken;
            } else if self.kind.is_none() {
                self.kind = Some(header);
                self.front = (skip > 0).then_some(skip);
                out.extend(Info::room(header).unwrap_or_default());
                match info::gap_at_front(header, frame) {
                    // This frame is itself only about the others.
                    Some(front) => self.front = front.or(self.front),
                    None => self.keep(header, frame, packet, discard, out),
                }
            } else {
                self.keep(header, frame, packet, discard, out);
            }
        }
        copied
    }

    fn keep(&mut self, header: Header, frame: &[u8], packet: &Packet, discard: u64, out: &mut Vec<u8>) {
        let samples = header.samples() as u64;
        // SAFETY: a live packet's plain field.
        let is_discarded = unsafe { (*packet.as_ptr()).flags } & ffi::AV_PKT_FLAG_DISCARD != 0;
        let is_early = self.info.frames() == 0 && self.front > Some(LONGEST_GAP);
        // The bit reservoir of those to come may lie in what is not to be heard.
        let is_in_front = self.front >= Some((self.info.frames() + 1) * samples);
        if is_early {
            self.front = self.front.map(|front| front - samples);
        } else if is_discarded && !is_in_front {
            // Cut out by an edit list.
        } else if discard < samples {
            self.end = discard;
            self.is_constant &= self.kind.is_none_or(|kind| kind.bit_rate() == header.bit_rate());
            self.info.count(frame);
            out.extend_from_slice(frame);
        }
    }

    /// The frame in front, to be put in place of its room at the end; empty where there is none.
    pub(crate) fn head_frame(&self) -> Vec<u8> {
        let mut frame = self.kind.and_then(Info::room).unwrap_or_default();
        let gaps = self.gaps().map(|(front, end)| (front - DECODER_DELAY, end + DECODER_DELAY));
        self.info.write(&mut frame, self.is_constant, gaps);
        frame
    }
}

/// How many samples are to be left out `(at the front, at the end)` of what the packet holds.
fn gaps(packet: &Packet) -> (u64, u64) {
    let gaps = packet.side_data().find(|data| data.kind() == Type::SkipSamples);
    let number = |at: usize| {
        let bytes = gaps.as_ref()?.data().get(at..at + 4)?;
        bytes.try_into().ok().map(u32::from_le_bytes)
    };
    (number(0).unwrap_or(0).into(), number(4).unwrap_or(0).into())
}
