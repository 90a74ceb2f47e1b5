//! `POST /login`: a password for a token.

use std::sync::Arc;

use axum::extract::State;
use axum_extra::{
    TypedHeader,
    headers::{Authorization, authorization::Basic},
    typed_header::TypedHeaderRejection,
};
use common::{Error, Result};

use super::{App, counted};
use crate::password::{LONGEST, Verdict};

type Credentials = Result<TypedHeader<Authorization<Basic>>, TypedHeaderRejection>;

/// 200 and the token alone.
pub async fn login(State(app): State<Arc<App>>, credentials: Credentials) -> Result<String> {
    counted("auth_logins_total", log_in(&app, credentials).await)
}

async fn log_in(app: &App, credentials: Credentials) -> Result<String> {
    let TypedHeader(Authorization(given)) = credentials.map_err(|_| Error::MissingCredentials)?;
    if given.password().len() > LONGEST {
        return Err(Error::InvalidCredentials);
    }
    let user = app.users.find(given.username()).await?;
    let stored = user.as_ref().map(|user| user.password.clone());
    let verdict = app.passwords.check(stored, given.password()).await?;
    let (Some(user), Verdict::Right { rewrite }) = (user, verdict) else {
        return Err(Error::InvalidCredentials);
    };
    if let Some(hash) = rewrite {
        match app.users.replace_password(&user, &hash).await {
            Ok(true) => tracing::info!("a stored password was rewritten as a current hash"),
            Ok(false) => tracing::debug!("a stored password changed meanwhile and was left alone"),
            // It will be tried again at the next log-in; this one is none the worse for it.
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "a stored password could not be rewritten as a hash");
            }
        }
    }
    Ok(app.tokens.issue(&user.email, user.enabled)?)
}
