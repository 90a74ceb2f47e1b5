//! The four services on real servers, for one test.

use std::path::Path;

use common::Id;
use futures_util::TryStreamExt;
use mongodb::{
    Client,
    bson::{Document, doc},
};
use tempfile::TempDir;
use testkit::{Mongod, Servers, SmtpServer};

use crate::{
    Service,
    product::{Files, Kept, Product},
};

/// What a test wants otherwise than usual.
#[derive(Default)]
pub struct Setup {
    /// Converter processes; 0 means none, `Default` means one.
    pub converters: Option<usize>,
    /// Another broker than the shared one.
    pub broker: Option<String>,
    /// The size in bytes of a disk of its own for the data; the all-in-one's only.
    pub disk: Option<u64>,
    /// More environment, for all services.
    pub env: Vec<(&'static str, String)>,
}

/// The four services. Each app has its own MongoDB, MySQL database, virtual host and mail server.
pub struct App {
    pub auth: Service,
    pub gateway: Service,
    pub converters: Vec<Service>,
    pub notification: Service,
    pub mongod: Mongod,
    pub smtp: SmtpServer,
    pub amqp_url: String,
    env: Vec<(&'static str, String)>,
    folder: TempDir,
}

impl App {
    async fn launch(setup: Setup) -> Self {
        assert!(setup.disk.is_none(), "its data lies in several servers");
        let servers = Servers::shared();
        let mongod = Mongod::start().await.expect("mongod starts");
        let smtp = SmtpServer::start().await.expect("the mail server starts");
        let amqp_url = match setup.broker {
            Some(url) => url,
            None => servers.vhost().await.expect("the broker makes a virtual host").url(),
        };
        let mut env = vec![
            ("DATABASE_URL", servers.auth_database().await.expect("MySQL makes a database")),
            ("MONGODB_URI", mongod.url()),
            ("AMQP_URL", amqp_url.clone()),
            ("SMTP_URL", smtp.url()),
            ("MAIL_FROM", "mp3converter@example.com".to_owned()),
            ("JWT_SECRET", format!("{}{}", Id::fresh(), Id::fresh())),
            // Impatient, so that a test sees within seconds what takes minutes in life.
            ("RECONCILE_INTERVAL", "500ms".to_owned()),
            ("LEASE", "5s".to_owned()),
            // Tests ask more often than people do.
            ("REQUESTS_PER_MINUTE", "0".to_owned()),
            ("REQUESTS_PER_MINUTE_AND_ADDRESS", "0".to_owned()),
        ];
        env.extend(setup.env);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path();
        let auth = Service::start("auth", &env, dir).await;
        env.push(("AUTH_SVC_ADDRESS", auth.url().trim_start_matches("http://").to_owned()));
        let gateway = Service::start("gateway", &env, dir).await;
        let mut converters = Vec::new();
        for _ in 0..setup.converters.unwrap_or(1) {
            converters.push(Service::start("converter", &env, dir).await);
        }
        let notification = Service::start("notification", &env, dir).await;
        Self { auth, gateway, converters, notification, mongod, smtp, amqp_url, env, folder }
    }

    /// One more worker.
    pub async fn add_converter(&mut self) {
        let converter = Service::start("converter", &self.env, self.folder.path()).await;
        self.converters.push(converter);
    }

    async fn files(&self, store: &Client, name: &str) -> Files {
        let database = store.database(name);
        let whole = database.collection::<Document>("fs.files").count_documents(doc! {}).await.expect("count");
        let chunks = database.collection::<Document>("fs.chunks");
        let begun = chunks.distinct("files_id", doc! {}).await.expect("distinct").len() as u64;
        // An empty file has no chunks.
        Files { whole, any: begun.max(whole) }
    }
}

impl Product for App {
    async fn start_with(setup: Setup) -> Self {
        Self::launch(setup).await
    }

    fn gateway(&self) -> &Service {
        &self.gateway
    }

    fn workers(&self) -> Vec<&Service> {
        self.converters.iter().collect()
    }

    fn services(&self) -> Vec<&Service> {
        [&self.auth, &self.gateway, &self.notification].into_iter().chain(&self.converters).collect()
    }

    fn smtp(&self) -> &SmtpServer {
        &self.smtp
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn kept(&self) -> Kept {
        let store = Client::with_uri_str(self.mongod.url()).await.expect("connect");
        let ledger = store.database("mp3converter").collection::<Document>("jobs");
        let records: Vec<Document> =
            ledger.find(doc! {}).await.expect("find").try_collect().await.expect("all of them");
        let done: Vec<_> =
            records.iter().filter(|record| record.get_str("state").is_ok_and(|state| state == "done")).collect();
        Kept {
            videos: self.files(&store, "videos").await,
            mp3s: self.files(&store, "mp3s").await,
            records: records.len() as u64,
            done: done.len() as u64,
            attempts: done
                .iter()
                .filter_map(|record| record.get_i32("attempt").ok())
                .map(|n| u64::from(n.unsigned_abs()))
                .sum(),
        }
    }
}
