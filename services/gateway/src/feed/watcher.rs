//! One open stream: what of the news its client does not know yet.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use axum::response::sse::Event;
use common::{CancellationToken, Id};
use futures_util::{Stream, stream};
use jobs::{Job, State};
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use super::{Line, News, waits};
use crate::conversion::Conversion;

/// The id of a stream's last event.
pub const OVER: &str = "over";

/// One open stream.
pub struct Watcher {
    pub news: broadcast::Receiver<Arc<News>>,
    pub owner: String,
    pub only: Option<Id>,
    /// What the client knows.
    pub shown: HashMap<Id, Conversion>,
    /// Those that move up although nothing happens to them.
    pub waiting: HashMap<Id, Job>,
    pub events: VecDeque<Event>,
    pub over: bool,
    pub until: tokio::time::Instant,
    pub shutdown: CancellationToken,
    pub _seat: OwnedSemaphorePermit,
}

impl Watcher {
    pub fn events(self) -> impl Stream<Item = Event> {
        stream::unfold(self, async |mut watcher| Some((watcher.next().await?, watcher)))
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            let news = tokio::select! {
                () = self.shutdown.cancelled() => return None,
                () = tokio::time::sleep_until(self.until) => return None,
                news = self.news.recv() => news,
            };
            // Too far behind: it has to come back and begin with where things stand then.
            let news = news.ok()?;
            let nobody = Line::default();
            for job in &news.changed {
                if job.owner.to_lowercase() == self.owner {
                    self.see(job, news.line.as_deref().unwrap_or(&nobody));
                }
            }
            if let Some(line) = &news.line {
                for job in self.waiting.values().cloned().collect::<Vec<_>>() {
                    self.see(&job, line);
                }
            }
        }
    }

    /// Takes in where a job stands; an event comes of it if the client did not know.
    pub fn see(&mut self, job: &Job, line: &Line) {
        if self.only.as_ref().is_some_and(|only| *only != job.id) {
            return;
        }
        if waits(job) {
            self.waiting.insert(job.id.clone(), job.clone());
        } else {
            self.waiting.remove(&job.id);
        }
        self.over = self.only.is_some() && job.state.is_over();
        if job.state == State::Deleting {
            self.shown.remove(&job.id);
            self.events.extend(Event::default().event("removed").json_data(serde_json::json!({"id": job.id})));
            return;
        }
        let now = Conversion::of(job, line);
        if self.shown.get(&job.id).is_some_and(|shown| shown.looks_like(&now)) {
            return;
        }
        let event = Event::default().event("progress").json_data(&now);
        // A browser that comes back with this id need not have come.
        self.events.extend(if self.over { event.map(|event| event.id(OVER)) } else { event });
        self.shown.insert(job.id.clone(), now);
    }
}
