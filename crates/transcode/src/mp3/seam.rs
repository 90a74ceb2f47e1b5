//! Two encoders, each of which had its part of one sound, and whose parts overlap: how the frames
//! of the second are hung behind the frames of the first.
//!
//! A frame's main data begins `main_data_begin` bytes before the frame itself, in room that
//! earlier frames left. The frames cannot just be put together, then: what the second encoder put
//! into its own earlier frames has to go with them. It fits into the room that the first encoder
//! left at the same place for its own next frame, if that was as large.

use super::frame::{HEADER, Header, SideInfo};

/// Whole frames of one encoder.
#[derive(Debug)]
pub struct Piece {
    bytes: Vec<u8>,
    frames: Vec<Frame>,
    /// Which frame of the whole stream is its first.
    first: u64,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    at: usize,
    header: Header,
    info: SideInfo,
}

impl Piece {
    /// `None` if `bytes` are anything but frames.
    pub fn parse(bytes: Vec<u8>, first: u64) -> Option<Self> {
        let (mut frames, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let header = Header::parse(&bytes[at..])?;
            let info = SideInfo::parse(header, bytes.get(at..at + header.len())?)?;
            frames.push(Frame { at, header, info });
            at += header.len();
        }
        Some(Self { bytes, frames, first })
    }

    /// Which frame of the whole stream is its first.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The frame after the last.
    fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    fn frame(&self, number: u64) -> Option<&Frame> {
        self.frames.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// All frames from `number` on.
    pub fn from(&self, number: u64) -> &[u8] {
        self.frame(number).map_or(&[], |frame| &self.bytes[frame.at..])
    }

    /// Where in `bytes` the last `count` bytes of main data before frame `number` stand, the last
    /// one first.
    fn main_data_before(&self, number: u64, count: usize) -> Vec<usize> {
        let before = (number - self.first) as usize;
        let areas = self.frames[..before].iter().rev();
        areas.flat_map(|f| (f.at + f.header.main_data()..f.at + f.header.len()).rev()).take(count).collect()
    }
}

/// Appends to `out` the frames of `a` from `from` on, up to the seam with `b`, and returns the
/// frame from which on those of `b` have to follow: one of `range` if any will do.
pub fn join(a: &mut Piece, from: u64, b: &Piece, range: std::ops::RangeInclusive<u64>, out: &mut Vec<u8>) -> u64 {
    let seam = choose(a, b, range);
    let needed = b.frame(seam).map_or(0, |frame| frame.info.begin);
    let room = a.frame(seam).map_or(0, |frame| frame.info.begin);
    if needed > room {
        widen(a, seam, needed - room);
    }
    let to = a.main_data_before(seam, needed);
    for (to, from) in to.into_iter().zip(b.main_data_before(seam, needed)) {
        a.bytes[to] = b.bytes[from];
    }
    let end = a.frame(seam).map_or(a.bytes.len(), |frame| frame.at);
    let begin = a.frame(from).map_or(end, |frame| frame.at);
    out.extend_from_slice(&a.bytes[begin..end]);
    seam
}

/// The best frame to change over at. Windows overlap from frame to frame, so before it both
/// encoders should have ended with the same ones, or the halves do not match.
fn choose(a: &Piece, b: &Piece, range: std::ops::RangeInclusive<u64>) -> u64 {
    let matches = |seam: &u64| {
        let (before, other) = (a.frame(seam - 1), b.frame(seam - 1));
        before.zip(other).is_some_and(|(a, b)| a.info.windows == b.info.windows)
    };
    let missing = |seam: &u64| {
        let (ours, theirs) = (a.frame(*seam)?, b.frame(*seam)?);
        Some(theirs.info.begin.saturating_sub(ours.info.begin))
    };
    let fits = |seam: &u64| missing(seam) == Some(0);
    let can_fit = |seam: &u64| {
        let frame = a.frame(seam - 1)?;
        frame.header.with_room(frame.header.len() + missing(seam)?)
    };
    let settled = || range.clone().rev();
    // Where `b` had begun, but may not sound quite as `a` does yet.
    let any = || (b.first.max(a.first) + 1..=b.end().min(a.end())).rev();
    settled()
        .find(|seam| matches(seam) && fits(seam))
        .or_else(|| settled().find(|seam| matches(seam) && can_fit(seam).is_some()))
        .or_else(|| any().find(|seam| matches(seam) && fits(seam)))
        .or_else(|| any().find(fits))
        // The first frame of an encoder needs nothing of any other.
        .unwrap_or(b.first)
}

/// Makes the frame before `seam` longer by `missing` bytes or more, by way of its bit rate.
fn widen(a: &mut Piece, seam: u64, missing: usize) {
    let index = (seam - 1 - a.first) as usize;
    let Frame { at, header, .. } = a.frames[index];
    let Some(wider) = header.with_room(header.len() + missing) else {
        return;
    };
    let (end, by) = (at + header.len(), wider.len() - header.len());
    a.bytes.splice(end..end, std::iter::repeat_n(0, by));
    a.bytes[at..at + HEADER].copy_from_slice(&wider.bytes());
    a.frames[index].header = wider;
    for frame in &mut a.frames[index + 1..] {
        frame.at += by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of 44.1 kHz mono whose side information asks for `begin` bytes of earlier frames;
    /// all of its main data are `fill`.
    fn frame(kbps: u8, begin: u16, fill: u8) -> Vec<u8> {
        let index = [64, 128, 320].iter().position(|rate| *rate == u32::from(kbps)).map_or(14, |at| [5, 9, 14][at]);
        let header = [0xFF, 0xFB, index << 4, 0xC4];
        let header = Header::parse(&header).expect("a header");
        let mut bytes = header.bytes().to_vec();
        bytes.extend([(begin >> 1) as u8, (begin << 7) as u8]);
        bytes.resize(header.main_data(), 0);
        bytes.resize(header.len(), fill);
        bytes
    }

    fn piece(first: u64, frames: &[(u8, u16, u8)]) -> Piece {
        let bytes = frames.iter().flat_map(|(kbps, begin, fill)| frame(*kbps, *begin, *fill)).collect();
        Piece::parse(bytes, first).expect("frames")
    }

    fn joined(mut a: Piece, b: &Piece, range: std::ops::RangeInclusive<u64>) -> (u64, Vec<u8>) {
        let mut out = Vec::new();
        let seam = join(&mut a, 0, b, range, &mut out);
        (seam, out)
    }

    #[test]
    fn main_data_in_earlier_frames_comes_along() {
        let a = piece(0, &[(64, 0, 1), (64, 0, 1), (64, 0, 1), (64, 300, 1)]);
        let b = piece(1, &[(64, 0, 2), (64, 0, 3), (64, 250, 4)]);
        let (seam, out) = joined(a, &b, 2..=3);
        assert_eq!(seam, 3);
        let frames = Piece::parse(out, 0).expect("frames");
        assert_eq!(frames.frames.len(), 3);
        let area = frames.frames[2].header.len() - frames.frames[2].header.main_data();
        let threes: Vec<u8> = frames.main_data_before(3, 250).iter().map(|at| frames.bytes[*at]).collect();
        assert!(threes[..area].iter().all(|byte| *byte == 3), "of the frame before");
        assert!(threes[area..].iter().all(|byte| *byte == 2), "and of the one before that");
        assert_eq!(frames.bytes[frames.main_data_before(3, 251)[250]], 1, "what is older stays");
        assert_eq!(frames.bytes[frames.frames[2].at..][..HEADER], frame(64, 0, 1)[..HEADER]);
    }

    #[test]
    fn an_earlier_frame_is_taken_where_there_is_room() {
        let a = piece(0, &[(64, 0, 1), (64, 0, 1), (64, 90, 1), (64, 10, 1)]);
        let b = piece(0, &[(64, 0, 2), (64, 0, 2), (64, 80, 2), (64, 40, 2)]);
        assert_eq!(joined(a, &b, 1..=3).0, 2);
    }

    #[test]
    fn where_there_is_no_room_the_frame_before_is_widened() {
        let a = piece(0, &[(64, 0, 1), (64, 0, 1), (64, 10, 1)]);
        let b = piece(0, &[(64, 0, 2), (64, 0, 2), (64, 80, 2)]);
        let (seam, out) = joined(a, &b, 2..=2);
        let frames = Piece::parse(out, 0).expect("frames");
        assert_eq!((seam, frames.frames.len()), (2, 2));
        assert!(frames.frames[1].header.len() >= frame(64, 0, 1).len() + 70);
        assert!(frames.main_data_before(2, 80).iter().all(|at| frames.bytes[*at] == 2));
        let before = frames.main_data_before(2, 300);
        assert_eq!(frames.bytes[before[80]], 0, "what is left of the new room");
        assert_eq!(frames.bytes[before[299]], 1, "what stood there before");
    }

    #[test]
    fn the_largest_frames_cannot_be_widened_and_the_seam_moves() {
        let a = piece(0, &[(255, 0, 1), (255, 0, 1), (255, 0, 1), (255, 0, 1)]);
        let b = piece(0, &[(255, 0, 2), (255, 0, 2), (255, 50, 2), (255, 50, 2)]);
        assert_eq!(joined(a, &b, 3..=3).0, 1);
        let a = piece(0, &[(255, 0, 1), (255, 0, 1), (255, 0, 1)]);
        let b = piece(1, &[(255, 0, 2), (255, 50, 2)]);
        let (seam, out) = joined(a, &b, 2..=2);
        assert_eq!((seam, out), (1, frame(255, 0, 1)), "a whole encoder needs nothing of another");
    }
}
