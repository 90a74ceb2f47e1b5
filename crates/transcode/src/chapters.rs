//! Chapters of the container as chapters of the MP3: ID3v2's CHAP and CTOC frames.

use std::time::Duration;

use id3::frame::{Chapter, TableOfContents};
use id3::{Tag, TagLike};

use crate::Part;
use crate::tags::clean;

/// The table of contents counts its entries in a byte.
const MOST: usize = 255;

/// Longest title in characters, so that all of them stay below 250 KB.
const MAX_CHARS: usize = 200;

/// Says that a byte offset is not told, and the time counts: ID3v2 Chapter Frame Addendum, 3.1.
const NO_OFFSET: u32 = u32::MAX;

/// What a container says of one: begin, end and title.
pub(crate) type Told = (Duration, Duration, Option<String>);

/// Those that lie in the part, or what of them does.
pub(crate) fn within(told: Vec<Told>, part: Part) -> impl Iterator<Item = Told> {
    let limit = part.end.unwrap_or(Duration::MAX);
    told.into_iter().filter_map(move |(begin, end, title)| {
        let (begin, end) = (begin.max(part.start), end.min(limit));
        // Where one begins or ends less than this away from the part, it was not meant.
        let is_meant = end.checked_sub(begin).is_some_and(|length| length >= Duration::from_millis(1));
        is_meant.then_some((begin, end, title))
    })
}

/// Adds those that lie in the part, in its own time.
pub(crate) fn add(tag: &mut Tag, told: Vec<Told>, part: Part) {
    let inside = within(told, part)
        .filter_map(|(begin, end, title)| Some((millis(begin - part.start)?, millis(end - part.start)?, title)));
    let mut elements = Vec::new();
    for (at, (start_time, end_time, title)) in inside.take(MOST).enumerate() {
        let mut chapter = Chapter {
            element_id: format!("chp{at}"),
            start_time,
            end_time,
            start_offset: NO_OFFSET,
            end_offset: NO_OFFSET,
            frames: Vec::new(),
        };
        if let Some(title) = title.as_deref().and_then(clean) {
            chapter.set_title(title.chars().take(MAX_CHARS).collect::<String>());
        }
        elements.push(chapter.element_id.clone());
        tag.add_frame(chapter);
    }
    if !elements.is_empty() {
        let element_id = "toc".to_owned();
        tag.add_frame(TableOfContents { element_id, top_level: true, ordered: true, elements, frames: Vec::new() });
    }
}

/// `None` beyond what a chapter frame can tell, 49 days.
fn millis(time: Duration) -> Option<u32> {
    u32::try_from(time.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chapters(part: Part) -> Vec<(u32, u32, Option<String>)> {
        let seconds = Duration::from_secs;
        let mut tag = Tag::new();
        let told = vec![
            (seconds(0), seconds(10), Some("One\n".to_owned())),
            (seconds(10), seconds(20), None),
            (seconds(20), seconds(30), Some("Three".to_owned())),
        ];
        add(&mut tag, told, part);
        let table: Vec<_> = tag.tables_of_contents().flat_map(|table| table.elements.clone()).collect();
        assert_eq!(table, tag.chapters().map(|chapter| chapter.element_id.clone()).collect::<Vec<_>>());
        let fact = |one: &Chapter| (one.start_time, one.end_time, one.title().map(str::to_owned));
        tag.chapters().map(fact).collect()
    }

    #[test]
    fn those_in_the_part_are_told_in_its_time() {
        let (one, three) = (Some("One".to_owned()), Some("Three".to_owned()));
        let whole = chapters(Part::default());
        assert_eq!(whole, [(0, 10_000, one.clone()), (10_000, 20_000, None), (20_000, 30_000, three.clone())]);
        let part = Part { start: Duration::from_secs(5), end: Some(Duration::from_secs(20)) };
        assert_eq!(chapters(part), [(0, 5_000, one), (5_000, 15_000, None)]);
        let part = Part { start: Duration::from_secs(25), end: None };
        assert_eq!(chapters(part), [(0, 5_000, three)]);
        assert!(chapters(Part { start: Duration::from_secs(30), end: None }).is_empty());
    }
}
