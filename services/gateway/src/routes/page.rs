//! The page and what it is made of: static, part of the program, nothing from anywhere else.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

/// What the page may do: nothing but to use its own files, and to talk to where it came from.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

struct Asset {
    path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($path:literal $content_type:ident $file:literal)*) => {
        [$(Asset { path: $path, content_type: $content_type, bytes: include_bytes!(concat!("../web/", $file)) }),*]
    };
}

const ASSETS: &[Asset] = &assets! {
    "/" HTML "index.html"
    "/app.css" CSS "app.css"
    "/app.js" JS "app.js"
    "/icon.svg" SVG "icon.svg"
    "/js/api.js" JS "js/api.js"
    "/js/elements.js" JS "js/elements.js"
    "/js/events.js" JS "js/events.js"
    "/js/list.js" JS "js/list.js"
    "/js/login.js" JS "js/login.js"
    "/js/options.js" JS "js/options.js"
    "/js/player.js" JS "js/player.js"
    "/js/row.js" JS "js/row.js"
    "/js/theme.js" JS "js/theme.js"
    "/js/toast.js" JS "js/toast.js"
    "/js/uploads.js" JS "js/uploads.js"
    "/js/waveform.js" JS "js/waveform.js"
    "/js/words.js" JS "js/words.js"
    "/v1/docs" HTML "docs.html"
    "/docs.css" CSS "docs.css"
    "/js/docs.js" JS "js/docs.js"
};

pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        let mut hasher = DefaultHasher::new();
        asset.bytes.hash(&mut hasher);
        let etag = format!("\"{:016x}\"", hasher.finish());
        router.route(asset.path, get(move |headers: HeaderMap| std::future::ready(answer(asset, &etag, &headers))))
    })
}

fn answer(asset: &Asset, etag: &str, headers: &HeaderMap) -> Response {
    let fixed = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::ETAG, etag),
        // Asked for again each time, so that a new version is there at once and in one piece.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    (fixed, asset.bytes).into_response()
}
