//! `/v1/conversions`: a user's conversions, one of them, and the end of one.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
};
use common::{Error, Id, Result};
use jobs::{Cursor, Job};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, serde::rfc3339};

use crate::App;

/// Conversions on one page, unless the client asks for fewer.
const PAGE: usize = 50;

/// A conversion as the API shows it.
#[derive(Serialize)]
pub struct Conversion {
    id: Id,
    state: &'static str,
    filename: Option<String>,
    /// From 0 to 100.
    percent: u8,
    mp3_fid: Option<Id>,
    /// Why it failed, in plain words.
    reason: Option<String>,
    /// Length of the MP3, in seconds.
    duration_s: Option<f64>,
    video_bytes: Option<u64>,
    mp3_bytes: Option<u64>,
    #[serde(with = "rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "rfc3339")]
    updated_at: OffsetDateTime,
}

pub fn represent(job: &Job) -> Conversion {
    let job = job.clone();
    Conversion {
        id: job.id,
        state: job.state.as_str(),
        filename: job.filename,
        percent: job.percent,
        mp3_fid: job.mp3_fid,
        reason: job.reason,
        duration_s: job.duration_s,
        video_bytes: job.video_bytes,
        mp3_bytes: job.mp3_bytes,
        created_at: job.created_at,
        updated_at: job.updated_at,
    }
}

#[derive(Serialize)]
pub struct List {
    conversions: Vec<Conversion>,
    next: Option<String>,
}

#[derive(Deserialize)]
pub struct Params {
    cursor: Option<String>,
    limit: Option<usize>,
}

pub async fn list(State(app): State<App>, Query(params): Query<Params>, headers: HeaderMap) -> Result<Json<List>> {
    let user = app.auth.user(&headers).await?;
    let cursor = params.cursor.map(|text| text.parse::<Cursor>()).transpose();
    let cursor = cursor.map_err(|_| Error::BadRequest("cursor: not one of ours".to_owned()))?;
    let limit = params.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let page = app.jobs.list(&user.name, cursor.as_ref(), limit).await.map_err(Error::unavailable("the store"))?;
    let conversions = page.jobs.iter().map(represent).collect();
    Ok(Json(List { conversions, next: page.next.map(|cursor| cursor.to_string()) }))
}

pub async fn one(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Result<Json<Conversion>> {
    Ok(Json(represent(&owned(&app, &id, &headers).await?)))
}

/// Cancels a conversion that is not over; removes one that is, and both its files.
pub async fn delete(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Result<StatusCode> {
    let job = owned(&app, &id, &headers).await?;
    if app.jobs.cancel(&job.id).await.map_err(Error::unavailable("the store"))? {
        tracing::info!(job.id = %job.id, "cancelled by its owner");
        return Ok(StatusCode::NO_CONTENT);
    }
    if app.jobs.deleting(&job.id).await.map_err(Error::unavailable("the store"))? {
        app.remove(&job).await.map_err(Error::unavailable("the store"))?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn owned(app: &App, id: &str, headers: &HeaderMap) -> Result<Job> {
    let user = app.auth.user(headers).await?;
    let id: Id = id.parse().map_err(|_| Error::NotFound)?;
    let job = app.jobs.get(&id).await.map_err(Error::unavailable("the store"))?;
    let visible = |job: &Job| job.owner.to_lowercase() == user.name && job.state != jobs::State::Deleting;
    job.filter(visible).ok_or(Error::NotFound)
}
