//! The parser of MP3 frames, and the seam between two encoders' frames.

use transcode::mp3::{
    frame::{HEADER, Header, SideInfo},
    info::{Info, gap_at_front},
    seam::{Piece, join},
};

/// The bytes are read as MP3, and once more as the recipe for two streams that are joined.
pub fn mp3(data: &[u8]) {
    read(data);
    if let Some((middle, recipe)) = data.split_first() {
        let (a, b) = recipe.split_at(recipe.len() * usize::from(*middle) / 256);
        seam(a, b);
    }
}

fn read(data: &[u8]) {
    let mut info = Info::default();
    let counted = info.count(data);
    assert!(counted <= data.len());
    let (mut at, mut frames) = (0, 0);
    while let Some(header) = data.get(at..).and_then(Header::parse) {
        assert!((24..=1_441 * 2).contains(&header.len()), "{header:?}");
        let Some(frame) = data.get(at..at + header.len()) else { break };
        // Low bit rates leave no room for it, whatever the header says.
        if let Some(side) = SideInfo::parse(header, frame) {
            assert!(side.begin < 512 && side.needs < 4 * 512 + 1, "{side:?}");
        }
        gap_at_front(header, frame);
        if let Some(mut room) = Info::room(header) {
            info.write(&mut room, at % 2 == 0, Some((at as u64, u64::MAX)));
            let written = Header::parse(&room).expect("still a frame");
            assert!(written.is_like(header) && written.len() == room.len());
            assert!(gap_at_front(written, &room).is_some(), "is known for what it is");
        }
        at += header.len();
        frames += 1;
    }
    assert_eq!((counted, info.frames()), (at, frames));
}

/// 44.1 kHz in mono, three bytes of the recipe for each frame: bit rate, how many bytes of main data
/// stand in earlier frames, windows. Only what can be there is asked for, as encoders do.
fn stream(recipe: &[u8], fill: u8) -> Vec<u8> {
    let (mut bytes, mut reservoir) = (Vec::new(), 0);
    for of_frame in recipe.chunks_exact(3).take(40) {
        let header = [0xFF, 0xFB, (of_frame[0] % 14 + 1) << 4, 0xC4];
        let parsed = Header::parse(&header).expect("a header");
        let begin = (usize::from(of_frame[1]) * 2 + usize::from(of_frame[2] >> 7)).min(reservoir);
        let from = bytes.len();
        bytes.extend(header);
        bytes.extend([(begin >> 1) as u8, (begin << 7) as u8]);
        bytes.resize(from + parsed.main_data(), 0);
        // The first granule's window, long or short.
        bytes[from + HEADER + 9] = of_frame[2] & 1;
        bytes.resize(from + parsed.len(), fill);
        reservoir += parsed.len() - parsed.main_data();
    }
    bytes
}

/// Where main data of a stream's frames stand, frame by frame.
fn areas(bytes: &[u8]) -> Vec<(usize, Header, std::ops::Range<usize>)> {
    let (mut areas, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let header = Header::parse(&bytes[at..]).expect("a frame");
        let end = at + header.len();
        assert!(end <= bytes.len(), "a whole frame");
        areas.push((at, header, at + header.main_data()..end));
        at = end;
    }
    areas
}

fn begin(bytes: &[u8], (at, header, area): &(usize, Header, std::ops::Range<usize>)) -> usize {
    SideInfo::parse(*header, &bytes[*at..area.end]).expect("side information").begin
}

/// The last `count` bytes of main data before frame `number`, the last one first.
fn before(bytes: &[u8], number: usize, count: usize) -> Vec<u8> {
    let areas = areas(bytes);
    areas[..number].iter().rev().flat_map(|(_, _, area)| area.clone().rev()).map(|at| bytes[at]).take(count).collect()
}

/// What comes after the seam finds all the main data it needs in front of itself.
fn seam(a: &[u8], b: &[u8]) {
    let (a, b) = (stream(a, 0xAA), stream(b, 0xBB));
    let (of_a, of_b) = (areas(&a).len() as u64, areas(&b).len() as u64);
    if of_a < 2 || of_b < 2 {
        return;
    }
    // They overlap by half of the first.
    let first = of_a / 2;
    let mut left = Piece::parse(a.clone(), 0).expect("frames");
    let right = Piece::parse(b.clone(), first).expect("frames");
    let mut out = Vec::new();
    let seam = join(&mut left, 0, &right, first + 1..=of_a.min(first + of_b - 1), &mut out);
    assert!((first..=of_a).contains(&seam) && seam <= first + of_b, "{seam} of {first} and {of_a}");
    assert_eq!(areas(&out).len() as u64, seam, "as many frames as are in front of it");
    let after = (seam - first) as usize;
    if let Some(next) = areas(&b).get(after) {
        let needed = begin(&b, next);
        assert_eq!(before(&out, seam as usize, needed), before(&b, after, needed), "main data of frame {seam}");
    }
    out.extend_from_slice(right.from(seam));
    assert_eq!(areas(&out).len() as u64, first + of_b);
}
