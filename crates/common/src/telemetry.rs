//! Logs and metrics of a process.

use std::{io::IsTerminal, sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::Env;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("text or json is expected"),
        }
    }
}

// Both the log subscriber and the metrics recorder are one to a process by their libraries'
// design; several services in one process share them.
static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Upper bounds of the duration histograms' buckets, in seconds: from a fast request to a long film.
const SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0];

/// Starts logging (`LOG_FORMAT`, `LOG_LEVEL`) and the metrics recorder. A second call does nothing.
pub fn init(env: &mut Env) {
    let format = env.parse("LOG_FORMAT", LogFormat::default());
    let level = env.string("LOG_LEVEL", "info");
    let filter = EnvFilter::try_new(&level).unwrap_or_else(|e| {
        env.fault(format!("LOG_LEVEL: {e}"));
        EnvFilter::new("info")
    });
    // The drivers speak of every reconnection themselves; ours are the words to read. lapin
    // would even print the bodies of returned messages.
    let quiet = "lapin=off,lettre=warn,sqlx=warn".split(',').filter_map(|d| d.parse().ok());
    let filter = quiet.fold(filter, EnvFilter::add_directive);

    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Text => registry
            .with(
                fmt::layer().with_target(false).with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr),
            )
            .try_init(),
        LogFormat::Json => registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(true)
                    .with_span_list(false)
                    .with_writer(std::io::stderr),
            )
            .try_init(),
    };
    if started.is_err() {
        return; // another service of this process was first
    }
    metrics_handle();
}

fn metrics_handle() -> &'static PrometheusHandle {
    METRICS.get_or_init(|| {
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
            .and_then(|builder| builder.install_recorder())
            .expect("the buckets are not empty and no other recorder is installed")
    })
}

/// The metrics in Prometheus' text format.
pub fn render_metrics() -> String {
    metrics_handle().render()
}

/// Keeps histograms from growing between scrapes. Runs until dropped.
pub async fn upkeep() {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        metrics_handle().run_upkeep();
    }
}
