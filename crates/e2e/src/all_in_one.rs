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
    own_disk: bool,
}

/// The command that runs another one with a small disk in the place of `folder`, seen by no one else.
fn small_disk(folder: &Path, bytes: u64) -> Vec<String> {
    let mount = r#"mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@""#;
    let (bytes, folder) = (bytes.to_string(), folder.to_str().expect("text"));
    let become_root: &[&str] = if testkit::effective_user() == 0 { &[] } else { &["--map-root-user"] };
    let words = [&["unshare", "--mount"], become_root, &["sh", "-c", mount, "sh", &bytes, folder]].concat();
    words.into_iter().map(str::to_owned).collect()
}

impl AllInOne {
    /// Where it keeps its data, as we see it.
    pub fn data(&self) -> PathBuf {
        let data = self.folder.path().join("mp3converter");
        if !self.own_disk {
            return data;
        }
        let root = format!("/proc/{}/root", self.program.id());
        Path::new(&root).join(data.strip_prefix("/").expect("absolute"))
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
            // Tests ask more often than people do.
            ("REQUESTS_PER_MINUTE", "0".to_owned()),
            ("REQUESTS_PER_MINUTE_AND_ADDRESS", "0".to_owned()),
        ];
        env.extend(setup.env);
        let data = folder.path().join("mp3converter");
        let within = match setup.disk {
            Some(bytes) => {
                std::fs::create_dir(&data).expect("a folder");
                small_disk(&data, bytes)
            }
            None => Vec::new(),
        };
        let program = Service::launch_within(within, "mp3converter", &env, folder.path());
        program.ready().await;
        Self { program, smtp, folder, own_disk: setup.disk.is_some() }
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
        let options = SqliteConnectOptions::new();
        // SQLite would take the path to another process's disk for one on ours: it is given a copy.
        let copy = tempfile::tempdir().expect("a folder");
        let options = if self.own_disk {
            for name in ["jobs.db", "jobs.db-wal"] {
                // There is no log when everything is in the database.
                let _ = std::fs::copy(self.data().join(name), copy.path().join(name));
            }
            options.filename(copy.path().join("jobs.db"))
        } else {
            options.filename(self.data().join("jobs.db")).read_only(true)
        };
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
