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
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, header},
    middleware::{Next, from_fn, from_fn_with_state, map_response},
    response::Response,
    routing::{get, post},
};
use utoipa::OpenApi;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::{App, client::identify, session::refuse_foreign};

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
        .layer(from_fn_with_state(app.clone(), in_time))
        // The upload counts its bytes itself, against a limit of another size.
        .route("/upload", post(upload::upload).layer(DefaultBodyLimit::disable()))
        .route("/download", get(download::download))
        .merge(v1)
        .route("/v1/openapi.json", get(move || std::future::ready(api.clone())))
        .merge(page::router())
        .fallback(async || common::Error::NotFound)
        .layer(from_fn(refuse_foreign))
        .layer(from_fn_with_state(app.clone(), identify))
        .layer(from_fn(problem::answer))
        .layer(map_response(with_care))
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

/// For a small request: a body that trickles in, and auth's answer.
async fn in_time(State(app): State<App>, request: Request, next: Next) -> common::Result<Response> {
    tokio::time::timeout(app.config.timeouts.request, next.run(request)).await.map_err(|_| common::Error::Stalled)
}

/// What strangers uploaded is what we say it is, whatever it looks like to a browser.
/// What is somebody's own stays in no cache, and what is no page of ours can do nothing, unless the
/// answer itself says otherwise.
async fn with_care(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    // A browser shows sound in a page of its own making, which has to be able to play it.
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "audio/mpeg") {
        let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(nothing);
    }
    response
}
