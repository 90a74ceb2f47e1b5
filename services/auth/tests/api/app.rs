//! A running service with a database of its own.

use std::time::Duration;

use common::{CancellationToken, Env, start::install_crypto};
use reqwest::{Client, Response, StatusCode};
use serde_json::json;
use sqlx::{
    ConnectOptions, MySqlConnection,
    mysql::{MySqlConnectOptions, MySqlSslMode},
};
use testkit::Servers;
use tokio::{net::TcpListener, task::JoinHandle};

pub const SECRET: &str = "an integration test's secret, 32 bytes or more";

/// The table as the Python system makes it, with a user in plain text.
pub const CLASSIC: &str = "\
    CREATE TABLE user (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, \
        email VARCHAR(255) NOT NULL UNIQUE, password VARCHAR(255) NOT NULL); \
    INSERT INTO user (email, password) VALUES ('Georgio@Email.com', 'Admin123')";

pub struct App {
    pub url: String,
    pub database: String,
    pub client: Client,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

/// An answer, read to its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub content_type: String,
    pub body: String,
}

impl App {
    /// On the schema of `init.sql`.
    pub async fn start() -> Self {
        Self::on(&Servers::shared().auth_database().await.expect("a database"), &[]).await
    }

    /// On the classic table.
    pub async fn classic() -> Self {
        let database = Servers::shared().mysql_database().await.expect("a database");
        testkit::run_sql(&database, CLASSIC).await.expect("the classic table");
        Self::on(&database, &[]).await
    }

    pub async fn on(database: &str, settings: &[(&str, &str)]) -> Self {
        let mut app = Self::configured(&[settings, &[("DATABASE_URL", database)]].concat()).await;
        app.database = database.to_owned();
        app
    }

    /// With these variables, and a secret unless they name one.
    pub async fn configured(settings: &[(&str, &str)]) -> Self {
        install_crypto();
        let settings = [("JWT_SECRET", SECRET)].iter().chain(settings).copied();
        let mut env: Env = settings.collect();
        let config = auth::Config::from_env(&mut env);
        let config = env.finish(config).expect("a good configuration");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(auth::run(config, listener, shutdown.clone()));
        let client = Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
        Self { url, database: String::new(), client, shutdown, task }
    }

    /// Ends it in good order.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("no panic").expect("an orderly end");
    }

    pub async fn login(&self, email: &str, password: &str) -> Answer {
        answer(self.client.post(format!("{}/login", self.url)).basic_auth(email, Some(password))).await
    }

    /// A log-in by way of a gateway, which names its client.
    pub async fn login_from(&self, client: &str, email: &str, password: &str) -> Response {
        let request = self.client.post(format!("{}/login", self.url)).header("x-forwarded-for", client);
        request.basic_auth(email, Some(password)).send().await.expect("an answer")
    }

    /// The token of a log-in that must succeed.
    pub async fn token(&self, email: &str, password: &str) -> String {
        let answer = self.login(email, password).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    pub async fn validate(&self, token: &str) -> Answer {
        answer(self.client.post(format!("{}/validate", self.url)).bearer_auth(token)).await
    }

    /// `POST` with this `Authorization` header, or none.
    pub async fn authorized(&self, path: &str, authorization: Option<&str>) -> Answer {
        let mut request = self.client.post(format!("{}{path}", self.url));
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        answer(request).await
    }

    pub async fn register(&self, email: &str, password: &str) -> Answer {
        self.register_raw(json!({ "email": email, "password": password }).to_string()).await
    }

    pub async fn register_raw(&self, body: impl Into<reqwest::Body>) -> Answer {
        answer(self.client.post(format!("{}/register", self.url)).body(body)).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.client.get(format!("{}{path}", self.url))).await
    }

    /// The sum of a metric over the series whose labels contain `label`.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.get("/metrics").await.body;
        let series = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// What is stored for an account: its password.
    pub async fn stored(&self, email: &str) -> String {
        let mut connection = connect(&self.database).await;
        sqlx::query_scalar("SELECT password FROM user WHERE email = ?")
            .bind(email)
            .fetch_one(&mut connection)
            .await
            .expect("the account")
    }
}

pub async fn connect(database: &str) -> MySqlConnection {
    let options: MySqlConnectOptions = database.parse().expect("a URL");
    options.ssl_mode(MySqlSslMode::Disabled).connect().await.expect("a connection")
}

pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response: Response = request.send().await.expect("an answer");
    let status = response.status();
    let content_type = response.headers().get("content-type").map(|v| v.to_str().expect("text").to_owned());
    let body = response.text().await.expect("a whole body");
    Answer { status, content_type: content_type.unwrap_or_default(), body }
}

/// A plain-text answer, as nearly all of them are.
pub fn text(status: u16, body: &str) -> Answer {
    Answer {
        status: StatusCode::from_u16(status).expect("a status"),
        content_type: "text/plain; charset=utf-8".to_owned(),
        body: body.to_owned(),
    }
}
