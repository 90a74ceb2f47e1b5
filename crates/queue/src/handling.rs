//! Running a worker's handler on one message, and what is measured around it: the same for every
//! backend.

use std::{pin::Pin, sync::Arc, time::Instant};

use common::trace::{self, TRACEPARENT};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span, field::Empty};

use crate::{Delivery, PublishError, Verdict, fate::Fate};

/// What [`Queue::work`](crate::Queue::work) was given.
pub(crate) type Handler = Arc<dyn Fn(Delivery) -> Pin<Box<dyn Future<Output = Verdict> + Send>> + Send + Sync>;

/// What the handling of a message is logged and traced under: a part of the trace in which it was
/// published.
pub(crate) fn span(queue: &str, delivery: &Delivery) -> Span {
    let attempt = delivery.attempt;
    let span = tracing::info_span!("message", queue, attempt, trace_id = Empty, otel.kind = Empty, otel.name = Empty);
    let traceparent = delivery.envelope.headers.get(TRACEPARENT);
    trace::join(&span, "consumer", format_args!("process {queue}"), traceparent.map(String::as_str));
    span
}

/// Runs the handler on a task of its own, so that a panic costs one attempt and no worker.
/// Dropping the future aborts the task. `None`: the runtime is going down.
pub(crate) async fn run(handler: &Handler, queue: &str, delivery: Delivery) -> Option<Verdict> {
    let started = Instant::now();
    let handler = handler.clone();
    // The handler itself is called on the task as well: its synchronous part may panic too.
    let task = tokio::spawn(async move { handler(delivery).await }.in_current_span());
    let outcome = AbortOnDropHandle::new(task).await;
    metrics::histogram!("queue_handling_duration_seconds", "queue" => queue.to_owned()).record(started.elapsed());
    match outcome {
        Ok(verdict) => Some(verdict),
        Err(error) if error.is_panic() => {
            // The panic's own message and place went to stderr by the panic hook.
            tracing::error!("the handler of a message panicked");
            Some(Verdict::Retry { reason: "the worker failed".to_owned() })
        }
        Err(_) => None,
    }
}

/// To be called once it is known whether a message was kept.
pub(crate) fn count_published(queue: &str, outcome: &Result<(), PublishError>) {
    let label = match outcome {
        Ok(()) => "ok",
        Err(PublishError::Unavailable(_)) => "unavailable",
        Err(PublishError::TimedOut) => "timeout",
        Err(PublishError::Blocked) => "blocked",
        Err(PublishError::Refused(_)) => "refused",
    };
    metrics::counter!("queue_published_total", "queue" => queue.to_owned(), "outcome" => label).increment(1);
}

/// To be called once the fate of a message is sealed.
pub(crate) fn count(queue: &str, fate: &Fate) {
    metrics::counter!("queue_handled_total", "queue" => queue.to_owned(), "verdict" => fate.name()).increment(1);
}

/// The metrics' help texts, and the values that counters begin at.
pub(crate) fn describe() {
    metrics::describe_counter!("queue_published_total", "Messages given to the queue server, by whether it kept them");
    metrics::describe_counter!("queue_handled_total", "Messages handled, by what became of them");
    metrics::describe_histogram!("queue_handling_duration_seconds", "What a worker took for one message");
    metrics::describe_gauge!("queue_connected", "Whether there is a connection to the queue server, by its role");
}
