//! The process's metrics, for Prometheus. Who measures something calls the `metrics` macros.

use std::{sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

// The recorder is one to a process by its library's design; several services in one process
// share it.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

const MINUTE: f64 = 60.0;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;
const MIB: f64 = (1 << 20) as f64;

/// The upper bounds of the buckets, by how a histogram's name ends. No ending contains another.
const BUCKETS: [(&str, &[f64]); 5] = [
    // What one thing takes: from a fast request to a film of many hours.
    (
        "_duration_seconds",
        &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, MINUTE, 300.0, 1_800.0, 2.0 * HOUR],
    ),
    // What a user waits: a queue may be long, and retries of mails go on for days.
    (
        "_wait_seconds",
        &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, MINUTE, 120.0, 300.0, 600.0, 1_800.0, HOUR, 6.0 * HOUR, DAY],
    ),
    ("_lag_seconds", &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, MINUTE, 300.0, 1_800.0, HOUR, 6.0 * HOUR, DAY, 3.0 * DAY]),
    (
        "_size_bytes",
        &[MIB, 4.0 * MIB, 16.0 * MIB, 64.0 * MIB, 256.0 * MIB, 1_024.0 * MIB, 4_096.0 * MIB, 8_192.0 * MIB],
    ),
    // How many times faster than life.
    ("_speed_ratio", &[0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0]),
];

/// Starts the recorder, unless it is there already.
pub(crate) fn recorder() -> &'static PrometheusHandle {
    RECORDER.get_or_init(|| {
        let builder = BUCKETS.iter().try_fold(PrometheusBuilder::new(), |builder, (ending, bounds)| {
            builder.set_buckets_for_metric(Matcher::Suffix((*ending).to_owned()), bounds)
        });
        let recorder = builder.and_then(PrometheusBuilder::install_recorder);
        recorder.expect("the buckets are not empty and no other recorder is installed")
    })
}

/// The metrics in Prometheus' text format.
pub(crate) fn render() -> String {
    recorder().render()
}

/// Keeps histograms from growing between scrapes. Runs until dropped.
pub(crate) async fn upkeep() {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        recorder().run_upkeep();
    }
}

/// Shows a counter from the start for each value of a label: a rate is right only if it was seen
/// at zero.
pub fn start_at_zero(name: &'static str, label: &'static str, values: &[&'static str]) {
    for value in values {
        metrics::counter!(name, label => *value).increment(0);
    }
}
