//! Films in, MP3s out.

use std::{collections::HashSet, time::Duration};

use e2e::{Files, Kept, Product, Setup, User};
use testkit::{eventually, media};

const SOON: Duration = Duration::from_secs(30);

/// The MP3 must last as long as the film and say the same words.
async fn assert_same_sound(user: &User, conversion: &serde_json::Value, film: &std::path::Path) {
    let mp3 = media::decode_mp3(&user.mp3(conversion).await).expect("an MP3");
    let original = media::reference(film, mp3.rate, mp3.channels).expect("the film's own sound");
    let apart = (mp3.seconds() - original.seconds()).abs();
    assert!(apart < 0.05, "{} s instead of {} s", mp3.seconds(), original.seconds());
    let similarity = media::similarity(&original, &mp3);
    assert!(similarity > 0.95, "similarity {similarity}");
    assert!((conversion["duration_s"].as_f64().expect("a length") - mp3.seconds()).abs() < 0.01, "{conversion}");
}

pub async fn one_users_film<P: Product>() {
    let app = P::start().await;
    let ada = app.user("ada").await;
    let film = app.path("Ein schöner Tag.mp4");
    media::film(&film, 6.0, &media::Film::default()).expect("a film");

    let id = ada.submit(&film).await;
    let conversion = ada.outcome(&id).await;
    assert_same_sound(&ada, &conversion, &film).await;
    assert_eq!(conversion["filename"], "Ein schöner Tag.mp4");
    assert_eq!(conversion["percent"], 100);
    assert_eq!(conversion["video_bytes"], film.metadata().expect("film").len());

    let fid = conversion["mp3_fid"].as_str().expect("an id");
    let mail = app.smtp().wait_for_mail(|mail| mail.to == ["ada@example.com"], SOON).await;
    assert_eq!(mail.subject(), "MP3 Download");
    assert_eq!(mail.text().lines().next(), Some(format!("mp3 file_id: {fid} is now ready!").as_str()));

    // The one job id leads through all four logs.
    for service in app.services() {
        eventually(SOON, async || service.log().contains(&id)).await;
    }

    // The name comes from the file when the film has no title of its own.
    let mp3 = ada.mp3(&conversion).await;
    assert_eq!(&mp3[..3], b"ID3");

    // Deleting it removes both files and the record.
    assert_eq!(ada.delete(&format!("/v1/conversions/{id}")).await.status(), 204);
    assert_eq!(ada.get(&format!("/v1/conversions/{id}")).await.status(), 404);
    assert_eq!(ada.get(&format!("/download?fid={fid}")).await.status(), 404);
    assert_eq!(app.kept().await, Kept::default());
}

pub async fn twenty_uploads_over_two_workers_are_converted_once_each<P: Product>() {
    let app = P::start_with(Setup { converters: Some(2), ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let film = app.path("film.mkv");
    media::film(&film, 3.0, &media::Film::default()).expect("a film");

    let mut uploads = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (ada, film) = (ada.clone(), film.clone());
        uploads.spawn(async move { ada.convert(&film).await });
    }
    let conversions = uploads.join_all().await;
    let fids: HashSet<_> = conversions.iter().map(|c| c["mp3_fid"].as_str().expect("done").to_owned()).collect();
    assert_eq!(fids.len(), 20);
    assert_same_sound(&ada, &conversions[0], &film).await;

    eventually(SOON, async || app.smtp().mails().len() >= 20).await;
    let mails: HashSet<_> = app.smtp().mails().iter().filter_map(|mail| mail.message_id()).collect();
    assert_eq!((mails.len(), app.smtp().mails().len()), (20, 20));

    let kept = app.kept().await;
    assert_eq!((kept.mp3s, kept.done, kept.attempts), (Files::exactly(20), 20, 20), "each once: {kept:?}");
    // Both had their share.
    for worker in app.workers() {
        assert!(worker.log().contains("\"converted\""), "a worker stood idle");
    }
    let page: serde_json::Value = ada.get("/v1/conversions?limit=7").await.json().await.expect("JSON");
    assert_eq!(page["conversions"].as_array().expect("a list").len(), 7);
    let next = page["next"].as_str().expect("more");
    let page: serde_json::Value = ada.get(&format!("/v1/conversions?cursor={next}")).await.json().await.expect("JSON");
    assert_eq!((page["conversions"].as_array().expect("a list").len(), page["next"].is_null()), (13, true));
}

pub async fn two_users_cannot_see_each_other<P: Product>() {
    let app = P::start().await;
    let (ada, ben) = (app.user("ada").await, app.user("ben").await);
    let film = app.path("film.webm");
    media::film(&film, 2.0, &media::Film { rate: 48_000, ..media::Film::default() }).expect("a film");
    let conversion = ada.convert(&film).await;
    let (id, fid) = (conversion["id"].as_str().expect("id"), conversion["mp3_fid"].as_str().expect("done"));

    // Another's is not told apart from none at all.
    let unknown = common::Id::fresh().to_string();
    for fid in [fid, &unknown, "nonsense", conversion["id"].as_str().expect("id")] {
        let answer = e2e::text(ben.get(&format!("/download?fid={fid}")).await).await;
        assert_eq!((answer.0, answer.2.as_str()), (404, "not found"), "{fid}");
    }
    for id in [id, &unknown, "nonsense"] {
        let answer = ben.get(&format!("/v1/conversions/{id}")).await;
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.status(), 404);
        assert_eq!(ben.delete(&format!("/v1/conversions/{id}")).await.status(), 404);
    }
    let list: serde_json::Value = ben.get("/v1/conversions").await.json().await.expect("JSON");
    assert_eq!(list, serde_json::json!({"conversions": [], "next": null}));
    let list: serde_json::Value = ada.get("/v1/conversions").await.json().await.expect("JSON");
    assert_eq!(list["conversions"][0]["id"], id);
    assert_same_sound(&ada, &conversion, &film).await;
}

pub async fn what_cannot_be_converted_fails_in_plain_words<P: Product>() {
    let app = P::start().await;
    let ada = app.user("ada").await;
    let good = app.path("good.mp4");
    media::film(&good, 3.0, &media::Film::default()).expect("a film");
    let (silent, text, playlist, script, damaged, empty) = (
        app.path("silent.mp4"),
        app.path("text.mp4"),
        app.path("playlist.mp4"),
        app.path("script.mp4"),
        app.path("damaged.mp4"),
        app.path("empty.mp4"),
    );
    media::silent_film(&silent, 2.0).expect("a silent film");
    media::text_file(&text).expect("a text");
    media::playlist_in_disguise(&playlist, &good).expect("a playlist");
    media::concat_in_disguise(&script, &good).expect("a script");
    std::fs::copy(&good, &damaged).expect("a copy");
    media::damaged_film(&damaged).expect("damage");
    std::fs::write(&empty, b"").expect("an empty file");

    for (film, word) in [
        (&silent, "no sound"),
        (&text, "not a video"),
        (&playlist, "not a video"),
        (&script, "not a video"),
        (&damaged, "damaged"),
        (&empty, "not a video"),
    ] {
        let conversion = ada.convert(film).await;
        assert_eq!((&conversion["state"], &conversion["mp3_fid"]), (&"failed".into(), &serde_json::Value::Null));
        let reason = conversion["reason"].as_str().expect("a reason");
        assert!(reason.contains(word), "{}: {reason}", film.display());
        let mail = app.smtp().wait_for_mail(|mail| mail.text().contains(reason), SOON).await;
        assert_eq!(
            (mail.subject().as_str(), mail.to.as_slice()),
            ("MP3 conversion failed", &["ada@example.com".to_owned()][..])
        );
        // What failed can be removed as well.
        let id = conversion["id"].as_str().expect("an id");
        assert_eq!(ada.delete(&format!("/v1/conversions/{id}")).await.status(), 204);
    }
    // The worker has survived all of it.
    assert_eq!(ada.convert(&good).await["state"], "done");
}

pub async fn a_conversion_can_be_cancelled<P: Product>() {
    let app = P::start().await;
    let ada = app.user("ada").await;
    let (film, long) = (app.path("film.mp4"), app.path("long.mkv"));
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    media::film(&long, 240.0, &media::Film::default()).expect("a film");
    // The one worker is busy; what comes behind has to wait.
    let before = ada.submit(&long).await;
    let id = ada.submit(&film).await;
    assert_eq!(ada.conversion(&id).await["state"], "queued");
    assert_eq!(ada.delete(&format!("/v1/conversions/{id}")).await.status(), 204);
    assert_eq!(ada.conversion(&id).await["state"], "cancelled");
    // The worker that comes to it later leaves it alone.
    assert_eq!(ada.outcome(&before).await["state"], "done");
    assert_eq!(ada.convert(&film).await["state"], "done");
    assert_eq!(ada.conversion(&id).await["state"], "cancelled");
    assert_eq!(ada.delete(&format!("/v1/conversions/{id}")).await.status(), 204);
    assert_eq!(ada.get(&format!("/v1/conversions/{id}")).await.status(), 404);
}
