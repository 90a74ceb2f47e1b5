//! What a child says of its work, as far as it can be true: what comes from there goes into the
//! ledger, and into mails.

use serde::de::DeserializeOwned;
use transcode::{Error, Options, Progress, Summary};

/// FFmpeg's names of codecs and containers are shorter.
const LONGEST_NAME: usize = 100;
/// So are reasons: the longest one lists sound tracks.
const LONGEST_REASON: usize = 4_000;

/// Somebody else's code may be running in the child.
pub fn misbehaved() -> Error {
    Error::Unbearable("it led the decoder astray".to_owned())
}

pub fn progress(json: &[u8]) -> Result<Progress, Error> {
    parse(json)
}

/// Of an MP3 of so many bytes, made with these options.
///
/// # Errors
/// When it cannot be true.
pub fn summary(json: &[u8], written: u64, options: &Options) -> Result<Summary, Error> {
    let summary: Summary = parse(json)?;
    let is_name = |name: &str| name.len() <= LONGEST_NAME && name.bytes().all(|b| b.is_ascii_graphic());
    let is_possible = summary.bytes_out == written
        && summary.duration <= options.max_duration
        && matches!(summary.waveform.len(), 0 | transcode::WAVEFORM_POINTS)
        && is_name(&summary.input_codec)
        && is_name(&summary.input_format);
    if is_possible { Ok(summary) } else { Err(misbehaved()) }
}

/// Why there is no MP3.
///
/// # Errors
/// When it is no reason that the engine has.
pub fn failure(json: &[u8]) -> Result<Error, Error> {
    let error: Error = parse(json)?;
    let text = error.to_string();
    let is_possible = !matches!(error, Error::Unbearable(_))
        && text.chars().count() <= LONGEST_REASON
        && !(error.is_final() && text.contains(char::is_control));
    if is_possible { Ok(error) } else { Err(misbehaved()) }
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|_| misbehaved())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_cannot_be_true_is_not_believed() {
        let (options, honest) = (Options::default(), Summary { bytes_out: 7, ..Summary::default() });
        let check = |said: &Summary| summary(&serde_json::to_vec(said).expect("JSON"), 7, &options);
        assert_eq!(check(&honest).expect("honest"), honest);
        for lie in [
            Summary { bytes_out: 8, ..honest.clone() },
            Summary { duration: Duration::from_secs(1 << 40), ..honest.clone() },
            Summary { waveform: vec![1; 100_000], ..honest.clone() },
            Summary { input_codec: "a".repeat(1_000_000), ..honest.clone() },
            Summary { input_format: "mp4\r\nBcc: x".to_owned(), ..honest.clone() },
        ] {
            assert!(matches!(check(&lie), Err(Error::Unbearable(_))), "{lie:.100?}");
        }
    }

    #[test]
    fn a_reason_is_short_and_of_the_engines_own() {
        let check = |said: &Error| failure(&serde_json::to_vec(said).expect("JSON"));
        assert!(matches!(check(&Error::NoSound), Ok(Error::NoSound)));
        for lie in [
            Error::UnknownCodec { codec: "x".repeat(5_000) },
            Error::UnknownCodec { codec: "a\r\nBcc: x".to_owned() },
            Error::Unbearable("see http://example.com".to_owned()),
        ] {
            assert!(check(&lie).is_err(), "{lie:.100}");
        }
        assert!(failure(b"{").is_err());
    }
}
