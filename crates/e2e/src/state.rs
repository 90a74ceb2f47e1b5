//! What ledger, stores and queues hold: a look past the product, the same for each of its forms.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Files, Kept};

/// All of it, at about one time.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub records: Vec<Record>,
    pub videos: Store,
    pub mp3s: Store,
    /// Messages by queue, those that a worker holds included.
    pub queues: BTreeMap<String, u64>,
}

/// One of the ledger.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub id: String,
    pub owner: String,
    pub state: String,
    pub run: u64,
    pub attempt: u64,
    /// The notification's queue has had the news.
    pub told: bool,
    pub key: Option<String>,
    /// Its film is not to be kept any longer.
    pub video_expired: bool,
    pub video_fid: String,
    pub mp3_fid: Option<String>,
}

/// One store of files.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// Files, each with whether it has exactly the pieces that it needs.
    pub whole: BTreeMap<String, bool>,
    /// Pieces of what is no file.
    pub remains: BTreeSet<String>,
}

impl Store {
    fn files(&self) -> Files {
        let whole = self.whole.len() as u64;
        Files { whole, any: whole + self.remains.len() as u64 }
    }
}

impl State {
    /// In figures.
    pub fn kept(&self) -> Kept {
        let done = || self.records.iter().filter(|record| record.state == "done");
        Kept {
            videos: self.videos.files(),
            mp3s: self.mp3s.files(),
            records: self.records.len() as u64,
            done: done().count() as u64,
            attempts: done().map(|record| record.attempt).sum(),
        }
    }
}
