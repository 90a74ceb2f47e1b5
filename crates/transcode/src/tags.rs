//! The ID3 tag, made of what the container says about itself.

use std::ffi::CStr;

use id3::frame::Comment;
use id3::{Content, Encoder, Frame, Tag, TagLike, Version};

use crate::Error;
use crate::input::Source;

/// Longest value taken over, in characters. With these, [`FIELDS`] and the title, the tag stays
/// far below [`HEAD_MAX`](crate::HEAD_MAX): a character is at most 4 bytes of UTF-16.
const MAX_CHARS: usize = 1000;

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

/// An ID3v2.3 tag (the version every player reads), or nothing where there is nothing to say.
pub(crate) fn id3(source: &Source<'_>, stream: usize, title_fallback: Option<&str>) -> Result<Vec<u8>, Error> {
    // In Ogg a file's tags are its stream's; elsewhere a stream's title is "Commentary" or the like.
    let titles_streams = source.format_name() == "ogg";
    let title = source.file_tag(c"title").or_else(|| titles_streams.then(|| source.stream_tag(stream, c"title"))?);
    encode(title, title_fallback, |key| source.file_tag(key).or_else(|| source.stream_tag(stream, key)))
}

fn encode(
    title: Option<String>,
    title_fallback: Option<&str>,
    lookup: impl Fn(&CStr) -> Option<String>,
) -> Result<Vec<u8>, Error> {
    let mut tag = Tag::with_version(Version::Id3v23);
    let title = title.as_deref().and_then(clean);
    if let Some(title) = title.or_else(|| title_fallback.and_then(clean)) {
        tag.set_text("TIT2", title);
    }
    for (id, names) in FIELDS {
        let Some(text) = names.iter().find_map(|name| clean(&lookup(name)?)) else {
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
    let mut bytes = Vec::new();
    if tag.frames().next().is_some() {
        Encoder::new()
            .version(Version::Id3v23)
            .encode(&tag, &mut bytes)
            .map_err(|e| Error::Internal(format!("ID3 tag: {e}")))?;
    }
    Ok(bytes)
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
    use super::*;
    use crate::HEAD_MAX;

    /// Larger than any MP3 frame LAME puts its length into.
    const FRAME_MAX: usize = 2880;

    #[test]
    fn the_largest_tag_leaves_room_for_the_first_frame() {
        let huge = "𝄞".repeat(100_000);
        let bytes = encode(Some(huge.clone()), None, |_| Some(huge.clone())).expect("encodes");
        assert!(bytes.len() > 40_000);
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
        let bytes = encode(Some(" ".to_owned()), Some("holiday"), lookup).expect("encodes");
        assert_eq!(&bytes[..5], b"ID3\x03\x00");
        let tag = Tag::read_from2(std::io::Cursor::new(bytes)).expect("reads");
        assert_eq!(tag.title(), Some("holiday"));
        assert_eq!(tag.artist(), Some("Bj ork"));
        assert_eq!(tag.year(), Some(2019));
        assert_eq!(tag.album(), None);
        assert_eq!(tag.comments().next().map(|c| c.text.as_str()), Some("两行 文字"));
    }

    #[test]
    fn nothing_to_say_is_no_tag() {
        assert!(encode(None, None, |_| None).expect("encodes").is_empty());
        assert_eq!(year("19"), None);
        assert_eq!(year("19é9"), None);
    }
}
