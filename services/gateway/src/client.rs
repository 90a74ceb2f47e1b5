//! Who is at the other end of a connection.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::Response,
};
use common::Result;

use crate::App;

/// The client's address, or that of the proxy where nothing better is known.
#[derive(Clone, Copy, Debug)]
pub struct Client(pub IpAddr);

/// Finds the client's address out for those who count by it, the first of which is here.
pub async fn identify(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Result<Response> {
    let proxies = &app.config.proxies;
    if !proxies.include(peer.ip()) && request.headers().contains_key("x-forwarded-for") {
        app.stranger.call_once(|| {
            tracing::warn!(
                "requests come through a proxy that TRUSTED_PROXIES does not name: limits take its clients for one"
            );
        });
    }
    let client = proxies.client(peer.ip(), request.headers()).unwrap_or_else(|| peer.ip().to_canonical());
    app.allowance.request_from(client)?;
    request.extensions_mut().insert(Client(client));
    Ok(next.run(request).await)
}
