//! A conversion as the API shows it.

use std::mem;

use common::Id;
use jobs::{Job, Settings};
use serde::Serialize;
use time::{OffsetDateTime, serde::rfc3339};
use utoipa::ToSchema;

use crate::feed::waits;

/// One conversion of a video into an MP3.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Conversion {
    #[schema(value_type = String, example = "65a1b2c3d4e5f60718293a4b")]
    id: Id,
    /// `uploading`, `stored` (safe), `queued`, `converting`, and in the end `done`, `failed` or `cancelled`.
    #[schema(example = "converting")]
    state: &'static str,
    /// The video's name, as it was uploaded.
    filename: Option<String>,
    /// Progress of the conversion, from 0 to 100.
    #[schema(maximum = 100)]
    percent: u8,
    /// While it waits: its place in the line, 1 being next.
    position: Option<u32>,
    /// While it is converted: about how many seconds are left.
    eta_s: Option<u64>,
    /// The MP3's id (or the zip's, with `split`) for `/download?fid=…`, when it is done.
    #[schema(value_type = Option<String>)]
    mp3_fid: Option<Id>,
    /// Why it failed, in plain words.
    reason: Option<String>,
    /// Length of the MP3, in seconds.
    duration_s: Option<f64>,
    video_bytes: Option<u64>,
    /// The video is no longer kept, so that there is no trying again.
    video_expired: bool,
    mp3_bytes: Option<u64>,
    #[serde(flatten)]
    #[schema(value_type = Asked)]
    settings: Settings,
    /// 1, and one more after each retry.
    run: u32,
    /// The `Idempotency-Key` that the upload came with.
    idempotency_key: Option<String>,
    #[serde(with = "rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "rfc3339")]
    updated_at: OffsetDateTime,
}

/// What was asked for, the upload's wishes as they were understood.
#[derive(ToSchema)]
#[expect(dead_code, reason = "what [`Settings`] look like, described here")]
pub struct Asked {
    /// `voice`, `podcast`, `music` or `small`.
    preset: Option<String>,
    /// VBR quality, 0 (best) to 9 (smallest).
    quality: Option<u8>,
    /// Constant bit rate, in kbit/s.
    bitrate: Option<u32>,
    /// `mono` or `stereo`.
    channels: Option<String>,
    /// Sample rate, in Hz.
    sample_rate: Option<u32>,
    /// Loudness in LUFS, as text, or `off`.
    normalize: Option<String>,
    /// The sound track's number, counting from 1, or its language.
    stream: Option<String>,
    /// Where in the film the MP3 begins, in seconds.
    start: Option<f64>,
    /// Where in the film the MP3 ends, in seconds.
    end: Option<f64>,
    /// `chapters`: a zip with one MP3 for each.
    split: Option<String>,
    /// Title, in place of the film's own.
    title: Option<String>,
    /// Artist, in place of the film's own.
    artist: Option<String>,
    /// Album, in place of the film's own.
    album: Option<String>,
    /// Artist of the whole album, in place of the film's own.
    album_artist: Option<String>,
    /// Year, in place of the film's own.
    year: Option<String>,
    /// Genre, in place of the film's own.
    genre: Option<String>,
    /// Number of the track, as `3` or `3/12`, in place of the film's own.
    track: Option<String>,
    /// Comment, in place of the film's own.
    comment: Option<String>,
}

impl Conversion {
    /// `place`: where it stands in the line, if it does.
    pub fn of(job: &Job, place: Option<u32>) -> Self {
        let (waiting, job) = (waits(job), job.clone());
        let eta_s = job.time_left().map(|left| left.as_secs_f64().ceil() as u64);
        Self {
            state: job.state.as_str(),
            filename: job.filename,
            percent: job.percent,
            position: place.filter(|_| waiting),
            eta_s,
            id: job.id,
            mp3_fid: job.mp3_fid,
            reason: job.reason,
            duration_s: job.duration_s,
            video_bytes: job.video_bytes,
            video_expired: job.video_expired,
            mp3_bytes: job.mp3_bytes,
            settings: job.settings,
            run: job.run,
            idempotency_key: job.key,
            created_at: job.created_at,
            updated_at: job.updated_at,
        }
    }

    /// Its JSON at a time that is always the same: equal for two that differ in nothing else.
    pub fn looks(&mut self) -> Vec<u8> {
        let at = mem::replace(&mut self.updated_at, OffsetDateTime::UNIX_EPOCH);
        let json = serde_json::to_vec(self);
        self.updated_at = at;
        json.unwrap_or_default()
    }
}

/// How loud an MP3 is, as a picture of it.
#[derive(Serialize, ToSchema)]
pub struct Waveform {
    /// 240 parts of the same length, each from 0 (silent) to 255 (as loud as the loudest).
    pub points: Vec<u8>,
}

/// One page of a user's conversions, the newest first.
#[derive(Serialize, ToSchema)]
pub struct List {
    pub conversions: Vec<Conversion>,
    /// The `cursor` of the next page, if there is one.
    pub next: Option<String>,
}
