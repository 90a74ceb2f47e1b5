//! `/login` and `/register`, which auth answers.

use axum::{Extension, body::Bytes, extract::State, http::HeaderMap, response::Response};
use common::Result;

use crate::{App, client::Client};

pub async fn login(
    State(app): State<App>,
    Extension(Client(client)): Extension<Client>,
    headers: HeaderMap,
) -> Result<Response> {
    app.auth.login(&headers, client).await
}

pub async fn register(
    State(app): State<App>,
    Extension(Client(client)): Extension<Client>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response> {
    app.auth.register(&headers, body, client).await
}
