//! The service's HTTP surface.

mod login;
mod register;
mod validate;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, header},
    middleware::{Next, from_fn_with_state, map_response},
    response::{IntoResponse, Response},
    routing::post,
};
use common::{
    Error, Result,
    client::Proxies,
    meters::start_at_zero,
    serve::{Readiness, ops},
};

use crate::{Registration, password::Passwords, standing::Standing, throttle::Throttle, token::Tokens, users::Users};

/// Two strings; no honest request comes near it.
const BODY_LIMIT: usize = 16 * 1_024;

/// What the handlers work with.
pub struct App {
    pub users: Users,
    pub passwords: Passwords,
    pub tokens: Tokens,
    pub registration: Registration,
    pub proxies: Proxies,
    pub throttle: Throttle,
    pub standing: Standing,
    pub request_timeout: Duration,
}

pub fn router(app: App) -> Router {
    let app = Arc::new(app);
    let readiness = Readiness::default().with("database", &app, |app| async move { app.users.ping().await });
    Router::new()
        .route("/login", post(login::login))
        .route("/validate", post(validate::validate))
        .route("/register", post(register::register))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(app.clone(), time_limit))
        .layer(map_response(kept_nowhere))
        .with_state(app)
        .merge(ops(readiness))
}

/// Tokens and what they say are in no cache on the way.
async fn kept_nowhere(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn time_limit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    tokio::time::timeout(app.request_timeout, next.run(request))
        .await
        .unwrap_or_else(|late| Error::unavailable("auth")(late).into_response())
}

/// The metrics' help texts, and the values that counters begin at.
pub fn describe() {
    let metrics = [
        ("auth_logins_total", "Log-ins, by how they ended"),
        ("auth_validations_total", "Tokens checked, by the verdict"),
        ("auth_registrations_total", "Accounts asked for, by the answer"),
    ];
    for (name, help) in metrics {
        metrics::describe_counter!(name, help);
        start_at_zero(name, "outcome", &["ok", "refused", "limited", "busy", "unavailable", "error"]);
    }
    metrics::describe_counter!("auth_password_hashes_total", "Hashes computed, each of which keeps a core busy");
    start_at_zero("auth_password_hashes_total", "kind", &["check", "make"]);
}

/// Counts how a request ended, by the metric's name.
fn counted<T>(metric: &'static str, result: Result<T>) -> Result<T> {
    let outcome = match &result {
        Ok(_) => "ok",
        Err(Error::MissingCredentials) => "missing",
        Err(Error::InvalidCredentials | Error::NotAuthorized) => "refused",
        Err(Error::RegistrationClosed) => "closed",
        Err(Error::Taken) => "taken",
        Err(Error::Unprocessable(_) | Error::BadRequest(_)) => "invalid",
        Err(Error::Limited(_)) => "limited",
        Err(Error::Busy(_)) => "busy",
        Err(Error::Unavailable { .. }) => "unavailable",
        Err(_) => "error",
    };
    metrics::counter!(metric, "outcome" => outcome).increment(1);
    result
}
