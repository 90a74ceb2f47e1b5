//! What an upload asks of its MP3, as texts from a query or a form.

use axum::{extract::Query, http::Uri};
use common::{Error, Result};
use jobs::{Settings, Unfit};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

/// Wishes for the MP3, as the API's description has them; what they mean is [`Settings`]' to say.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read as texts, described here")]
pub struct Wishes {
    /// Settings for a purpose, each of which counts only where the others leave it open.
    /// `voice`: mono, 24 kHz, quality 6. `podcast`: 128 kbit/s, 44.1 kHz, -16 LUFS. `music`: quality 0, -14 LUFS.
    /// `small`: 24 kHz, quality 8.
    #[param(example = "voice")]
    #[schema(example = "voice")]
    preset: Option<String>,
    /// Variable bit rate: 0 (best) to 9 (smallest). Without a wish it is 2. Not together with `bitrate`.
    #[param(maximum = 9)]
    #[schema(maximum = 9)]
    quality: Option<u8>,
    /// Constant bit rate in kbit/s: 32 to 320; for films of less than 32 kHz 8 to 160, of less than 16 kHz 8 to 64.
    #[param(example = 192)]
    #[schema(example = 192)]
    bitrate: Option<u32>,
    /// `mono` or `stereo`. Without a wish it is what the film has, more than two channels becoming stereo.
    #[param(example = "mono")]
    #[schema(example = "mono")]
    channels: Option<String>,
    /// Sample rate in Hz, one of MP3's: 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100 or 48000. Without a wish
    /// it is the film's own, or the nearest above.
    #[param(example = 44100)]
    #[schema(example = 44100)]
    sample_rate: Option<u32>,
    /// Turns the sound up or down to this loudness, in whole LUFS from -40 to -6 (EBU R 128), peaks being held below
    /// -1.5 dBTP. The film is read twice. `off`: not even if the preset would.
    #[param(example = "-16")]
    #[schema(example = "-16")]
    normalize: Option<String>,
    /// Which sound track: its number, counting from 1, or its language, an ISO 639 code such as `en` or `deu`. One that
    /// the film has not is found out by the conversion, which fails and says what there is. Without a wish it is the
    /// film's main one.
    #[param(example = "de")]
    #[schema(example = "de")]
    stream: Option<String>,
    /// Where in the film the MP3 begins: seconds, or `HH:MM:SS`, with a fraction or without.
    #[param(example = "1:02:03.250")]
    #[schema(example = "1:02:03.250")]
    start: Option<String>,
    /// Where in the film the MP3 ends, in the same forms; later than `start`.
    #[param(example = "4000")]
    #[schema(example = "4000")]
    end: Option<String>,
    /// `chapters`: a zip with one MP3 for each chapter of the film, numbered and named after them, each as exact as
    /// with `start` and `end`; what lies outside of chapters is left out. A film without chapters is found out by the
    /// conversion, which fails. Without a wish it is one MP3.
    #[param(example = "chapters")]
    #[schema(example = "chapters")]
    split: Option<String>,
    /// Title, in place of the film's own. Up to 1000 characters.
    title: Option<String>,
    /// Artist, in place of the film's own. Up to 1000 characters.
    artist: Option<String>,
    /// Album, in place of the film's own. Up to 1000 characters.
    album: Option<String>,
    /// Artist of the whole album, in place of the film's own. Up to 1000 characters.
    album_artist: Option<String>,
    /// Year, in place of the film's own.
    #[param(example = "2019")]
    #[schema(example = "2019")]
    year: Option<String>,
    /// Genre, in place of the film's own. Up to 1000 characters.
    genre: Option<String>,
    /// Number of the track, as `3` or `3/12`, in place of the film's own.
    #[param(example = "3/12")]
    #[schema(example = "3/12")]
    track: Option<String>,
    /// Comment, in place of the film's own. Up to 1000 characters.
    comment: Option<String>,
}

/// The wishes in a request's query; other names there mean nothing.
pub fn asked(uri: &Uri) -> Result<Settings> {
    let query: Query<Vec<(String, String)>> = Query::try_from_uri(uri).map_err(|e| Error::BadRequest(e.body_text()))?;
    let mut settings = Settings::default();
    for (name, text) in query.0 {
        settings.note(&name, &text).map_err(unfit)?;
    }
    settings.check().map_err(unfit)?;
    Ok(settings)
}

pub fn unfit(Unfit(why): Unfit) -> Error {
    Error::Unprocessable(why)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jobs::Settings;
    use serde_json::Value;
    use utoipa::PartialSchema;

    use super::Wishes;
    use crate::conversion::Asked;

    #[test]
    fn every_setting_is_described() {
        for schema in [Wishes::schema(), Asked::schema()] {
            let schema: Value = serde_json::to_value(schema).expect("JSON");
            let described: BTreeSet<&str> =
                schema["properties"].as_object().expect("an object").keys().map(String::as_str).collect();
            assert_eq!(described, BTreeSet::from(Settings::NAMES));
        }
    }
}
