//! The whole way from a file to an MP3, as in the converter's child process.

use std::{
    io::{self, Cursor},
    ops::ControlFlow,
    time::Duration,
};

use transcode::{Channels, Encoding, HEAD_MAX, Options, Part, Sink, Split, Summary, Track, mp3::frame::Header};

/// Whatever the last byte chooses how to convert the others: they become an MP3, or there is a
/// reason not to that will be the same next time.
pub fn engine(data: &[u8]) {
    let Some((choice, media)) = data.split_last() else { return };
    let options = options(*choice);
    let mut sink = Memory::default();
    let input = Cursor::new(media.to_vec());
    match transcode::convert(input, &mut sink, &options, &mut |_| ControlFlow::Continue(())) {
        Ok(summary) => {
            assert_eq!(summary.bytes_out, sink.0.len() as u64);
            assert!(summary.duration <= options.max_duration, "{summary:?}");
            if options.split.is_none() {
                check_mp3(&sink.0, &summary);
            }
        }
        Err(error) => assert!(error.is_final(), "would be tried again: {error:?}"),
    }
}

fn options(choice: u8) -> Options {
    let limits = Options {
        max_duration: Duration::from_secs(20),
        max_output_bytes: Some(4 << 20),
        threads: std::num::NonZeroUsize::new(1),
        ..Options::default()
    };
    let millis = Duration::from_millis;
    match choice & 7 {
        0 => limits,
        1 => Options { encoding: Some(Encoding::Vbr(9)), ..limits },
        2 => Options { encoding: Some(Encoding::Cbr(64)), channels: Some(Channels::Mono), ..limits },
        3 => Options { loudness: Some(-16), ..limits },
        4 => Options { split: Some(Split::Chapters), encoding: Some(Encoding::Vbr(9)), ..limits },
        5 => Options { part: Part { start: millis(50), end: Some(millis(950)) }, ..limits },
        6 => Options { sample_rate: Some(8_000), channels: Some(Channels::Stereo), ..limits },
        _ => Options { track: Some(Track::Language("de".to_owned())), ..limits },
    }
}

/// A tag, frames, and nothing else.
fn check_mp3(mp3: &[u8], summary: &Summary) {
    let mut rest = mp3;
    if let [b'I', b'D', b'3', _, _, _, a, b, c, d, ..] = mp3 {
        let length = [a, b, c, d].into_iter().fold(0, |length, digit| length << 7 | usize::from(*digit));
        rest = &mp3[10 + length..];
        assert!(10 + length <= HEAD_MAX);
    }
    let mut samples = 0;
    while !rest.is_empty() {
        let header = Header::parse(rest).expect("a frame");
        assert_eq!((header.rate(), header.channels()), (summary.sample_rate, usize::from(summary.channels)));
        rest = rest.get(header.len()..).expect("a whole frame");
        samples += header.samples() as u64;
    }
    assert!(summary.samples <= samples, "{samples} samples, and yet {summary:?}");
}

/// Holds its caller to what [`Sink`] says.
#[derive(Default)]
struct Memory(Vec<u8>);

impl Sink for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn rewrite_head(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).expect("within what was written");
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}
