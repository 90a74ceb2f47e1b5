//! Cancelling, and trying again.

use std::time::Duration;

use e2e::{App, Product, Setup};
use mongodb::{
    Client,
    bson::{Document, doc, oid::ObjectId},
};
use serde_json::Value;
use testkit::{eventually, media};

use crate::problem;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_tried_again_and_tells_of_its_end_again() {
    let app = App::start().await;
    let (ada, ben) = (app.user("ada").await, app.user("ben").await);
    let silent = app.path("silent.mp4");
    media::silent_film(&silent, 2.0).expect("a silent film");
    let id = ada.submit(&silent).await;
    let path = format!("/v1/conversions/{id}/retry");
    let mail = |run: &str| format!("<{id}{run}.failed@example.com>");
    assert_eq!(ada.outcome(&id).await["state"], "failed");
    let first = mail("");
    app.smtp.wait_for_mail(|mail| mail.message_id().is_some_and(|id| first.contains(&id)), SOON).await;

    assert_eq!(problem(ben.post(&path).await).await, (404, "not found".to_owned()));
    let answer = ada.post(&path).await;
    assert_eq!(answer.status(), 202);
    let again: Value = answer.json().await.expect("JSON");
    assert_eq!((&again["run"], &again["reason"], &again["id"]), (&2.into(), &Value::Null, &id.as_str().into()));
    let over = ada.outcome(&id).await;
    assert_eq!((&over["state"], &over["run"]), (&"failed".into(), &2.into()));
    let second = mail(".2");
    app.smtp.wait_for_mail(|mail| mail.message_id().is_some_and(|id| second.contains(&id)), SOON).await;
    assert_eq!(app.smtp.mails().len(), 2);

    // Without its video there is nothing to try.
    let store = Client::with_uri_str(app.mongod.url()).await.expect("connect");
    let job = store.database("mp3converter").collection::<Document>("jobs").find_one(doc! {"_id": &id}).await;
    let job = job.expect("asked").expect("there");
    let video = ObjectId::parse_str(job.get_str("video_fid").expect("an id")).expect("an id");
    let videos = store.database("videos").collection::<Document>("fs.files");
    assert_eq!(videos.delete_one(doc! {"_id": video}).await.expect("deleted").deleted_count, 1);
    assert_eq!(problem(ada.post(&path).await).await, (404, "not found".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_can_go_on_after_all() {
    let mut app = App::start_with(Setup { converters: Some(0), ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    let (id, other) = (ada.submit(&film).await, ada.submit(&film).await);
    let (cancel, retry) = (format!("/v1/conversions/{id}/cancel"), format!("/v1/conversions/{id}/retry"));
    assert_eq!(ada.conversion(&id).await["position"], 1);
    assert_eq!(problem(ada.post(&retry).await).await.0, 409);
    let cancelled: Value = ada.post(&cancel).await.json().await.expect("JSON");
    assert_eq!((&cancelled["state"], &cancelled["position"]), (&"cancelled".into(), &Value::Null));
    assert_eq!(problem(ada.post(&cancel).await).await.0, 409);

    assert_eq!(ada.post(&retry).await.status(), 202);
    // The line is looked at twice a second.
    eventually(SOON, async || ada.conversion(&id).await["position"] == 2).await;
    assert_eq!(ada.conversion(&other).await["position"], 1);
    app.add_converter().await;
    let done = ada.outcome(&id).await;
    assert_eq!((&done["state"], &done["run"], &done["position"]), (&"done".into(), &2.into(), &Value::Null));
    assert!(!ada.mp3(&done).await.is_empty());
    assert_eq!(problem(ada.post(&retry).await).await.0, 409);
    assert_eq!(ada.outcome(&other).await["state"], "done");
    eventually(SOON, async || app.smtp.mails().len() == 2).await;
}
