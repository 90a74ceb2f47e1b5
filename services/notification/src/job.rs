//! One piece of news: who is told, and whether it was.

use std::time::{Duration, Instant};

use common::{
    CancellationToken, Id, Message,
    fault::{Mutant, Point},
    messages::{JOB_ID, RUN},
    retry::Backoff,
    trace,
};
use jobs::{Job, Jobs, State};
use queue::{Delivery, Verdict};
use time::OffsetDateTime;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::{
    mail::{Error, Mail, Mailer},
    text::Letters,
};

/// What the owner reads when nobody left a reason.
const NO_REASON: &str = "this video could not be converted";

pub struct Worker {
    pub mailer: Mailer,
    pub letters: Letters,
    /// Where there is a ledger; the classic notification has none.
    pub jobs: Option<Jobs>,
    /// At one mail, the first included, before it is given up.
    pub attempts: u32,
    /// What is still to be written into the ledger.
    pub notes: TaskTracker,
    pub shutdown: CancellationToken,
}

impl Worker {
    pub async fn handle(&self, delivery: Delivery) -> Verdict {
        let message = match Message::from_json(&delivery.envelope.body) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%error, "a message that is none of ours was laid aside");
                return Verdict::Dead { reason: format!("not a conversion message: {error}") };
            }
        };
        let told_id = delivery.envelope.headers.get(JOB_ID).and_then(|id| id.parse::<Id>().ok());
        let told_run = delivery.envelope.headers.get(RUN).and_then(|run| run.parse::<u32>().ok());
        let found = self.record(told_id.as_ref(), &message).await;
        if let (Ok(None), Some(id), Some(_)) = (&found, &told_id, &self.jobs) {
            tracing::info!(job.id = %id, "deleted by its owner meanwhile: nothing to tell any more");
            return Verdict::Done;
        }
        // A ledger that is away does not hold the mail up: rather twice than late.
        let job = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "writing without the ledger");
            None
        });
        let id = told_id.or_else(|| job.as_ref().map(|job| job.id.clone())).unwrap_or(message.video_fid.clone());
        let span = tracing::info_span!("mail", job.id = %id, attempt = delivery.attempt, trace_id = trace::id());
        self.deliver(&id, told_run, job, &message, delivery.attempt).instrument(span).await
    }

    /// The ledger's record, if there is one.
    async fn record(&self, id: Option<&Id>, message: &Message) -> jobs::Result<Option<Job>> {
        match (&self.jobs, id) {
            (None, _) => Ok(None),
            (Some(jobs), Some(id)) => jobs.get(id).await,
            (Some(jobs), None) => jobs.by_video(&message.video_fid).await,
        }
    }

    async fn deliver(
        &self,
        id: &Id,
        told_run: Option<u32>,
        job: Option<Job>,
        message: &Message,
        attempt: u32,
    ) -> Verdict {
        if let (Some(jobs), Some(job), Some(mp3_fid)) = (&self.jobs, &job, &message.mp3_fid)
            && !job.state.is_over()
            && let Err(error) = jobs.done_elsewhere(id, mp3_fid).await
        {
            // A worker without a ledger made it; who asks the ledger should learn of it.
            tracing::warn!(%error, "the ledger could not be told of a result made elsewhere");
            return Verdict::Retry { reason: format!("{error:#}") };
        }
        // Its owner has had it tried again since: the news is old, and they know it.
        let outdated = |job: &Job| told_run.is_some_and(|run| run != job.run);
        if job.as_ref().is_some_and(|job| job.mailed || job.state == State::Deleting || outdated(job)) {
            tracing::info!("nothing to tell any more");
            return Verdict::Done;
        }
        let ended_at = job.as_ref().and_then(|job| job.ended_at);
        let run = told_run.or(job.as_ref().map(|job| job.run)).unwrap_or(1);
        let (kind, mail) = self.compose(&name(id, run), job.as_ref(), message);
        Point::MailDue.pass();
        if Mutant::MailedFirst.is_on() {
            self.note(id, run).await;
        }
        let started = Instant::now();
        let sent = self.mailer.send(&mail).await;
        metrics::histogram!("mail_duration_seconds").record(started.elapsed());
        let (outcome, verdict) = match sent {
            Ok(()) => {
                Point::MailSent.pass();
                tracing::info!(kind, duration_ms = started.elapsed().as_millis() as u64, "mail sent");
                if let Some(ended_at) = ended_at {
                    // By two clocks, which may differ a little.
                    let lag = (OffsetDateTime::now_utc() - ended_at).as_seconds_f64().max(0.0);
                    metrics::histogram!("mail_lag_seconds", "kind" => kind).record(lag);
                }
                self.note(id, run).await;
                ("sent", Verdict::Done)
            }
            Err(error @ Error::Transient(_)) => {
                tracing::warn!(kind, %error, "mail not sent yet");
                if attempt >= self.attempts {
                    self.give_up(id, run).await;
                }
                ("delayed", Verdict::Retry { reason: error.to_string() })
            }
            Err(error @ Error::Permanent(_)) => {
                tracing::warn!(kind, %error, "mail refused");
                self.give_up(id, run).await;
                ("refused", Verdict::Dead { reason: error.to_string() })
            }
        };
        metrics::counter!("mails_total", "kind" => kind, "outcome" => outcome).increment(1);
        verdict
    }

    fn compose(&self, name: &str, job: Option<&Job>, message: &Message) -> (&'static str, Mail) {
        let filename = job.and_then(|job| job.filename.as_deref());
        match &message.mp3_fid {
            Some(mp3_fid) => ("done", self.letters.done(name, &message.username, mp3_fid, filename)),
            None => {
                let reason = message.reason.as_deref().or(job.and_then(|job| job.reason.as_deref()));
                ("failed", self.letters.failed(name, &message.username, reason.unwrap_or(NO_REASON), filename))
            }
        }
    }

    /// It is the operator's, and not to be asked for again.
    async fn give_up(&self, id: &Id, run: u32) {
        if let Some(jobs) = &self.jobs
            && let Err(error) = jobs.unmailed(id, run).await
        {
            tracing::warn!(%error, "given up, but the ledger does not know; it may be asked for once more");
        }
        Point::GivenUp.pass();
    }

    async fn note(&self, id: &Id, run: u32) {
        let Some(jobs) = &self.jobs else { return };
        if let Err(error) = jobs.mailed(id, run).await {
            tracing::warn!(%error, "sent, but the ledger does not know; its owner may get the mail twice");
            // The next mail does not wait for it.
            let (jobs, id, shutdown) = (jobs.clone(), id.clone(), self.shutdown.clone());
            self.notes.spawn(async move {
                let mut pause = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
                while shutdown.run_until_cancelled(tokio::time::sleep(pause.delay())).await.is_some() {
                    if jobs.mailed(&id, run).await.is_ok() {
                        return;
                    }
                }
            });
        }
    }
}

/// The metrics' help texts, and the values that counters begin at.
pub fn describe() {
    metrics::describe_counter!("mails_total", "Attempts at a mail, by what it told and how they ended");
    metrics::describe_histogram!("mail_duration_seconds", "What an attempt at a mail took");
    metrics::describe_histogram!("mail_lag_seconds", "From the end of a conversion to its mail");
    for kind in ["done", "failed"] {
        for outcome in ["sent", "delayed", "refused"] {
            metrics::counter!("mails_total", "kind" => kind, "outcome" => outcome).increment(0);
        }
    }
}

/// What the mails of one run are told apart by from all others.
fn name(id: &Id, run: u32) -> String {
    if run > 1 { format!("{id}.{run}") } else { id.to_string() }
}
