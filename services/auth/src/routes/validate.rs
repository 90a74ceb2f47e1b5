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
    counted("auth_validations_total", claims(&app, token).map(Json))
}

/// Goes by signature and expiry alone: uploads go on while the database is down, and an
/// account that was disabled keeps its access until its token expires. A look at the account
/// would belong here.
fn claims(app: &App, token: Token) -> Result<Claims> {
    let TypedHeader(Authorization(bearer)) = token.map_err(|_| Error::MissingCredentials)?;
    if bearer.token().is_empty() {
        return Err(Error::MissingCredentials);
    }
    app.tokens.verify(bearer.token()).ok_or(Error::NotAuthorized)
}
