//! The product, however it is deployed: what tests ask of it that are not about a certain server.

use std::path::{Path, PathBuf};

use testkit::SmtpServer;

use crate::{Service, Setup, User, state::State};

/// What lies in the stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub videos: Files,
    pub mp3s: Files,
    /// Of the ledger.
    pub records: u64,
    /// Records that are done.
    pub done: u64,
    /// Leases given for them, in all.
    pub attempts: u64,
}

/// What lies in one store of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Complete ones.
    pub whole: u64,
    /// All that take up room, among them those that were begun.
    pub any: u64,
}

impl Files {
    /// So many files, and no remains.
    pub fn exactly(count: u64) -> Self {
        Self { whole: count, any: count }
    }
}

/// A running deployment, for one test.
#[expect(async_fn_in_trait, reason = "for tests alone, which name the type they call it on")]
pub trait Product: Sized {
    async fn start_with(setup: Setup) -> Self;

    async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    /// Who answers users.
    fn gateway(&self) -> &Service;

    /// Those that convert.
    fn workers(&self) -> Vec<&Service>;

    /// All programs, to look at their logs, say.
    fn services(&self) -> Vec<&Service>;

    fn smtp(&self) -> &SmtpServer;

    /// A folder for the test's own files, removed with the product.
    fn folder(&self) -> &Path;

    /// The program that does the work of the service `name`.
    fn program(&mut self, name: &str) -> &mut Service;

    /// A look into ledger, stores and queues, past the product.
    async fn state(&self) -> anyhow::Result<State>;

    /// An MP3 as it lies in the store.
    async fn stored_mp3(&self, fid: &str) -> Vec<u8>;

    async fn kept(&self) -> Kept {
        self.state().await.expect("ledger, stores and queues can be seen").kept()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// A new user, registered and logged in.
    async fn user(&self, name: &str) -> User {
        User::register(&self.gateway().url(), &format!("{name}@example.com"), "correct horse").await
    }
}
