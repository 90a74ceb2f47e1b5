//! What the gateway answers to.

mod account;
mod conversions;
mod download;
mod events;
mod openapi;
mod page;
mod problem;
mod session;
mod settings;
mod upload;

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, header},
    middleware::{from_fn, map_response},
    response::Response,
    routing::{get, post},
};
use utoipa::OpenApi;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::{App, session::refuse_foreign};

/// No small request is larger.
const SMALL: usize = 16 * 1024;

pub fn router(app: App) -> Router {
    let (v1, api) = v1().split_for_parts();
    let api = Json(api);
    Router::new()
        .route("/login", post(account::login))
        .route("/register", post(account::register))
        .route("/session", get(session::who).post(session::login).delete(session::logout))
        .layer(DefaultBodyLimit::max(SMALL))
        // The upload counts its bytes itself, against a limit of another size.
        .route("/upload", post(upload::upload).layer(DefaultBodyLimit::disable()))
        .route("/download", get(download::download))
        .merge(v1)
        .route("/v1/openapi.json", get(move || std::future::ready(api.clone())))
        .merge(page::router())
        .fallback(async || common::Error::NotFound)
        .layer(from_fn(refuse_foreign))
        .layer(from_fn(problem::answer))
        .layer(map_response(no_guessing))
        .with_state(app)
}

/// The routes of `/v1` and, drawn from the same source, their description.
fn v1() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Api::openapi())
        .routes(routes!(conversions::list, conversions::create).layer(DefaultBodyLimit::disable()))
        .routes(routes!(conversions::one, conversions::delete))
        .routes(routes!(conversions::waveform))
        .routes(routes!(conversions::cancel))
        .routes(routes!(conversions::retry))
        .routes(routes!(events::of_one))
        .routes(routes!(events::of_all))
}

/// What strangers uploaded is what we say it is, whatever it looks like to a browser.
async fn no_guessing(mut response: Response) -> Response {
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
