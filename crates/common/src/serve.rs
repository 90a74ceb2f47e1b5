//! Serving HTTP: time limits, a connection limit, a log line, metrics and a span a request,
//! health, and an end that lets running requests finish.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, MatchedPath, Request},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, Semaphore},
};
use tower::ServiceExt;
use tracing::{Instrument, Span, field::Empty};

use crate::{
    CancellationToken, Env, Id,
    client::{Proxies, network},
    error::RETRY_AFTER,
    messages::JOB_ID,
    meters,
    places::Places,
    trace,
};

/// What a client may take its time for, and how many may do so at once.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For the whole head of a request, and between two requests on one connection.
    pub header_timeout: Duration,
    /// Open connections; further ones wait in the listener's backlog.
    pub connections: usize,
    /// Of them, from one address; further ones are closed at once. 0: any number.
    pub connections_of_address: usize,
    /// Addresses for which that does not hold, since many clients come from each.
    pub proxies: Proxies,
    /// How long running requests may go on after a shutdown was asked for.
    pub drain: Duration,
}

impl Limits {
    /// `HEADER_TIMEOUT`, `MAX_CONNECTIONS`, `DRAIN_TIMEOUT`.
    pub fn from_env(env: &mut Env) -> Self {
        Self {
            header_timeout: env.duration("HEADER_TIMEOUT", Duration::from_secs(30)),
            connections: env.parse("MAX_CONNECTIONS", 4_096),
            connections_of_address: 0,
            proxies: Proxies::default(),
            drain: env.duration("DRAIN_TIMEOUT", Duration::from_secs(600)),
        }
    }
}

/// Asks a dependency whether it can be reached; the error says why not.
type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> + Send + Sync>;

/// No dependency has longer to answer.
const CHECK: Duration = Duration::from_secs(3);
/// For so long an answer holds: anybody may ask, and as often as they like.
const FRESH: Duration = Duration::from_millis(250);

/// When the dependencies were asked, and which of them were missing.
type Verdict = (Instant, Vec<&'static str>);

/// The dependencies of a service by name, for `/readyz`.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Check)>,
    last: Arc<Mutex<Option<Verdict>>>,
}

impl Readiness {
    /// Adds a dependency, and how to ask it.
    #[must_use]
    pub fn with<T, F, Fut>(mut self, name: &'static str, dependency: &T, ask: F) -> Self
    where
        T: Clone + Send + Sync + 'static,
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let dependency = dependency.clone();
        self.checks.push((name, Arc::new(move || Box::pin(ask(dependency.clone())))));
        self
    }

    /// 200 `ready`, or 503 and the names of what is missing.
    async fn answer(self) -> Response {
        let missing = self.missing().await;
        if missing.is_empty() {
            return "ready".into_response();
        }
        let later = [(header::RETRY_AFTER, RETRY_AFTER)];
        (StatusCode::SERVICE_UNAVAILABLE, later, format!("not ready: {}", missing.join(", "))).into_response()
    }

    async fn missing(&self) -> Vec<&'static str> {
        // Who asks meanwhile waits for the same answer.
        let mut last = self.last.lock().await;
        if let Some((at, missing)) = &*last
            && at.elapsed() < FRESH
        {
            return missing.clone();
        }
        // All at once: whoever probes us waits for the slowest one only.
        let checks = self.checks.iter().map(|(name, check)| async move {
            let outcome = tokio::time::timeout(CHECK, check()).await;
            let outcome = outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {CHECK:?}")));
            let error = outcome.err()?;
            tracing::warn!(dependency = name, error = format!("{error:#}"), "not ready");
            Some(*name)
        });
        let missing: Vec<_> = futures_util::future::join_all(checks).await.into_iter().flatten().collect();
        *last = Some((Instant::now(), missing.clone()));
        missing
    }
}

/// `/healthz` (this process answers), `/readyz` (its dependencies do), `/metrics` (for whoever
/// asks directly: a reverse proxy serves the public, whose business figures are not).
pub fn ops(readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(move || readiness.clone().answer()))
        .route("/metrics", get(figures))
}

async fn figures(headers: HeaderMap) -> Response {
    if headers.contains_key("x-forwarded-for") || headers.contains_key(header::FORWARDED) {
        return StatusCode::NOT_FOUND.into_response();
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], meters::render()).into_response()
}

/// So much of a request's head is kept, and so of a connection that never ends one; hyper's own
/// limit is 408 KiB. Neither browsers nor proxies send as much.
const MAX_HEAD: usize = 96 << 10;

/// Serves until `shutdown`, then until the running requests are done or `limits.drain` is over.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    metrics::describe_counter!("http_requests_total", "Requests answered");
    metrics::describe_histogram!("http_request_duration_seconds", "From a request's head to its answer's");
    let router = router.layer(from_fn(observe));
    let permits = Arc::new(Semaphore::new(limits.connections));
    let places = Places::new(limits.connections_of_address);
    let running = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_header_size(MAX_HEAD);

    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, say; the next one may fit again.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let place = places.take(network(peer.ip()));
        if place.is_none() && !limits.proxies.include(peer.ip()) {
            tracing::debug!(%peer, "closed: MAX_CONNECTIONS_PER_ADDRESS are open");
            continue;
        }
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let router = router.clone();
            async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
        });
        let connection = running.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A client that went away in mid-request is its own business.
            if let Err(error) = connection.await {
                tracing::debug!(%error, %peer, "connection ended early");
            }
            drop((permit, place));
        });
    }

    drop(listener);
    tokio::select! {
        () = running.shutdown() => tracing::info!("all requests are finished"),
        () = tokio::time::sleep(limits.drain) => tracing::warn!("requests were still running at the end of DRAIN_TIMEOUT"),
    }
    Ok(())
}

type Accepted = (tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let permit = permits.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}

/// One log line, two metrics and a span for each request; probes and scrapes only at debug level.
async fn observe(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = method(request.method());
    let is_probe = matches!(route.as_str(), "/healthz" | "/readyz" | "/metrics");
    let span =
        if is_probe { tracing::debug_span!("request", method, route) } else { begin_span(&request, method, &route) };
    let started = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let (status, elapsed) = (response.status().as_u16(), started.elapsed());

    metrics::counter!("http_requests_total", "method" => method, "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    metrics::histogram!("http_request_duration_seconds", "method" => method, "route" => route).record(elapsed);
    trace::answered(&span, status);
    let duration_ms = elapsed.as_millis() as u64;
    span.in_scope(|| {
        if is_probe {
            tracing::debug!(status, duration_ms, "answered");
        } else {
            tracing::info!(status, duration_ms, "answered");
        }
    });
    response
}

fn begin_span(request: &Request, method: &'static str, route: &str) -> Span {
    let span = tracing::info_span!(
        "request",
        method,
        route,
        job.id = Empty,
        trace_id = Empty,
        otel.kind = Empty,
        otel.name = Empty
    );
    let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    trace::join(&span, "server", format_args!("{method} {route}"), header(trace::TRACEPARENT));
    // A neighbour that works on a job says so; its log line and ours can then be joined.
    if let Some(job) = header(JOB_ID).and_then(|id| id.parse::<Id>().ok()) {
        span.record("job.id", tracing::field::display(job));
    }
    span
}

/// A method as a label: clients may invent as many as they like.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::{CancellationToken, Duration, Limits, MAX_HEAD, Proxies, Readiness, TcpListener, ops, serve};

    #[tokio::test]
    async fn a_head_has_so_much_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let limits = Limits {
            header_timeout: Duration::from_secs(60),
            connections: 8,
            connections_of_address: 0,
            proxies: Proxies::default(),
            drain: Duration::from_secs(1),
        };
        tokio::spawn(serve(listener, ops(Readiness::default()), limits, CancellationToken::new()));
        let answer = async |head: String| {
            let mut socket = TcpStream::connect(address).await.expect("connected");
            socket.write_all(head.as_bytes()).await.expect("sent");
            let mut answer = Vec::new();
            let read = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut answer)).await;
            read.expect("before it counts as slow").expect("an answer");
            String::from_utf8_lossy(&answer).into_owned()
        };

        let begun = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: ";
        let long = answer(format!("{begun}{}\r\n\r\n", "x".repeat(30 << 10))).await;
        assert!(long.starts_with("HTTP/1.1 200 "), "{long}");
        // Not a byte more, or closing with it unread could take the answer back.
        let endless = answer(format!("{begun}{}", "x".repeat(MAX_HEAD - begun.len()))).await;
        assert!(endless.starts_with("HTTP/1.1 431 "), "{endless}");
    }
}
