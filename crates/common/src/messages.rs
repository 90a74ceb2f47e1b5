//! The body of a message on the queues `video` and `mp3`, as the Python services write it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Id;

/// Header that carries the conversion's id; optional on receipt.
pub const JOB_ID: &str = "job-id";

/// Header that says in which run the conversion is or was: 1, and one more each time its owner
/// has it tried again; optional on receipt.
pub const RUN: &str = "run";

/// What a queue carries: a body, and what travels beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    pub body: Vec<u8>,
    /// Names that begin with `x-` are for the queue's own bookkeeping: they are neither sent
    /// nor handed out. A name has 255 bytes at the most.
    pub headers: BTreeMap<String, String>,
}

/// One conversion on its way. On `video`, `mp3_fid` is null. On `mp3` it is the result, or
/// null with a `reason` when the conversion failed for good.
///
/// Unknown keys are ignored, so either side may add some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub video_fid: Id,
    pub mp3_fid: Option<Id>,
    /// The owner's e-mail address.
    pub username: String,
    /// Why there is no MP3, in plain words for the owner. Absent from successes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Message {
    /// Reads a body; the error says what is wrong with it.
    pub fn from_json(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of strings always has a JSON form")
    }
}

#[cfg(test)]
mod tests {
    use super::Message;

    const PYTHON: &str = r#"{"video_fid": "65a1b2c3d4e5f60718293a4b", "mp3_fid": null, "username": "a@b.c"}"#;

    #[test]
    fn reads_what_python_writes_and_ignores_unknown_keys() {
        let message = Message::from_json(PYTHON.as_bytes()).expect("classic body");
        assert_eq!(message.username, "a@b.c");
        assert_eq!(message.mp3_fid, None);
        let extra = PYTHON.replace("null", r#"null, "later": [1, {}]"#);
        assert_eq!(Message::from_json(extra.as_bytes()).expect("extra keys"), message);
    }

    #[test]
    fn writes_exactly_the_classic_keys() {
        let message = Message::from_json(PYTHON.as_bytes()).expect("classic body");
        assert_eq!(
            String::from_utf8(message.to_json()).expect("text"),
            r#"{"video_fid":"65a1b2c3d4e5f60718293a4b","mp3_fid":null,"username":"a@b.c"}"#
        );
    }

    #[test]
    fn refuses_an_id_that_is_none() {
        assert!(Message::from_json(PYTHON.replace("65a1", "xyz!").as_bytes()).is_err());
    }
}
