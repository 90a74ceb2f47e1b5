//! Settings for a purpose, under one name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Channels, Settings, Unfit};

/// A purpose, for those who do not want to choose everything themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Speech in small files.
    Voice,
    /// As podcast hosts ask for it.
    Podcast,
    /// As good as MP3 gets at a variable bit rate.
    Music,
    /// The smallest that music is still bearable in.
    Small,
}

impl Preset {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Voice, "voice"), (Self::Podcast, "podcast"), (Self::Music, "music"), (Self::Small, "small")];

    fn settings(self) -> Settings {
        let open = Settings::default();
        match self {
            Self::Voice => {
                Settings { quality: Some(6), channels: Some(Channels::Mono), sample_rate: Some(24_000), ..open }
            }
            Self::Podcast => {
                Settings { bitrate: Some(128), sample_rate: Some(44_100), normalize: Some("-16".to_owned()), ..open }
            }
            Self::Music => Settings { quality: Some(0), normalize: Some("-14".to_owned()), ..open },
            Self::Small => Settings { quality: Some(8), sample_rate: Some(24_000), ..open },
        }
    }
}

impl Settings {
    /// With what the preset adds to them: it fills in what was left open, and no more.
    pub fn expanded(&self) -> Self {
        let mut all = self.clone();
        let Some(preset) = all.preset.take() else { return all };
        let usual = preset.settings();
        if all.quality.is_none() && all.bitrate.is_none() {
            (all.quality, all.bitrate) = (usual.quality, usual.bitrate);
        }
        all.channels = all.channels.or(usual.channels);
        all.sample_rate = all.sample_rate.or(usual.sample_rate);
        all.normalize = all.normalize.or(usual.normalize);
        all
    }
}

impl FromStr for Preset {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let known = Self::ALL.iter().find(|(_, name)| *name == text);
        known.map(|(preset, _)| *preset).ok_or(Unfit("preset: voice, podcast, music or small is expected"))
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(preset, _)| preset == self).map_or("", |(_, name)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_can_be_made_and_adds_something() {
        for (preset, name) in Preset::ALL {
            assert_eq!((name.parse(), preset.to_string().as_str()), (Ok(preset), name));
            assert_eq!(serde_json::to_value(preset).expect("JSON"), name);
            let settings = Settings { preset: Some(preset), ..Settings::default() };
            assert_eq!(settings.check(), Ok(()), "{name}");
            assert_ne!(settings.expanded(), Settings::default(), "{name}");
        }
        assert!("loud".parse::<Preset>().is_err());
    }

    #[test]
    fn what_is_said_counts_more_than_the_preset() {
        let voice = Settings { preset: Some(Preset::Voice), start: Some(1.0), ..Settings::default() };
        let all = voice.expanded();
        assert_eq!((all.quality, all.channels, all.sample_rate), (Some(6), Some(Channels::Mono), Some(24_000)));
        assert_eq!((all.start, all.preset), (Some(1.0), None));
        let own = Settings { bitrate: Some(96), channels: Some(Channels::Stereo), ..voice.clone() };
        let all = own.expanded();
        assert_eq!((all.quality, all.bitrate, all.channels), (None, Some(96), Some(Channels::Stereo)));
        let normalize = Some("off".to_owned());
        let podcast = Settings { preset: Some(Preset::Podcast), quality: Some(4), normalize, ..Settings::default() };
        assert_eq!(podcast.expanded().normalize.as_deref(), Some("off"));
        assert_eq!((podcast.expanded().quality, podcast.expanded().bitrate), (Some(4), None));
        // Each would do alone.
        let error = Settings { bitrate: Some(320), ..voice }.check().expect_err("no such MP3");
        assert!(error.to_string().contains("below 32000"), "{error}");
    }
}
