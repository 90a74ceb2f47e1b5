//! `POST /validate`: what a token says, if it is good.

use std::sync::Arc;

use axum::{Json, extract::State};
use axum_extra::{
    TypedHeader,
    headers::{Authorization, authorization::Bearer},
    typed_header::TypedHeaderRejection,
};
use common::{Error, Result};

use super::{App, counted};
use crate::token::Claims;

type Token = Result<TypedHeader<Authorization<Bearer>>, TypedHeaderRejection>;

/// 200 and the claims as JSON.
pub async fn validate(State(app): State<Arc<App>>, token: Token) -> Result<Json<Claims>> {
    counted("auth_validations_total", claims(&app, token).await.map(Json))
}

/// Signature and expiry say who it is; whether they may still come in is for the account to say:
/// one that was disabled or removed loses its access with the next request.
async fn claims(app: &App, token: Token) -> Result<Claims> {
    let TypedHeader(Authorization(bearer)) = token.map_err(|_| Error::MissingCredentials)?;
    if bearer.token().is_empty() {
        return Err(Error::MissingCredentials);
    }
    let claims = app.tokens.verify(bearer.token()).ok_or(Error::NotAuthorized)?;
    let enabled = app.standing.of(&claims.username, &app.users).await?.ok_or(Error::NotAuthorized)?;
    Ok(Claims { admin: claims.admin && enabled, ..claims })
}
