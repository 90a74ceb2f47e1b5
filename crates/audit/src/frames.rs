//! What a converter's child process sends, once somebody else's code runs in it.

use std::io::{ErrorKind, Read};

use sandbox::{
    frames::{Kind, receive},
    report,
};
use transcode::Options;

/// Reads frames until there is none, and believes nothing that cannot be.
pub fn frames(mut data: &[u8]) {
    let (options, mut written) = (Options::default(), 0);
    loop {
        let before = data.len();
        let frame = match receive(data.by_ref()) {
            Ok(frame) => frame,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof), "{error}");
                return;
            }
        };
        assert!(frame.bytes.len() < before, "no more bytes than there were");
        match frame.kind {
            Kind::Write => written += frame.bytes.len() as u64,
            Kind::Progress => {
                let percent = report::progress(&frame.bytes).ok().and_then(|progress| progress.percent());
                assert!(percent.is_none_or(|percent| (0.0..=100.0).contains(&percent)), "{percent:?}");
            }
            Kind::Done => {
                if let Ok(summary) = report::summary(&frame.bytes, written, &options) {
                    assert!(summary.waveform.len() <= 240 && summary.input_codec.len() <= 100);
                }
            }
            Kind::Failed => {
                if let Ok(error) = report::failure(&frame.bytes) {
                    assert!(error.to_string().chars().count() <= 4_000);
                }
            }
            _ => {}
        }
    }
}
