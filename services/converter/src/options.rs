//! The owner's wishes in the engine's words.

use std::time::Duration;

use jobs::Settings;
use transcode::{Channels, Encoding, Options, Part, Track};

/// What the owner wants, and the engine's own choice where they leave it open.
pub fn options(settings: &Settings) -> Options {
    let settings = settings.expanded();
    let time = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    Options {
        encoding: match (settings.bitrate, settings.quality) {
            (Some(kbps), _) => Encoding::Cbr(kbps),
            (None, Some(quality)) => Encoding::Vbr(quality),
            (None, None) => Encoding::default(),
        },
        channels: settings.channels.map(|channels| match channels {
            jobs::Channels::Mono => Channels::Mono,
            jobs::Channels::Stereo => Channels::Stereo,
        }),
        sample_rate: settings.sample_rate,
        track: settings.stream.as_deref().map(|text| match text.parse() {
            Ok(number) => Track::Number(number),
            Err(_) => Track::Language(text.to_owned()),
        }),
        part: Part { start: settings.start.map(time).unwrap_or_default(), end: settings.end.map(time) },
        ..Options::default()
    }
}
