//! `admin`: what an operator does by hand, on the servers that the environment names.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use common::{Env, Id, Message, env::parse_duration, messages::JOB_ID, start::install_crypto};
use jobs::{Job, Jobs, State};
use queue::{Delivery, Letter, Queue};

use crate::home::Home;

/// Lines of a list; who has more stuck than that has no use for more lines.
const MOST: usize = 1_000;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists the messages that were laid aside as dead, with the conversions' ids
    Dead,
    /// Puts dead letters back to work; conversions that failed with them begin anew
    Replay(Chosen),
    /// Throws dead letters away
    Discard(Chosen),
    /// Lists the conversions that are not over and have not moved for a while
    Jobs {
        /// A number with s, m, h or d
        #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
        older_than: Duration,
    },
    /// Has one conversion go on: publishes its message again, after a failure for a new run
    Requeue { id: Id },
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Chosen {
    /// Of conversions, as `dead` lists them
    #[arg(value_name = "ID")]
    ids: Vec<Id>,
    /// All there are, those that name no conversion included
    #[arg(long)]
    all: bool,
}

impl Chosen {
    fn include(&self, id: Option<&Id>) -> bool {
        self.all || id.is_some_and(|id| self.ids.contains(id))
    }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("a number with s, m, h or d is expected")
}

/// `home` fills in for what the environment leaves open, where there is one.
pub fn admin(home: anyhow::Result<Home>, command: &Command) -> anyhow::Result<ExitCode> {
    install_crypto();
    let mut env = Env::from_process();
    if let Ok(home) = home {
        home.fill(&mut env)?;
    }
    // In the same words in which the services read them.
    let config = gateway::Config::from_env(&mut env);
    let config = env.finish(config)?;
    crate::runtime()?.block_on(async {
        let timeouts = config.timeouts;
        let options =
            queue::Options { name: "admin".to_owned(), confirm_timeout: timeouts.queue, ..Default::default() };
        let queue = Queue::connect(&config.queue, options).await?;
        let jobs = Jobs::connect(&config.ledger, timeouts.ledger).await?;
        let desk = Desk { jobs, queue, video: config.video_queue, mp3: config.mp3_queue };
        let outcome = desk.handle(command).await;
        desk.queue.close().await;
        outcome
    })?;
    Ok(ExitCode::SUCCESS)
}

struct Desk {
    jobs: Jobs,
    queue: Queue,
    /// The queues' names.
    video: String,
    mp3: String,
}

impl Desk {
    async fn handle(&self, command: &Command) -> anyhow::Result<()> {
        match command {
            Command::Dead => self.list_dead().await,
            Command::Replay(chosen) => self.sift(chosen, "replayed", Desk::replay).await,
            Command::Discard(chosen) => self.sift(chosen, "discarded", async |_, _, _| Ok(())).await,
            Command::Jobs { older_than } => self.list_standing(*older_than).await,
            Command::Requeue { id } => self.requeue(id).await,
        }
    }

    async fn list_dead(&self) -> anyhow::Result<()> {
        for name in [&self.video, &self.mp3] {
            let show = async |letter: Delivery| {
                println!("{}", line(name, &letter));
                Ok(Letter::Keep)
            };
            self.queue.sift(name, show).await?;
        }
        Ok(())
    }

    /// Treats the chosen dead letters, and removes each one when that went well.
    async fn sift(
        &self,
        chosen: &Chosen,
        done: &str,
        treat: impl AsyncFn(&Self, &str, &Delivery) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut count = 0;
        for name in [&self.video, &self.mp3] {
            let judge = async |letter: Delivery| {
                if !chosen.include(conversion(&letter).as_ref()) {
                    return Ok(Letter::Keep);
                }
                treat(self, name, &letter).await.with_context(|| line(name, &letter))?;
                println!("{done}  {}", line(name, &letter));
                count += 1;
                Ok(Letter::Remove)
            };
            self.queue.sift(name, judge).await?;
        }
        ensure!(count > 0 || chosen.all, "there is no such dead letter");
        Ok(())
    }

    /// A conversion that has failed by now gets another run; any other message is for its
    /// receiver to judge anew.
    async fn replay(&self, name: &str, letter: &Delivery) -> anyhow::Result<()> {
        let job = match conversion(letter) {
            Some(id) => self.find(&id).await?,
            None => None,
        };
        match job {
            Some(job) if name == self.video && job.state == State::Failed => self.run_again(&job).await,
            _ => Ok(self.queue.publish(name, &letter.envelope).await?),
        }
    }

    async fn requeue(&self, id: &Id) -> anyhow::Result<()> {
        let job = self.find(id).await?.with_context(|| format!("there is no conversion {id}"))?;
        match job.state {
            State::Failed => self.run_again(&job).await?,
            // A worker who holds it goes on; the ledger lets nobody else in.
            State::Stored | State::Queued | State::Converting => self.tell_worker(&job).await?,
            State::Done if !job.mailed => {
                self.queue.publish(&self.mp3, &job.envelope()).await?;
                self.jobs.told(&job.id, job.run).await?;
            }
            State::Done => bail!("it is done, and its owner knows"),
            State::Cancelled => bail!("its owner cancelled it"),
            State::Uploading => bail!("it is still being uploaded"),
            State::Deleting => bail!("it is being deleted"),
        }
        println!("queued  {}", job.id);
        Ok(())
    }

    async fn run_again(&self, job: &Job) -> anyhow::Result<()> {
        ensure!(!job.video_expired, "its video is no longer kept");
        if self.jobs.retry(&job.id).await?
            && let Some(job) = self.jobs.get(&job.id).await?
        {
            self.tell_worker(&job).await?;
        }
        // Else somebody was quicker.
        Ok(())
    }

    async fn tell_worker(&self, job: &Job) -> anyhow::Result<()> {
        self.queue.publish(&self.video, &job.envelope()).await?;
        self.jobs.queued(&job.id).await?;
        Ok(())
    }

    async fn list_standing(&self, older_than: Duration) -> anyhow::Result<()> {
        for job in self.jobs.standing(older_than, MOST).await? {
            let (id, state) = (&job.id, job.state.as_str());
            println!("{id}  {state:<10}  since {}  attempts {}", job.updated_at, job.attempt);
        }
        Ok(())
    }

    /// By its own id, or by its video's, which is all that a Python service knows.
    async fn find(&self, id: &Id) -> anyhow::Result<Option<Job>> {
        match self.jobs.get(id).await? {
            Some(job) => Ok(Some(job)),
            None => Ok(self.jobs.by_video(id).await?),
        }
    }
}

/// Which conversion a message is about, if it is one of ours.
fn conversion(letter: &Delivery) -> Option<Id> {
    let message = Message::from_json(&letter.envelope.body).ok()?;
    let told = letter.envelope.headers.get(JOB_ID).and_then(|id| id.parse().ok());
    Some(told.unwrap_or(message.video_fid))
}

fn line(queue: &str, letter: &Delivery) -> String {
    let id = conversion(letter).map_or_else(|| format!("{:24}", "-"), |id| id.to_string());
    let reason = letter.reason.as_deref().unwrap_or("its workers died");
    format!("{queue:<5}  {id}  attempt {:<2}  {reason}", letter.attempt)
}
