//! Who somebody is: accounts in MySQL or SQLite, passwords as argon2id hashes, sessions as signed tokens.

pub mod accounts;
mod hasher;
mod password;
mod routes;
mod standing;
mod throttle;
#[doc(hidden)]
pub mod token;
mod users;

use std::time::Duration;

use anyhow::Context;
use common::{CancellationToken, Env, Secret, client::Proxies, serve, start::Running};
use tokio::net::TcpListener;

use crate::{password::Passwords, routes::App, standing::Standing, throttle::Throttle, token::Tokens, users::Users};

/// What the service needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the accounts are: `mysql:`, `mariadb:` or `sqlite:`.
    pub database: Secret,
    /// For one question to it.
    pub database_timeout: Duration,
    /// For a whole request: a body that trickles in, a queue of password checks, the database.
    pub request_timeout: Duration,
    /// Signs tokens, and checks them.
    pub jwt_secret: Secret,
    /// Only checks them: what signed until the last change of secrets.
    pub jwt_secret_previous: Option<Secret>,
    /// Whether anybody may make an account.
    pub registration: Registration,
    /// Whose word about a client's address counts.
    pub proxies: Proxies,
    pub limits: serve::Limits,
}

/// Loopback and the networks of RFC 1918 and RFC 4193: where gateways are.
const PRIVATE: &str = "127.0.0.0/8,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7";

/// `REGISTRATION`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// Anybody may make an account.
    #[default]
    Open,
    /// Accounts are made in the database only.
    Closed,
}

impl std::str::FromStr for Registration {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "open" => Ok(Self::Open),
            "closed" => Ok(Self::Closed),
            _ => Err("open or closed is expected"),
        }
    }
}

impl Config {
    /// Reads the environment:
    ///
    /// | name | default | meaning |
    /// |---|---|---|
    /// | `DATABASE_URL` | | `mysql://user:password@host:port/database` or `sqlite:/path`, instead of the `MYSQL_` ones; `?ssl-mode=REQUIRED`, or `VERIFY_IDENTITY` with `&ssl-ca=`, insists on TLS |
    /// | `MYSQL_HOST`, `MYSQL_PORT` | `localhost`, `3306` | the server |
    /// | `MYSQL_USER`, `MYSQL_PASSWORD` | `auth`, none | the account there, in any characters |
    /// | `MYSQL_DB` | `auth` | the database |
    /// | `MYSQL_TLS` | `preferred` | encrypts where the server can (accounts of MySQL 8 need it); `required` insists, `verify` also checks the certificate, `disabled` does without |
    /// | `MYSQL_CA_FILE` | Mozilla's roots | whom `verify` trusts, a PEM file |
    /// | `DATABASE_TIMEOUT` | `4s` | for one question to the server |
    /// | `REQUEST_TIMEOUT` | `20s` | for a whole request |
    /// | `JWT_SECRET` | must be set | 32 bytes or more |
    /// | `JWT_SECRET_PREVIOUS` | | the secret before the last change; its tokens stay valid |
    /// | `REGISTRATION` | `open` | `closed` answers `/register` with 403 |
    /// | `TRUSTED_PROXIES` | loopback and private networks | whose `X-Forwarded-For` names the client: the gateways |
    ///
    /// `DATABASE_URL`, `MYSQL_PASSWORD` and both secrets may come from files (`…_FILE`).
    /// Unless told otherwise, TLS is used where the server has it; asked for, it is used or the
    /// connection fails.
    pub fn from_env(env: &mut Env) -> Self {
        let (jwt_secret, jwt_secret_previous) = token::secrets_from_env(env);
        Self {
            database: users::url_from_env(env),
            database_timeout: env.time_limit("DATABASE_TIMEOUT", users::LIMIT),
            request_timeout: env.time_limit("REQUEST_TIMEOUT", Duration::from_secs(20)),
            jwt_secret,
            jwt_secret_previous,
            registration: env.parse("REGISTRATION", Registration::default()),
            proxies: Proxies::from_env(env, PRIVATE),
            limits: serve::Limits::from_env(env),
        }
    }
}

/// Answers on `listener` until `shutdown`. A database server need not be up yet.
pub fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Running {
    Box::pin(run_all(config, listener, shutdown))
}

async fn run_all(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    routes::describe();
    let app = App {
        users: Users::connect(&config.database, config.database_timeout).await.context("DATABASE_URL")?,
        passwords: Passwords::new().await?,
        tokens: Tokens::new(&config.jwt_secret, config.jwt_secret_previous.as_ref()),
        registration: config.registration,
        proxies: config.proxies,
        throttle: Throttle::default(),
        standing: Standing::default(),
        request_timeout: config.request_timeout,
    };
    serve::serve(listener, routes::router(app), config.limits, shutdown).await
}
