//! Things that die in between.

use std::{collections::HashSet, time::Duration};

use e2e::{App, Files, Product, Setup, text};
use mongodb::{
    Client,
    bson::{Binary, DateTime, Document, doc, oid::ObjectId, spec::BinarySubtype},
};
use testkit::{Breakage, eventually, media};

const SOON: Duration = Duration::from_secs(30);
/// Of the [long film](long_film), in seconds: so many that its conversion can be caught at work.
const LONG: f64 = 600.0;

fn long_film(app: &App) -> std::path::PathBuf {
    let film = app.path("long.mkv");
    media::film(&film, LONG, &media::Film::default()).expect("a film");
    film
}

async fn converting(app: &App, id: &str) {
    let store = Client::with_uri_str(app.mongod.url()).await.expect("connect");
    let ledger = store.database("mp3converter").collection::<Document>("jobs");
    let at_work = doc! {"_id": id, "state": "converting"};
    eventually(SOON, async || ledger.count_documents(at_work.clone()).await.is_ok_and(|count| count == 1)).await;
}

async fn exactly_one_mp3(app: &App) {
    assert_eq!(app.kept().await.mp3s, Files::exactly(1), "remains of a broken attempt were left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_costs_time_only() {
    let mut app = App::start().await;
    let ada = app.user("ada").await;
    let id = ada.submit(&long_film(&app)).await;
    converting(&app, &id).await;
    app.converters[0].kill();
    app.add_converter().await;
    let conversion = ada.outcome(&id).await;
    assert_eq!(conversion["state"], "done");
    let mp3 = media::decode_mp3(&ada.mp3(&conversion).await).expect("an MP3");
    assert!((mp3.seconds() - LONG).abs() < 0.1, "{}", mp3.seconds());
    exactly_one_mp3(&app).await;
    app.smtp.wait_for_mail(|mail| mail.subject() == "MP3 Download", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_gives_its_job_back() {
    let env = vec![("SHUTDOWN_GRACE", "0s".to_owned())];
    let mut app = App::start_with(Setup { env, ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let id = ada.submit(&long_film(&app)).await;
    converting(&app, &id).await;
    let mut first = app.converters.remove(0);
    first.stop(SOON).await;
    assert!(first.log().contains("given back"), "{}", first.log());
    assert_eq!(ada.conversion(&id).await["state"], "queued");
    app.add_converter().await;
    assert_eq!(ada.outcome(&id).await["state"], "done");
    exactly_one_mp3(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_finishes_a_job_that_is_nearly_done() {
    let env = vec![("SHUTDOWN_GRACE", "60s".to_owned())];
    let mut app = App::start_with(Setup { env, ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let id = ada.submit(&long_film(&app)).await;
    converting(&app, &id).await;
    app.converters[0].stop(Duration::from_secs(60)).await;
    assert_eq!(ada.conversion(&id).await["state"], "done");
}

/// Longer stopped than its lease: another has done its work, and its own result must lose.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_comes_back_from_the_dead_loses() {
    let mut app = App::start().await;
    let ada = app.user("ada").await;
    let id = ada.submit(&long_film(&app)).await;
    converting(&app, &id).await;
    app.converters[0].signal(libc::SIGSTOP);
    app.add_converter().await;
    let conversion = ada.outcome(&id).await;
    assert_eq!(conversion["state"], "done");
    app.converters[0].signal(libc::SIGCONT);
    app.converters[0].learns_that_it_lost(SOON).await;
    assert_eq!(ada.conversion(&id).await["mp3_fid"], conversion["mp3_fid"]);
    media::decode_mp3(&ada.mp3(&conversion).await).expect("the winner's MP3");
    eventually(SOON, async || {
        let store = Client::with_uri_str(app.mongod.url()).await.expect("connect");
        let chunks = store.database("mp3s").collection::<Document>("fs.chunks");
        chunks.distinct("files_id", doc! {}).await.is_ok_and(|owners| owners.len() == 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_told_at_once_and_found_again() {
    let mut app = App::start().await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    app.mongod.stop().await.expect("stops");
    let answer = ada.upload(&film).await;
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(answer.status(), 503);
    assert_eq!(text(ada.get("/v1/conversions").await).await.0, 503);
    app.mongod.restart().await.expect("starts again");
    for service in app.services() {
        service.ready().await;
    }
    assert_eq!(ada.convert(&film).await["state"], "done");
}

/// It takes what it is sent and says nothing, as a server whose disk stands still.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_says_nothing_is_not_waited_for_without_end() {
    let env = [("STORE_TIMEOUT", "2s"), ("LEDGER_TIMEOUT", "2s"), ("UPLOAD_DEADLINE", "8s")];
    let env = env.map(|(name, value)| (name, value.to_owned())).into();
    let app = App::start_with(Setup { env, wired: true, ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    let under_way = ada.begin_upload(&app.path("big.mov")).await;
    eventually(SOON, async || app.kept().await.videos.any == 1).await;
    let wire = &app.wires.as_ref().expect("wired").mongodb;
    wire.break_it(Breakage::Blackhole);
    let answers = async {
        assert_eq!(ada.submit_or_later(&film).await, None);
        if let Ok(answer) = under_way.await.expect("no panic") {
            assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true));
        }
    };
    tokio::time::timeout(SOON, answers).await.expect("both come to an end");
    wire.mend();
    wire.cut();
    let id = eventually(SOON, async || ada.submit_or_later(&film).await).await;
    assert_eq!(ada.outcome(&id).await["state"], "done");
    eventually(SOON, async || app.kept().await.videos == Files::exactly(1)).await;
}

/// It answers all the while, but takes no writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_steps_down_is_waited_for() {
    let mut app = App::start().await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 60.0, &media::Film::default()).expect("a film");
    let mut accepted = vec![ada.submit(&film).await, ada.submit(&film).await];
    app.mongod.step_down().await.expect("steps down");
    accepted.extend(ada.submit_or_later(&film).await);
    for id in &accepted {
        assert_eq!(ada.outcome(id).await["state"], "done");
    }
    assert_eq!(ada.convert(&film).await["state"], "done");
    eventually(SOON, async || app.kept().await.mp3s.whole == accepted.len() as u64 + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_is_away_delays_the_mail() {
    let app = App::start().await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    app.smtp.set_fault(testkit::smtp::Phase::Greeting, testkit::smtp::Fault::Answer(421));
    assert_eq!(ada.convert(&film).await["state"], "done");
    eventually(SOON, async || app.notification.log().contains("mail")).await;
    assert!(app.smtp.mails().is_empty());
    app.smtp.clear_faults();
    app.smtp.wait_for_mail(|mail| mail.to == ["ada@example.com"], SOON).await;
    let ids: HashSet<_> = app.smtp.mails().iter().filter_map(|mail| mail.message_id()).collect();
    assert_eq!(ids.len(), 1);
}

/// Accepted and then nobody told the broker, because the gateway died in between.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_and_not_queued_is_queued_later() {
    let env = vec![("REPUBLISH_STORED_AFTER", "1s".to_owned())];
    let app = App::start_with(Setup { env, converters: Some(0), ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    let id = ada.submit(&film).await;
    // As if the publish had never happened.
    let connection =
        lapin::Connection::connect(&app.vhost.url(), lapin::ConnectionProperties::default()).await.expect("connect");
    let channel = connection.create_channel().await.expect("a channel");
    assert_eq!(channel.queue_purge("video".into(), Default::default()).await.expect("purge"), 1);
    let store = Client::with_uri_str(app.mongod.url()).await.expect("connect");
    let ledger = store.database("mp3converter").collection::<Document>("jobs");
    ledger.update_one(doc! {"_id": &id}, doc! {"$set": {"state": "stored"}}).await.expect("update");

    let mut app = app;
    app.add_converter().await;
    assert_eq!(ada.outcome(&id).await["state"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_gateway_died_is_cleaned_up() {
    let env = vec![("UPLOAD_DEADLINE", "2s".to_owned())];
    let mut app = App::start_with(Setup { env, converters: Some(0), ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let upload = ada.begin_upload(&app.path("film.mov")).await;
    let store = Client::with_uri_str(app.mongod.url()).await.expect("connect");
    let chunks = store.database("videos").collection::<Document>("fs.chunks");
    eventually(SOON, async || chunks.count_documents(doc! {}).await.is_ok_and(|count| count > 10)).await;
    app.gateway.kill();
    assert!(upload.await.expect("it ran").is_err(), "the connection broke");
    app.gateway.restart().await;
    eventually(SOON, async || chunks.count_documents(doc! {}).await.is_ok_and(|count| count == 0)).await;
    let ledger = store.database("mp3converter").collection::<Document>("jobs");
    eventually(SOON, async || ledger.count_documents(doc! {}).await.is_ok_and(|count| count == 0)).await;
}

/// As when a worker finishes an MP3 whose job was deleted, and dies before it hears of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_finished_after_its_job_was_removed_goes_too() {
    let env = vec![("SWEEP_AGE", "5s".to_owned())];
    let app = App::start_with(Setup { env, ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    let (there, removed) = (ada.convert(&film).await, ada.convert(&film).await);
    let [there, removed] = [there, removed].map(|conversion| conversion["id"].as_str().expect("an id").to_owned());
    assert_eq!(ada.delete(&format!("/v1/conversions/{removed}")).await.status(), 204);
    let store = Client::with_uri_str(app.mongod.url()).await.expect("connect");
    for name in ["videos", "mp3s"] {
        let database = store.database(name);
        let files = database.collection::<Document>("fs.files");
        let chunks = database.collection::<Document>("fs.chunks");
        // From a program that keeps no ledger; of a job that is there, of one that is nowhere, as in a ledger that
        // was lost; and of one that was removed.
        let nowhere = ObjectId::new().to_hex();
        let kinds = [doc! {}, doc! {"job_id": &there}, doc! {"job_id": nowhere}, doc! {"job_id": &removed}];
        let ids = kinds.each_ref().map(|_| ObjectId::new());
        for (file, metadata) in ids.into_iter().zip(kinds) {
            let now = DateTime::now();
            let record = doc! {"_id": file, "length": 1, "chunkSize": 1, "uploadDate": now, "metadata": metadata};
            files.insert_one(record).await.expect("insert");
            let data = Binary { subtype: BinarySubtype::Generic, bytes: vec![0] };
            chunks.insert_one(doc! {"files_id": file, "n": 0, "data": data}).await.expect("insert");
        }
        let [kept @ .., late] = ids;
        eventually(SOON, async || {
            files.count_documents(doc! {"_id": late}).await.is_ok_and(|count| count == 0)
                && chunks.count_documents(doc! {"files_id": late}).await.is_ok_and(|count| count == 0)
        })
        .await;
        for file in kept {
            assert_eq!(files.count_documents(doc! {"_id": file}).await.expect("count"), 1, "{name}: {file}");
            assert_eq!(chunks.count_documents(doc! {"files_id": file}).await.expect("count"), 1, "{name}: {file}");
        }
    }
}

/// SIGTERM in mid-upload: the upload is finished, then the gateway ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_gateway_finishes_its_uploads() {
    let mut app = App::start().await;
    let ada = app.user("ada").await;
    let film = app.path("film.mov");
    media::big_film(&film, 32 << 20).expect("a film");
    let bytes = std::fs::read(&film).expect("a film");
    let (send, receive) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
    let pieces = futures_util::stream::unfold(receive, async |mut receive| {
        Some((Ok::<_, std::io::Error>(receive.recv().await?), receive))
    });
    let upload = {
        let ada = ada.clone();
        let body = reqwest::Body::wrap_stream(Box::pin(pieces));
        let part = reqwest::multipart::Part::stream(body).file_name("film.mov");
        tokio::spawn(async move { ada.send(reqwest::multipart::Form::new().part("file", part), true).await })
    };
    let (before, after) = bytes.split_at(16 << 20);
    for piece in before.chunks(1 << 20) {
        send.send(piece.to_vec()).await.expect("send");
    }
    app.gateway.signal(libc::SIGTERM);
    eventually(SOON, async || app.gateway.log().contains("\"stopping\"")).await;
    for piece in after.chunks(1 << 20) {
        send.send(piece.to_vec()).await.expect("send");
    }
    drop(send);
    let answer = upload.await.expect("sent");
    assert_eq!(answer.status(), 202);
    let conversion: serde_json::Value = answer.json().await.expect("JSON");
    app.gateway.stop(SOON).await;
    app.gateway.restart().await;
    assert_eq!(ada.outcome(conversion["id"].as_str().expect("an id")).await["state"], "done");
}
