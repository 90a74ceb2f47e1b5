//! Watching conversions.

use std::time::Duration;

use e2e::{App, Product, Setup, User};
use futures_util::{Stream, StreamExt};
use reqwest::Method;
use serde_json::Value;
use testkit::media;

use crate::problem;

/// No event is waited for longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// An open stream of server-sent events.
struct Events {
    bytes: std::pin::Pin<Box<dyn Stream<Item = String> + Send>>,
    text: String,
}

impl Events {
    async fn open(user: &User, path: &str) -> Self {
        let answer = user.get(path).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let bytes = answer
            .bytes_stream()
            .map(|piece| String::from_utf8(piece.expect("a whole stream").to_vec()).expect("text"));
        Self { bytes: Box::pin(bytes), text: String::new() }
    }

    /// The next event's name and data; `None` at the stream's end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)).map(|text| text.trim().to_owned())
                };
                let found = field("event:").zip(field("data:"));
                self.text = rest.to_owned();
                // A comment is no event.
                let Some((name, data)) = found else { continue };
                return Some((name, serde_json::from_str(&data).expect("JSON")));
            }
            let piece = tokio::time::timeout(PATIENCE, self.bytes.next()).await.expect("an event in time");
            self.text.push_str(&piece?);
        }
    }

    /// Reads on to an event that fits.
    async fn until(&mut self, fits: impl Fn(&str, &Value) -> bool) -> Value {
        loop {
            let (name, data) = self.next().await.expect("the stream goes on");
            if fits(&name, &data) {
                return data;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_is_watched_to_its_end() {
    let mut app = App::start_with(Setup { converters: Some(0), ..Setup::default() }).await;
    let (ada, ben) = (app.user("ada").await, app.user("ben").await);
    let film = app.path("film.mp4");
    // Long enough for progress to be seen.
    media::long_film(&app.path("long.mp4"), 30).expect("a long film");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    let mut all = Events::open(&ada, "/v1/events").await;
    let first = ada.submit(&app.path("long.mp4")).await;
    let second = ada.submit(&film).await;
    ben.submit(&film).await;

    let mut one = Events::open(&ada, &format!("/v1/conversions/{second}/events")).await;
    let (name, at_once) = one.next().await.expect("an event at once");
    assert_eq!((name.as_str(), &at_once["state"], &at_once["position"]), ("progress", &"queued".into(), &2.into()));
    all.until(|_, data| data["id"] == first.as_str() && data["state"] == "queued" && data["position"] == 1).await;
    all.until(|_, data| data["id"] == second.as_str() && data["position"] == 2).await;
    assert_eq!(problem(ben.get(&format!("/v1/conversions/{first}/events")).await).await.0, 404);

    app.add_converter().await;
    // It moves up although nothing happens to it.
    one.until(|_, data| data["position"] == 1).await;
    let under_way = all.until(|_, data| data["state"] == "converting" && data["percent"].as_u64() > Some(0)).await;
    assert!(under_way["id"] == first.as_str() && under_way["eta_s"].as_u64().is_some(), "{under_way}");
    let done = one.until(|_, data| data["state"] == "done").await;
    assert!(done["mp3_fid"].is_string() && done["percent"] == 100, "{done}");
    assert_eq!(one.next().await, None, "it ends with the conversion");

    let back = ada.request(Method::GET, &format!("/v1/conversions/{second}/events")).header("last-event-id", "over");
    assert_eq!(back.send().await.expect("an answer").status(), 204);
    let mut late = Events::open(&ada, &format!("/v1/conversions/{second}/events")).await;
    assert_eq!(late.next().await.map(|(_, data)| data["state"].clone()), Some("done".into()));
    assert_eq!(late.next().await, None);

    all.until(|_, data| data["id"] == second.as_str() && data["state"] == "done").await;
    assert_eq!(ada.delete(&format!("/v1/conversions/{second}")).await.status(), 204);
    all.until(|name, data| name == "removed" && data["id"] == second.as_str()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_limited_and_do_not_hold_a_shutdown_up() {
    let env = vec![("MAX_EVENT_STREAMS", "2".to_owned())];
    let mut app = App::start_with(Setup { converters: Some(0), env, ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    let id = ada.submit(&film).await;
    let mut all = Events::open(&ada, "/v1/events").await;
    let mut one = Events::open(&ada, &format!("/v1/conversions/{id}/events")).await;
    // What is under way is told at once.
    assert!(all.next().await.is_some_and(|(_, data)| data["id"] == id.as_str()));
    let full = ada.get("/v1/events").await;
    assert_eq!(full.headers()["retry-after"], "5");
    assert_eq!(problem(full).await.0, 503);

    app.gateway.stop(Duration::from_secs(10)).await;
    while all.next().await.is_some() {}
    while one.next().await.is_some() {}
}
