//! The resident sets of services over time.

use std::time::{Duration, Instant};

use e2e::Service;
use tokio::{sync::oneshot, task::JoinHandle};

use super::figures::median;

const EVERY: Duration = Duration::from_secs(1);

/// Looks at them each second.
pub struct Watch {
    stop: oneshot::Sender<()>,
    running: JoinHandle<Memory>,
}

/// What was seen of each.
pub struct Memory(pub Vec<Seen>);

pub struct Seen {
    pub name: String,
    samples: Vec<(Instant, f64)>,
}

/// Medians of the first and of the last third of a time, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    pub first: f64,
    pub last: f64,
}

impl Watch {
    pub fn start<'a>(services: impl Iterator<Item = &'a Service>) -> Self {
        let named: Vec<_> =
            services.map(|service| (format!("{} {}", service.name(), service.id()), service.id())).collect();
        let (stop, mut stopped) = oneshot::channel();
        let running = tokio::spawn(async move {
            let mut seen: Vec<_> =
                named.iter().map(|(name, _)| Seen { name: name.clone(), samples: Vec::new() }).collect();
            while stopped.try_recv().is_err() {
                for (seen, (_, id)) in seen.iter_mut().zip(&named) {
                    seen.samples.push((Instant::now(), e2e::memory(*id, "VmRSS") as f64));
                }
                tokio::time::sleep(EVERY).await;
            }
            Memory(seen)
        });
        Self { stop, running }
    }

    pub async fn stop(self) -> Memory {
        let _ = self.stop.send(());
        self.running.await.expect("each service is still there")
    }
}

impl Memory {
    /// Of each service between two points in time.
    pub fn growth(&self, from: Instant, to: Instant) -> impl Iterator<Item = (&str, Growth)> {
        let third = (to - from) / 3;
        self.0.iter().map(move |seen| {
            let growth = Growth { first: seen.median(from, from + third), last: seen.median(to - third, to) };
            (seen.name.as_str(), growth)
        })
    }
}

impl Seen {
    fn median(&self, from: Instant, to: Instant) -> f64 {
        let within = self.samples.iter().filter(|(at, _)| (from..to).contains(at));
        median(&within.map(|(_, bytes)| *bytes).collect::<Vec<_>>())
    }

    pub fn most(&self) -> f64 {
        self.samples.iter().map(|(_, bytes)| *bytes).fold(0.0, f64::max)
    }
}
