//! The record of a conversion: where it stands, and what is told of it.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use common::{
    Envelope, Id, Message,
    messages::{JOB_ID, RUN},
    trace::TRACEPARENT,
};
use time::OffsetDateTime;

use crate::{Error, Result, Settings};

/// Where a conversion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The video is on its way into the store; nothing was promised yet.
    Uploading,
    /// The video is safe. From here the job ends in one visible result, whatever dies.
    Stored,
    /// The broker confirmed the message.
    Queued,
    /// A worker holds the lease.
    Converting,
    Done,
    /// For good; `reason` says why.
    Failed,
    /// By its owner.
    Cancelled,
    /// Files and record are being removed. No longer visible to its owner.
    Deleting,
}

impl State {
    pub(crate) const ALL: [(Self, &'static str); 8] = [
        (Self::Uploading, "uploading"),
        (Self::Stored, "stored"),
        (Self::Queued, "queued"),
        (Self::Converting, "converting"),
        (Self::Done, "done"),
        (Self::Failed, "failed"),
        (Self::Cancelled, "cancelled"),
        (Self::Deleting, "deleting"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }

    /// Nothing will change any more, but by its owner's wish.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled | Self::Deleting)
    }
}

impl FromStr for State {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        let known = Self::ALL.iter().find(|(_, name)| *name == s);
        known.map(|(state, _)| *state).ok_or_else(|| Error(anyhow::anyhow!("unknown state {s:?}")))
    }
}

/// The record of one conversion.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: Id,
    /// The owner's e-mail address.
    pub owner: String,
    /// As the client named it.
    pub filename: Option<String>,
    pub state: State,
    /// From 0 to 100.
    pub percent: u8,
    pub video_fid: Id,
    pub video_bytes: Option<u64>,
    pub mp3_fid: Option<Id>,
    pub mp3_bytes: Option<u64>,
    /// Length of the MP3, in seconds.
    pub duration_s: Option<f64>,
    /// Why it failed, in plain words.
    pub reason: Option<String>,
    /// How its owner wants the MP3.
    pub settings: Settings,
    /// The owner's own key for the upload, if they gave one. Gone once it is `Deleting`.
    pub key: Option<String>,
    /// 1, and one more each time its owner has it tried again.
    pub run: u32,
    /// Leases given so far, in all runs. A worker's moves name the attempt they belong to.
    pub attempt: u32,
    /// How many of them belong to earlier runs, or were given back.
    pub attempts_before: u32,
    /// Ids under which workers have begun to write the MP3, the last one last.
    pub outputs: Vec<Id>,
    /// The broker has the message that tells of the end.
    pub told: bool,
    /// A mail server took the mail that tells of the end.
    pub mailed: bool,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    /// When it was accepted or last tried again: since when it stands, or stood, in the line.
    pub lined_up_at: OffsetDateTime,
    /// When the last lease was given.
    pub leased_at: Option<OffsetDateTime>,
    /// When it became `Done`, `Failed` or `Cancelled`.
    pub ended_at: Option<OffsetDateTime>,
    /// The video is no longer kept, or will be gone in a moment: there is no trying again.
    pub video_expired: bool,
    /// The span in which it was accepted, for those who go on with its trace.
    pub traceparent: Option<String>,
}

impl Job {
    /// Whether its upload passed the acceptance point with so many bytes, and nobody has wished otherwise since.
    pub(crate) fn was_accepted_with(&self, video_bytes: u64) -> bool {
        self.video_bytes == Some(video_bytes) && !matches!(self.state, State::Cancelled | State::Deleting)
    }

    /// The present lease's number within the present run, those not counted that were given back.
    pub fn attempt_of_run(&self) -> u32 {
        self.attempt.saturating_sub(self.attempts_before)
    }

    /// How long the rest of the conversion will take if it goes on like this, by what the worker
    /// last told and in the ledger's own time.
    pub fn time_left(&self) -> Option<Duration> {
        let since = self.leased_at.filter(|_| self.state == State::Converting && self.percent > 0)?;
        let taken = Duration::try_from(self.updated_at - since).ok()?;
        Some(taken.mul_f64(f64::from(100 - self.percent.min(100)) / f64::from(self.percent)))
    }

    /// What the queues are told of it: work to do while it has no result, then its result.
    pub fn message(&self) -> Message {
        Message {
            video_fid: self.video_fid.clone(),
            mp3_fid: self.mp3_fid.clone(),
            username: self.owner.clone(),
            reason: self.reason.clone(),
        }
    }

    /// The message that wakes a worker up for it, or tells the notification of its result.
    pub fn envelope(&self) -> Envelope {
        Envelope { body: self.message().to_json(), headers: self.headers() }
    }

    /// What travels beside the message.
    fn headers(&self) -> BTreeMap<String, String> {
        let mut headers = vec![(JOB_ID, self.id.to_string()), (RUN, self.run.to_string())];
        headers.extend(self.settings.wishes());
        headers.extend(self.traceparent.clone().map(|parent| (TRACEPARENT, parent)));
        headers.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
    }
}

/// What a gateway knows when an upload begins.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub id: Id,
    pub owner: String,
    pub filename: Option<String>,
    pub video_fid: Id,
    pub settings: Settings,
    /// No two of an owner's conversions have the same.
    pub key: Option<String>,
    /// The span in which it is uploaded.
    pub traceparent: Option<String>,
}

/// What a worker made.
#[derive(Clone, Debug)]
pub struct Output {
    pub mp3_fid: Id,
    pub mp3_bytes: u64,
    pub duration: Duration,
}
