//! The frame in front of all others, which plays silence and tells of the rest: how many frames
//! and bytes, where to seek, and what to cut at either end. Known by the names Xing, Info and LAME.
//!
//! Its layout: <http://gabriel.mp3-tech.org/mp3infotag.html>.

use super::frame::{HEADER, Header};

/// Samples of silence at the front which decoding itself adds, and which every decoder cuts off
/// beside the encoder's own: 528, and one by convention.
pub const DECODER_DELAY: u64 = 529;

const SEEK_POINTS: usize = 100;
/// Frame positions kept to make the seek points of.
const KEPT: usize = 4096;
/// Where, behind the side information, the fields are.
const FLAGS: usize = 4;
const FRAMES: usize = 8;
const BYTES: usize = 12;
const SEEK: usize = 16;
const LAME: usize = SEEK + SEEK_POINTS + 4;
const GAPS: usize = LAME + 21;
const LENGTH: usize = LAME + 28;
const CRC: usize = LAME + 32;
const END: usize = LAME + 36;

/// If `frame` is such a frame: how many samples it says are to be left out in front, decoding's own
/// included; `None` inside where it does not say.
pub fn gap_at_front(header: Header, frame: &[u8]) -> Option<Option<u64>> {
    let fields = frame.get(header.main_data()..)?;
    let is_one = fields.starts_with(b"Info") || fields.starts_with(b"Xing");
    let gaps = fields.get(GAPS..GAPS + 3).filter(|_| fields[LAME] != 0 && fields[FLAGS + 3] == 0x0F);
    is_one.then(|| gaps.map(|gaps| (u64::from(gaps[0]) << 4 | u64::from(gaps[1]) >> 4) + DECODER_DELAY))
}

/// What is to be told, gathered from the frames as they go by.
#[derive(Debug)]
pub struct Info {
    frames: u64,
    bytes: u64,
    crc: u16,
    /// Where in the stream every `every`-th frame begins.
    positions: Vec<u64>,
    every: u64,
}

impl Default for Info {
    fn default() -> Self {
        Self { frames: 0, bytes: 0, crc: 0, positions: Vec::with_capacity(KEPT), every: 1 }
    }
}

impl Info {
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Takes account of whole frames, and returns how many bytes of `bytes` these are.
    pub fn count(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(header) = Header::parse(&bytes[at..]).filter(|header| at + header.len() <= bytes.len()) {
            if self.frames.is_multiple_of(self.every) {
                if self.positions.len() == KEPT {
                    let mut odd = true;
                    self.positions.retain(|_| {
                        odd = !odd;
                        !odd
                    });
                    self.every *= 2;
                }
                if self.frames.is_multiple_of(self.every) {
                    self.positions.push(self.bytes + at as u64);
                }
            }
            self.frames += 1;
            at += header.len();
        }
        self.crc = crc16(self.crc, &bytes[..at]);
        self.bytes += at as u64;
        at
    }

    /// A frame with room for it, like the `frame` of sound that will follow; `None` if MP3 has
    /// none of this size.
    pub fn room(frame: Header) -> Option<Vec<u8>> {
        let header = frame.plain();
        let header = header.with_room(header.main_data() + END)?;
        let mut bytes = vec![0; header.len()];
        bytes[..HEADER].copy_from_slice(&header.bytes());
        Some(bytes)
    }

    /// Writes name, frames, bytes and seek points into a frame that has the room, and with `gaps`
    /// also LAME's part: how many samples `(at the front, at the end)` are not to be heard.
    pub fn write(&self, frame: &mut [u8], is_constant: bool, gaps: Option<(u64, u64)>) {
        let Some(start) = Header::parse(frame).map(Header::main_data).filter(|at| at + END <= frame.len()) else {
            return;
        };
        let total = self.bytes + frame.len() as u64;
        let points = self.seek_points(frame.len() as u64, total);
        let fields = &mut frame[start..];
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes();
        fields[..FLAGS].copy_from_slice(if is_constant { b"Info" } else { b"Xing" });
        // Frames, bytes and seek points are there, and the quality if LAME left one.
        fields[FLAGS + 3] |= 7;
        fields[FRAMES..FRAMES + 4].copy_from_slice(&number(self.frames));
        fields[BYTES..BYTES + 4].copy_from_slice(&number(total));
        fields[SEEK..SEEK + SEEK_POINTS].copy_from_slice(&points);
        let Some((front, end)) = gaps else {
            return;
        };
        fields[FLAGS + 3] |= 8;
        if fields[LAME] == 0 {
            // Decoders believe in what follows only where they read this.
            fields[LAME..LAME + 9].copy_from_slice(b"LAME     ");
        }
        let (front, end) = (front.min(0xFFF), end.min(0xFFF));
        fields[GAPS..GAPS + 3].copy_from_slice(&(front << 12 | end).to_be_bytes()[5..]);
        fields[LENGTH..LENGTH + 4].copy_from_slice(&number(total));
        fields[CRC..CRC + 2].copy_from_slice(&self.crc.to_be_bytes());
        let crc = crc16(0, &frame[..start + CRC + 2]);
        frame[start + CRC + 2..start + END].copy_from_slice(&crc.to_be_bytes());
    }

    /// For each hundredth of the time how many 256ths of the bytes come before it.
    fn seek_points(&self, head: u64, total: u64) -> [u8; SEEK_POINTS] {
        std::array::from_fn(|percent| {
            let frame = self.frames * percent as u64 / SEEK_POINTS as u64;
            let position = self.positions.get((frame / self.every) as usize).map_or(0, |position| position + head);
            if percent == 0 { 0 } else { (256 * position / total.max(1)).min(255) as u8 }
        })
    }
}

/// CRC-16 of polynomial 0x8005, the lowest bit first, as LAME computes it.
fn crc16(crc: u16, bytes: &[u8]) -> u16 {
    const TABLE: [u16; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let (mut value, mut bit) = (i as u16, 0);
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ 0xA001 } else { value >> 1 };
                bit += 1;
            }
            table[i] = value;
            i += 1;
        }
        table
    };
    bytes.iter().fold(crc, |crc, byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        // The check value of CRC-16/ARC.
        assert_eq!(crc16(0, b"123456789"), 0xBB3D);
    }

    #[test]
    fn seek_points_stay_true_when_positions_are_thinned_out() {
        let header = Header::parse(&[0xFF, 0xFB, 0x90, 0x64]).expect("a header");
        let mut frame = header.bytes().to_vec();
        frame.resize(header.len(), 0);
        let mut info = Info::default();
        for _ in 0..20_000 {
            assert_eq!(info.count(&frame), frame.len());
        }
        let points = info.seek_points(0, info.bytes);
        for (percent, point) in points.into_iter().enumerate() {
            assert!((i32::from(point) - percent as i32 * 256 / 100).abs() <= 1, "{percent} %: {point}");
        }
        assert_eq!(info.count(&frame[..100]), 0, "not a whole frame");
    }
}
