//! How a process tells of itself: logs here, metrics in [`meters`](crate::meters), traces in
//! [`trace`].

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{Env, meters, trace};

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

/// Starts logging (`LOG_FORMAT`, `LOG_LEVEL`), the metrics recorder and, if they are wanted,
/// traces. A second call does nothing, for subscriber and recorder are
/// one to a process by their libraries' design.
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
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    };
    // What is logged and what is traced are decided apart: a quiet log leaves the traces whole.
    let spans = trace::init(env).map(|tracer| {
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        layer.with_location(false).with_threads(false).with_filter(LevelFilter::INFO)
    });
    let registry = tracing_subscriber::registry().with(spans).with(lines.with_filter(filter));
    // An error means that another service of this process was first.
    if registry.try_init().is_ok() {
        meters::recorder();
    }
}
