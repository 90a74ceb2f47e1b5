//! What the converter measures.

use std::time::Duration;

use common::meters::start_at_zero;
use jobs::{Job, Output};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// What kept an attempt from ending in an MP3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    NotMedia,
    NoSound,
    UnknownCodec,
    Damaged,
    TooLong,
    TooLarge,
    /// The owner's wishes cannot be met.
    Settings,
    /// The video is no longer in the store.
    Missing,
    /// It brought the decoder down, or took more than a conversion may; or its workers died each time.
    Deadly,
    /// Reading the video, or writing the MP3.
    Store,
    /// The engine itself.
    Engine,
}

impl Fault {
    const ALL: [(Self, &'static str); 11] = [
        (Self::NotMedia, "not_media"),
        (Self::NoSound, "no_sound"),
        (Self::UnknownCodec, "unknown_codec"),
        (Self::Damaged, "damaged"),
        (Self::TooLong, "too_long"),
        (Self::TooLarge, "too_large"),
        (Self::Settings, "settings"),
        (Self::Missing, "missing"),
        (Self::Deadly, "deadly"),
        (Self::Store, "store"),
        (Self::Engine, "engine"),
    ];

    fn label(self) -> &'static str {
        Self::ALL.iter().find(|(fault, _)| *fault == self).map_or("", |(_, label)| label)
    }
}

impl From<&transcode::Error> for Fault {
    fn from(error: &transcode::Error) -> Self {
        use transcode::Error::*;
        match error {
            NotMedia => Self::NotMedia,
            NoSound => Self::NoSound,
            UnknownCodec { .. } => Self::UnknownCodec,
            Damaged { .. } => Self::Damaged,
            TooLong { .. } => Self::TooLong,
            TooLarge { .. } => Self::TooLarge,
            Unbearable(_) => Self::Deadly,
            Input(_) | Output(_) => Self::Store,
            // What else lies in the film lies in what was wanted of it.
            other if other.is_final() => Self::Settings,
            _ => Self::Engine,
        }
    }
}

/// One attempt failed. `kind`: `final`, the film is at fault; `retry`, it is tried again;
/// `exhausted`, no attempt is left.
pub fn failed(kind: &'static str, fault: Fault) {
    counter!("conversion_failures_total", "kind" => kind, "reason" => fault.label()).increment(1);
}

/// A worker has the job: how long it stood in the line, the first time.
pub fn taken(job: &Job) {
    if let (1, Some(leased_at)) = (job.attempt_of_run(), job.leased_at) {
        histogram!("job_queue_wait_seconds").record((leased_at - job.lined_up_at).as_seconds_f64().max(0.0));
    }
}

/// An MP3 is safe.
pub fn converted(output: &Output, took: Duration) {
    counter!("converted_audio_seconds_total").increment(output.duration.as_secs());
    let speed = output.duration.as_secs_f64() / took.as_secs_f64().max(0.001);
    histogram!("conversion_speed_ratio").record(speed);
}

/// What the children that convert took at most.
pub fn memory(bytes: u64) {
    gauge!("conversion_peak_memory_bytes").set(bytes as f64);
}

/// The job is over: how long its owner waited for it.
pub fn over(job: &Job) {
    if let Some(ended_at) = job.ended_at {
        let waited = (ended_at - job.lined_up_at).as_seconds_f64().max(0.0);
        histogram!("job_wait_seconds", "outcome" => job.state.as_str()).record(waited);
    }
}

/// One conversion that is going on.
pub struct Running(());

impl Running {
    pub fn begin() -> Self {
        gauge!("conversions_running").increment(1.0);
        Self(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        gauge!("conversions_running").decrement(1.0);
    }
}

/// The metrics' help texts, and the values that they begin at.
pub fn describe(slots: usize) {
    describe_counter!("conversions_total", "Attempts at a conversion, by how they ended");
    describe_counter!("conversion_failures_total", "Attempts that failed, by what follows and why");
    describe_histogram!("conversion_duration_seconds", "What an attempt took, by how it ended");
    describe_histogram!("conversion_speed_ratio", "Seconds of sound converted in one second");
    describe_counter!("converted_audio_seconds_total", "Seconds of sound converted");
    describe_histogram!("job_queue_wait_seconds", "From the acceptance to the first lease");
    describe_histogram!("job_wait_seconds", "From the acceptance to the end, by the end");
    describe_gauge!("conversions_running", "Conversions that go on just now");
    describe_gauge!("conversion_slots", "Conversions that may go on at once");
    describe_gauge!("conversion_peak_memory_bytes", "The most memory of a child that converted");
    gauge!("conversion_slots").set(slots as f64);
    memory(0);
    gauge!("conversions_running").set(0.0);
    start_at_zero("conversions_total", "outcome", &["done", "failed", "retry", "lost", "given_back"]);
    counter!("converted_audio_seconds_total").increment(0);
    for (fault, label) in Fault::ALL {
        let kinds: &[_] =
            if matches!(fault, Fault::Store | Fault::Engine) { &["retry", "exhausted"] } else { &["final"] };
        for kind in kinds {
            counter!("conversion_failures_total", "kind" => *kind, "reason" => label).increment(0);
        }
    }
}
