//! What an upload asks of its MP3, as texts from a query or a form.

use std::str::FromStr;

use common::{Error, Result};
use jobs::Settings;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

/// All bit rates that MP3 knows, in kbit/s; which of them there are depends on the film's sample rate.
const BIT_RATES: [u32; 18] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 320];

/// Wishes as they come in.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
pub struct Wishes {
    /// Variable bit rate: 0 (best) to 9 (smallest). Without a wish it is 2. Not together with `bitrate`.
    #[param(value_type = Option<u8>, maximum = 9)]
    #[schema(value_type = Option<u8>, maximum = 9)]
    quality: Option<String>,
    /// Constant bit rate in kbit/s: 32 to 320; for films of less than 32 kHz 8 to 160, of less than 16 kHz 8 to 64.
    #[param(value_type = Option<u32>, example = 192)]
    #[schema(value_type = Option<u32>, example = 192)]
    bitrate: Option<String>,
}

impl Wishes {
    /// Notes a form's field. False: it is none of ours.
    pub fn note(&mut self, name: &str, text: String) -> bool {
        let wish = match name {
            "quality" => &mut self.quality,
            "bitrate" => &mut self.bitrate,
            _ => return false,
        };
        *wish = Some(text);
        true
    }

    /// Whether a form's field of this name says something to us.
    pub fn knows(name: &str) -> bool {
        Self::default().note(name, String::new())
    }

    /// What they mean, if there is such an MP3.
    pub fn settle(&self) -> Result<Settings> {
        let quality = number::<u8>(self.quality.as_deref(), |quality| *quality <= 9);
        let quality = quality.ok_or(Error::Unprocessable("quality: a whole number from 0 (best) to 9 is expected"))?;
        let bitrate = number::<u32>(self.bitrate.as_deref(), |bitrate| BIT_RATES.contains(bitrate));
        let bitrate = bitrate.ok_or(Error::Unprocessable(
            "bitrate: one of MP3's is expected, in kbit/s, such as 64, 96, 128, 160, 192, 256 or 320",
        ))?;
        if quality.is_some() && bitrate.is_some() {
            return Err(Error::Unprocessable("quality and bitrate exclude each other"));
        }
        Ok(Settings { quality, bitrate })
    }
}

/// `Some(None)` for no wish (forms send empty fields along), `None` for one that cannot be fulfilled.
fn number<T: FromStr>(text: Option<&str>, good: impl Fn(&T) -> bool) -> Option<Option<T>> {
    match text.map(str::trim).filter(|text| !text.is_empty()) {
        None => Some(None),
        Some(text) => text.parse().ok().filter(good).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::Wishes;

    fn settled(fields: &[(&str, &str)]) -> Option<(Option<u8>, Option<u32>)> {
        let mut wishes = Wishes::default();
        for (name, text) in fields {
            assert!(wishes.note(name, (*text).to_owned()));
        }
        wishes.settle().ok().map(|settings| (settings.quality, settings.bitrate))
    }

    #[test]
    fn wishes_that_can_be_fulfilled() {
        assert_eq!(settled(&[]), Some((None, None)));
        assert_eq!(settled(&[("quality", "0")]), Some((Some(0), None)));
        assert_eq!(settled(&[("bitrate", " 320 "), ("quality", "")]), Some((None, Some(320))));
    }

    #[test]
    fn and_that_cannot() {
        for fields in [
            &[("quality", "10")][..],
            &[("quality", "-1")],
            &[("quality", "best")],
            &[("bitrate", "100")],
            &[("bitrate", "1e2")],
            &[("bitrate", "128"), ("quality", "2")],
        ] {
            assert_eq!(settled(fields), None, "{fields:?}");
        }
        assert!(!Wishes::knows("file") && Wishes::knows("bitrate"));
    }
}
