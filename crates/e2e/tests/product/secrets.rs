//! What must be in no log and in no answer.

use std::time::Duration;

use e2e::{Product, Setup, text};
use testkit::{eventually, media};

const SOON: Duration = Duration::from_secs(30);
/// Stands in every secret that this test makes.
const MARK: &str = "hunter2marked";

/// The words that nobody may read, among them what HTTP Basic makes of the address.
fn private(token: &str) -> Vec<String> {
    [MARK, token, "YWRhQGV4YW1wbGUuY29t", "ada@example.com"].map(str::to_owned).to_vec()
}

pub async fn no_secret_is_logged_or_answered<P: Product>() {
    let env = vec![
        ("JWT_SECRET", format!("{MARK} signs tokens, and is long enough for it")),
        ("JWT_SECRET_PREVIOUS", format!("{MARK} signed tokens, and was long enough for it")),
        ("LOG_LEVEL", "debug".to_owned()),
    ];
    let app = P::start_with(Setup { env, ..Setup::default() }).await;
    let (http, url) = (reqwest::Client::new(), app.gateway().url());
    let password = format!("{MARK} horse");
    let ada = e2e::User::register(&url, "ada@example.com", &password).await;
    let film = app.path("film.mp4");
    media::film(&film, 1.0, &media::Film::default()).expect("a film");
    let silent = app.path("silent.mp4");
    media::silent_film(&silent, 1.0).expect("a silent film");
    let done = ada.convert(&film).await;
    ada.convert(&silent).await;
    eventually(SOON, async || app.smtp().mails().len() >= 2).await;

    // Whatever can go wrong with somebody's secrets in the request.
    let mut said = Vec::new();
    let wrong = http.post(format!("{url}/login")).basic_auth("ada@example.com", Some(format!("{MARK} guess")));
    said.push(text(wrong.send().await.expect("sent")).await);
    let again = serde_json::json!({"email": "ada@example.com", "password": password});
    said.push(text(http.post(format!("{url}/register")).json(&again).send().await.expect("sent")).await);
    let broken = http.post(format!("{url}/register")).body(format!("{{\"password\": \"{password}\""));
    said.push(text(broken.send().await.expect("sent")).await);
    let broken = http.post(format!("{url}/session")).header("content-type", "application/json");
    said.push(text(broken.body(format!("{{\"password\": {password}")).send().await.expect("sent")).await);
    let forged = http.get(format!("{url}/v1/conversions")).bearer_auth(format!("{}{MARK}", ada.token));
    said.push(text(forged.send().await.expect("sent")).await);
    said.push(text(ada.get(&format!("/download?fid={MARK}")).await).await);
    said.push(text(ada.get(&format!("/v1/conversions?cursor={MARK}")).await).await);
    assert!(said.iter().all(|(status, _, _)| *status >= 400), "{said:?}");
    for (status, _, body) in &said {
        assert!(!body.contains(MARK) && !body.contains(&ada.token), "{status}: {body}");
    }
    // Metrics are for others to read than logs.
    let metrics = app.gateway().metrics().await;
    let id = done["id"].as_str().expect("an id");
    for service in app.services() {
        let log = service.log();
        assert!(log.contains("\"started\"") && log.contains(id), "it does log: {log}");
        for word in private(&ada.token) {
            let line = log.lines().find(|line| line.contains(&word));
            assert_eq!(line, None, "{word} is in the log");
            assert!(!metrics.contains(&word), "{word} is in the metrics");
        }
    }
}
