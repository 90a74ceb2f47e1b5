//! What goes on in the ledger, for everybody who wants to watch: one look at it every half
//! second, however many watch, and none while nobody does.

mod watcher;

use std::{
    borrow::Borrow,
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::response::sse::Event;
use common::{CancellationToken, Error, Id, Result};
use futures_util::Stream;
use jobs::{Job, Jobs, State};
use time::OffsetDateTime;
use tokio::sync::{Mutex, Notify, Semaphore, broadcast};

pub use watcher::OVER;
use watcher::Watcher;

/// Between two looks at the ledger.
const LOOK: Duration = Duration::from_millis(500);
/// Changes may become visible later than their time says, but not later than this.
const OVERLAP: Duration = Duration::from_secs(3);
/// Changes taken in at one look; further ones come with the next.
const MOST_CHANGES: usize = 1_000;
/// How far the line of those that wait is known. Who stands behind has no place yet.
const LINE: usize = 1_000;
/// Looks that a slow watcher may fall behind before it has to begin again.
const BEHIND: usize = 64;
/// After so long a watcher must come back, and show that it still may watch.
const LONGEST: Duration = Duration::from_secs(900);

/// Places in the line of those that wait: 1 is next.
pub type Line = HashMap<Id, u32>;

/// The line, and when it was like that.
type Sighting = (Instant, Arc<Line>);

/// What one look has found.
struct News {
    /// Shared by all who watch them.
    changed: Vec<Arc<Job>>,
    /// None: nobody moved.
    line: Option<Arc<Line>>,
}

/// The watch on the ledger. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    jobs: Jobs,
    news: broadcast::Sender<Arc<News>>,
    line: Arc<Mutex<Option<Sighting>>>,
    watched: Arc<Notify>,
    seats: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Feed {
    /// For `seats` watchers at the most. Their streams end at `shutdown`.
    pub fn new(jobs: Jobs, seats: usize, shutdown: CancellationToken) -> Self {
        let (news, _) = broadcast::channel(BEHIND);
        let seats = Arc::new(Semaphore::new(seats.min(Semaphore::MAX_PERMITS)));
        Self { jobs, news, line: Arc::default(), watched: Arc::default(), seats, shutdown }
    }

    /// Looks until shutdown.
    pub async fn run(self) {
        let mut mark = Mark::default();
        loop {
            if self.news.receiver_count() == 0 {
                mark = Mark::default();
                if self.shutdown.run_until_cancelled(self.watched.notified()).await.is_none() {
                    return;
                }
            }
            match self.look(&mut mark).await {
                // Nobody left to hear it is no fault.
                Ok(news) => drop(self.news.send(Arc::new(news))),
                Err(error) => tracing::warn!(%error, "watchers wait for the ledger"),
            }
            if self.shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
                return;
            }
        }
    }

    /// Tells at once what the next look may not find any more: a job that is `Deleting`.
    pub fn removed(&self, job: Job) {
        let news = News { changed: vec![Arc::new(Job { state: State::Deleting, ..job })], line: None };
        drop(self.news.send(Arc::new(news)));
    }

    async fn look(&self, mark: &mut Mark) -> jobs::Result<News> {
        let changed = match mark.since() {
            Some(since) => mark.fresh(self.jobs.changed(Some(since), MOST_CHANGES).await?),
            None => {
                mark.begin(self.jobs.changed(None, 1).await?);
                Vec::new()
            }
        };
        Ok(News { line: Some(self.line(&changed).await?), changed })
    }

    /// Who stands where in the line; at most as old as a look is, and it knows all of `jobs`.
    pub async fn line(&self, jobs: &[impl Borrow<Job>]) -> jobs::Result<Arc<Line>> {
        let mut known = self.line.lock().await;
        let knows = |line: &Line, job: &Job| !waits(job) || line.contains_key(&job.id);
        if let Some((at, line)) = &*known
            && at.elapsed() < LOOK
            && (line.len() >= LINE || jobs.iter().all(|job| knows(line, job.borrow())))
        {
            return Ok(line.clone());
        }
        let ids = self.jobs.waiting(LINE).await?;
        let line: Arc<Line> = Arc::new(ids.into_iter().zip(1..).collect());
        *known = Some((Instant::now(), line.clone()));
        Ok(line)
    }

    /// The events of one conversion, from where it stands now to its end.
    pub async fn of_one(&self, job: Job) -> Result<impl Stream<Item = Event> + use<>> {
        let (id, owner) = (job.id.clone(), job.owner.clone());
        let mut watcher = self.watcher(owner, Some(id.clone()))?;
        // Read again, for what happened before the watch began.
        let job = self.jobs.get(&id).await.map_err(Error::unavailable("the store"))?.ok_or(Error::NotFound)?;
        let job = Arc::new(job);
        let line = self.line(std::slice::from_ref(&job)).await.map_err(Error::unavailable("the store"))?;
        watcher.see(&job, &line);
        Ok(watcher.events())
    }

    /// The events of all conversions of `owner`, beginning with those of `limit` that are under way.
    pub async fn of_all(&self, owner: &str, limit: usize) -> Result<impl Stream<Item = Event> + use<>> {
        let mut watcher = self.watcher(owner.to_owned(), None)?;
        let page = self.jobs.list(owner, None, limit).await.map_err(Error::unavailable("the store"))?;
        let line = self.line(&page.jobs).await.map_err(Error::unavailable("the store"))?;
        for job in page.jobs.into_iter().rev().filter(|job| !job.state.is_over()) {
            watcher.see(&Arc::new(job), &line);
        }
        Ok(watcher.events())
    }

    fn watcher(&self, owner: String, only: Option<Id>) -> Result<Watcher> {
        let full = |_| Error::Busy("too many streams of events are open");
        let seat = self.seats.clone().try_acquire_owned().map_err(full)?;
        let watcher = Watcher {
            news: self.news.subscribe(),
            owner: owner.to_lowercase(),
            only,
            shown: HashMap::new(),
            waiting: HashMap::new(),
            untold: VecDeque::new(),
            over: false,
            until: tokio::time::Instant::now() + LONGEST,
            shutdown: self.shutdown.clone(),
            _seat: seat,
        };
        self.watched.notify_one();
        Ok(watcher)
    }
}

/// Whether it stands in the line.
pub fn waits(job: &Job) -> bool {
    matches!(job.state, State::Stored | State::Queued)
}

/// Up to where the ledger's changes are known, by its own clock.
#[derive(Default)]
struct Mark {
    at: Option<OffsetDateTime>,
    /// No change before this is asked for again: that many came at once.
    floor: Option<OffsetDateTime>,
    /// What is known of the time that is looked at again.
    known: HashMap<Id, Arc<Job>>,
}

impl Mark {
    fn since(&self) -> Option<OffsetDateTime> {
        let since = self.at? - OVERLAP;
        Some(self.floor.map_or(since, |floor| floor.max(since)))
    }

    fn begin(&mut self, last: Vec<Job>) {
        self.at = Some(last.first().map_or(OffsetDateTime::UNIX_EPOCH + OVERLAP, |job| job.updated_at));
    }

    /// What of `found` was not known yet.
    fn fresh(&mut self, found: Vec<Job>) -> Vec<Arc<Job>> {
        let Some(last) = found.last().map(|job| job.updated_at) else { return Vec::new() };
        self.at = self.at.max(Some(last));
        self.floor = (found.len() >= MOST_CHANGES).then(|| {
            let first = found.first().map(|job| job.updated_at);
            // So many in one and the same millisecond: nothing is gained by asking for them again.
            if first == Some(last) { last + Duration::from_millis(1) } else { last }
        });
        let since = self.since();
        let unknown = |job: &Job| self.known.get(&job.id).is_none_or(|known| **known != *job);
        let fresh: Vec<Arc<Job>> = found.into_iter().filter(unknown).map(Arc::new).collect();
        self.known.retain(|_, job| Some(job.updated_at) >= since);
        self.known.extend(fresh.iter().map(|job| (job.id.clone(), job.clone())));
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn job(id: &str, at: i64, percent: u8) -> Job {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000).expect("a time");
        Job {
            id: id.repeat(24).parse().expect("an id"),
            owner: "a@example.com".to_owned(),
            filename: None,
            state: State::Converting,
            percent,
            video_fid: Id::fresh(),
            video_bytes: None,
            mp3_fid: None,
            mp3_bytes: None,
            duration_s: None,
            reason: None,
            settings: jobs::Settings::default(),
            key: None,
            run: 1,
            attempt: 1,
            attempts_before: 0,
            outputs: Vec::new(),
            told: false,
            mailed: false,
            created_at: at,
            updated_at: at,
            lined_up_at: at,
            leased_at: None,
            ended_at: None,
            video_expired: false,
            traceparent: None,
        }
    }

    #[test]
    fn what_is_looked_at_again_is_told_once() {
        let mut mark = Mark::default();
        assert_eq!(mark.since(), None);
        let last = job("a", 10_000, 1);
        mark.begin(vec![last.clone()]);
        assert_eq!(mark.since(), Some(last.updated_at - OVERLAP));
        let late = job("b", 9_000, 5);
        assert_eq!(mark.fresh(vec![late.clone(), last.clone()]), [late.clone(), last.clone()].map(Arc::new));
        assert!(mark.fresh(vec![late.clone(), last.clone()]).is_empty());
        // Another change in the same millisecond is another change.
        let later = Job { percent: 6, ..late.clone() };
        assert_eq!(mark.fresh(vec![later.clone(), last]), [Arc::new(later)]);
        let much_later = job("a", 60_000, 9);
        assert_eq!(mark.fresh(vec![much_later.clone()]).len(), 1);
        assert_eq!(mark.known.len(), 1, "what is not looked at again is forgotten");
        assert_eq!(mark.since(), Some(much_later.updated_at - OVERLAP));
    }

    #[test]
    fn a_flood_is_taken_in_steps() {
        let mut mark = Mark::default();
        mark.begin(vec![job("a", 10_000, 1)]);
        let flood: Vec<Job> = (0..MOST_CHANGES as i64).map(|i| job("a", 10_000 + i, 1)).collect();
        let last = flood.last().expect("many").updated_at;
        mark.fresh(flood);
        assert_eq!(mark.since(), Some(last), "not from the overlap, where the same would come again");
        mark.fresh(vec![job("b", 11_000, 1); MOST_CHANGES]);
        assert_eq!(mark.since(), Some(job("b", 11_001, 1).updated_at));
        mark.fresh(vec![job("c", 12_000, 1)]);
        assert_eq!(mark.since(), Some(job("c", 12_000, 1).updated_at - OVERLAP));
    }
}
