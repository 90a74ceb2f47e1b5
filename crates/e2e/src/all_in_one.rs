//! `mp3converter serve`: one program and a folder.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use testkit::SmtpServer;

use crate::{
    Service, Setup,
    product::{Files, Kept, Product},
};

/// The whole product in one process. Mails go to a mail server, so that tests can watch them.
pub struct AllInOne {
    pub program: Service,
    smtp: SmtpServer,
    folder: TempDir,
}

impl AllInOne {
    /// Where it keeps its data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("mp3converter")
    }

    fn files(&self, store: &str) -> Files {
        let entries = std::fs::read_dir(self.data().join(store)).expect("a folder");
        let names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let ids: HashSet<_> = names.iter().filter_map(|name| name.split('.').next()).collect();
        Files { whole: names.iter().filter(|name| !name.contains('.')).count() as u64, any: ids.len() as u64 }
    }
}

impl Product for AllInOne {
    async fn start_with(setup: Setup) -> Self {
        assert!(setup.broker.is_none(), "it has no broker");
        let smtp = SmtpServer::start().await.expect("the mail server starts");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut env = vec![
            // Its data folder is in there.
            ("XDG_DATA_HOME", folder.path().to_str().expect("text").to_owned()),
            ("SMTP_URL", smtp.url()),
            ("MAIL_FROM", "mp3converter@example.com".to_owned()),
            ("WORKERS", setup.converters.unwrap_or(1).to_string()),
            ("RECONCILE_INTERVAL", "500ms".to_owned()),
            ("LEASE", "5s".to_owned()),
        ];
        env.extend(setup.env);
        let program = Service::start("mp3converter", &env, folder.path()).await;
        Self { program, smtp, folder }
    }

    fn gateway(&self) -> &Service {
        &self.program
    }

    fn workers(&self) -> Vec<&Service> {
        vec![&self.program]
    }

    fn services(&self) -> Vec<&Service> {
        vec![&self.program]
    }

    fn smtp(&self) -> &SmtpServer {
        &self.smtp
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn kept(&self) -> Kept {
        let options = SqliteConnectOptions::new().filename(self.data().join("jobs.db")).read_only(true);
        let mut ledger = options.connect().await.expect("the ledger opens");
        let counts = "SELECT count(*), count(*) FILTER (WHERE state = 'done'), \
                      coalesce(sum(attempt) FILTER (WHERE state = 'done'), 0) FROM jobs";
        let (records, done, attempts): (i64, i64, i64) =
            sqlx::query_as(counts).fetch_one(&mut ledger).await.expect("counted");
        ledger.close().await.expect("closed");
        let count = |n: i64| n.unsigned_abs();
        Kept {
            videos: self.files("videos"),
            mp3s: self.files("mp3s"),
            records: count(records),
            done: count(done),
            attempts: count(attempts),
        }
    }
}
