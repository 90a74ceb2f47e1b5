//! The Python twins' place beside us.

use std::time::Duration;

use common::Id;
use e2e::{App, Product, Setup, classic};
use futures_util::AsyncWriteExt;
use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions},
    types::FieldTable,
};
use mongodb::{Client, bson::oid::ObjectId};
use testkit::{eventually, media};

const SOON: Duration = Duration::from_secs(30);

fn film(app: &App) -> std::path::PathBuf {
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    film
}

#[tokio::test(flavor = "multi_thread")]
async fn the_converter_takes_its_twins_place() {
    // The queues were made by hand, as classic durable ones, before we came.
    let vhost = testkit::Servers::shared().vhost().await.expect("a virtual host");
    let connection = Connection::connect(&vhost.url(), ConnectionProperties::default()).await.expect("connect");
    let channel = connection.create_channel().await.expect("a channel");
    for queue in ["video", "mp3"] {
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.into(), durable, FieldTable::default()).await.expect("declare");
    }
    let mut app = App::start_with(Setup { broker: Some(vhost.clone()), ..Setup::default() }).await;
    let film = film(&app);
    let video_fid = classic::put(&app, &film).await;
    // A classic consumer of `mp3` instead of our notification.
    app.notification.stop(SOON).await;

    classic::publish(&channel, video_fid, &[]).await;
    let get = async || {
        let got = channel.basic_get("mp3".into(), BasicGetOptions { no_ack: true }).await.expect("get");
        got.map(|message| message.delivery.data)
    };
    let told: serde_json::Value = serde_json::from_slice(&eventually(SOON, get).await).expect("JSON");
    let mp3_fid = told["mp3_fid"].as_str().expect("an id").to_owned();
    let classic =
        serde_json::json!({"video_fid": video_fid.to_hex(), "mp3_fid": mp3_fid, "username": "ada@example.com"});
    assert_eq!(told, classic);

    // Its owner downloads it from our gateway.
    let ada = app.user("ada").await;
    let mp3 = ada.get(&format!("/download?fid={mp3_fid}")).await.bytes().await.expect("a body");
    assert_eq!(media::decode_mp3(&mp3).expect("an MP3").channels, 2);

    // Who wants more than its twin could says so in headers.
    classic::publish(
        &channel,
        classic::put(&app, &film).await,
        &[("channels", "mono"), ("start", "0:01.5"), ("later", "x")],
    )
    .await;
    let told: serde_json::Value = serde_json::from_slice(&eventually(SOON, get).await).expect("JSON");
    let part = told["mp3_fid"].as_str().expect("an id");
    let part = ada.get(&format!("/download?fid={part}")).await.bytes().await.expect("a body");
    let part = media::decode_mp3(&part).expect("an MP3");
    assert!(part.channels == 1 && (part.seconds() - 0.5).abs() < 0.05, "{} s", part.seconds());
    let ben = app.user("ben").await;
    assert_eq!(ben.get(&format!("/download?fid={mp3_fid}")).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_and_the_notification_take_their_twins_place() {
    let app = App::start_with(Setup { converters: Some(0), ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let film = film(&app);
    let id = ada.submit(&film).await;

    // What a classic converter reads from the queue.
    let channel = classic::channel(&app).await;
    let got =
        channel.basic_get("video".into(), BasicGetOptions { no_ack: true }).await.expect("get").expect("a message");
    let body: serde_json::Value = serde_json::from_slice(&got.delivery.data).expect("JSON");
    let video_fid = body["video_fid"].as_str().expect("an id");
    assert_eq!(body, serde_json::json!({"video_fid": video_fid, "mp3_fid": null, "username": "ada@example.com"}));
    assert_eq!(got.delivery.properties.delivery_mode(), &Some(2));
    let headers = got.delivery.properties.headers().as_ref().expect("headers").inner();
    assert!(headers.contains_key("job-id") && !headers.contains_key("start"), "{headers:?}");

    // It puts a file that belongs to nobody, and tells.
    let store = Client::with_uri_str(app.mongod.url()).await.expect("connect");
    let mut stream = store.database("mp3s").gridfs_bucket(None).open_upload_stream("").await.expect("open");
    stream.write_all(b"an mp3").await.expect("write");
    stream.close().await.expect("close");
    let mp3_fid = stream.id().as_object_id().expect("an ObjectId").to_hex();
    let told = format!(r#"{{"video_fid": "{video_fid}", "mp3_fid": "{mp3_fid}", "username": "ada@example.com"}}"#);
    let persistent = BasicProperties::default().with_delivery_mode(2);
    channel
        .basic_publish("".into(), "mp3".into(), BasicPublishOptions::default(), told.as_bytes(), persistent)
        .await
        .expect("publish");
    let mail = app.smtp.wait_for_mail(|mail| mail.text().contains(&mp3_fid), SOON).await;
    assert_eq!(mail.subject(), "MP3 Download");
    // The ledger has learned of it, so its owner, and nobody else, gets it.
    let conversion = ada.outcome(&id).await;
    assert_eq!(conversion["mp3_fid"], mp3_fid.as_str());
    assert_eq!(ada.mp3(&conversion).await, b"an mp3");
    let ben = app.user("ben").await;
    assert_eq!(ben.get(&format!("/download?fid={mp3_fid}")).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_nobody_is_served_only_on_demand() {
    for (allowed, status) in [("false", 404), ("true", 200)] {
        let env = vec![("ALLOW_UNOWNED_DOWNLOADS", allowed.to_owned())];
        let app = App::start_with(Setup { env, converters: Some(0), ..Setup::default() }).await;
        let store = Client::with_uri_str(app.mongod.url()).await.expect("connect");
        let mut stream = store.database("mp3s").gridfs_bucket(None).open_upload_stream("").await.expect("open");
        stream.write_all(b"an mp3").await.expect("write");
        stream.close().await.expect("close");
        let fid = stream.id().as_object_id().expect("an ObjectId").to_hex();
        let ada = app.user("ada").await;
        assert_eq!(ada.get(&format!("/download?fid={fid}")).await.status(), status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_on_the_queue_is_laid_aside() {
    let app = App::start().await;
    let channel = classic::channel(&app).await;
    let missing = format!(r#"{{"video_fid": "{}", "mp3_fid": null, "username": "ada@example.com"}}"#, Id::fresh());
    for body in ["not json", r#"{"video_fid": "1"}"#, &missing] {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        channel.basic_publish("".into(), "video".into(), options, body.as_bytes(), properties).await.expect("publish");
    }
    classic::publish(&channel, ObjectId::new(), &[("quality", "better")]).await;
    let dead = async || {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let channel = classic::channel(&app).await;
        let queue = channel.queue_declare("video.dead".into(), options, FieldTable::default()).await;
        queue.is_ok_and(|queue| queue.message_count() == 3)
    };
    eventually(SOON, dead).await;
    // One of them is a message, only its video is not there: a final failure, and its owner hears of it.
    let mail = app.smtp.wait_for_mail(|mail| mail.to == ["ada@example.com"], SOON).await;
    assert_eq!(mail.subject(), "MP3 conversion failed");
}
