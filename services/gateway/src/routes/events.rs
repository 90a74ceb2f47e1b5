//! Server-sent events: a conversion's progress, or that of all of a user's conversions.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use common::{Result, places::Place};
use futures_util::{Stream, StreamExt};

use crate::{
    App,
    feed::OVER,
    routes::{conversions, openapi::Problem},
};

/// A stream that is silent for so long says that it is still there, to proxies too.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Watch one conversion
///
/// Server-sent events. `progress` comes at once and then on every change; its data is the
/// conversion as JSON. `removed` comes, as a rule, when it is deleted; its data is `{"id"}`. The stream ends
/// after the last event, or after a quarter of an hour: then ask again.
#[utoipa::path(get, path = "/v1/conversions/{id}/events", tag = "events", params(("id" = String, Path)), responses(
    (status = 200, description = "A stream of events", body = String, content_type = "text/event-stream"),
    (status = 204, description = "You have seen the last event (`Last-Event-ID: over`)"),
    (status = 404, description = "Not there, or not yours", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "Too many of your streams are open", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Too many streams are open", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "What went wrong", body = Problem, content_type = "application/problem+json"),
))]
pub async fn of_one(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response> {
    let job = conversions::owned(&app, &id, &headers).await?;
    let seen_it_all = headers.get("last-event-id").is_some_and(|id| id == OVER);
    if seen_it_all && job.state.is_over() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let place = app.allowance.stream(&job.owner.to_lowercase())?;
    Ok(stream(app.feed.of_one(job).await?, place))
}

/// Watch all your conversions
///
/// Server-sent events, as of one conversion, for all of yours: first one for each that is under
/// way, then on every change, the new ones included. It does not end by itself, but after a
/// quarter of an hour: then ask again, and for the list too.
#[utoipa::path(get, path = "/v1/events", tag = "events", responses(
    (status = 200, description = "A stream of events", body = String, content_type = "text/event-stream"),
    (status = 429, description = "Too many of your streams are open", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Too many streams are open", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "What went wrong", body = Problem, content_type = "application/problem+json"),
))]
pub async fn of_all(State(app): State<App>, headers: HeaderMap) -> Result<Response> {
    let user = app.auth.user(&headers).await?;
    let place = app.allowance.stream(&user.name)?;
    Ok(stream(app.feed.of_all(&user.name, conversions::PAGE).await?, place))
}

fn stream(events: impl Stream<Item = Event> + Send + 'static, place: Place<String>) -> Response {
    let events = events.map(move |event| {
        let _held = &place;
        Ok::<_, Infallible>(event)
    });
    let alive = KeepAlive::new().interval(SIGN_OF_LIFE).text("still here");
    // Proxies that collect answers before they pass them on would hold events back.
    ([("x-accel-buffering", "no")], Sse::new(events).keep_alive(alive)).into_response()
}
