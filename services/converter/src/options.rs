//! The owner's wishes in the engine's words.

use std::time::Duration;

use jobs::{Settings, Tags};
use transcode::{Channels, Encoding, Options, Part, Split, Tag, Track};

/// What the owner wants, and the engine's own choice where they leave it open.
pub fn options(settings: &Settings) -> Options {
    let settings = settings.expanded();
    let time = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    Options {
        encoding: match (settings.bitrate, settings.quality) {
            (Some(kbps), _) => Some(Encoding::Cbr(kbps)),
            (None, Some(quality)) => Some(Encoding::Vbr(quality)),
            (None, None) => None,
        },
        channels: settings.channels.map(|channels| match channels {
            jobs::Channels::Mono => Channels::Mono,
            jobs::Channels::Stereo => Channels::Stereo,
        }),
        sample_rate: settings.sample_rate,
        // Of its texts only `off` is no number.
        loudness: settings.normalize.as_deref().and_then(|text| text.parse().ok()),
        track: settings.stream.as_deref().map(|text| match text.parse() {
            Ok(number) => Track::Number(number),
            Err(_) => Track::Language(text.to_owned()),
        }),
        part: Part { start: settings.start.map(time).unwrap_or_default(), end: settings.end.map(time) },
        split: settings.split.map(|split| match split {
            jobs::Split::Chapters => Split::Chapters,
        }),
        tags: tags(settings.tags),
        ..Options::default()
    }
}

fn tags(tags: Tags) -> Vec<(Tag, String)> {
    let all = [
        (Tag::Title, tags.title),
        (Tag::Artist, tags.artist),
        (Tag::Album, tags.album),
        (Tag::AlbumArtist, tags.album_artist),
        (Tag::Year, tags.year),
        (Tag::Genre, tags.genre),
        (Tag::Track, tags.track),
        (Tag::Comment, tags.comment),
    ];
    all.into_iter().filter_map(|(tag, text)| Some((tag, text?))).collect()
}
