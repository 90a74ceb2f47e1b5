//! A collector of traces for tests: takes spans by OTLP over HTTP, and keeps them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
};
use prost::Message;
use tokio::{net::TcpListener, task::AbortHandle};

/// A span as it was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedSpan {
    /// `service.name`.
    pub service: String,
    pub name: String,
    /// As OTLP numbers them: 2 server, 4 producer, 5 consumer.
    pub kind: i32,
    /// In hexadecimal digits, as the other ids.
    pub trace_id: String,
    pub id: String,
    /// Empty for the first span of a trace.
    pub parent_id: String,
}

/// A server on a free port of loopback. It ends when dropped.
#[derive(Debug)]
pub struct OtlpReceiver {
    address: SocketAddr,
    spans: Spans,
    serving: AbortHandle,
}

type Spans = Arc<Mutex<Vec<TracedSpan>>>;

impl OtlpReceiver {
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (address, spans) = (listener.local_addr()?, Spans::default());
        let router = Router::new().route("/v1/traces", post(take)).with_state(spans.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle();
        Ok(Self { address, spans, serving })
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that came so far.
    pub fn spans(&self) -> Vec<TracedSpan> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State(spans): State<Spans>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let mut kept = spans.lock().unwrap_or_else(PoisonError::into_inner);
    for resource in request.resource_spans {
        let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        let service = text(&attributes, "service.name").unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            kept.push(TracedSpan {
                service: service.clone(),
                name: span.name,
                kind: span.kind,
                trace_id: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent_id: hex(&span.parent_span_id),
            });
        }
    }
    StatusCode::OK
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
