//! A frame's header and side information: ISO/IEC 11172-3 (MPEG-1), 13818-3 (MPEG-2, half the
//! sample rates), and Fraunhofer's extension to a quarter of them (MPEG-2.5).

/// Bytes of a frame's header.
pub const HEADER: usize = 4;

/// Bit rates in kbit/s by their index, which 0 ("free format") and 15 are none of.
const BIT_RATES: [[u32; 14]; 2] = [
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// A layer III frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header([u8; HEADER]);

#[allow(clippy::len_without_is_empty, reason = "no frame is empty")]
impl Header {
    /// The header at the beginning of `bytes`, if there is a valid one of a known length.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let header = *bytes.first_chunk::<HEADER>()?;
        let [first, second, third, fourth] = header;
        let synchronised = first == 0xFF && second & 0xE0 == 0xE0;
        let version_and_layer = second & 0x18 != 0x08 && second & 0x06 == 0x02;
        let rates = (1..15).contains(&(third >> 4)) && third & 0x0C != 0x0C;
        let emphasis = fourth & 0x03 != 0x02;
        (synchronised && version_and_layer && rates && emphasis).then_some(Self(header))
    }

    pub fn bytes(self) -> [u8; HEADER] {
        self.0
    }

    fn is_mpeg1(self) -> bool {
        self.0[1] & 0x18 == 0x18
    }

    /// Samples a second.
    pub fn rate(self) -> u32 {
        let mpeg1 = [44_100, 48_000, 32_000][usize::from(self.0[2] >> 2 & 3).min(2)];
        match self.0[1] & 0x18 {
            0x18 => mpeg1,
            0x10 => mpeg1 / 2,
            _ => mpeg1 / 4,
        }
    }

    /// 1 or 2.
    pub fn channels(self) -> usize {
        if self.0[3] & 0xC0 == 0xC0 { 1 } else { 2 }
    }

    /// Samples of each channel.
    pub fn samples(self) -> usize {
        if self.is_mpeg1() { 1152 } else { 576 }
    }

    /// In kbit/s.
    pub fn bit_rate(self) -> u32 {
        self.bit_rates()[usize::from(self.0[2] >> 4) - 1]
    }

    fn bit_rates(self) -> &'static [u32; 14] {
        &BIT_RATES[usize::from(!self.is_mpeg1())]
    }

    /// Bytes of the whole frame.
    pub fn len(self) -> usize {
        let padding = usize::from(self.0[2] >> 1 & 1);
        self.samples() * 125 * self.bit_rate() as usize / self.rate() as usize + padding
    }

    /// The same header at the lowest bit rate at which the frame has `len` bytes or more.
    pub fn with_room(self, len: usize) -> Option<Self> {
        (1..15)
            .map(|index| {
                let mut header = self.0;
                header[2] = header[2] & 0x0F | index << 4;
                Self(header)
            })
            .find(|header| header.len() >= len)
    }

    /// The same header with neither padding nor a checksum.
    pub fn plain(self) -> Self {
        let [first, second, third, fourth] = self.0;
        Self([first, second | 1, third & !2, fourth])
    }

    /// Where the side information begins: behind the header, and behind a checksum where there is one.
    fn side_info(self) -> usize {
        if self.0[1] & 1 == 0 { HEADER + 2 } else { HEADER }
    }

    /// Where the frame's part of the main data begins.
    pub fn main_data(self) -> usize {
        let side_info = match (self.is_mpeg1(), self.channels()) {
            (true, 2) => 32,
            (true, _) | (false, 2) => 17,
            (false, _) => 9,
        };
        self.side_info() + side_info
    }

    /// Whether both are of one stream: rate, kind and number of channels agree.
    pub fn is_like(self, other: Self) -> bool {
        self.0[1] & 0x1E == other.0[1] & 0x1E
            && self.0[2] & 0x0C == other.0[2] & 0x0C
            && self.channels() == other.channels()
    }
}

/// The part of the side information that tells where and how a frame joins its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SideInfo {
    /// Bytes of the frame's main data that stand in frames before it.
    pub begin: usize,
    /// Bytes of main data the frame needs in all.
    pub needs: usize,
    /// Of each channel the window that the frame ends with: its type, and whether it is mixed.
    pub windows: [u8; 2],
    /// Whether no field has a value that it cannot have.
    pub is_valid: bool,
}

impl SideInfo {
    /// Of a whole frame.
    pub fn parse(header: Header, frame: &[u8]) -> Option<Self> {
        let bytes = frame.get(header.side_info()..header.main_data())?;
        let (mpeg1, channels) = (header.is_mpeg1(), header.channels());
        let mut bits = Bits { bytes, at: 0 };
        let mut info = Self { begin: bits.take(if mpeg1 { 9 } else { 8 }), needs: 0, windows: [0; 2], is_valid: true };
        bits.at += match (mpeg1, channels) {
            (true, 1) => 5 + 4,
            (true, _) => 3 + 8,
            (false, channels) => channels,
        };
        for _granule in 0..if mpeg1 { 2 } else { 1 } {
            for window in &mut info.windows[..channels] {
                let end = bits.at + if mpeg1 { 59 } else { 63 };
                info.needs += bits.take(12);
                let pairs = bits.take(9);
                bits.at += 8 + if mpeg1 { 4 } else { 9 };
                let switched = bits.take(1) == 1;
                *window = if switched { bits.take(3) as u8 } else { 0 };
                info.is_valid &= pairs <= 288 && !(switched && *window >> 1 == 0);
                bits.at = end;
            }
        }
        info.needs = info.needs.div_ceil(8);
        Some(info)
    }
}

/// Reads numbers of some bits, the highest first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> usize {
        let value = (self.at..self.at + count).fold(0, |value, at| {
            let byte = self.bytes.get(at / 8).copied().unwrap_or(0);
            value << 1 | usize::from(byte >> (7 - at % 8) & 1)
        });
        self.at += count;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_rate_length_and_channels() {
        let header = |bytes: [u8; 4]| Header::parse(&bytes).map(|h| (h.rate(), h.bit_rate(), h.len(), h.channels()));
        assert_eq!(header([0xFF, 0xFB, 0x90, 0x64]), Some((44_100, 128, 417, 2)));
        assert_eq!(header([0xFF, 0xFB, 0x92, 0xC4]), Some((44_100, 128, 418, 1)));
        assert_eq!(header([0xFF, 0xF3, 0x84, 0x44]), Some((24_000, 64, 192, 2)));
        assert_eq!(header([0xFF, 0xE3, 0x18, 0xC4]), Some((8_000, 8, 72, 1)));
        for none in [
            [0xFF, 0xFD, 0x90, 0x64], // layer II
            [0xFF, 0xEB, 0x90, 0x64], // no such version
            [0xFF, 0xFB, 0x00, 0x64], // free format
            [0xFF, 0xFB, 0xF0, 0x64], // no such bit rate
            [0xFF, 0xFB, 0x9C, 0x64], // no such sample rate
            [0xFE, 0xFB, 0x90, 0x64],
        ] {
            assert_eq!(header(none), None, "{none:x?}");
        }
        assert_eq!(Header::parse(&[0xFF, 0xFB, 0x90]), None);
    }

    #[test]
    fn room_is_found_at_a_higher_bit_rate() {
        let header = Header::parse(&[0xFF, 0xFB, 0x90, 0x64]).expect("a header");
        assert_eq!(header.with_room(417).map(Header::bit_rate), Some(128));
        assert_eq!(header.with_room(418).map(Header::bit_rate), Some(160));
        assert_eq!(header.with_room(1044).map(Header::len), Some(1044));
        assert_eq!(header.with_room(1045), None);
    }
}
