//! The ID3 tag, made of what the container says about itself and of what the caller knows better.

use std::ffi::CStr;

use id3::frame::{Comment, Picture, PictureType};
use id3::{Content, Encoder, Frame, TagLike, Version};
use serde::{Deserialize, Serialize};

use crate::input::Source;
use crate::split::Chapter;
use crate::{Error, Options, chapters};

/// Longest value taken over, in characters. With these, [`FIELDS`], the title, a cover and the
/// chapters, the tag stays below [`HEAD_MAX`](crate::HEAD_MAX): a character is at most 4 bytes of
/// UTF-16.
const MAX_CHARS: usize = 1000;

/// A larger cover, in bytes, is left out.
const MAX_COVER: usize = 1024 * 1024;

/// Something that a tag says, and the caller may want to say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tag {
    Title,
    Artist,
    Album,
    AlbumArtist,
    /// Of a longer date the first four digits.
    Year,
    Genre,
    /// `3` or `3/12`.
    Track,
    Comment,
}

impl Tag {
    /// Its frame in ID3v2.3.
    fn id(self) -> &'static str {
        match self {
            Self::Title => "TIT2",
            Self::Artist => "TPE1",
            Self::Album => "TALB",
            Self::AlbumArtist => "TPE2",
            Self::Year => "TYER",
            Self::Genre => "TCON",
            Self::Track => "TRCK",
            Self::Comment => "COMM",
        }
    }
}

/// ID3v2.3 frames and the names FFmpeg gives to the same thing, most wanted first.
const FIELDS: &[(&str, &[&CStr])] = &[
    ("TPE1", &[c"artist", c"author", c"performer"]),
    ("TALB", &[c"album"]),
    ("TPE2", &[c"album_artist", c"albumartist"]),
    ("TYER", &[c"date", c"year", c"creation_time"]),
    ("TCON", &[c"genre"]),
    ("TRCK", &[c"track"]),
    ("TPOS", &[c"disc"]),
    ("TCOM", &[c"composer"]),
    ("TCOP", &[c"copyright"]),
    ("TPUB", &[c"publisher"]),
    ("COMM", &[c"comment", c"description"]),
];

/// An ID3v2.3 tag (the version every player reads), or nothing where there is nothing to say; of one
/// chapter, or of the whole with all of its chapters.
pub(crate) fn id3(
    source: &Source<'_>,
    stream: usize,
    options: &Options,
    chapter: Option<&Chapter>,
) -> Result<Vec<u8>, Error> {
    // In Ogg a file's tags are its stream's; elsewhere a stream's title is "Commentary" or the like.
    let titles_streams = source.format_name() == "ogg";
    let title = source.file_tag(c"title").or_else(|| titles_streams.then(|| source.stream_tag(stream, c"title"))?);
    let mut tag = texts(title, options, |key| source.file_tag(key).or_else(|| source.stream_tag(stream, key)));
    let is_wanted = |bytes: &[u8]| bytes.len() <= MAX_COVER && mime_type(bytes).is_some();
    if let Some(cover) = source.cover(is_wanted) {
        tag.add_frame(picture(cover));
    }
    match chapter {
        Some(chapter) => single_out(&mut tag, chapter),
        None => chapters::add(&mut tag, source.chapters(), options.part),
    }
    encode(&tag)
}

/// Makes the whole's tag that of one chapter: what was the title is the album's now.
fn single_out(tag: &mut id3::Tag, chapter: &Chapter) {
    if let (None, Some(title)) = (tag.album(), tag.title().map(str::to_owned)) {
        tag.set_text("TALB", title);
    }
    let title = chapter.title.clone().unwrap_or_else(|| format!("Chapter {}", chapter.number));
    tag.set_text("TIT2", title);
    tag.set_text("TRCK", format!("{}/{}", chapter.number, chapter.of));
}

fn texts(title: Option<String>, options: &Options, lookup: impl Fn(&CStr) -> Option<String>) -> id3::Tag {
    let wished = |id: &str| {
        let (_, text) = options.tags.iter().find(|(tag, _)| tag.id() == id)?;
        clean(text)
    };
    let mut tag = id3::Tag::with_version(Version::Id3v23);
    let title = wished("TIT2").or_else(|| clean(title.as_deref()?));
    if let Some(title) = title.or_else(|| clean(options.title_fallback.as_deref()?)) {
        tag.set_text("TIT2", title);
    }
    for (id, names) in FIELDS {
        let Some(text) = wished(id).or_else(|| names.iter().find_map(|name| clean(&lookup(name)?))) else {
            continue;
        };
        match *id {
            "COMM" => {
                let comment = Comment { lang: "und".to_owned(), description: String::new(), text };
                tag.add_frame(Frame::with_content("COMM", Content::Comment(comment)));
            }
            // Four digits, the beginning of an ISO date.
            "TYER" => {
                if let Some(year) = year(&text) {
                    tag.set_text("TYER", year);
                }
            }
            id => tag.set_text(id, text),
        }
    }
    tag
}

fn encode(tag: &id3::Tag) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    if tag.frames().next().is_some() {
        Encoder::new()
            .version(Version::Id3v23)
            .encode(tag, &mut bytes)
            .map_err(|e| Error::Internal(format!("ID3 tag: {e}")))?;
    }
    Ok(bytes)
}

/// A cover, taken over as it is: no picture decoder is ever opened.
fn picture(bytes: &[u8]) -> Picture {
    Picture {
        mime_type: mime_type(bytes).unwrap_or_default().to_owned(),
        picture_type: PictureType::CoverFront,
        description: String::new(),
        data: bytes.to_vec(),
    }
}

/// Of the kinds of picture that players show, by their first bytes.
fn mime_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        _ => None,
    }
}

/// One line of at most [`MAX_CHARS`] printable characters; `None` if nothing is left.
pub(crate) fn clean(text: &str) -> Option<String> {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(|c| *c != char::REPLACEMENT_CHARACTER)
        .take(MAX_CHARS)
        .collect();
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

fn year(date: &str) -> Option<&str> {
    date.get(..4).filter(|year| year.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::HEAD_MAX;

    /// Larger than any MP3 frame LAME puts its length into.
    const FRAME_MAX: usize = 2880;

    fn read(tag: &id3::Tag) -> id3::Tag {
        let bytes = encode(tag).expect("encodes");
        assert_eq!(&bytes[..5], b"ID3\x03\x00");
        id3::Tag::read_from2(std::io::Cursor::new(bytes)).expect("reads")
    }

    #[test]
    fn the_largest_tag_leaves_room_for_the_first_frame() {
        let huge = "𝄞".repeat(100_000);
        let mut tag = texts(Some(huge.clone()), &Options::default(), |_| Some(huge.clone()));
        tag.add_frame(picture(&vec![0xff; MAX_COVER]));
        let chapter = (Duration::ZERO, Duration::from_secs(1), Some(huge));
        chapters::add(&mut tag, vec![chapter; 10_000], Default::default());
        let bytes = encode(&tag).expect("encodes");
        assert!(bytes.len() > MAX_COVER + 200_000, "{}", bytes.len());
        assert!(bytes.len() + FRAME_MAX <= HEAD_MAX, "{}", bytes.len());
    }

    #[test]
    fn values_are_cleaned_and_the_title_falls_back() {
        let lookup = |key: &CStr| match key.to_bytes() {
            b"artist" => Some("Bj\u{0}ork\r\n\u{7}".to_owned()),
            b"date" => Some("2019-04-01T10:00".to_owned()),
            b"album" => Some(" \t\n ".to_owned()),
            b"description" => Some("两行\n文字".to_owned()),
            _ => None,
        };
        let options = Options { title_fallback: Some("holiday".to_owned()), ..Options::default() };
        let tag = read(&texts(Some(" ".to_owned()), &options, lookup));
        assert_eq!(tag.title(), Some("holiday"));
        assert_eq!(tag.artist(), Some("Bj ork"));
        assert_eq!(tag.year(), Some(2019));
        assert_eq!(tag.album(), None);
        assert_eq!(tag.comments().next().map(|c| c.text.as_str()), Some("两行 文字"));
    }

    #[test]
    fn the_callers_word_counts_more() {
        let all = [Tag::Title, Tag::Artist, Tag::Album, Tag::AlbumArtist, Tag::Genre, Tag::Comment];
        let mut tags: Vec<_> = all.into_iter().map(|tag| (tag, format!("{tag:?}"))).collect();
        tags.extend([(Tag::Year, "1999".to_owned()), (Tag::Track, "3/12".to_owned())]);
        let options = Options { tags, ..Options::default() };
        let tag = read(&texts(Some("theirs".to_owned()), &options, |_| Some("theirs".to_owned())));
        assert_eq!((tag.title(), tag.artist(), tag.album()), (Some("Title"), Some("Artist"), Some("Album")));
        assert_eq!((tag.album_artist(), tag.genre(), tag.year()), (Some("AlbumArtist"), Some("Genre"), Some(1999)));
        assert_eq!((tag.track(), tag.total_tracks()), (Some(3), Some(12)));
        assert_eq!(tag.comments().next().map(|c| c.text.as_str()), Some("Comment"));
    }

    #[test]
    fn nothing_to_say_is_no_tag() {
        assert!(encode(&texts(None, &Options::default(), |_| None)).expect("encodes").is_empty());
        assert_eq!(year("19"), None);
        assert_eq!(year("19é9"), None);
    }
}
