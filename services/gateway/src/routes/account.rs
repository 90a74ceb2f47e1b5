//! `/login` and `/register`, which auth answers.

use axum::{body::Bytes, extract::State, http::HeaderMap, response::Response};
use common::Result;

use crate::App;

pub async fn login(State(app): State<App>, headers: HeaderMap) -> Result<Response> {
    app.auth.login(&headers).await
}

pub async fn register(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Response> {
    app.auth.register(&headers, body).await
}
