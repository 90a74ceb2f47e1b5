//! An MP3's frames by the book (ISO/IEC 11172-3, 13818-3), written down apart from the product.

pub struct Frame {
    pub rate: u32,
    pub samples: usize,
    /// In kbit/s.
    pub bit_rate: u32,
    pub len: usize,
}

/// The frames of sound behind ID3 tag and Xing frame. Fails where anything stands between two of
/// them, or one needs more of the bit reservoir than there is.
pub fn frames(mp3: &[u8]) -> Vec<Frame> {
    let mut at = match mp3 {
        [b'I', b'D', b'3', _, _, _, a, b, c, d, ..] => {
            10 + [*a, *b, *c, *d].iter().fold(0, |size, byte| size << 7 | usize::from(*byte))
        }
        _ => 0,
    };
    let (mut frames, mut reservoir): (Vec<Frame>, usize) = (Vec::new(), 0);
    let mut is_first = true;
    while at < mp3.len() {
        let bytes = &mp3[at..];
        let (frame, side, main_data_begin, needed) = parse(bytes);
        assert!(bytes.len() >= frame.len, "the last frame is whole");
        at += frame.len;
        let is_info = std::mem::take(&mut is_first) && matches!(&bytes[side..side + 4], b"Xing" | b"Info");
        if is_info {
            continue;
        }
        let number = frames.len();
        assert!(main_data_begin <= reservoir, "frame {number} needs {main_data_begin} bytes of {reservoir}");
        let room = main_data_begin + frame.len - side;
        assert!(needed <= room, "frame {number} needs {needed} bytes, and has {room}");
        if let Some(first) = frames.first() {
            assert_eq!((first.rate, first.samples), (frame.rate, frame.samples));
        }
        reservoir += frame.len - side;
        frames.push(frame);
    }
    frames
}

/// A frame, where its main data begins, how many bytes before that its own do, and how many it has.
fn parse(bytes: &[u8]) -> (Frame, usize, usize, usize) {
    assert!(bytes.len() >= 24 && bytes[0] == 0xFF && bytes[1] & 0xE7 == 0xE3, "a header without a checksum");
    let (version, rate_index) = (bytes[1] >> 3 & 3, usize::from(bytes[2] >> 2 & 3));
    let mono = bytes[3] >> 6 == 3;
    let rate = [44_100, 48_000, 32_000][rate_index] >> [2, 9, 1, 0][usize::from(version)];
    let table: [u32; 14] = match version {
        3 => [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        _ => [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    };
    let bit_rate = table[usize::from(bytes[2] >> 4) - 1];
    let (granules, side) = match (version, mono) {
        (3, false) => (2, 32),
        (3, true) => (2, 17),
        (_, false) => (1, 17),
        (_, true) => (1, 9),
    };
    let samples = granules * 576;
    let len = samples as u32 / 8 * bit_rate * 1000 / rate + u32::from(bytes[2] >> 1 & 1);
    let bit = |at: usize| usize::from(bytes[4 + at / 8] >> (7 - at % 8) & 1);
    let bits = |from: usize, count: usize| (from..from + count).fold(0, |value, at| value << 1 | bit(at));
    let channels = if mono { 1 } else { 2 };
    let (begin, header, part) = match (version, mono) {
        (3, true) => (bits(0, 9), 18, 59),
        (3, false) => (bits(0, 9), 20, 59),
        (_, true) => (bits(0, 8), 9, 63),
        (_, false) => (bits(0, 8), 10, 63),
    };
    let needed: usize = (0..granules * channels).map(|part_number| bits(header + part_number * part, 12)).sum();
    (Frame { rate, samples, bit_rate, len: len as usize }, 4 + side, begin, needed.div_ceil(8))
}
