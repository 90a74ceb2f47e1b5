//! The hostile media themselves, written byte by byte.

use std::{fs, path::Path};

/// A file, and what it is up to.
pub struct Hostile {
    pub name: String,
    pub bytes: Vec<u8>,
}

fn hostile(name: impl Into<String>, bytes: Vec<u8>) -> Hostile {
    Hostile { name: name.into(), bytes }
}

/// A rough tone, and how many samples there are said to be.
fn wav(rate: u32, samples: u32, claimed: u32) -> Vec<u8> {
    let mut wav = [&b"RIFF"[..], &claimed.saturating_add(36).to_le_bytes(), b"WAVEfmt \x10\0\0\0\x01\0\x01\0"].concat();
    wav.extend(rate.to_le_bytes());
    wav.extend(rate.to_le_bytes());
    wav.extend(b"\x01\0\x08\0data");
    wav.extend(claimed.to_le_bytes());
    wav.extend((0..samples).map(|at| (at.wrapping_mul(at) / 37) as u8));
    wav
}

pub fn next_to_nothing() -> Vec<Hostile> {
    let beginnings: [&[u8]; 8] = [
        b"",
        b"\0",
        b"RIFF",
        b"\x1a\x45\xdf\xa3",
        b"\0\0\0\x18ftypmp42",
        b"OggS",
        b"fLaC",
        b"ID3\x03\0\0\x7f\x7f\x7f\x7f",
    ];
    beginnings.into_iter().map(|bytes| hostile(format!("{bytes:x?} alone"), bytes.to_vec())).collect()
}

/// Small files of all kinds: the fuzzer's, without the byte that chooses its options.
fn small_files() -> Vec<Hostile> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/engine");
    let mut files: Vec<_> =
        fs::read_dir(corpus).expect("the corpus").map(|entry| entry.expect("a file").path()).collect();
    // What was found is called by its hash; it is spoiled enough as it is.
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains('-')));
    files.sort();
    let file = |path: &std::path::PathBuf| {
        let mut bytes = fs::read(path).expect("readable");
        bytes.pop();
        hostile(path.file_name().unwrap_or_default().to_string_lossy(), bytes)
    };
    files.iter().map(file).collect()
}

/// Each of them as it is, cut short, and with flipped bits, the same at every run.
pub fn damaged() -> Vec<Hostile> {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = |end: usize| {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % end.max(1) as u64) as usize
    };
    let mut all = small_files();
    for Hostile { name, bytes } in small_files() {
        let at = below(bytes.len());
        all.push(hostile(format!("{name} up to {at}"), bytes[..at].to_vec()));
        let (mut scratched, flips) = (bytes.clone(), 1 + below(40));
        for _ in 0..flips {
            let bit = below(8 * bytes.len());
            if let Some(byte) = scratched.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        all.push(hostile(format!("{name} with {flips} flips"), scratched));
    }
    all
}

/// A box of MP4: length, name, content.
fn mp4_box(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(8 + content.len() as u32).to_be_bytes()[..], name, content].concat()
}

fn ftyp() -> Vec<u8> {
    mp4_box(b"ftyp", b"isom\0\0\0\0isom")
}

/// An element of Matroska: name, a length of eight bytes, content.
fn element(name: &[u8], content: &[u8]) -> Vec<u8> {
    [name, &(1 << 56 | content.len() as u64).to_be_bytes(), content].concat()
}

fn matroska(segment: &[u8]) -> Vec<u8> {
    let head = element(b"\x1a\x45\xdf\xa3", &element(b"\x42\x82", b"matroska"));
    [head, element(b"\x18\x53\x80\x67", segment)].concat()
}

const DEPTH: usize = 20_000;

pub fn boxes() -> Vec<Hostile> {
    let nested = |name: &[u8; 4]| {
        let mut bytes = ftyp();
        for level in 0..DEPTH {
            bytes.extend((8 * (DEPTH - level) as u32).to_be_bytes());
            bytes.extend(name);
        }
        bytes
    };
    let sized = |size: &[u8], of: &[u8]| [&ftyp()[..], size, b"moov", of].concat();
    let unknown = b"\x01\xff\xff\xff\xff\xff\xff\xff";
    // Each with a length that is not told.
    let endless = |name: &[u8]| {
        [&b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67"[..], unknown, &[name, unknown].concat().repeat(DEPTH)].concat()
    };
    vec![
        hostile("moov in moov", nested(b"moov")),
        hostile("trak in trak", nested(b"trak")),
        hostile("udta in udta", nested(b"udta")),
        hostile("a box that goes to the end, in itself", sized(b"\0\0\0\0", &b"\0\0\0\0moov".repeat(DEPTH))),
        hostile("boxes of no length", sized(&[0, 0, 0, 8 + 8], &b"\0\0\0\x01trak\0\0\0\0\0\0\0\0".repeat(DEPTH))),
        hostile("a box of 2^63 bytes", sized(b"\0\0\0\x01", b"\x7f\xff\xff\xff\xff\xff\xff\xff")),
        hostile("boxes of eight bytes", [ftyp(), b"\0\0\0\x08free".repeat(200_000)].concat()),
        hostile("clusters in clusters", endless(b"\x1f\x43\xb6\x75")),
        hostile("tags in tags", endless(b"\x67\xc8")),
        hostile("chapters in chapters", endless(b"\xb6")),
        hostile("RIFF in RIFF", b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xffhdrl".repeat(DEPTH)),
    ]
}

pub fn streams(count: usize) -> Vec<Hostile> {
    let track = |at: usize| {
        let number = (at as u32 + 1).to_be_bytes();
        let codec = element(b"\x86", b"A_PCM/INT/LIT");
        let sound = element(b"\xe1", &element(b"\x9f", b"\x01"));
        element(b"\xae", &[element(b"\xd7", &number), element(b"\x83", b"\x02"), codec, sound].concat())
    };
    let tracks = element(b"\x16\x54\xae\x6b", &(0..count).flat_map(track).collect::<Vec<_>>());
    let block = element(b"\xa3", &[&b"\x81\0\0\x80"[..], &[7; 4_000]].concat());
    let cluster = element(b"\x1f\x43\xb6\x75", &[element(b"\xe7", b"\0"), block].concat());
    let sound = mp4_box(b"minf", &mp4_box(b"smhd", &[0; 8]));
    let handler = mp4_box(b"hdlr", b"\0\0\0\0\0\0\0\0soun\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let traks = mp4_box(b"trak", &mp4_box(b"mdia", &[handler, sound].concat())).repeat(count);
    vec![
        hostile("Matroska", matroska(&[tracks, cluster].concat())),
        hostile("MP4", [ftyp(), mp4_box(b"moov", &traks)].concat()),
        hostile("Ogg", (0..count).flat_map(|at| ogg_page(at as u32)).collect()),
    ]
}

/// The first page of a stream of Opus.
fn ogg_page(serial: u32) -> Vec<u8> {
    let head = b"OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0";
    let mut page =
        [&b"OggS\0\x02\0\0\0\0\0\0\0\0"[..], &serial.to_le_bytes(), &[0; 8], &[1, head.len() as u8], head].concat();
    // Ogg's own kind of CRC-32 (RFC 3533, section 6).
    let crc = page.iter().fold(0_u32, |crc, byte| {
        (0..8)
            .fold(crc ^ u32::from(*byte) << 24, |crc, _| if crc >> 31 == 1 { crc << 1 ^ 0x04C1_1DB7 } else { crc << 1 })
    });
    page[22..26].copy_from_slice(&crc.to_le_bytes());
    page
}

/// Sound with so many bytes of tags.
pub fn tags(size: usize) -> Vec<Hostile> {
    let synchsafe = |size: usize| [21, 14, 7, 0].map(|by| (size >> by) as u8 & 0x7F);
    let mp3 = small_files().into_iter().find(|file| file.name == "plain-mp3").expect("an MP3").bytes;
    let frame =
        |name: &[u8; 4], content: &[u8]| [&name[..], &(content.len() as u32).to_be_bytes(), &[0, 0], content].concat();
    let id3 = |frames: &[u8]| [&b"ID3\x03\0\0"[..], &synchsafe(frames.len()), frames, &mp3].concat();
    let text = [&[0][..], &vec![b'x'; size]].concat();
    let picture = [&b"\0image/jpeg\0\x03\0\xff\xd8\xff"[..], &vec![7; size]].concat();
    let many = frame(b"TXXX", b"\0a\0b").repeat(size / 14);
    let info =
        [&b"LIST"[..], &(size as u32 + 12).to_le_bytes(), b"INFOINAM", &(size as u32).to_le_bytes(), &vec![b'y'; size]]
            .concat();
    vec![
        hostile("a long title", id3(&frame(b"TIT2", &text))),
        hostile("a large cover", id3(&frame(b"APIC", &picture))),
        hostile("many frames", id3(&many)),
        hostile("a long title behind the sound", [wav(8_000, 4_000, 4_000), info].concat()),
    ]
}

pub fn bombs() -> Vec<Hostile> {
    // 24 frames of sound tables that tell of four billion samples.
    let full = |name: &[u8; 4], content: &[u8]| mp4_box(name, &[&[0; 4], content].concat());
    let entry = mp4_box(b"sowt", b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\x01\0\x10\0\0\0\0\x1f\x40\0\0");
    let tables = [
        full(b"stsd", &[&b"\0\0\0\x01"[..], &entry].concat()),
        full(b"stts", b"\0\0\0\x01\xff\xff\xff\xff\0\0\0\x01"),
        full(b"stsc", b"\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff\0\0\0\x01"),
        full(b"stsz", b"\0\0\0\x01\xff\xff\xff\xff"),
        full(b"stco", b"\0\0\0\x01\0\0\0\x10"),
    ];
    let handler = full(b"hdlr", b"\0\0\0\0soun\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let media = full(b"mdhd", b"\0\0\0\0\0\0\0\0\0\0\x1f\x40\xff\xff\xff\xff\0\0\0\0");
    let track = mp4_box(b"minf", &[mp4_box(b"smhd", &[0; 8]), mp4_box(b"stbl", &tables.concat())].concat());
    let trak = mp4_box(b"trak", &mp4_box(b"mdia", &[media, handler, track].concat()));
    let huge = |size: u64| {
        [
            &b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff\x16\x54\xae\x6b"[..],
            &(1 << 56 | size).to_be_bytes(),
        ]
        .concat()
    };
    vec![
        hostile("one sample a second", wav(1, 400_000, 400_000)),
        hostile("hours that are claimed", wav(8_000, 100, 2_000_000_000)),
        hostile("four billion samples", [ftyp(), mp4_box(b"moov", &trak)].concat()),
        hostile("an element of 2^55 bytes", huge((1 << 55) - 2)),
        hostile(
            "a tag of 256 MiB",
            [&b"ID3\x04\0\0\x7f\x7f\x7f\x7fTIT2\x7f\x7f\x7f\x70\0\0\x03"[..], &[b'x'; 5_000]].concat(),
        ),
        hostile("ten minutes of silence in 60 KB", silence()),
    ]
}

/// FLAC: each frame says of 4096 samples that they are all alike.
fn silence() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("silence.flac");
    let ffmpeg = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "600"])
        .arg(&path)
        .status();
    assert!(ffmpeg.expect("ffmpeg is needed for this test").success());
    fs::read(path).expect("a file")
}
