//! The servers that all tests of one run share.

use std::path::{Path, PathBuf};

use anyhow::Context;
use url::Url;

use crate::mariadb::{Mariadb, create_database, load_schema};
use crate::mongod::Mongod;
use crate::name::unique_name;
use crate::rabbitmq::Rabbitmq;
use crate::vhost::{Broker, Vhost};

const MYSQL: &str = "TESTKIT_MYSQL_URL";
const MONGODB: &str = "TESTKIT_MONGODB_URI";
const AMQP: &str = "TESTKIT_AMQP_URL";
const RABBITMQ_API: &str = "TESTKIT_RABBITMQ_API";

/// Where the shared servers are. A test makes its own database or virtual host there,
/// and leaves everything else alone.
#[derive(Clone, Debug)]
pub struct Servers {
    mysql_url: String,
    mongodb_uri: String,
    broker: Broker,
}

impl Servers {
    /// The servers that `with-servers` started around this test.
    ///
    /// # Panics
    /// When there are none: a test that needs them fails, it is never skipped.
    pub fn shared() -> Self {
        let read = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| {
                panic!("this test needs servers: run `make test`, or `make with-servers` for a shell with servers ({name} is not set)")
            })
        };
        let port = |name: &str| {
            let url = Url::parse(&read(name)).unwrap_or_else(|e| panic!("{name} is not a URL: {e}"));
            url.port().unwrap_or_else(|| panic!("{name} has no port"))
        };
        Self { mysql_url: read(MYSQL), mongodb_uri: read(MONGODB), broker: Broker::new(port(AMQP), port(RABBITMQ_API)) }
    }

    /// Private servers seen as shared ones, for who starts them; a test wants
    /// [`Self::shared`].
    pub fn of(mariadb: &Mariadb, mongod: &Mongod, rabbitmq: &Rabbitmq) -> Self {
        Self { mysql_url: mariadb.url(), mongodb_uri: mongod.url(), broker: rabbitmq.broker() }
    }

    /// The variables by which [`Self::shared`] finds these servers.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            (MYSQL, self.mysql_url.clone()),
            (MONGODB, self.mongodb_uri.clone()),
            (AMQP, self.broker.url()),
            (RABBITMQ_API, self.broker.api_url()),
        ]
    }

    /// The MySQL server's URL, without a database.
    pub fn mysql_url(&self) -> &str {
        &self.mysql_url
    }

    /// Makes an empty MySQL database and returns its URL.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn mysql_database(&self) -> anyhow::Result<String> {
        create_database(&self.mysql_url).await
    }

    /// Makes a MySQL database with the tables and the first user of `init.sql`, and
    /// returns its URL.
    ///
    /// # Errors
    /// When the server does not answer or the file is faulty.
    pub async fn auth_database(&self) -> anyhow::Result<String> {
        let url = self.mysql_database().await?;
        load_schema(&url).await.context("init.sql")?;
        Ok(url)
    }

    /// The MongoDB server's URI, without a database.
    pub fn mongodb_uri(&self) -> &str {
        &self.mongodb_uri
    }

    /// A URI that names a database nobody else uses.
    pub fn mongodb_database(&self) -> String {
        let mut uri = Url::parse(&self.mongodb_uri).expect("it was made by this crate");
        uri.set_path(&unique_name("db"));
        uri.into()
    }

    /// The RabbitMQ node.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Makes a RabbitMQ virtual host.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn vhost(&self) -> anyhow::Result<Vhost> {
        self.broker.vhost().await
    }
}

/// The folder that holds the workspace's `Cargo.toml`.
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate lies in crates/testkit").to_owned()
}
