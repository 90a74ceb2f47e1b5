//! How an owner wants the MP3: the names, forms and limits that the API, the page, the command
//! line and message headers have in common.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Preset, Tags};

/// All bit rates that MP3 knows, in kbit/s; which of them there are depends on the film's sample rate.
const BIT_RATES: [u32; 18] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 320];

/// All sample rates that MP3 knows, in Hz.
const SAMPLE_RATES: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// What is wished for; what is left open is the worker's choice. Kept as one JSON object, so that
/// what a later version adds does not change the ledger's form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Fills in what the others leave open.
    pub preset: Option<Preset>,
    /// Of a variable bit rate: 0 (best) to 9 (smallest).
    pub quality: Option<u8>,
    /// A constant bit rate, in kbit/s.
    pub bitrate: Option<u32>,
    pub channels: Option<Channels>,
    /// In Hz.
    pub sample_rate: Option<u32>,
    /// How loud: in LUFS, or `off`.
    pub normalize: Option<String>,
    /// Which sound track: a number, counting from 1, or a language by its ISO 639 code.
    pub stream: Option<String>,
    /// Where the wanted part of the sound begins, in seconds of the film.
    pub start: Option<f64>,
    /// Where it ends.
    pub end: Option<f64>,
    /// A zip of several MP3s instead of one.
    pub split: Option<Split>,
    #[serde(flatten)]
    pub tags: Tags,
}

/// `mono` or `stereo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    Mono,
    Stereo,
}

/// `chapters`: one MP3 for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Chapters,
}

/// What cannot be, in words that name the setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub &'static str);

impl Settings {
    /// The names of all settings.
    pub const NAMES: [&str; 18] = [
        "preset",
        "quality",
        "bitrate",
        "channels",
        "sample_rate",
        "normalize",
        "stream",
        "start",
        "end",
        "split",
        "title",
        "artist",
        "album",
        "album_artist",
        "year",
        "genre",
        "track",
        "comment",
    ];

    /// Notes a wish; an empty one, as forms send along, is none. False: there is no such setting.
    ///
    /// # Errors
    /// When it cannot be, whatever else is wished for.
    pub fn note(&mut self, name: &str, text: &str) -> Result<bool, Unfit> {
        let text = Some(text.trim()).filter(|text| !text.is_empty());
        match name {
            "preset" => self.preset = text.map(str::parse).transpose()?,
            "quality" => self.quality = text.map(quality).transpose()?,
            "bitrate" => self.bitrate = text.map(bitrate).transpose()?,
            "channels" => self.channels = text.map(str::parse).transpose()?,
            "sample_rate" => self.sample_rate = text.map(sample_rate).transpose()?,
            "normalize" => self.normalize = text.map(normalize).transpose()?,
            "stream" => self.stream = text.map(stream).transpose()?,
            "start" => self.start = text.map(seconds).transpose()?,
            "end" => self.end = text.map(seconds).transpose()?,
            "split" => self.split = text.map(str::parse).transpose()?,
            _ => return self.tags.note(name, text),
        }
        Ok(true)
    }

    /// Whether the wishes go together.
    pub fn check(&self) -> Result<(), Unfit> {
        if self.quality.is_some() && self.bitrate.is_some() {
            return Err(Unfit("quality and bitrate exclude each other"));
        }
        let all = self.expanded();
        let rate = all.sample_rate.unwrap_or(48_000);
        match all.bitrate {
            Some(321.. | 0..32 | 144) if all.sample_rate.is_some() && rate >= 32_000 => {
                return Err(Unfit(
                    "bitrate: at a sample_rate of 32000 and more there are 32 to 320 kbit/s, but not 144",
                ));
            }
            Some(161..) if rate < 32_000 => {
                return Err(Unfit("bitrate: at a sample_rate below 32000 there are no more than 160 kbit/s"));
            }
            Some(65..) if rate < 16_000 => {
                return Err(Unfit("bitrate: at a sample_rate below 16000 there are no more than 64 kbit/s"));
            }
            _ => {}
        }
        if self.end.is_some_and(|end| end <= self.start.unwrap_or(0.0)) {
            return Err(Unfit("end: it must come after start"));
        }
        Ok(())
    }

    /// Each wish by its name, in a form that [`note`](Self::note) reads.
    pub fn wishes(&self) -> Vec<(&'static str, String)> {
        fn text(value: Option<impl ToString>) -> Option<String> {
            value.map(|value| value.to_string())
        }
        let all = [
            ("preset", text(self.preset)),
            ("quality", text(self.quality)),
            ("bitrate", text(self.bitrate)),
            ("channels", text(self.channels)),
            ("sample_rate", text(self.sample_rate)),
            ("normalize", text(self.normalize.as_ref())),
            ("stream", text(self.stream.as_ref())),
            ("start", text(self.start)),
            ("end", text(self.end)),
            ("split", text(self.split)),
        ];
        let all = all.into_iter().chain(self.tags.all().map(|(name, tag)| (name, text(tag))));
        all.filter_map(|(name, text)| Some((name, text?))).collect()
    }
}

impl FromStr for Channels {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        match text {
            "mono" | "1" => Ok(Self::Mono),
            "stereo" | "2" => Ok(Self::Stereo),
            _ => Err(Unfit("channels: mono or stereo is expected")),
        }
    }
}

impl fmt::Display for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mono => "mono",
            Self::Stereo => "stereo",
        })
    }
}

impl FromStr for Split {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        match text {
            "chapters" => Ok(Self::Chapters),
            _ => Err(Unfit("split: chapters is expected")),
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chapters => "chapters",
        })
    }
}

fn quality(text: &str) -> Result<u8, Unfit> {
    let quality = text.parse().ok().filter(|quality| *quality <= 9);
    quality.ok_or(Unfit("quality: a whole number from 0 (best) to 9 is expected"))
}

fn bitrate(text: &str) -> Result<u32, Unfit> {
    let bitrate = text.parse().ok().filter(|bitrate| BIT_RATES.contains(bitrate));
    bitrate.ok_or(Unfit("bitrate: one of MP3's is expected, in kbit/s, such as 64, 96, 128, 160, 192, 256 or 320"))
}

pub fn sample_rate(text: &str) -> Result<u32, Unfit> {
    let rate = text.parse().ok().filter(|rate| SAMPLE_RATES.contains(rate));
    rate.ok_or(Unfit(
        "sample_rate: one of MP3's is expected, in Hz: 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100 or 48000",
    ))
}

/// Whole LUFS from -40 to -6, or `off`.
pub fn normalize(text: &str) -> Result<String, Unfit> {
    let is_loudness = text.parse().is_ok_and(|lufs| (-40..=-6_i8).contains(&lufs));
    let text = Some(text.to_owned()).filter(|_| is_loudness || text == "off");
    text.ok_or(Unfit("normalize: whole LUFS from -40 to -6 are expected, such as -16, or off"))
}

/// The number of a sound track, or its language, in small letters.
pub fn stream(text: &str) -> Result<String, Unfit> {
    let is_number = text.parse().is_ok_and(|number: u16| number > 0) && !text.starts_with('+');
    let is_language = matches!(text.len(), 2 | 3) && text.bytes().all(|b| b.is_ascii_alphabetic());
    let text = Some(text.to_ascii_lowercase()).filter(|_| is_number || is_language);
    text.ok_or(Unfit(
        "stream: the number of a sound track is expected, counting from 1, or a language such as en or deu",
    ))
}

/// Three years: as seconds it is read again.
const LATEST: f64 = 1e8;

/// Seconds, or `HH:MM:SS` or `MM:SS`, each with a fraction or without.
pub fn seconds(text: &str) -> Result<f64, Unfit> {
    let unfit = Unfit("start and end: seconds or HH:MM:SS are expected, such as 90, 12.5 or 1:02:03.250");
    let digits = |text: &str| text.len() <= 9 && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    if parts.len() > 3 || !digits(fraction) || !parts.iter().all(|part| digits(part)) {
        return Err(unfit);
    }
    let mut whole = 0_u64;
    for (place, part) in parts.iter().enumerate() {
        let number: u64 = part.parse().map_err(|_| unfit)?;
        if place > 0 && number >= 60 {
            return Err(unfit);
        }
        whole = whole * 60 + number;
    }
    format!("{whole}.{fraction}").parse().ok().filter(|seconds| *seconds <= LATEST).ok_or(unfit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_forms_that_people_write() {
        for (text, expected) in [
            ("0", 0.0),
            ("90", 90.0),
            ("12.5", 12.5),
            ("1:02:03.250", 3_723.25),
            ("00:00:01", 1.0),
            ("75:30", 4_530.0),
            ("0.123456789", 0.123_456_789),
            ("100000000", 1e8),
            ("99999999.999999999", 1e8),
        ] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
            assert_eq!(seconds(&expected.to_string()), Ok(expected), "{text}, told and read again");
        }
        for text in [
            "-1",
            "1e3",
            "nan",
            "inf",
            "1:60",
            "1:2:3:4",
            ":30",
            "1:",
            "1.",
            ".5",
            "1,5",
            "+1",
            "9999999999",
            "100000001",
            "99999999:00",
            "27778:00:00",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn wishes_are_told_as_they_are_read() {
        let mut settings = Settings::default();
        for (name, text) in [
            ("preset", "voice"),
            ("quality", " 0 "),
            ("bitrate", ""),
            ("channels", "1"),
            ("sample_rate", "44100"),
            ("normalize", "-16"),
            ("stream", "DE"),
            ("start", "1:05"),
            ("end", "65.25"),
            ("split", "chapters"),
            ("title", " Ünder; \"quoted\" "),
            ("year", "1999"),
            ("track", "3/12"),
        ] {
            assert_eq!(settings.note(name, text), Ok(true), "{name}");
        }
        assert_eq!(settings.check(), Ok(()));
        let told = settings.wishes();
        let texts: Vec<_> = told.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let expected = [
            ("preset", "voice"),
            ("quality", "0"),
            ("channels", "mono"),
            ("sample_rate", "44100"),
            ("normalize", "-16"),
            ("stream", "de"),
            ("start", "65"),
            ("end", "65.25"),
            ("split", "chapters"),
            ("title", "Ünder; \"quoted\""),
            ("year", "1999"),
            ("track", "3/12"),
        ];
        assert_eq!(texts, expected);
        let mut again = Settings::default();
        for (name, text) in &told {
            assert_eq!(again.note(name, text), Ok(true));
        }
        assert_eq!(again, settings);
        let json = serde_json::to_string(&settings).expect("JSON");
        assert_eq!(serde_json::from_str::<Settings>(&json).expect("reads"), settings);
        assert_eq!(again.note("file", "x"), Ok(false));
        assert!(again.note("comment", &"x".repeat(1001)).is_err());
        assert!(Settings::NAMES.iter().all(|name| again.note(name, "") == Ok(true)));
        assert_eq!(again, Settings::default());
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (name, text) in [
            ("preset", "loud"),
            ("quality", "10"),
            ("quality", "-1"),
            ("quality", "best"),
            ("bitrate", "100"),
            ("bitrate", "1e2"),
            ("channels", "3"),
            ("channels", "Mono"),
            ("sample_rate", "44.1"),
            ("sample_rate", "96000"),
            ("normalize", "16"),
            ("normalize", "-5"),
            ("normalize", "on"),
            ("stream", "0"),
            ("stream", "+1"),
            ("stream", "german"),
            ("stream", "70000"),
            ("year", "99"),
            ("year", "MMXX"),
            ("track", "3/"),
            ("track", "one"),
            ("start", "soon"),
            ("end", "1:99"),
            ("split", "silence"),
        ] {
            let error = Settings::default().note(name, text).expect_err(text);
            assert!(error.to_string().contains(name), "{error}");
        }
        let both = Settings { quality: Some(2), bitrate: Some(128), ..Settings::default() };
        assert!(both.check().is_err());
        for (bitrate, sample_rate) in [(320, 24_000), (96, 8_000), (24, 44_100), (144, 48_000)] {
            let error =
                Settings { bitrate: Some(bitrate), sample_rate: Some(sample_rate), ..Settings::default() }.check();
            assert!(error.is_err(), "{bitrate} kbit/s at {sample_rate} Hz");
        }
        for (bitrate, sample_rate) in [(160, 22_050), (64, 8_000), (32, 44_100), (320, 32_000), (8, 24_000)] {
            let settings = Settings { bitrate: Some(bitrate), sample_rate: Some(sample_rate), ..Settings::default() };
            assert_eq!(settings.check(), Ok(()), "{bitrate} kbit/s at {sample_rate} Hz");
        }
        for (start, end) in [(Some(5.0), 5.0), (Some(5.0), 4.0), (None, 0.0)] {
            assert!(Settings { start, end: Some(end), ..Settings::default() }.check().is_err());
        }
    }

    #[test]
    fn a_record_of_another_version_is_read() {
        let settings: Settings = serde_json::from_str(r#"{"bitrate":128,"later":[1]}"#).expect("reads");
        assert_eq!(settings, Settings { bitrate: Some(128), ..Settings::default() });
    }
}
