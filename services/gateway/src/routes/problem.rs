//! Errors of `/v1` as RFC 9457 has them.

use axum::{
    Json,
    body::to_bytes,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use common::error;

use crate::routes::openapi::Problem;

/// No error in plain text is longer.
const LONGEST: usize = 4_096;

/// Gives every error below `/v1` the form of a problem: ours, and what axum itself answers to an
/// unknown path, a wrong method or a query that it cannot read.
pub async fn answer(request: Request, next: Next) -> Response {
    let below_v1 = request.uri().path().starts_with("/v1/");
    let response = next.run(request).await;
    if !below_v1 || !(response.status().is_client_error() || response.status().is_server_error()) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let status = parts.status;
    let detail = match parts.extensions.get::<error::Problem>() {
        Some(problem) => problem.detail.clone(),
        None => plain(status, to_bytes(body, LONGEST).await.unwrap_or_default().to_vec()),
    };
    let title = status.canonical_reason().unwrap_or("Error").to_owned();
    let mut problem =
        (status, Json(Problem { r#type: "about:blank", title, status: status.as_u16(), detail })).into_response();
    for name in [header::RETRY_AFTER, header::ALLOW, error::RATELIMIT, error::RATELIMIT_POLICY] {
        problem.headers_mut().extend(parts.headers.get(&name).map(|value| (name, value.clone())));
    }
    problem.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    problem
}

fn plain(status: StatusCode, body: Vec<u8>) -> String {
    let text = String::from_utf8(body).ok().filter(|text| !text.is_empty());
    text.unwrap_or_else(|| match status {
        StatusCode::NOT_FOUND => "there is nothing under this path".to_owned(),
        StatusCode::METHOD_NOT_ALLOWED => "this method means nothing here".to_owned(),
        _ => status.canonical_reason().unwrap_or("error").to_lowercase(),
    })
}
