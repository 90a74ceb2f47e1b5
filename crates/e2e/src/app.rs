//! The four services on real servers, for one test.

use std::{collections::BTreeMap, path::Path};

use common::Id;
use futures_util::TryStreamExt;
use mongodb::{
    Client,
    bson::{Bson, Document, doc, oid::ObjectId},
};
use tempfile::TempDir;
use testkit::{Mongod, Proxy, QueueState, Servers, SmtpServer, Vhost};

use crate::{
    Service,
    product::Product,
    state::{Record, State, Store},
};

/// What a test wants otherwise than usual.
#[derive(Default)]
pub struct Setup {
    /// Converter processes; 0 means none, `Default` means one.
    pub converters: Option<usize>,
    /// A virtual host of another broker than the shared one.
    pub broker: Option<Vhost>,
    /// The URL of a MySQL database, with its tables, elsewhere than on the shared server.
    pub mysql: Option<String>,
    /// Whether there is a wire to break before each server.
    pub wired: bool,
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
    pub vhost: Vhost,
    /// If the setup asked for them.
    pub wires: Option<Wires>,
    env: Vec<(&'static str, String)>,
    folder: TempDir,
}

/// What the services reach their servers through.
pub struct Wires {
    pub mysql: Proxy,
    pub mongodb: Proxy,
    pub rabbitmq: Proxy,
    pub smtp: Proxy,
}

impl Wires {
    /// Puts them into these URLs.
    async fn into(urls: [&mut String; 4]) -> Self {
        let mut proxies = Vec::new();
        for url in urls {
            let (proxy, through) = Proxy::before(url).await;
            *url = through;
            proxies.push(proxy);
        }
        let [mysql, mongodb, rabbitmq, smtp] = proxies.try_into().expect("four of them");
        Self { mysql, mongodb, rabbitmq, smtp }
    }
}

impl App {
    async fn launch(setup: Setup) -> Self {
        assert!(setup.disk.is_none(), "its data lies in several servers");
        let servers = Servers::shared();
        let mongod = Mongod::start().await.expect("mongod starts");
        let smtp = SmtpServer::start().await.expect("the mail server starts");
        let vhost = match setup.broker {
            Some(vhost) => vhost,
            None => servers.vhost().await.expect("the broker makes a virtual host"),
        };
        let mut mysql_url = match setup.mysql {
            Some(url) => url,
            None => servers.auth_database().await.expect("MySQL makes a database"),
        };
        let (mut mongodb_url, mut amqp_url, mut smtp_url) = (mongod.url(), vhost.url(), smtp.url());
        let wires = match setup.wired {
            true => Some(Wires::into([&mut mysql_url, &mut mongodb_url, &mut amqp_url, &mut smtp_url]).await),
            false => None,
        };
        let mut env = vec![
            ("DATABASE_URL", mysql_url),
            ("MONGODB_URI", mongodb_url),
            ("AMQP_URL", amqp_url),
            ("SMTP_URL", smtp_url),
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
        Self { auth, gateway, converters, notification, mongod, smtp, vhost, wires, env, folder }
    }

    /// One more worker.
    pub async fn add_converter(&mut self) {
        let converter = Service::start("converter", &self.env, self.folder.path()).await;
        self.converters.push(converter);
    }

    async fn look(&self, store: &Client, name: &str) -> anyhow::Result<Store> {
        let database = store.database(name);
        let group = doc! {"_id": "$files_id", "n": {"$push": "$n"}, "bytes": {"$sum": {"$binarySize": "$data"}}};
        let chunks = database.collection::<Document>("fs.chunks").aggregate([doc! {"$group": group}]).await?;
        let mut pieces = BTreeMap::new();
        for owner in chunks.try_collect::<Vec<_>>().await? {
            let mut numbers: Vec<_> = owner.get_array("n")?.iter().filter_map(number).collect();
            numbers.sort_unstable();
            pieces.insert(
                owner.get_object_id("_id")?.to_hex(),
                (numbers, number(owner.get("bytes").unwrap_or(&Bson::Null))),
            );
        }
        let files = database.collection::<Document>("fs.files").find(doc! {}).await?.try_collect::<Vec<_>>().await?;
        let mut found = Store::default();
        for file in files {
            let id = file.get_object_id("_id")?.to_hex();
            let of = |name| file.get(name).and_then(number).unwrap_or_default();
            let (length, size) = (of("length"), of("chunkSize").max(1));
            let needed = ((0..length.div_ceil(size)).collect::<Vec<_>>(), Some(length));
            let exact = pieces.remove(&id).unwrap_or_else(|| (Vec::new(), Some(0))) == needed;
            found.whole.insert(id, exact);
        }
        found.remains = pieces.into_keys().collect();
        Ok(found)
    }

    async fn store(&self) -> mongodb::error::Result<Client> {
        Client::with_uri_str(self.mongod.url()).await
    }
}

/// Numbers as the various drivers write them.
fn number(value: &Bson) -> Option<u64> {
    match *value {
        Bson::Int32(n) => u64::try_from(n).ok(),
        Bson::Int64(n) => u64::try_from(n).ok(),
        _ => None,
    }
}

fn record(document: &Document) -> Record {
    let text = |name| document.get_str(name).ok().map(str::to_owned);
    let count = |name| document.get(name).and_then(number).unwrap_or_default();
    Record {
        id: text("_id").unwrap_or_default(),
        owner: text("owner").unwrap_or_default(),
        state: text("state").unwrap_or_default(),
        run: count("run"),
        attempt: count("attempt"),
        told: document.get_datetime("told_at").is_ok(),
        key: text("key"),
        video_expired: document.get_datetime("video_expired_at").is_ok(),
        video_fid: text("video_fid").unwrap_or_default(),
        mp3_fid: text("mp3_fid"),
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

    fn program(&mut self, name: &str) -> &mut Service {
        match name {
            "auth" => &mut self.auth,
            "gateway" => &mut self.gateway,
            "converter" => &mut self.converters[0],
            "notification" => &mut self.notification,
            other => panic!("there is no service {other}"),
        }
    }

    async fn state(&self) -> anyhow::Result<State> {
        let store = self.store().await?;
        let ledger = store.database("mp3converter").collection::<Document>("jobs");
        let records: Vec<_> = ledger.find(doc! {}).await?.try_collect().await?;
        let held = |state: QueueState| state.ready + state.unacked;
        Ok(State {
            records: records.iter().map(record).collect(),
            videos: self.look(&store, "videos").await?,
            mp3s: self.look(&store, "mp3s").await?,
            queues: self.vhost.contents().await?.into_iter().map(|(name, state)| (name, held(state))).collect(),
        })
    }

    async fn stored_mp3(&self, fid: &str) -> Vec<u8> {
        let store = self.store().await.expect("connect");
        let chunks = store.database("mp3s").collection::<Document>("fs.chunks");
        let of = doc! {"files_id": ObjectId::parse_str(fid).expect("an id")};
        let found = chunks.find(of).sort(doc! {"n": 1}).await.expect("find");
        let found: Vec<_> = found.try_collect().await.expect("all of them");
        found.iter().flat_map(|chunk| chunk.get_binary_generic("data").expect("bytes").clone()).collect()
    }
}
