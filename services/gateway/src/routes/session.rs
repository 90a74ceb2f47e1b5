//! `/session`: the page's login and logout.

use axum::{
    Extension, Json,
    extract::{FromRequest, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use common::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::{App, client::Client, session::cookie};

#[derive(Deserialize)]
pub struct Credentials {
    email: String,
    password: String,
}

#[derive(Serialize)]
struct Who {
    email: String,
    /// So that a page need not send what would be refused.
    max_upload_bytes: u64,
}

impl Who {
    fn answer(app: &App, email: String) -> Json<Self> {
        Json(Self { email, max_upload_bytes: app.config.max_upload_bytes })
    }
}

pub async fn login(
    State(app): State<App>,
    Extension(Client(client)): Extension<Client>,
    request: Request,
) -> Result<Response> {
    let credentials = Json::<Credentials>::from_request(request, &()).await;
    let Json(Credentials { email, password }) = credentials.map_err(|e| Error::BadRequest(e.body_text()))?;
    // It would end the name in what HTTP's Basic scheme makes of the two.
    if email.contains(':') {
        return Err(Error::InvalidCredentials);
    }
    match app.auth.token(&email, &password, client).await? {
        Ok(token) => {
            let cookie = cookie(Some(&token), app.config.is_https())?;
            let who = Who::answer(&app, email.trim().to_lowercase());
            Ok(([(header::SET_COOKIE, cookie)], who).into_response())
        }
        Err(refusal) => Ok(refusal),
    }
}

/// Who is logged in. Nobody is no error, for a page that only wants to know.
pub async fn who(State(app): State<App>, headers: HeaderMap) -> Result<Response> {
    let user = match app.auth.user(&headers).await {
        Err(Error::MissingCredentials) => return Ok(StatusCode::NO_CONTENT.into_response()),
        user => user?,
    };
    Ok(Who::answer(&app, user.name).into_response())
}

pub async fn logout(State(app): State<App>) -> Result<Response> {
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie(None, app.config.is_https())?)]).into_response())
}
