//! Running a worker's handler on one message: the same for every backend.

use std::{pin::Pin, sync::Arc, time::Instant};

use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::{Delivery, Verdict, fate::Fate};

/// What [`Queue::work`](crate::Queue::work) was given.
pub(crate) type Handler = Arc<dyn Fn(Delivery) -> Pin<Box<dyn Future<Output = Verdict> + Send>> + Send + Sync>;

/// Runs the handler on a task of its own, so that a panic costs one attempt and no worker.
/// Dropping the future aborts the task. `None`: the runtime is going down.
pub(crate) async fn run(handler: &Handler, queue: &str, delivery: Delivery) -> Option<Verdict> {
    let started = Instant::now();
    let handler = handler.clone();
    // The handler itself is called on the task as well: its synchronous part may panic too.
    let task = tokio::spawn(async move { handler(delivery).await }.in_current_span());
    let outcome = AbortOnDropHandle::new(task).await;
    metrics::histogram!("queue_handling_seconds", "queue" => queue.to_owned()).record(started.elapsed());
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

/// To be called once the fate of a message is sealed.
pub(crate) fn count(queue: &str, fate: &Fate) {
    metrics::counter!("queue_handled_total", "queue" => queue.to_owned(), "verdict" => fate.name()).increment(1);
}
