//! What else comes in as text: ranges of a file, wishes for an MP3, messages from the queue.

use axum::http::HeaderValue;
use common::Message;
use gateway::range::{Wanted, wanted};
use jobs::Settings;

/// The first byte chooses what the others are.
pub fn text(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 3 {
        0 => range(rest),
        1 => wishes(&String::from_utf8_lossy(rest)),
        _ => message(rest),
    }
}

/// Eight bytes are the file's length, the rest is the header.
fn range(data: &[u8]) {
    let Some((length, header)) = data.split_first_chunk() else { return };
    let length = u64::from_le_bytes(*length);
    let Ok(header) = HeaderValue::from_bytes(header) else { return };
    if let Wanted::Part(part) = wanted(header.to_str().ok(), length) {
        assert!(part.start < part.end && part.end <= length, "{part:?} of {length}");
    }
}

/// `name=value` by lines.
fn wishes(text: &str) {
    let mut settings = Settings::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        if settings.note(name, value).is_err() {
            return;
        }
    }
    if settings.check().is_err() {
        return;
    }
    // What was accepted is kept as JSON and told in headers, and comes back the same.
    let json = serde_json::to_vec(&settings).expect("JSON");
    assert_eq!(serde_json::from_slice::<Settings>(&json).expect("its own"), settings);
    let mut told = Settings::default();
    for (name, value) in settings.wishes() {
        assert_eq!(told.note(name, &value), Ok(true), "{name}");
    }
    assert_eq!((told.check(), told), (Ok(()), settings));
}

fn message(data: &[u8]) {
    if let Ok(message) = Message::from_json(data) {
        assert_eq!(Message::from_json(&message.to_json()).expect("its own"), message);
    }
}
