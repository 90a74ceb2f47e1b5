//! A record as MongoDB keeps it.

use common::Id;
use mongodb::bson::{DateTime, Document, doc, serialize_to_document};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{Error, Job, NewJob, Result, Settings, State};

/// Of a [`Job`], and what only the ledger itself asks for.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    #[serde(rename = "_id")]
    id: Id,
    owner: String,
    filename: Option<String>,
    state: String,
    percent: i32,
    video_fid: Id,
    video_bytes: Option<i64>,
    // Absent rather than null, for the sparse index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mp3_fid: Option<Id>,
    mp3_bytes: Option<i64>,
    duration_s: Option<f64>,
    reason: Option<String>,
    #[serde(default)]
    settings: Settings,
    // Absent rather than null, for the partial index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    run: i32,
    attempt: i32,
    attempts_before: i32,
    outputs: Vec<Id>,
    told_at: Option<DateTime>,
    mailed_at: Option<DateTime>,
    #[serde(default)]
    unmailed_at: Option<DateTime>,
    created_at: DateTime,
    updated_at: DateTime,
    /// Since when it has stood in the line.
    lined_up_at: DateTime,
    leased_at: Option<DateTime>,
    /// The worker knows that it has the lease.
    #[serde(default)]
    heard: Option<bool>,
    #[serde(default)]
    ended_at: Option<DateTime>,
    #[serde(default)]
    video_expired_at: Option<DateTime>,
    #[serde(default)]
    video_removed_at: Option<DateTime>,
    #[serde(default)]
    traceparent: Option<String>,
}

impl Record {
    /// What makes the record of a conversion that begins in `state`, at the server's time.
    pub fn begun(new: NewJob, state: State) -> Result<Document> {
        let record = serialize_to_document(&Self::new(new, state)).map_err(|e| Error(e.into()))?;
        let times = doc! {"created_at": "$$NOW", "updated_at": "$$NOW", "lined_up_at": "$$NOW"};
        // Names are texts, never expressions, even if they begin with a dollar sign.
        Ok(doc! {"$mergeObjects": [{"$literal": record}, times]})
    }

    fn new(new: NewJob, state: State) -> Self {
        let now = DateTime::MIN;
        Self {
            id: new.id,
            owner: new.owner,
            filename: new.filename,
            state: state.as_str().to_owned(),
            percent: 0,
            video_fid: new.video_fid,
            video_bytes: None,
            mp3_fid: None,
            mp3_bytes: None,
            duration_s: None,
            reason: None,
            settings: new.settings,
            key: new.key,
            run: 1,
            attempt: 0,
            attempts_before: 0,
            outputs: Vec::new(),
            told_at: None,
            mailed_at: None,
            unmailed_at: None,
            created_at: now,
            updated_at: now,
            lined_up_at: now,
            leased_at: None,
            heard: None,
            ended_at: None,
            video_expired_at: None,
            video_removed_at: None,
            traceparent: new.traceparent,
        }
    }
}

impl TryFrom<Record> for Job {
    type Error = Error;

    fn try_from(r: Record) -> Result<Self> {
        Ok(Self {
            state: r.state.parse()?,
            id: r.id,
            owner: r.owner,
            filename: r.filename,
            percent: r.percent.clamp(0, 100) as u8,
            video_fid: r.video_fid,
            video_bytes: r.video_bytes.map(i64::unsigned_abs),
            mp3_fid: r.mp3_fid,
            mp3_bytes: r.mp3_bytes.map(i64::unsigned_abs),
            duration_s: r.duration_s,
            reason: r.reason,
            settings: r.settings,
            key: r.key,
            run: r.run.unsigned_abs(),
            attempt: r.attempt.unsigned_abs(),
            attempts_before: r.attempts_before.unsigned_abs(),
            outputs: r.outputs,
            told: r.told_at.is_some(),
            mailed: r.mailed_at.is_some(),
            created_at: from_bson(r.created_at)?,
            updated_at: from_bson(r.updated_at)?,
            lined_up_at: from_bson(r.lined_up_at)?,
            leased_at: r.leased_at.map(from_bson).transpose()?,
            ended_at: r.ended_at.map(from_bson).transpose()?,
            video_expired: r.video_expired_at.is_some(),
            traceparent: r.traceparent,
        })
    }
}

fn from_bson(at: DateTime) -> Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.timestamp_millis()) * 1_000_000)
        .map_err(|e| Error(e.into()))
}
