//! Someone with an HTTP client in front of the gateway.

use std::{path::Path, time::Duration};

use futures_util::StreamExt;
use reqwest::{
    Body, Method, RequestBuilder, Response,
    multipart::{Form, Part},
};
use serde_json::Value;
use testkit::{eventually, media};
use tokio::task::JoinHandle;
use tokio_util::io::ReaderStream;

/// No conversion of a test's film takes longer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A user with a token.
#[derive(Clone)]
pub struct User {
    pub email: String,
    pub token: String,
    gateway: String,
    http: reqwest::Client,
}

/// What a client hears of an upload to a gateway that may be in trouble.
#[derive(Debug)]
pub enum Heard {
    /// The conversion's id.
    Accepted(String),
    /// 503, and when to come back.
    Later,
    /// The connection broke: nobody knows.
    Nothing,
    /// What no client is to hear, or no end of waiting.
    Wrong(String),
}

/// Status, content type and text of an answer.
pub async fn text(answer: Response) -> (u16, String, String) {
    let content_type = answer.headers().get("content-type").map(|value| value.to_str().expect("text").to_owned());
    (answer.status().as_u16(), content_type.unwrap_or_default(), answer.text().await.expect("a whole body"))
}

impl User {
    pub async fn register(gateway: &str, email: &str, password: &str) -> Self {
        let body = serde_json::json!({"email": email, "password": password});
        let http = reqwest::Client::new();
        let answer = http.post(format!("{gateway}/register")).json(&body).send().await.expect("an answer");
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap_or_default());
        Self::login(gateway, email, password).await
    }

    pub async fn login(gateway: &str, email: &str, password: &str) -> Self {
        let http = reqwest::Client::new();
        let login = http.post(format!("{gateway}/login")).basic_auth(email, Some(password));
        let answer = login.send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let token = answer.text().await.expect("a token");
        Self { email: email.to_owned(), token, gateway: gateway.to_owned(), http }
    }

    /// Where the gateway is.
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// The same user at another gateway.
    pub fn at(&self, gateway: &str) -> Self {
        Self { gateway: gateway.to_owned(), ..self.clone() }
    }

    /// Somebody with another token, or a try at one.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// A request of any kind, with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.gateway)).bearer_auth(&self.token)
    }

    pub async fn post(&self, path: &str) -> Response {
        self.request(Method::POST, path).send().await.expect("an answer")
    }

    pub async fn get(&self, path: &str) -> Response {
        let request = self.http.get(format!("{}{path}", self.gateway)).bearer_auth(&self.token);
        request.send().await.expect("an answer")
    }

    pub async fn delete(&self, path: &str) -> Response {
        let request = self.http.delete(format!("{}{path}", self.gateway)).bearer_auth(&self.token);
        request.send().await.expect("an answer")
    }

    /// Sends a file as `curl -F file=@…` does, and wants JSON back.
    pub async fn upload(&self, file: &Path) -> Response {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let open = tokio::fs::File::open(file).await.expect("the file is there");
        let length = open.metadata().await.expect("a length").len();
        let body = Body::wrap_stream(ReaderStream::with_capacity(open, 1 << 18));
        self.send(Form::new().part("file", Part::stream_with_length(body, length).file_name(name)), true).await
    }

    /// Begins to send a big film, slowly, so that something can happen meanwhile. It comes to an
    /// end by itself; an error is a connection that broke.
    pub async fn begin_upload(&self, file: &Path) -> JoinHandle<reqwest::Result<Response>> {
        media::big_film(file, 64 << 20).expect("a film");
        let open = tokio::fs::File::open(file).await.expect("the file is there");
        let pieces = ReaderStream::with_capacity(open, 1 << 20).then(|piece| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            piece
        });
        let part = Part::stream(Body::wrap_stream(pieces)).file_name("film.mov");
        let request = self.request(Method::POST, "/upload").multipart(Form::new().part("file", part));
        tokio::spawn(request.send())
    }

    pub async fn send(&self, form: Form, json: bool) -> Response {
        let mut request = self.http.post(format!("{}/upload", self.gateway)).bearer_auth(&self.token).multipart(form);
        if json {
            request = request.header("accept", "application/json");
        }
        request.send().await.expect("an answer")
    }

    /// Uploads a film that must be accepted; returns the conversion's id.
    pub async fn submit(&self, file: &Path) -> String {
        let answer = self.upload(file).await;
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap_or_default());
        id_of(answer).await
    }

    /// Uploads a film that must be accepted, or be refused with a 503 that says when to come back.
    pub async fn submit_or_later(&self, file: &Path) -> Option<String> {
        let answer = self.upload(file).await;
        if answer.status() == 202 {
            return Some(id_of(answer).await);
        }
        assert!(answer.status() == 503 && answer.headers().contains_key("retry-after"), "{answer:?}");
        None
    }

    /// Uploads a film to a gateway that may be in trouble.
    pub async fn try_submit(&self, file: &Path) -> Heard {
        let bytes = tokio::fs::read(file).await.expect("the file is there");
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let form = Form::new().part("file", Part::bytes(bytes).file_name(name));
        let request = self.request(Method::POST, "/v1/conversions").multipart(form).timeout(PATIENCE);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() => return Heard::Wrong(format!("no answer within {PATIENCE:?}")),
            Err(_) => return Heard::Nothing,
        };
        // An answer that breaks off may be repeated: its header tells as much.
        let place = answer.headers().get("location").and_then(|place| place.to_str().ok()?.rsplit('/').next());
        match (answer.status().as_u16(), place) {
            (202, Some(id)) => Heard::Accepted(id.to_owned()),
            (503, None) if answer.headers().contains_key("retry-after") => Heard::Later,
            _ => Heard::Wrong(format!("{answer:?}")),
        }
    }

    pub async fn conversion(&self, id: &str) -> Value {
        let answer = self.get(&format!("/v1/conversions/{id}")).await;
        assert_eq!(answer.status(), 200);
        answer.json().await.expect("JSON")
    }

    /// Waits until a conversion is over, one way or the other.
    pub async fn outcome(&self, id: &str) -> Value {
        let over = async || {
            let conversion = self.conversion(id).await;
            let state = conversion["state"].as_str().expect("a state");
            matches!(state, "done" | "failed" | "cancelled").then_some(conversion)
        };
        eventually(PATIENCE, over).await
    }

    /// A film in, its conversion when it is over.
    pub async fn convert(&self, file: &Path) -> Value {
        self.outcome(&self.submit(file).await).await
    }

    /// The MP3 of a conversion that is done.
    pub async fn mp3(&self, conversion: &Value) -> Vec<u8> {
        assert_eq!(conversion["state"], "done", "{conversion}");
        let fid = conversion["mp3_fid"].as_str().expect("an id");
        let answer = self.get(&format!("/download?fid={fid}")).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "audio/mpeg");
        answer.bytes().await.expect("a whole body").to_vec()
    }
}

async fn id_of(answer: Response) -> String {
    let conversion: Value = answer.json().await.expect("JSON");
    conversion["id"].as_str().expect("an id").to_owned()
}
