//! `mp3converter serve`: one program and a folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use sqlx::{
    ConnectOptions, Connection, Row,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use tempfile::TempDir;
use testkit::SmtpServer;

use crate::{
    Service, Setup,
    product::Product,
    state::{Record, State, Store},
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

    fn look(&self, store: &str) -> std::io::Result<Store> {
        let names = std::fs::read_dir(self.data().join(store))?.flatten();
        let names: BTreeSet<_> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let whole = names.iter().filter(|name| !name.contains('.'));
        let whole: BTreeMap<_, _> = whole.map(|name| (name.clone(), names.contains(&format!("{name}.json")))).collect();
        let id = |name: &String| name.split('.').next().unwrap_or_default().to_owned();
        let remains = names.iter().filter(|name| name.ends_with(".part") || !whole.contains_key(&id(name)));
        Ok(Store { remains: remains.map(id).collect(), whole })
    }

    /// All rows that `query` finds in `database`.
    async fn rows(&self, database: &str, query: &'static str) -> anyhow::Result<Vec<SqliteRow>> {
        let options = SqliteConnectOptions::new();
        // SQLite would take the path to another process's disk for one on ours: it is given a copy.
        let copy = tempfile::tempdir()?;
        let options = if self.own_disk {
            for name in [database.to_owned(), format!("{database}-wal")] {
                // There is no log when everything is in the database.
                let _ = std::fs::copy(self.data().join(&name), copy.path().join(&name));
            }
            options.filename(copy.path().join(database))
        } else {
            options.filename(self.data().join(database)).read_only(true)
        };
        let mut connection = options.connect().await?;
        let rows = sqlx::query(query).fetch_all(&mut connection).await?;
        connection.close().await?;
        Ok(rows)
    }
}

impl Product for AllInOne {
    async fn start_with(setup: Setup) -> Self {
        assert!(setup.broker.is_none() && setup.mysql.is_none() && !setup.wired, "it has no servers");
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

    fn program(&mut self, _: &str) -> &mut Service {
        &mut self.program
    }

    async fn state(&self) -> anyhow::Result<State> {
        let records = self.rows("jobs.db", "SELECT * FROM jobs").await?;
        let queues = self.rows("queue.db", "SELECT queue, count(*) AS held FROM messages GROUP BY queue").await?;
        let held = |row: &SqliteRow| Ok((row.try_get("queue")?, row.try_get::<i64, _>("held")?.unsigned_abs()));
        Ok(State {
            records: records.iter().map(record).collect::<sqlx::Result<_>>()?,
            videos: self.look("videos")?,
            mp3s: self.look("mp3s")?,
            queues: queues.iter().map(held).collect::<sqlx::Result<_>>()?,
        })
    }

    async fn stored_mp3(&self, fid: &str) -> Vec<u8> {
        std::fs::read(self.data().join("mp3s").join(fid)).expect("an MP3")
    }
}

fn record(row: &SqliteRow) -> sqlx::Result<Record> {
    let count = |name| row.try_get::<i64, _>(name).map(i64::unsigned_abs);
    Ok(Record {
        id: row.try_get("_id")?,
        owner: row.try_get("owner")?,
        state: row.try_get("state")?,
        run: count("run")?,
        attempt: count("attempt")?,
        told: row.try_get::<Option<i64>, _>("told_at")?.is_some(),
        key: row.try_get("key")?,
        video_expired: row.try_get::<Option<i64>, _>("video_expired_at")?.is_some(),
        video_fid: row.try_get("video_fid")?,
        mp3_fid: row.try_get("mp3_fid")?,
    })
}
