//! `POST /register`: a new account.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    body::Bytes,
    extract::{ConnectInfo, State},
    http::{HeaderMap, StatusCode},
};
use common::{Error, Result};
use serde::Deserialize;

use super::{App, counted};
use crate::{Registration, accounts::acceptable};

/// What is left out is empty, and refused for that.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Account {
    email: String,
    password: String,
}

/// 201. The body is read as JSON, whatever its content type says.
pub async fn register(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, &'static str)> {
    let client = app.proxies.client(peer.ip(), &headers);
    counted("auth_registrations_total", create(&app, client, &body).await)?;
    Ok((StatusCode::CREATED, "created"))
}

async fn create(app: &App, client: Option<IpAddr>, body: &[u8]) -> Result<()> {
    if app.registration == Registration::Closed {
        return Err(Error::RegistrationClosed);
    }
    let account: Account = serde_json::from_slice(body)
        .map_err(|_| Error::BadRequest("a JSON object with \"email\" and \"password\" is expected".to_owned()))?;
    let email = acceptable(&account.email, &account.password)?;
    let hash = app.passwords.hash(&account.password, client).await?;
    app.users.insert(email, &hash).await
}
