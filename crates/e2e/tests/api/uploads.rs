//! What an upload can ask for, and sending one twice.

use std::{collections::HashSet, path::Path};

use e2e::{App, Product, Setup, User};
use mongodb::{
    Client,
    bson::{Document, doc},
};
use reqwest::{
    Method, Response,
    multipart::{Form, Part},
};
use serde_json::Value;
use testkit::{eventually, media};

use crate::problem;

fn film(path: &Path) -> Part {
    Part::bytes(std::fs::read(path).expect("the film")).file_name("film.mp4")
}

async fn send(user: &User, query: &str, form: Form) -> Response {
    let request = user.request(Method::POST, &format!("/v1/conversions{query}")).multipart(form);
    request.send().await.expect("an answer")
}

async fn keyed(user: &User, key: &str, path: &Path) -> Response {
    let request = user.request(Method::POST, "/v1/conversions").header("idempotency-key", key);
    request.multipart(Form::new().part("file", film(path))).send().await.expect("an answer")
}

async fn accepted(answer: Response) -> String {
    assert_eq!(answer.status(), 202);
    let location = answer.headers()["location"].to_str().expect("text").to_owned();
    let conversion: Value = answer.json().await.expect("JSON");
    let id = conversion["id"].as_str().expect("an id").to_owned();
    assert_eq!(location, format!("/v1/conversions/{id}"));
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mp3_is_as_it_was_asked_for() {
    let app = App::start().await;
    let ada = app.user("ada").await;
    let path = app.path("film.mp4");
    media::film(&path, 20.0, &media::Film::default()).expect("a film");
    let file = || Form::new().part("file", film(&path));
    let wished = || Form::new().text("note", "nothing to us").text("bitrate", "32").part("file", film(&path));
    let constant = ada.outcome(&accepted(send(&ada, "?bitrate=320", file()).await).await).await;
    let low = ada.outcome(&accepted(send(&ada, "", wished()).await).await).await;
    let best = ada.outcome(&accepted(send(&ada, "?quality=0&bitrate=", file()).await).await).await;
    let smallest = ada.outcome(&accepted(send(&ada, "?quality=9", file()).await).await).await;
    assert_eq!((&constant["bitrate"], &constant["quality"]), (&320.into(), &Value::Null));
    assert_eq!((&low["bitrate"], &smallest["quality"]), (&32.into(), &9.into()));
    let kbps =
        |one: &Value| one["mp3_bytes"].as_f64().expect("done") * 8e-3 / one["duration_s"].as_f64().expect("done");
    assert!((kbps(&constant) - 320.0).abs() < 8.0, "{} kbit/s", kbps(&constant));
    assert!((kbps(&low) - 32.0).abs() < 3.0, "{} kbit/s", kbps(&low));
    assert!(kbps(&smallest) < 0.75 * kbps(&best), "{} and {} kbit/s", kbps(&smallest), kbps(&best));

    let part = Form::new().text("start", "00:00:05.25").text("end", "7.5").part("file", film(&path));
    let part = ada.outcome(&accepted(send(&ada, "?channels=mono", part).await).await).await;
    assert_eq!((&part["channels"], &part["start"], &part["end"]), (&"mono".into(), &5.25.into(), &7.5.into()));
    assert_eq!((&part["state"], &part["duration_s"]), (&"done".into(), &2.25.into()));
    let mp3 = media::decode_mp3(&ada.mp3(&part).await).expect("an MP3");
    assert_eq!((mp3.channels, mp3.frames()), (1, 99_225));
    let original = media::reference(&path, mp3.rate, 1).expect("the film's sound");
    let from = (5.25 * f64::from(mp3.rate)) as usize;
    let there = original.samples[0][from..from + mp3.frames()].to_vec();
    let likeness = media::compare(&media::Pcm { samples: vec![there], ..mp3.clone() }, &mp3);
    assert!(likeness.similarity > 0.97 && likeness.lag == 0, "{likeness:?}");
    let beyond = ada.outcome(&accepted(send(&ada, "?start=60", file()).await).await).await;
    assert_eq!(beyond["state"], "failed");
    assert_eq!(beyond["reason"], "there is no sound at 1:00: it ends at 0:20");

    let low = ada.outcome(&accepted(send(&ada, "?sample_rate=16000&stream=1", file()).await).await).await;
    assert_eq!((&low["sample_rate"], &low["stream"]), (&16_000.into(), &"1".into()));
    assert_eq!(media::decode_mp3(&ada.mp3(&low).await).expect("an MP3").rate, 16_000);
    let voice =
        ada.outcome(&accepted(send(&ada, "?preset=voice&sample_rate=22050&normalize=-16", file()).await).await).await;
    assert_eq!((&voice["preset"], &voice["normalize"]), (&"voice".into(), &"-16".into()));
    assert_eq!(voice["channels"], Value::Null, "as it was asked for");
    let mp3 = media::decode_mp3(&ada.mp3(&voice).await).expect("an MP3");
    assert_eq!((mp3.rate, mp3.channels), (22_050, 1));
    let named = Form::new().text("title", "Ünder").text("track", "3/12").part("file", film(&path));
    let named = ada.outcome(&accepted(send(&ada, "?artist=Ada%20%26%20Ben&end=1", named).await).await).await;
    assert_eq!((&named["title"], &named["artist"]), (&"Ünder".into(), &"Ada & Ben".into()));
    let mp3 = ada.mp3(&named).await;
    for text in ["Ünder", "Ada & Ben", "3/12"] {
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(mp3.windows(utf16.len()).any(|there| there == utf16), "{text}");
    }
    let path_of = |one: &Value| format!("/v1/conversions/{}/waveform", one["id"].as_str().expect("an id"));
    let picture: Value = ada.get(&path_of(&named)).await.json().await.expect("JSON");
    let points = picture["points"].as_array().expect("points");
    assert!(points.len() == 240 && points.contains(&255.into()), "{picture}");
    assert_eq!(app.user("ben").await.get(&path_of(&named)).await.status(), 404);
    let missing = ada.outcome(&accepted(send(&ada, "?stream=2", file()).await).await).await;
    assert_eq!(missing["reason"], "there is no sound track 2: this video has only 1");

    assert_eq!(ada.get(&path_of(&missing)).await.status(), 404, "there is no sound");

    // What cannot be made is refused, and nothing is kept.
    let late = Form::new().part("file", film(&path)).text("quality", "3");
    for (query, form) in [
        ("?quality=10", file()),
        ("?bitrate=100", file()),
        ("?quality=1&bitrate=128", file()),
        ("?quality=1", wished()),
        ("?channels=5.1", file()),
        ("?preset=loud", file()),
        ("?preset=voice&bitrate=320", file()),
        ("?sample_rate=96000", file()),
        ("?sample_rate=8000&bitrate=320", file()),
        ("?stream=0", file()),
        ("?stream=german", file()),
        ("?normalize=0", file()),
        ("?year=99", file()),
        ("", Form::new().text("comment", "x".repeat(1001)).part("file", film(&path))),
        ("?start=soon", file()),
        ("?start=8&end=7.5", file()),
        ("?end=0", file()),
        ("?start=30", Form::new().text("end", "00:00:30").part("file", film(&path))),
        ("", late),
        ("", Form::new().text("quality", "x".repeat(100)).part("file", film(&path))),
    ] {
        let (status, detail) = problem(send(&ada, query, form).await).await;
        assert_eq!(status, 422, "{query}: {detail}");
    }
    let kept = async || {
        let list: Value = ada.get("/v1/conversions").await.json().await.expect("JSON");
        list["conversions"].as_array().expect("a list").len() == 10
    };
    eventually(std::time::Duration::from_secs(10), kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_means_the_same_upload() {
    let app = App::start_with(Setup { converters: Some(0), ..Setup::default() }).await;
    let (ada, ben) = (app.user("ada").await, app.user("ben").await);
    let path = app.path("film.mp4");
    media::film(&path, 2.0, &media::Film::default()).expect("a film");
    let id = accepted(keyed(&ada, "the one", &path).await).await;
    assert_eq!(accepted(keyed(&ada, "the one", &path).await).await, id);
    assert_eq!(ada.conversion(&id).await["idempotency_key"], "the one");
    assert_ne!(accepted(keyed(&ada, "another", &path).await).await, id);
    assert_ne!(accepted(keyed(&ben, "the one", &path).await).await, id, "every user has their own keys");
    for bad in [" ", &"x".repeat(256)] {
        assert_eq!(problem(keyed(&ada, bad, &path).await).await.0, 400);
    }
    // The classic layer knows it too.
    let classic = ada.request(Method::POST, "/upload").header("idempotency-key", "the one");
    let classic = classic.multipart(Form::new().part("file", film(&path))).send().await.expect("an answer");
    assert_eq!((classic.status().as_u16(), classic.text().await.expect("text").as_str()), (200, "success!"));

    // However long the film is, who sends it again gets to read the answer.
    let long = app.path("long.mov");
    media::big_film(&long, 48 << 20).expect("a film");
    let first = accepted(keyed(&ada, "long", &long).await).await;
    assert_eq!(accepted(keyed(&ada, "long", &long).await).await, first);

    // Of many at the same time one wins; the others learn of it, or are to come back.
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (ada, path) = (ada.clone(), path.clone());
        racers.spawn(async move {
            let answer = keyed(&ada, "race", &path).await;
            if answer.status() == 409 {
                assert!(problem(answer).await.1.contains("Idempotency-Key"));
                return None;
            }
            Some(accepted(answer).await)
        });
    }
    let winners: HashSet<String> = racers.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    let store = Client::with_uri_str(app.mongod.url()).await.expect("connect");
    let videos = store.database("videos").collection::<Document>("fs.files");
    assert_eq!(videos.count_documents(doc! {}).await.expect("count"), 5);

    // It stays the same when it is over, and is free when it is deleted.
    assert_eq!(ada.post(&format!("/v1/conversions/{id}/cancel")).await.status(), 200);
    assert_eq!(accepted(keyed(&ada, "the one", &path).await).await, id);
    assert_eq!(ada.delete(&format!("/v1/conversions/{id}")).await.status(), 204);
    assert_ne!(accepted(keyed(&ada, "the one", &path).await).await, id);
}
