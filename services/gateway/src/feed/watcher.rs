//! One open stream: what of the news its client does not know yet.

use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasher,
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
    /// What the client knows: a hash of how each conversion was last shown.
    pub shown: HashMap<Id, u64>,
    /// Those that move up although nothing happens to them, and each one's last place.
    pub waiting: HashMap<Id, (Arc<Job>, Option<u32>)>,
    /// Taken in; made events of only as the client takes them, for those are large.
    pub untold: VecDeque<(Arc<Job>, Option<u32>)>,
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
            while let Some((job, place)) = self.untold.pop_front() {
                if let Some(event) = self.tell(&job, place) {
                    return Some(event);
                }
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
            self.hear(&news);
        }
    }

    fn hear(&mut self, news: &News) {
        let nobody = Line::default();
        for job in &news.changed {
            if job.owner.to_lowercase() == self.owner {
                self.see(job, news.line.as_deref().unwrap_or(&nobody));
            }
        }
        if let Some(line) = &news.line {
            let moved = self.waiting.values().filter(|(job, place)| line.get(&job.id) != place.as_ref());
            for job in moved.map(|(job, _)| job.clone()).collect::<Vec<_>>() {
                self.see(&job, line);
            }
        }
    }

    /// Takes in where a job stands, to be told if the client does not know.
    pub fn see(&mut self, job: &Arc<Job>, line: &Line) {
        if self.only.as_ref().is_some_and(|only| *only != job.id) {
            return;
        }
        let place = line.get(&job.id).copied();
        if waits(job) {
            self.waiting.insert(job.id.clone(), (job.clone(), place));
        } else {
            self.waiting.remove(&job.id);
        }
        self.over = self.ends_with(job);
        self.untold.push_back((job.clone(), place));
    }

    fn ends_with(&self, job: &Job) -> bool {
        self.only.is_some() && job.state.is_over()
    }

    /// The event that comes of it if the client did not know.
    fn tell(&mut self, job: &Job, place: Option<u32>) -> Option<Event> {
        if job.state == State::Deleting {
            self.shown.remove(&job.id);
            return Event::default().event("removed").json_data(serde_json::json!({"id": job.id})).ok();
        }
        let mut now = Conversion::of(job, place);
        let looks = self.shown.hasher().hash_one(now.looks());
        if self.shown.insert(job.id.clone(), looks) == Some(looks) {
            return None;
        }
        let event = Event::default().event("progress").json_data(&now).ok()?;
        // A browser that comes back with this id need not have come.
        Some(if self.ends_with(job) { event.id(OVER) } else { event })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::feed::tests::job;

    fn watcher() -> Watcher {
        let (_, news) = broadcast::channel(1);
        Watcher {
            news,
            owner: "a@example.com".to_owned(),
            only: None,
            shown: HashMap::new(),
            waiting: HashMap::new(),
            untold: VecDeque::new(),
            over: false,
            until: tokio::time::Instant::now(),
            shutdown: CancellationToken::new(),
            _seat: Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a seat"),
        }
    }

    fn line_up(many: usize) -> (Vec<Arc<Job>>, Line) {
        let waiting = || Job { id: Id::fresh(), state: State::Queued, ..job("a", 10_000, 0) };
        let jobs: Vec<Arc<Job>> = (0..many).map(|_| Arc::new(waiting())).collect();
        let line = jobs.iter().map(|job| job.id.clone()).zip(1..).collect();
        (jobs, line)
    }

    /// Whose events come of it.
    fn told(watcher: &mut Watcher, news: &News) -> Vec<Id> {
        watcher.hear(news);
        let untold = std::mem::take(&mut watcher.untold);
        untold.into_iter().filter_map(|(job, place)| watcher.tell(&job, place).map(|_| job.id.clone())).collect()
    }

    #[test]
    fn who_waits_is_looked_at_again_only_after_a_move() {
        let (jobs, mut line) = line_up(500);
        let mut watcher = watcher();
        let news = News { changed: jobs.clone(), line: Some(Arc::new(line.clone())) };
        assert_eq!(told(&mut watcher, &news).len(), jobs.len());
        watcher.hear(&News { changed: Vec::new(), line: Some(Arc::new(line.clone())) });
        assert!(watcher.untold.is_empty(), "nobody moved");
        line.insert(jobs[7].id.clone(), 501);
        let news = News { changed: Vec::new(), line: Some(Arc::new(line)) };
        assert_eq!(told(&mut watcher, &news), [jobs[7].id.clone()]);
        assert!(told(&mut watcher, &news).is_empty(), "it is known by now");
    }

    #[tokio::test]
    async fn it_ends_in_time_whatever_comes() {
        let (sender, news) = broadcast::channel(8);
        let until = tokio::time::Instant::now() + Duration::from_millis(100);
        let mut watcher = Watcher { news, until, ..watcher() };
        let busy = async {
            for percent in (0..=100).cycle() {
                let job = Arc::new(job("a", 10_000, percent));
                if sender.send(Arc::new(News { changed: vec![job], line: None })).is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let to_its_end = async { while watcher.next().await.is_some() {} };
        let ended = async {
            tokio::select! { () = busy => {}, () = to_its_end => {} }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("it came to an end");
        assert!(tokio::time::Instant::now() >= until);
    }

    #[test]
    fn its_time_alone_is_no_news() {
        let mut watcher = watcher();
        let mut events = |job: &Job| {
            let news = News { changed: vec![Arc::new(job.clone())], line: None };
            told(&mut watcher, &news).len()
        };
        let job = job("a", 10_000, 5);
        assert_eq!(events(&job), 1);
        let later = Job { updated_at: job.updated_at + Duration::from_secs(1), ..job };
        assert_eq!(events(&later), 0);
        assert_eq!(events(&Job { percent: 6, ..later }), 1);
    }

    #[test]
    fn who_waits_is_kept_once_for_all_watchers() {
        let (jobs, line) = line_up(1);
        let (mut one, mut other) = (watcher(), watcher());
        let news = News { changed: jobs.clone(), line: Some(Arc::new(line)) };
        told(&mut one, &news);
        told(&mut other, &news);
        for watcher in [&one, &other] {
            assert!(Arc::ptr_eq(&watcher.waiting[&jobs[0].id].0, &jobs[0]));
        }
    }
}
