//! What the gateway answers to.

mod account;
mod conversions;
mod download;
mod upload;

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use common::error::Problem;
use serde_json::json;

use crate::App;

/// No small request is larger.
const SMALL: usize = 16 * 1024;

pub fn router(app: App) -> Router {
    let v1 = Router::new()
        .route("/v1/conversions", get(conversions::list))
        .route("/v1/conversions/{id}", get(conversions::one).delete(conversions::delete))
        .layer(map_response(problem_json));
    Router::new()
        .route("/login", post(account::login))
        .route("/register", post(account::register))
        .layer(DefaultBodyLimit::max(SMALL))
        // The upload counts its bytes itself, against a limit of another size.
        .route("/upload", post(upload::upload).layer(DefaultBodyLimit::disable()))
        .route("/download", get(download::download))
        .merge(v1)
        .with_state(app)
}

/// `/v1` speaks of errors as RFC 9457 has it.
async fn problem_json(response: Response) -> Response {
    let Some(Problem { status, detail }) = response.extensions().get::<Problem>().cloned() else {
        return response;
    };
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
    let mut problem = (status, Json(body)).into_response();
    let retry_after = response.headers().get(header::RETRY_AFTER).cloned();
    problem.headers_mut().extend(retry_after.map(|value| (header::RETRY_AFTER, value)));
    problem.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    problem
}
