//! Distributed traces: spans go out by OTLP, and their context travels to the neighbours as W3C
//! `traceparent`, through HTTP and queues alike.
//!
//! Off unless the standard `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector; then everything here
//! is a look at one static.

use std::{collections::HashMap, fmt::Display, sync::OnceLock, time::Duration};

use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator,
    trace::{Status, TraceContextExt, TracerProvider},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::Env;

/// The header that carries a span's context: <https://www.w3.org/TR/trace-context/>.
pub const TRACEPARENT: &str = "traceparent";

/// The variable that says who we are.
pub(crate) const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

/// What is still to be sent at the end may take so long.
const LAST_FLUSH: Duration = Duration::from_secs(5);

// One to a process, as the log subscriber is that it feeds on.
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Starts the export if the environment asks for it. The libraries read those of the standard
/// variables that are not read here.
pub(crate) fn init(env: &mut Env) -> Option<SdkTracer> {
    let endpoints = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    let is_wanted = endpoints.map(|name| env.optional(name).is_some()).contains(&true);
    if !is_wanted || env.flag("OTEL_SDK_DISABLED", false) {
        return None;
    }
    for protocol in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] {
        if env.optional(protocol).is_some_and(|protocol| protocol != "http/protobuf") {
            env.fault(format!("{protocol}: only http/protobuf is spoken (a collector's port 4318)"));
        }
    }
    let exporter = match SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).build() {
        Ok(exporter) => exporter,
        Err(error) => {
            env.fault(format!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}"));
            return None;
        }
    };
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version).with_service_name(env.string(SERVICE_NAME, "unknown"));
    let resource = resource.build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    Some(PROVIDER.get_or_init(|| provider).tracer("mp3converter"))
}

/// Whether spans are exported.
pub fn is_on() -> bool {
    PROVIDER.get().is_some()
}

/// Makes a span, not yet entered, what a trace's reader should see: `kind` as OpenTelemetry calls
/// it, a name, and the neighbour's span that it belongs to. Its fields `otel.kind`, `otel.name`
/// and `trace_id` must have been declared.
pub fn join(span: &Span, kind: &'static str, name: impl Display, traceparent: Option<&str>) {
    if !is_on() {
        return;
    }
    span.record("otel.kind", kind).record("otel.name", tracing::field::display(name));
    if let Some(traceparent) = traceparent {
        let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
        // What is no traceparent makes a context without a span: then the span begins a trace.
        if parent.has_active_span() {
            let _ = span.set_parent(parent);
        }
    }
    if let Some(id) = id_of(span) {
        span.record("trace_id", id);
    }
}

/// The present span as a `traceparent`, for a neighbour.
pub fn current() -> Option<String> {
    of(&Span::current())
}

/// A span as a `traceparent`.
pub fn of(span: &Span) -> Option<String> {
    if !is_on() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// The present trace's id, as a field for those who read the log.
pub fn id() -> Option<String> {
    id_of(&Span::current())
}

fn id_of(span: &Span) -> Option<String> {
    if !is_on() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| context.trace_id().to_string())
}

/// Notes on a request's span how it was answered.
pub(crate) fn answered(span: &Span, status: u16) {
    if is_on() {
        span.set_attribute("http.response.status_code", i64::from(status));
        if status >= 500 {
            span.set_status(Status::error(""));
        }
    }
}

/// Sends what has not been sent yet. Blocks, for some seconds at the most.
pub(crate) fn shutdown() {
    if let Some(provider) = PROVIDER.get()
        && let Err(error) = provider.shutdown_with_timeout(LAST_FLUSH)
    {
        tracing::warn!(%error, "the last spans were not exported");
    }
}
