//! Virtual hosts of a broker, and a look into their queues, through the management API.

use std::collections::BTreeMap;

use anyhow::Context;
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;

use crate::name::unique_name;

pub(crate) const USER: &str = "guest";
pub(crate) const PASSWORD: &str = "guest";

/// A running broker.
#[derive(Clone, Debug)]
pub struct Broker {
    amqp_port: u16,
    api_port: u16,
    http: reqwest::Client,
}

/// A virtual host that nobody else uses.
#[derive(Clone, Debug)]
pub struct Vhost {
    broker: Broker,
    name: String,
}

/// What a queue holds. Sampled twice a second by the broker.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct QueueState {
    /// Messages that wait for a consumer.
    #[serde(default, rename = "messages_ready")]
    pub ready: u64,
    /// Messages that a consumer holds and has not acknowledged.
    #[serde(default, rename = "messages_unacknowledged")]
    pub unacked: u64,
    /// Consumers.
    #[serde(default)]
    pub consumers: u64,
}

impl Broker {
    pub(crate) fn new(amqp_port: u16, api_port: u16) -> Self {
        // An idle connection would hold up a broker that is told to stop for five seconds.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build();
        Self { amqp_port, api_port, http: http.expect("TLS certificates can be read") }
    }

    /// The URL of the default virtual host.
    pub fn url(&self) -> String {
        self.url_of("/")
    }

    /// The root of the management API and of its web page.
    pub fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port)
    }

    /// Makes a virtual host.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn vhost(&self) -> anyhow::Result<Vhost> {
        let name = unique_name("vhost");
        self.send(self.request(Method::PUT, &["vhosts", &name])).await?;
        // The user who makes a virtual host has every right in it.
        Ok(Vhost { broker: self.clone(), name })
    }

    /// The default virtual host, as an installation made by hand uses it.
    pub fn default_vhost(&self) -> Vhost {
        Vhost { broker: self.clone(), name: "/".to_owned() }
    }

    /// Whether the API answers yet; it comes up a moment after AMQP.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        self.send(self.request(Method::GET, &["whoami"])).await.map(drop)
    }

    fn url_of(&self, vhost: &str) -> String {
        let mut url = url::Url::parse("amqp://127.0.0.1/").expect("a constant URL");
        // None of these can fail on a URL that has a host.
        let _ = url.set_username(USER);
        let _ = url.set_password(Some(PASSWORD));
        let _ = url.set_port(Some(self.amqp_port));
        url.path_segments_mut().expect("it has a path").clear().push(vhost);
        url.into()
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = url::Url::parse(&self.api_url()).expect("a constant URL");
        url.path_segments_mut().expect("it has a path").clear().push("api").extend(path);
        self.http.request(method, url).basic_auth(USER, Some(PASSWORD))
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<reqwest::Response> {
        let answer = request.send().await.context("RabbitMQ's management API does not answer")?;
        Ok(answer.error_for_status()?)
    }
}

impl Vhost {
    /// `amqp://guest:guest@127.0.0.1:port/name`
    pub fn url(&self) -> String {
        self.broker.url_of(&self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is in `queue`; `None` when there is no such queue.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn queue(&self, queue: &str) -> anyhow::Result<Option<QueueState>> {
        let request = self.broker.request(Method::GET, &["queues", &self.name, queue]);
        let answer = request.send().await.context("RabbitMQ's management API does not answer")?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(answer.error_for_status()?.json().await?))
    }

    /// The names of its queues.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn queues(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.contents().await?.into_keys().collect())
    }

    /// What each of its queues holds, by their names.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn contents(&self) -> anyhow::Result<BTreeMap<String, QueueState>> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
            #[serde(flatten)]
            state: QueueState,
        }
        let request = self.broker.request(Method::GET, &["queues", &self.name]);
        let queues: Vec<Named> = self.broker.send(request).await?.json().await?;
        Ok(queues.into_iter().map(|queue| (queue.name, queue.state)).collect())
    }

    /// Throws away what waits in `queue`, as a broker may that has lost its disk.
    ///
    /// # Errors
    /// When the broker does not answer, or there is no such queue.
    pub async fn purge(&self, queue: &str) -> anyhow::Result<()> {
        let request = self.broker.request(Method::DELETE, &["queues", &self.name, queue, "contents"]);
        self.broker.send(request).await.map(drop)
    }

    /// Closes every client's connection, as an operator or a network may; returns how
    /// many there were.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn close_connections(&self) -> anyhow::Result<usize> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        let request = self.broker.request(Method::GET, &["vhosts", &self.name, "connections"]);
        let connections: Vec<Named> = self.broker.send(request).await?.json().await?;
        for connection in &connections {
            let request = self.broker.request(Method::DELETE, &["connections", &connection.name]);
            // One that has gone meanwhile is as good as closed.
            request.send().await.context("RabbitMQ's management API does not answer")?;
        }
        Ok(connections.len())
    }

    /// Removes it with everything in it; its connections are closed.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn delete(self) -> anyhow::Result<()> {
        self.broker.send(self.broker.request(Method::DELETE, &["vhosts", &self.name])).await.map(drop)
    }
}
