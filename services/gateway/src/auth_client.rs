//! The gateway's way to auth.

use std::{net::IpAddr, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use common::{
    Error, Id, Result,
    error::{RATELIMIT, RATELIMIT_POLICY},
    messages::JOB_ID,
    trace::{self, TRACEPARENT},
};
use serde::Deserialize;

use crate::{allowance::Allowance, session};

/// One that is there takes a connection within this.
const CONNECT: Duration = Duration::from_secs(2);

/// Auth as a neighbour over HTTP. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AuthClient {
    http: reqwest::Client,
    base: String,
    allowance: Allowance,
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub struct User {
    /// E-mail address in lower case; the database does not tell cases apart either.
    pub name: String,
}

/// The claims that `/validate` answers with, ours or the Python auth's.
#[derive(Deserialize)]
struct Claims {
    username: String,
    #[serde(default)]
    admin: bool,
}

impl AuthClient {
    pub fn new(base: &str, limit: Duration, allowance: Allowance) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(limit.min(CONNECT))
            .timeout(limit)
            // Sooner than auth's own HEADER_TIMEOUT, or requests go out on connections that are just closing.
            .pool_idle_timeout(Duration::from_secs(20))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), allowance })
    }

    /// What auth answers to a login from `client`, word for word.
    pub async fn login(&self, headers: &HeaderMap, client: IpAddr) -> Result<Response> {
        let authorization = headers.get(header::AUTHORIZATION).ok_or(Error::MissingCredentials)?;
        let request = self.post_for(client, "login").header(header::AUTHORIZATION, authorization);
        pass_on(request).await
    }

    /// The token of somebody at `client` who gives their password; auth's own answer if it gives none.
    pub async fn token(&self, email: &str, password: &str, client: IpAddr) -> Result<Result<String, Response>> {
        let request = self.post_for(client, "login").basic_auth(email, Some(password));
        let answer = send(request).await.map_err(Error::unavailable("auth"))?;
        if answer.status() != StatusCode::OK {
            return Ok(Err(hand_on(answer).await?));
        }
        Ok(Ok(answer.text().await.map_err(Error::unavailable("auth"))?))
    }

    /// What auth answers to a registration from `client`, word for word.
    pub async fn register(&self, headers: &HeaderMap, body: Bytes, client: IpAddr) -> Result<Response> {
        let json = HeaderValue::from_static("application/json");
        let content_type = headers.get(header::CONTENT_TYPE).unwrap_or(&json);
        let request = self.post_for(client, "register").header(header::CONTENT_TYPE, content_type);
        pass_on(request.body(body)).await
    }

    /// The user whose token came with the request and who may use the converter, as often as that.
    pub async fn user(&self, headers: &HeaderMap) -> Result<User> {
        self.validate(headers, None).await
    }

    /// The same on behalf of a job, which auth's log then names too.
    pub async fn user_of(&self, headers: &HeaderMap, job: &Id) -> Result<User> {
        self.validate(headers, Some(job)).await
    }

    /// A request that a client's address goes along with: auth counts by it.
    fn post_for(&self, client: IpAddr, path: &str) -> reqwest::RequestBuilder {
        self.post(path).header("x-forwarded-for", client.to_string())
    }

    /// A request within the present trace, if there is one.
    fn post(&self, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}/{path}", self.base));
        match trace::current() {
            Some(context) => request.header(TRACEPARENT, context),
            None => request,
        }
    }

    async fn validate(&self, headers: &HeaderMap, job: Option<&Id>) -> Result<User> {
        // A header that somebody took the trouble to send counts before a cookie that came by itself.
        let authorization = match headers.get(header::AUTHORIZATION) {
            Some(header) => header.clone(),
            None => session::bearer(headers).ok_or(Error::MissingCredentials)?,
        };
        let mut request = self.post("validate").header(header::AUTHORIZATION, authorization);
        if let Some(job) = job {
            request = request.header(JOB_ID, job.as_str());
        }
        let response = send(request).await.map_err(Error::unavailable("auth"))?;
        match response.status().as_u16() {
            200 => {}
            401 => return Err(Error::MissingCredentials),
            403 => return Err(Error::NotAuthorized),
            other => {
                let cause = anyhow::anyhow!("auth answered {other} to a validation");
                return Err(Error::Unavailable { what: "auth", cause });
            }
        }
        let claims: Claims = response.json().await.map_err(Error::unavailable("auth"))?;
        if !claims.admin {
            return Err(Error::NotPermitted);
        }
        let user = User { name: claims.username.to_lowercase() };
        self.allowance.request(&user.name)?;
        Ok(user)
    }
}

/// Once more where the connection broke under it: one that has rested is closed by auth, or by what stands
/// before it, and that may cross with a request. Not for what must not happen twice.
async fn send(request: reqwest::RequestBuilder) -> reqwest::Result<reqwest::Response> {
    let again = request.try_clone();
    match (request.send().await, again) {
        (Err(error), Some(again)) if !error.is_timeout() && !error.is_connect() => {
            tracing::debug!(%error, "auth is asked once more");
            again.send().await
        }
        (outcome, _) => outcome,
    }
}

async fn pass_on(request: reqwest::RequestBuilder) -> Result<Response> {
    hand_on(request.send().await.map_err(Error::unavailable("auth"))?).await
}

async fn hand_on(answer: reqwest::Response) -> Result<Response> {
    let (status, mut headers) = (answer.status(), HeaderMap::new());
    for name in [header::CONTENT_TYPE, header::RETRY_AFTER, RATELIMIT, RATELIMIT_POLICY] {
        headers.extend(answer.headers().get(&name).map(|value| (name, value.clone())));
    }
    let body = answer.bytes().await.map_err(Error::unavailable("auth"))?;
    Ok((status, headers, body).into_response())
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::allowance::Quotas;

    async fn hears(stream: &mut TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("a request"));
        }
    }

    /// Answers one request on each connection, and closes it as it hears of another.
    async fn closes_under_requests(listener: TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a client");
            tokio::spawn(async move {
                hears(&mut stream).await;
                let claims = r#"{"username": "Ada@example.com", "admin": true}"#;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", claims.len());
                stream.write_all(format!("{head}{claims}").as_bytes()).await.expect("sent");
                hears(&mut stream).await;
            });
        }
    }

    #[tokio::test]
    async fn one_that_says_nothing_is_given_up_in_time() {
        let mute = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", mute.local_addr().expect("an address"));
        let limit = Duration::from_millis(200);
        let auth = AuthClient::new(&base, limit, Allowance::new(Quotas::default())).expect("a client");
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"))]);
        let asked = tokio::time::timeout(Duration::from_secs(5), auth.user(&headers)).await.expect("in time");
        assert!(matches!(asked, Err(Error::Unavailable { .. })));
    }

    #[tokio::test]
    async fn a_connection_that_closes_under_a_request_costs_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(closes_under_requests(listener));
        let auth =
            AuthClient::new(&base, Duration::from_secs(10), Allowance::new(Quotas::default())).expect("a client");
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"))]);
        for _ in 0..3 {
            assert_eq!(auth.user(&headers).await.expect("a user").name, "ada@example.com");
        }
    }
}
