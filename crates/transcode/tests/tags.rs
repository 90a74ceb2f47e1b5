//! What stands in front of the sound: the cover and the chapters.

mod common;

use std::fmt::Write as _;
use std::time::Duration;

use common::{Media, assert_agrees, convert, decode};
use id3::frame::PictureType;
use id3::{Tag, TagLike};
use transcode::{Options, Part};

/// The tag of the MP3, whose sound has been found behind it.
fn tag_of(media: &Media, name: &str, options: &Options) -> Tag {
    let (summary, mp3) = convert(&media.path(name), options).unwrap_or_else(|e| panic!("{name}: {e}"));
    let tag = Tag::read_from2(std::io::Cursor::new(&mp3)).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_agrees(&summary, &decode(mp3));
    tag
}

/// `name` with `picture` as its cover.
fn covered(media: &Media, (picture, mime_type): (&str, &str), name: &str, codec: &str) {
    let attach = match name.rsplit('.').next() {
        Some("mkv") => format!("-attach {picture} -metadata:s:t mimetype={mime_type}"),
        _ => format!("-i {picture} -map 0:a -map 1:v -c:v copy -disposition:v attached_pic"),
    };
    media.ffmpeg(&format!("-i tone.wav {attach} -c:a {codec} {name}"));
}

#[test]
fn the_cover_is_taken_over_as_it_is() {
    let media = Media::new();
    media.ffmpeg("-f lavfi -i sine=sample_rate=44100:duration=2 tone.wav");
    for (picture, mime_type) in [("cover.png", "image/png"), ("cover.jpg", "image/jpeg")] {
        media.ffmpeg(&format!("-f lavfi -i testsrc2=size=320x320 -frames:v 1 {picture}"));
        for (name, codec) in [("f.m4a", "aac"), ("f.mkv", "libvorbis"), ("f.mp3", "libmp3lame"), ("f.flac", "flac")] {
            covered(&media, (picture, mime_type), name, codec);
            let tag = tag_of(&media, name, &Options::default());
            let pictures: Vec<_> = tag.pictures().collect();
            assert_eq!(pictures.len(), 1, "{name}");
            assert_eq!(
                (pictures[0].mime_type.as_str(), pictures[0].picture_type),
                (mime_type, PictureType::CoverFront)
            );
            assert!(pictures[0].data == media.read(picture), "{name}: byte for byte");
        }
    }
}

#[test]
fn a_large_cover_fits_and_a_larger_one_is_left_out() {
    let media = Media::new();
    media.ffmpeg("-f lavfi -i sine=sample_rate=44100:duration=2 tone.wav");
    for (size, kept) in [("560x560", true), ("700x700", false)] {
        // Noise, which does not get smaller.
        media.ffmpeg(&format!(
            "-f lavfi -i color=gray:size={size} -vf noise=alls=100:allf=t,format=rgb24 -frames:v 1 -pred none noise.png"
        ));
        let bytes = media.read("noise.png").len();
        assert!(if kept { (600_000..1 << 20).contains(&bytes) } else { bytes > 1 << 20 }, "{bytes} bytes");
        covered(&media, ("noise.png", "image/png"), "f.m4a", "aac");
        let options = Options { title_fallback: Some("f".to_owned()), ..Options::default() };
        let tag = tag_of(&media, "f.m4a", &options);
        assert_eq!(tag.pictures().count(), usize::from(kept), "{bytes} bytes");
    }
}

/// `f.mp4`, `f.mkv`: 30 s in three chapters.
fn chaptered(media: &Media) {
    let mut text = ";FFMETADATA1\n".to_owned();
    for (at, title) in ["Anfang", "Mitte; 两", "Ende"].into_iter().enumerate() {
        let title = title.replace(';', "\\;");
        let (start, end) = (at * 10_000, (at + 1) * 10_000);
        write!(text, "[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle={title}\n").expect("a string");
    }
    media.write("chapters.txt", text.as_bytes());
    let film = "-f lavfi -i testsrc=size=160x120:rate=25:duration=30 -f lavfi -i sine=duration=30 \
                -f ffmetadata -i chapters.txt -map 0 -map 1 -map_chapters 2 -c:v libx264 -preset ultrafast";
    media.ffmpeg(&format!("{film} -c:a aac f.mp4"));
    media.ffmpeg(&format!("{film} -c:a libvorbis f.mkv"));
}

fn chapters(tag: &Tag) -> Vec<(u32, u32, &str)> {
    let table: Vec<&str> = tag.tables_of_contents().flat_map(|table| &table.elements).map(String::as_str).collect();
    let elements: Vec<&str> = tag.chapters().map(|chapter| chapter.element_id.as_str()).collect();
    assert_eq!(table, elements, "the table names every chapter in order");
    tag.chapters().map(|one| (one.start_time, one.end_time, one.title().unwrap_or_default())).collect()
}

#[test]
fn chapters_are_taken_over_in_the_time_of_the_part() {
    let media = Media::new();
    chaptered(&media);
    let part = Part { start: Duration::from_millis(12_500), end: Some(Duration::from_secs(25)) };
    for name in ["f.mp4", "f.mkv"] {
        let tag = tag_of(&media, name, &Options::default());
        let expected = [(0, 10_000, "Anfang"), (10_000, 20_000, "Mitte; 两"), (20_000, 30_000, "Ende")];
        assert_eq!(chapters(&tag), expected, "{name}");
        let tag = tag_of(&media, name, &Options { part, ..Options::default() });
        assert_eq!(chapters(&tag), [(0, 7_500, "Mitte; 两"), (7_500, 12_500, "Ende")], "{name}");
    }
    // As another program reads them, which counts from behind the 25 ms that LAME adds in front.
    let (_, mp3) = convert(&media.path("f.mkv"), &Options { part, ..Options::default() }).expect("converts");
    media.write("f.mp3", &mp3);
    media.ffmpeg("-i f.mp3 -f ffmetadata read.txt");
    let read = String::from_utf8(media.read("read.txt")).expect("text");
    assert!(read.contains("START=7475\nEND=12475\ntitle=Ende"), "{read}");
}
