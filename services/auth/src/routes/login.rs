//! `POST /login`: a password for a token.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, State},
    http::HeaderMap,
};
use axum_extra::{
    TypedHeader,
    headers::{Authorization, authorization::Basic},
    typed_header::TypedHeaderRejection,
};
use common::{Error, Result};

use super::{App, counted};
use crate::{
    password::{LONGEST, Verdict},
    users::canonical,
};

type Credentials = Result<TypedHeader<Authorization<Basic>>, TypedHeaderRejection>;

/// 200 and the token alone.
pub async fn login(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    credentials: Credentials,
) -> Result<String> {
    let client = app.proxies.client(peer.ip(), &headers);
    counted("auth_logins_total", log_in(&app, client, credentials).await)
}

async fn log_in(app: &App, client: Option<IpAddr>, credentials: Credentials) -> Result<String> {
    let TypedHeader(Authorization(given)) = credentials.map_err(|_| Error::MissingCredentials)?;
    if given.password().len() > LONGEST {
        return Err(Error::InvalidCredentials);
    }
    let attempt = app.throttle.begin(&canonical(given.username()), client)?;
    tokio::time::sleep(attempt.pause()).await;
    let user = app.users.find(given.username()).await?;
    let stored = user.as_ref().map(|user| user.password.clone());
    let verdict = app.passwords.check(stored, given.password(), client).await?;
    let (Some(user), Verdict::Right { rewrite }) = (user, verdict) else {
        attempt.wrong();
        return Err(Error::InvalidCredentials);
    };
    attempt.right();
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
