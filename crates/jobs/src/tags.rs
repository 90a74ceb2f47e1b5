//! What an MP3's tag shall say, where its owner knows better than the film.

use serde::{Deserialize, Serialize};

use crate::Unfit;

/// Characters in a tag at the most.
const MAX_CHARS: usize = 1000;

/// What is left open is taken from the film.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tags {
    pub title: Option<String>,
    pub artist: Option<String>,
    pub album: Option<String>,
    pub album_artist: Option<String>,
    /// Four digits.
    pub year: Option<String>,
    pub genre: Option<String>,
    /// `3` or `3/12`.
    pub track: Option<String>,
    pub comment: Option<String>,
}

impl Tags {
    /// As [`Settings::note`](crate::Settings::note).
    pub(crate) fn note(&mut self, name: &str, text: Option<&str>) -> Result<bool, Unfit> {
        let place = match name {
            "title" => &mut self.title,
            "artist" => &mut self.artist,
            "album" => &mut self.album,
            "album_artist" => &mut self.album_artist,
            "year" => &mut self.year,
            "genre" => &mut self.genre,
            "track" => &mut self.track,
            "comment" => &mut self.comment,
            _ => return Ok(false),
        };
        if let Some(text) = text {
            check(name, text)?;
        }
        *place = text.map(str::to_owned);
        Ok(true)
    }

    /// Each with its name.
    pub(crate) fn all(&self) -> [(&'static str, Option<&String>); 8] {
        [
            ("title", &self.title),
            ("artist", &self.artist),
            ("album", &self.album),
            ("album_artist", &self.album_artist),
            ("year", &self.year),
            ("genre", &self.genre),
            ("track", &self.track),
            ("comment", &self.comment),
        ]
        .map(|(name, text)| (name, text.as_ref()))
    }
}

fn check(name: &str, text: &str) -> Result<(), Unfit> {
    let number = |text: &str| matches!(text.len(), 1..=4) && text.bytes().all(|b| b.is_ascii_digit());
    match name {
        "year" if !(number(text) && text.len() == 4) => Err(Unfit("year: four digits are expected")),
        "track" if !text.splitn(2, '/').all(number) => {
            Err(Unfit("track: a number is expected, or also of how many, such as 3 or 3/12"))
        }
        _ if text.chars().count() > MAX_CHARS => Err(Unfit("tags: no more than 1000 characters are expected in each")),
        _ => Ok(()),
    }
}
