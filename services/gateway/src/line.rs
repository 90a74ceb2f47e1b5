//! The line at the broker is first come, first served. So that one user with many films does not
//! keep all others waiting, only some of each user's stand in it; the rest wait in the ledger
//! until there is room.

use std::time::Duration;

use common::{CancellationToken, fault::Point};
use jobs::{Job, Jobs, Role};

use crate::intake::Intake;

/// How soon somebody's next film follows one that was taken.
const EVERY: Duration = Duration::from_secs(1);

/// Who may stand in the line.
#[derive(Clone, Debug)]
pub struct Line {
    jobs: Jobs,
    /// Of one user's; 0: any number.
    most: u64,
    /// What has stood there for longer does not count: a worker that keeps no ledger may have had it.
    within: Duration,
}

impl Line {
    pub fn new(jobs: Jobs, most: u64, within: Duration) -> Self {
        Self { jobs, most, within }
    }

    async fn has_room_for(&self, owner: &str) -> jobs::Result<bool> {
        Ok(self.most == 0
            || self.jobs.queued_of(owner, self.within).await? < self.most
            // Without workers that keep the ledger nobody would say when there is room again.
            || !self.jobs.any(Role::Converter, self.within).await?)
    }

    /// Whether a conversion has to wait for others of its owner.
    pub async fn holds_back(&self, job: &Job) -> bool {
        let held = async { Ok(!self.has_room_for(&job.owner).await? && self.jobs.hold(&job.id).await?) }.await;
        held.unwrap_or_else(|error: jobs::Error| {
            tracing::debug!(job.id = %job.id, %error, "the length of the line is not known");
            false
        })
    }

    /// Lets those go for whom there is room.
    async fn advance(&self, intake: &Intake) -> jobs::Result<()> {
        for owner in self.jobs.holding().await? {
            while self.has_room_for(&owner).await? {
                let Some(job) = self.jobs.let_go(&owner).await? else { break };
                Point::LetGo.pass();
                // If it cannot be told now, the reconciler does it later; nor could others be.
                if !intake.publish(&job).await {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Works until `shutdown`.
pub async fn run(line: Line, intake: Intake, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        if let Err(error) = line.advance(&intake).await {
            tracing::debug!(%error, "the line could not be looked at");
        }
    }
}
