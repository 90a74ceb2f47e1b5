//! What is kept, and for how long.

use std::time::Duration;

use e2e::{Files, Kept, Product, Setup, text};
use reqwest::Method;
use testkit::{eventually, media};

const SOON: Duration = Duration::from_secs(30);

pub async fn videos_go_and_mp3s_stay<P: Product>() {
    let app = P::start_with(Setup { env: vec![("VIDEO_TTL", "0s".to_owned())], ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let (film, silent) = (app.path("film.mp4"), app.path("silent.mp4"));
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    media::silent_film(&silent, 2.0).expect("a silent film");
    let (done, failed) = (ada.convert(&film).await, ada.convert(&silent).await);
    assert_eq!((&done["state"], &failed["state"]), (&"done".into(), &"failed".into()));
    eventually(SOON, async || app.kept().await.videos == Files::default()).await;

    let path = format!("/v1/conversions/{}", failed["id"].as_str().expect("an id"));
    eventually(SOON, async || ada.conversion(failed["id"].as_str().expect("an id")).await["video_expired"] == true)
        .await;
    let again = ada.request(Method::POST, &format!("{path}/retry")).send().await.expect("an answer");
    let (status, _, body) = text(again).await;
    assert_eq!(status, 409);
    assert!(body.contains("the video is no longer kept: upload it once more"), "{body}");
    assert_eq!(ada.conversion(failed["id"].as_str().expect("an id")).await["state"], "failed");
    let kept = app.kept().await;
    assert_eq!((kept.videos, kept.mp3s, kept.records), (Files::default(), Files::exactly(1), 2));
    assert!(!ada.mp3(&done).await.is_empty());
}

pub async fn records_go_with_all_their_files_when_their_owner_knows<P: Product>() {
    let app = P::start_with(Setup { env: vec![("MP3_TTL", "0s".to_owned())], ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    let id = ada.submit(&film).await;
    eventually(SOON, async || ada.get(&format!("/v1/conversions/{id}")).await.status() == 404).await;
    eventually(SOON, async || app.kept().await == Kept::default()).await;
    let mail = app.smtp().wait_for_mail(|mail| mail.to == ["ada@example.com"], SOON).await;
    assert_eq!(mail.subject(), "MP3 Download");
}
