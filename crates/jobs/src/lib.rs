//! The ledger: one record for each conversion, moved only by compare-and-set.
//!
//! Messages wake a worker up; the record decides.
//!
//! ```text
//! uploading → stored → queued → converting → done | failed
//!                 ↑ └─────┴──────────┴─────→ cancelled
//!                 └──── retry ──── failed | cancelled
//! ```
//!
//! Every move names the state it expects and says whether it happened. Nobody acts on a move
//! that did not.

mod census;
mod job;
mod mongo;
mod preset;
mod settings;
mod sqlite;
mod tags;

use std::{collections::HashSet, str::FromStr, time::Duration};

use common::{CancellationToken, Id, Secret};
use time::OffsetDateTime;

pub use crate::census::Census;
pub use crate::job::{Job, NewJob, Output, State};
pub use crate::preset::Preset;
pub use crate::settings::{Channels, Settings, Split, Unfit, normalize, sample_rate, seconds, stream};
pub use crate::tags::Tags;

/// What a single request to the ledger's server may take, unless somebody says otherwise.
pub const LIMIT: Duration = Duration::from_secs(10);
/// How often a worker says that it is there.
pub const HERE_EVERY: Duration = Duration::from_secs(60);
/// What a record counts for among the bytes that are kept for its owner: more than the longest takes.
pub const RECORD_BYTES: u64 = 32 << 10;
/// For so long it is known of a record that was removed that it was there.
pub const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);
/// Workers of whom nothing was seen for so long are forgotten.
const GONE: Duration = Duration::from_secs(86_400);
/// Nothing that the reconciler does with a record that it claimed takes longer.
const MENDING: Duration = Duration::from_secs(60);
/// So long after the notification was told, no mail is under way any more: they are tried for
/// three days. One that keeps no ledger never says that it sent one.
pub const MAIL: Duration = Duration::from_secs(4 * 86_400);

/// The ledger. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Jobs {
    backend: Backend,
}

#[derive(Clone, Debug)]
enum Backend {
    Mongo(mongo::Ledger),
    Sqlite(sqlite::Ledger),
}

/// The answer to a worker that asks for a job.
#[derive(Clone, Debug)]
pub enum Lease {
    /// It is yours; `job.attempt` names the lease, and all outputs but the last are remains.
    Taken(Box<Job>),
    /// Somebody else is at work, or the upload is not over: come back later.
    Held,
    /// Done, failed or cancelled.
    Over(Box<Job>),
    /// There is no such record (any more).
    Gone,
}

/// What a worker works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Converter,
    Notification,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Converter => "converter",
            Self::Notification => "notification",
        }
    }
}

/// What the reconciler looks for. In each case the record must have stood still for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// An upload whose gateway died. Claimed, it is `Deleting`.
    Upload,
    /// Safe, but nobody told the broker, and nobody [holds it back](Jobs::hold).
    Stored,
    /// The broker was told, but no worker came.
    Queued,
    /// A worker's lease ran out. Claimed, it is `Stored`: its message may be gone with the worker.
    Lease,
    /// Over, but the notification was not told.
    Untold,
    /// Over, and a notification that [keeps this ledger](Jobs::here) was told, but nothing came of it: the mail
    /// was neither sent nor [given up](Jobs::unmailed). What was told before there was one, or while there was none
    /// for a day, is not looked at.
    Unmailed,
    /// A deletion that was cut off.
    Deleting,
    /// Over, and there may be an MP3 that does not count: one whose worker died, or could not be
    /// stopped, when it was written.
    Untidy,
}

/// What is no longer kept of conversions that have been over for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// The video. Claimed, it is `video_expired`.
    Video,
    /// All of it, once its owner has the mail, or nobody tries to send it any more. Claimed, it is `Deleting`.
    Record,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    pub jobs: Vec<Job>,
    /// Where the next page begins, unless this is the last.
    pub next: Option<Cursor>,
}

/// A place in a list that is newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    created_ms: i64,
    id: Id,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.created_ms, self.id)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        let parts = s.split_once('-').and_then(|(ms, id)| Some((ms.parse().ok()?, id.parse().ok()?)));
        let (created_ms, id) = parts.ok_or_else(|| Error(anyhow::anyhow!("not a cursor")))?;
        Ok(Self { created_ms, id })
    }
}

/// The ledger did not answer, or not as it should.
#[derive(Debug, thiserror::Error)]
#[error("the ledger does not answer: {0:#}")]
pub struct Error(anyhow::Error);

pub type Result<T> = std::result::Result<T, Error>;

/// Sends a call to whatever backend is in use.
macro_rules! backend {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match &$self.backend {
            Backend::Mongo(ledger) => ledger.$method($($argument),*).await,
            Backend::Sqlite(ledger) => ledger.$method($($argument),*).await,
        }
    };
}

impl Jobs {
    /// The ledger at `url`. `mongodb://`, `mongodb+srv://`: collection `jobs` of database
    /// `mp3converter`; connects when first used, and fails only on an unusable URL. No single
    /// request takes longer than `limit`.
    /// `sqlite:/PATH`: that file, made if it is missing; fails when it cannot be.
    pub async fn connect(url: &Secret, limit: Duration) -> anyhow::Result<Self> {
        let scheme = url.expose().split_once(':').map_or("", |(scheme, _)| scheme);
        let backend = match scheme {
            "mongodb" | "mongodb+srv" => Backend::Mongo(mongo::Ledger::connect(url, limit).await?),
            "sqlite" => Backend::Sqlite(sqlite::Ledger::connect(url).await?),
            other => anyhow::bail!("no ledger is known for {other:?} URLs"),
        };
        Ok(Self { backend })
    }

    pub async fn ping(&self) -> Result<()> {
        backend!(self.ping())
    }

    /// Begins a record, `Uploading`. False: the owner has another one under the same key.
    /// Repeated after a lost answer it finds its own record, and that is true.
    pub async fn create(&self, new: NewJob) -> Result<bool> {
        backend!(self.create(new))
    }

    /// The record of a message that came without one, from a gateway that keeps no ledger:
    /// made on arrival, `Queued`, under the video's id. The second time it is found again. `None`:
    /// its owner has deleted it since.
    pub async fn adopt(&self, video_fid: &Id, owner: &str, settings: Settings) -> Result<Option<Job>> {
        if let Some(job) = self.by_video(video_fid).await? {
            return Ok(Some(job));
        }
        if self.removed(std::slice::from_ref(video_fid)).await?.contains(video_fid) {
            return Ok(None);
        }
        let (id, video_fid) = (video_fid.clone(), video_fid.clone());
        let owner = owner.to_owned();
        let new = NewJob { id: id.clone(), owner, filename: None, video_fid, settings, key: None, traceparent: None };
        backend!(self.insert(new, State::Queued))?;
        self.by_video(&id).await
    }

    /// Says that an upload is still going on.
    pub async fn still_uploading(&self, id: &Id) -> Result<bool> {
        backend!(self.still_uploading(id))
    }

    /// An upload that failed: `Uploading` → `Deleting`. Its key is free again.
    pub async fn abandon(&self, id: &Id) -> Result<bool> {
        backend!(self.abandon(id))
    }

    /// The acceptance point: `Uploading` → `Stored`: the record as it is then, or `None` if the upload was given up.
    pub async fn stored(&self, id: &Id, video_bytes: u64) -> Result<Option<Job>> {
        backend!(self.stored(id, video_bytes))
    }

    /// `Stored` → `Queued`. False also when a worker was quicker than we.
    pub async fn queued(&self, id: &Id) -> Result<bool> {
        backend!(self.queued(id))
    }

    /// Asks for the job: `Stored`, `Queued` or an expired lease → `Converting`, for `ttl`.
    /// `output` is the fresh id under which the worker will write.
    pub async fn lease(&self, id: &Id, output: &Id, ttl: Duration) -> Result<Lease> {
        if let Some(job) = backend!(self.take(id, output, ttl))? {
            return Ok(Lease::Taken(Box::new(job)));
        }
        Ok(match self.get(id).await? {
            None => Lease::Gone,
            Some(job) if job.state.is_over() => Lease::Over(Box::new(job)),
            Some(_) => Lease::Held,
        })
    }

    /// Prolongs the lease and notes the progress. False: it is no longer yours, stop. A lease that never was
    /// prolonged does not count among those of the run: its worker may not have heard of it.
    pub async fn renew(&self, id: &Id, attempt: u32, percent: u8, ttl: Duration) -> Result<bool> {
        backend!(self.renew(id, attempt, percent, ttl))
    }

    /// Gives the lease back: `Converting` → `Queued`. It does not count among those of the run.
    pub async fn release(&self, id: &Id, attempt: u32) -> Result<bool> {
        backend!(self.release(id, attempt))
    }

    /// `Converting` → `Done`: the record as it is then. `None`: somebody else's result counts; delete yours.
    pub async fn done(&self, id: &Id, attempt: u32, output: &Output) -> Result<Option<Job>> {
        backend!(self.done(id, attempt, output))
    }

    /// `Converting` → `Failed`: the record as it is then, or `None` if the lease is no longer yours.
    pub async fn failed(&self, id: &Id, attempt: u32, reason: &str) -> Result<Option<Job>> {
        backend!(self.failed(id, attempt, reason))
    }

    /// A result that a worker without a ledger made: anything not over → `Done`.
    pub async fn done_elsewhere(&self, id: &Id, mp3_fid: &Id) -> Result<bool> {
        backend!(self.done_elsewhere(id, mp3_fid))
    }

    /// Notes that the broker has the message for the notification. False: it was noted before,
    /// or the job is in another run by now.
    pub async fn told(&self, id: &Id, run: u32) -> Result<bool> {
        backend!(self.note(id, run, "told_at"))
    }

    /// Notes that a mail server took the mail that tells of this run's end.
    pub async fn mailed(&self, id: &Id, run: u32) -> Result<bool> {
        backend!(self.note(id, run, "mailed_at"))
    }

    /// Notes that the notification was told of this run's end once more, since [no mail came](Stuck::Unmailed) of
    /// the first time. There is no third.
    pub async fn retold(&self, id: &Id, run: u32) -> Result<bool> {
        backend!(self.retold(id, run))
    }

    /// Notes that the mail of this run's end was given up: refused for good, or tried as often as it is to be.
    pub async fn unmailed(&self, id: &Id, run: u32) -> Result<bool> {
        backend!(self.note(id, run, "unmailed_at"))
    }

    /// Anything not over → `Cancelled`.
    pub async fn cancel(&self, id: &Id) -> Result<bool> {
        backend!(self.cancel(id))
    }

    /// `Failed` or `Cancelled`, with its video → `Stored`, in the next run: at the end of the line, with nothing
    /// left of the last run's reason, progress and news, but with its settings, its key and its
    /// outputs (remains that the next worker deletes). `attempt` counts on, so that no worker of
    /// the last run can take itself for one of this.
    pub async fn retry(&self, id: &Id) -> Result<bool> {
        backend!(self.retry(id))
    }

    /// Anything over → `Deleting`: the record as it is then, whose files are to go. Its key is free again.
    pub async fn deleting(&self, id: &Id) -> Result<Option<Job>> {
        backend!(self.deleting(id))
    }

    /// Notes that of `job`'s outputs only the one that counts is left. False: there are others since.
    pub async fn tidied(&self, job: &Job) -> Result<bool> {
        backend!(self.tidied(&job.id, &job.outputs))
    }

    /// Removes a record that is `Deleting`, its files being gone.
    pub async fn remove(&self, id: &Id) -> Result<bool> {
        backend!(self.remove(id))
    }

    pub async fn get(&self, id: &Id) -> Result<Option<Job>> {
        backend!(self.find("_id", id))
    }

    pub async fn by_video(&self, video_fid: &Id) -> Result<Option<Job>> {
        backend!(self.find("video_fid", video_fid))
    }

    pub async fn by_mp3(&self, mp3_fid: &Id) -> Result<Option<Job>> {
        backend!(self.find("mp3_fid", mp3_fid))
    }

    /// Those of these ids whose records were removed, in the last [`REMEMBERED`]. An id that was never seen is not
    /// among them: a ledger that was lost or restored must not cost a file.
    pub async fn removed(&self, ids: &[Id]) -> Result<HashSet<Id>> {
        backend!(self.removed(ids))
    }

    /// The owner's conversion whose upload came with this key.
    pub async fn by_key(&self, owner: &str, key: &str) -> Result<Option<Job>> {
        backend!(self.by_key(owner, key))
    }

    /// The first `limit` of those that wait for a worker (`Stored` or `Queued`), in the order in
    /// which they were accepted or last tried again; behind them those that are held back.
    pub async fn waiting(&self, limit: usize) -> Result<Vec<Id>> {
        backend!(self.waiting(limit))
    }

    /// How many conversions of an owner are `Queued`, and have been for less than `within`.
    pub async fn queued_of(&self, owner: &str, within: Duration) -> Result<u64> {
        backend!(self.queued_of(owner, within))
    }

    /// Holds a `Stored` one back, for others of its owner. False: it is not `Stored`.
    pub async fn hold(&self, id: &Id) -> Result<bool> {
        backend!(self.hold(id))
    }

    /// Who has conversions that are held back.
    pub async fn holding(&self) -> Result<Vec<String>> {
        backend!(self.holding())
    }

    /// The one of an owner's that was held back first: it no longer is. Of several who ask one gets it.
    pub async fn let_go(&self, owner: &str) -> Result<Option<Job>> {
        backend!(self.let_go(owner))
    }

    /// What was changed at `since` or later by the ledger's own clock, of all owners and in any
    /// state, oldest change first, `limit` at the most. Without `since`: only the one that was
    /// changed last, which tells how late it is there.
    pub async fn changed(&self, since: Option<OffsetDateTime>, limit: usize) -> Result<Vec<Job>> {
        backend!(self.changed(since, limit))
    }

    /// Those of all owners that are not over, or over and nobody was told, and that have not
    /// changed for `age`; the one that has stood still longest first, `limit` at the most.
    pub async fn standing(&self, age: Duration, limit: usize) -> Result<Vec<Job>> {
        backend!(self.standing(age, limit))
    }

    /// How many records there are, counted at most once `every` so often, however many ask. `None`
    /// while somebody else makes the first count.
    pub async fn census(&self, every: Duration) -> Result<Option<Census>> {
        backend!(self.census(every))
    }

    /// The owner's conversions, newest first, from `cursor` on, `limit` at the most.
    pub async fn list(&self, owner: &str, cursor: Option<&Cursor>, limit: usize) -> Result<Page> {
        let mut jobs: Vec<Job> = backend!(self.list(owner, cursor, limit + 1))?;
        let more = jobs.len() > limit;
        jobs.truncate(limit);
        let next = jobs.last().filter(|_| more).map(|last| Cursor {
            created_ms: (last.created_at.unix_timestamp_nanos() / 1_000_000) as i64,
            id: last.id.clone(),
        });
        Ok(Page { jobs, next })
    }

    /// Says [every so often](HERE_EVERY), until `shutdown`, that a worker is there who keeps this ledger.
    pub async fn stay(self, role: Role, shutdown: CancellationToken) {
        let me = Id::fresh();
        loop {
            if let Err(error) = self.here(&me, role).await {
                tracing::debug!(%error, "the ledger could not be told of this worker");
            }
            if shutdown.run_until_cancelled(tokio::time::sleep(HERE_EVERY)).await.is_none() {
                return;
            }
        }
    }

    /// A worker that keeps this ledger says that it is there.
    pub async fn here(&self, worker: &Id, role: Role) -> Result<()> {
        backend!(self.here(worker, role.name()))
    }

    /// Whether such a worker said so within the last `age`. Where none did, a message may have
    /// gone to a worker that keeps no ledger, and silence means nothing.
    pub async fn any(&self, role: Role, age: Duration) -> Result<bool> {
        backend!(self.any(role.name(), age))
    }

    /// One record that has been stuck for `age`; claiming it restarts its clock, so that of
    /// several reconcilers one gets it.
    pub async fn claim(&self, stuck: Stuck, age: Duration) -> Result<Option<Job>> {
        backend!(self.claim(stuck, age))
    }

    /// One record that has been over for `age` and of which this is still kept; of several
    /// reconcilers one gets it. Others have `others_time`: whoever claimed the video, to remove it and
    /// [say so](Self::video_removed), before it comes up again; or a notification that was told and has noted no mail,
    /// before the record goes without one.
    pub async fn expire(&self, expired: Expired, age: Duration, others_time: Duration) -> Result<Option<Job>> {
        backend!(self.expire(expired, age, others_time))
    }

    /// Notes that the video of a record that is `video_expired` is gone. False: that was noted before.
    pub async fn video_removed(&self, id: &Id) -> Result<bool> {
        backend!(self.video_removed(id))
    }

    /// Bytes of videos and MP3s that are kept for the owner, and [`RECORD_BYTES`] for each record.
    pub async fn kept_bytes(&self, owner: &str) -> Result<u64> {
        backend!(self.kept_bytes(owner))
    }
}
