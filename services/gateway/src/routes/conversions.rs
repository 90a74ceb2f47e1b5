//! `/v1/conversions`: a user's conversions, one of them, and what its owner can do with it.

use axum::{
    Json,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use common::{Error, Id, Result, fault::Point};
use jobs::{Cursor, Job};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    App,
    conversion::{Conversion, List, Waveform},
    routes::{
        openapi::{Film, Problem},
        settings::Wishes,
        upload,
    },
};

const NO_LONGER_KEPT: Error = Error::Conflict("the video is no longer kept: upload it once more");

/// Conversions on one page, unless the client asks for fewer.
pub const PAGE: usize = 50;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Params {
    /// Where to go on: the `next` of the page before.
    cursor: Option<String>,
    /// How many, 50 at the most.
    #[param(minimum = 1, maximum = 50)]
    limit: Option<usize>,
}

/// Your conversions
///
/// The newest first, in pages.
#[utoipa::path(get, path = "/v1/conversions", tag = "conversions", params(Params), responses(
    (status = 200, description = "One page", body = List),
    (status = "default", description = "What went wrong", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list(State(app): State<App>, Query(params): Query<Params>, headers: HeaderMap) -> Result<Json<List>> {
    let user = app.auth.user(&headers).await?;
    let cursor = params.cursor.map(|text| text.parse::<Cursor>()).transpose();
    let cursor = cursor.map_err(|_| Error::BadRequest("cursor: not one of ours".to_owned()))?;
    let limit = params.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let page = app.jobs.list(&user.name, cursor.as_ref(), limit).await.map_err(Error::unavailable("the store"))?;
    let line = app.feed.line(&page.jobs).await.map_err(Error::unavailable("the store"))?;
    let conversions = page.jobs.iter().map(|job| Conversion::of(job, line.get(&job.id).copied())).collect();
    Ok(Json(List { conversions, next: page.next.map(|cursor| cursor.to_string()) }))
}

/// Convert a video
///
/// One file as `multipart/form-data`, under any field name, streamed. Once this is answered the
/// conversion ends in one visible result, whatever dies in between.
#[utoipa::path(post, path = "/v1/conversions", tag = "conversions",
    params(
        Wishes,
        ("Idempotency-Key" = Option<String>, Header, max_length = 255,
            description = "A word of your own for this upload. The same word again is answered with the same \
                           conversion, and nothing is stored twice; while the first upload is going on, with 409."),
    ),
    request_body(content = Film, content_type = "multipart/form-data"),
    responses(
        (status = 202, description = "Accepted, now or, by its `Idempotency-Key`, before", body = Conversion,
            headers(("Location" = String, description = "Where to ask for it"))),
        (status = 400, description = "Not exactly one file, or not complete", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Cancelled meanwhile, or its `Idempotency-Key` is in use by an upload that is going on", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many uploads at once, or no room left for the video", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "There is no such MP3", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many uploads are under way, or a server behind is away: try again later", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "What went wrong", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn create(State(app): State<App>, request: Request) -> Result<Response> {
    upload::take(app, request, upload::Manner::Api).await
}

/// One conversion
#[utoipa::path(get, path = "/v1/conversions/{id}", tag = "conversions", params(("id" = String, Path)), responses(
    (status = 200, description = "Where it stands", body = Conversion),
    (status = 404, description = "Not there, or not yours", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "What went wrong", body = Problem, content_type = "application/problem+json"),
))]
pub async fn one(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Result<Json<Conversion>> {
    let job = owned(&app, &id, &headers).await?;
    Ok(Json(represent(&app, &job).await?))
}

/// A picture of the sound
///
/// There is none of what another program than ours converted.
#[utoipa::path(get, path = "/v1/conversions/{id}/waveform", tag = "conversions", params(("id" = String, Path)), responses(
    (status = 200, description = "How loud the MP3 is, from its beginning to its end", body = Waveform),
    (status = 404, description = "Not there, or not yours, or not done", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "What went wrong", body = Problem, content_type = "application/problem+json"),
))]
pub async fn waveform(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Result<Json<Waveform>> {
    let fid = owned(&app, &id, &headers).await?.mp3_fid.ok_or(Error::NotFound)?;
    let mp3 = app.mp3s.stat(&fid).await.map_err(Error::unavailable("the store"))?;
    let points = mp3.and_then(|mp3| mp3.meta.points()).ok_or(Error::NotFound)?;
    Ok(Json(Waveform { points }))
}

/// Cancel, or delete
///
/// Cancels a conversion that is not over. Deletes one that is, with both its files.
#[utoipa::path(delete, path = "/v1/conversions/{id}", tag = "conversions", params(("id" = String, Path)), responses(
    (status = 204, description = "Cancelled, or gone"),
    (status = 404, description = "Not there, or not yours", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "What went wrong", body = Problem, content_type = "application/problem+json"),
))]
pub async fn delete(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Result<StatusCode> {
    let job = owned(&app, &id, &headers).await?;
    if app.jobs.cancel(&job.id).await.map_err(Error::unavailable("the store"))? {
        Point::Cancelled.pass();
        tracing::info!(job.id = %job.id, "cancelled by its owner");
        return Ok(StatusCode::NO_CONTENT);
    }
    if let Some(job) = app.jobs.deleting(&job.id).await.map_err(Error::unavailable("the store"))? {
        Point::Deleting.pass();
        app.remove(&job).await.map_err(Error::unavailable("the store"))?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Cancel
///
/// Ends a conversion that is not over. It can be retried or deleted afterwards.
#[utoipa::path(post, path = "/v1/conversions/{id}/cancel", tag = "conversions", params(("id" = String, Path)), responses(
    (status = 200, description = "Cancelled", body = Conversion),
    (status = 404, description = "Not there, or not yours", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It is over", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "What went wrong", body = Problem, content_type = "application/problem+json"),
))]
pub async fn cancel(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Result<Json<Conversion>> {
    let job = owned(&app, &id, &headers).await?;
    if !app.jobs.cancel(&job.id).await.map_err(Error::unavailable("the store"))? {
        return Err(Error::Conflict("the conversion is over"));
    }
    Point::Cancelled.pass();
    tracing::info!(job.id = %job.id, "cancelled by its owner");
    reread(&app, &job.id).await
}

/// Try again
///
/// Queues a conversion that failed or was cancelled once more, with the same video and settings.
/// A new mail tells of its end.
#[utoipa::path(post, path = "/v1/conversions/{id}/retry", tag = "conversions", params(("id" = String, Path)), responses(
    (status = 202, description = "It is under way again", body = Conversion),
    (status = 404, description = "Not there, or not yours, or its video is gone", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It neither failed nor was cancelled, or its video is no longer kept", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "What went wrong", body = Problem, content_type = "application/problem+json"),
))]
pub async fn retry(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<Conversion>)> {
    let job = owned(&app, &id, &headers).await?;
    if !matches!(job.state, jobs::State::Failed | jobs::State::Cancelled) {
        return Err(Error::Conflict("only what failed or was cancelled can be tried again"));
    }
    if job.video_expired {
        return Err(NO_LONGER_KEPT);
    }
    // A cancelled upload has left no whole video.
    let video = app.videos.stat(&job.video_fid).await.map_err(Error::unavailable("the store"))?;
    video.ok_or(Error::NotFound)?;
    if !app.jobs.retry(&job.id).await.map_err(Error::unavailable("the store"))? {
        // It has expired, or was tried again, at this very moment.
        return Err(Error::Conflict("this cannot be tried again"));
    }
    Point::Retried.pass();
    tracing::info!(job.id = %job.id, "tried again by its owner's wish");
    // As after an upload: what cannot be told now the reconciler tells later.
    if let Some(job) = app.jobs.get(&job.id).await.map_err(Error::unavailable("the store"))? {
        app.intake.tell(&job).await;
    }
    Ok((StatusCode::ACCEPTED, reread(&app, &job.id).await?))
}

async fn reread(app: &App, id: &Id) -> Result<Json<Conversion>> {
    let job = app.jobs.get(id).await.map_err(Error::unavailable("the store"))?.ok_or(Error::NotFound)?;
    Ok(Json(represent(app, &job).await?))
}

pub async fn represent(app: &App, job: &Job) -> Result<Conversion> {
    let line = app.feed.line(std::slice::from_ref(job)).await.map_err(Error::unavailable("the store"))?;
    Ok(Conversion::of(job, line.get(&job.id).copied()))
}

/// The conversion with this id, if it belongs to whom the request comes from.
pub async fn owned(app: &App, id: &str, headers: &HeaderMap) -> Result<Job> {
    let user = app.auth.user(headers).await?;
    let id: Id = id.parse().map_err(|_| Error::NotFound)?;
    let job = app.jobs.get(&id).await.map_err(Error::unavailable("the store"))?;
    let visible = |job: &Job| job.owner.to_lowercase() == user.name && job.state != jobs::State::Deleting;
    job.filter(visible).ok_or(Error::NotFound)
}
