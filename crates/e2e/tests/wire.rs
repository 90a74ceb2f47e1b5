//! The classic layer, byte for byte, and the Python twins' place beside us.

use std::{path::Path, time::Duration};

use common::Id;
use e2e::{App, Setup, User, text};
use futures_util::AsyncWriteExt;
use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions},
    types::FieldTable,
};
use mongodb::{
    Client,
    bson::{Document, doc, oid::ObjectId},
};
use reqwest::multipart::{Form, Part};
use testkit::{eventually, media};
use tokio::io::{AsyncReadExt, AsyncWriteExt as _};

const SOON: Duration = Duration::from_secs(30);
const PLAIN: &str = "text/plain; charset=utf-8";

fn film(app: &App) -> std::path::PathBuf {
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    film
}

fn file(bytes: Vec<u8>) -> Part {
    Part::bytes(bytes).file_name("film.mp4")
}

async fn nothing_is_kept(app: &App) {
    let store = Client::with_uri_str(app.mongod.url()).await.expect("connect");
    for (database, collection) in [("videos", "fs.files"), ("videos", "fs.chunks"), ("mp3converter", "jobs")] {
        let kept = store.database(database).collection::<Document>(collection);
        eventually(SOON, async || kept.count_documents(doc! {}).await.is_ok_and(|count| count == 0)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_gateway() {
    let app =
        App::start_with(Setup { env: vec![("MAX_UPLOAD_BYTES", "3000000".to_owned())], ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let (http, url) = (reqwest::Client::new(), app.gateway.url());
    let answer = |status: u16, body: &str| (status, PLAIN.to_owned(), body.to_owned());

    let login = |user: &str, password: &str| http.post(format!("{url}/login")).basic_auth(user, Some(password)).send();
    assert_eq!(
        text(http.post(format!("{url}/login")).send().await.expect("sent")).await,
        answer(401, "missing credentials")
    );
    for (user, password) in [("ada@example.com", "wrong horse"), ("nobody@example.com", "correct horse")] {
        assert_eq!(text(login(user, password).await.expect("sent")).await, answer(401, "invalid credentials"));
    }
    let token = text(login("ada@example.com", "correct horse").await.expect("sent")).await;
    assert_eq!((token.0, token.1.as_str(), token.2.split('.').count()), (200, PLAIN, 3));
    let again = http
        .post(format!("{url}/register"))
        .json(&serde_json::json!({"email": "ADA@example.com", "password": "correct horse"}));
    assert_eq!(again.send().await.expect("sent").status(), 409);

    // Without a token, with a bad one.
    for (path, post) in [("/upload", true), ("/download?fid=1", false), ("/v1/conversions", false)] {
        let request = || if post { http.post(format!("{url}{path}")) } else { http.get(format!("{url}{path}")) };
        let missing = text(request().send().await.expect("sent")).await;
        let bad = text(request().bearer_auth("a.b.c").send().await.expect("sent")).await;
        if path.starts_with("/v1") {
            assert_eq!((missing.0, bad.0, bad.1.as_str()), (401, 403, "application/problem+json"));
        } else {
            assert_eq!((missing, bad), (answer(401, "missing credentials"), answer(403, "not authorized")), "{path}");
        }
    }

    // Not exactly one file.
    let exactly_one = answer(400, "exactly 1 file required");
    let two = Form::new().part("a", file(vec![1; 500_000])).part("b", file(vec![2; 500_000]));
    assert_eq!(text(ada.send(two, false).await).await, exactly_one);
    assert_eq!(text(ada.send(Form::new().text("note", "no file"), false).await).await, exactly_one);
    let not_multipart = http.post(format!("{url}/upload")).bearer_auth(&ada.token).body("film");
    assert_eq!(text(not_multipart.send().await.expect("sent")).await, exactly_one);
    // Too large, whether the length is told beforehand or not.
    assert_eq!(ada.send(Form::new().part("file", file(vec![0; 3_100_000])), false).await.status(), 413);
    let stream = futures_util::stream::iter((0..31).map(|_| Ok::<_, std::io::Error>(vec![0u8; 100_000])));
    let stream = Part::stream(reqwest::Body::wrap_stream(stream)).file_name("film.mp4");
    assert_eq!(ada.send(Form::new().part("file", stream), false).await.status(), 413);
    nothing_is_kept(&app).await;

    // A success, under any field name, with a text field beside it.
    let bytes = std::fs::read(film(&app)).expect("a film");
    let form = Form::new().text("note", "hello").part("whatever", file(bytes));
    let accepted = ada.send(form, false).await;
    let location = accepted.headers()["location"].to_str().expect("text").to_owned();
    assert_eq!(text(accepted).await, answer(200, "success!"));
    let id = location.strip_prefix("/v1/conversions/").expect("the conversion's address");
    let conversion = ada.outcome(id).await;

    // Downloads.
    assert_eq!(text(ada.get("/download").await).await, answer(400, "fid is required"));
    assert_eq!(text(ada.get("/download?fid=").await).await, answer(400, "fid is required"));
    assert_eq!(text(ada.get("/download?fid=xyz").await).await, answer(404, "not found"));
    let mp3 = ada.mp3(&conversion).await;
    download_in_parts(&ada, &url, conversion["mp3_fid"].as_str().expect("done"), &mp3).await;
}

async fn download_in_parts(ada: &User, url: &str, fid: &str, mp3: &[u8]) {
    let http = reqwest::Client::new();
    let ask = async |name: &str, value: &str| {
        let request = http.get(format!("{url}/download?fid={fid}")).bearer_auth(&ada.token).header(name, value);
        request.send().await.expect("sent")
    };
    let whole = ada.get(&format!("/download?fid={fid}")).await;
    assert_eq!(whole.headers()["content-length"], mp3.len().to_string().as_str());
    let disposition = whole.headers()["content-disposition"].to_str().expect("text").to_owned();
    assert_eq!(disposition, format!("inline; filename=\"{fid}.mp3\"; filename*=UTF-8''film.mp3"));
    let etag = whole.headers()["etag"].to_str().expect("text").to_owned();

    let part = ask("range", "bytes=100-199").await;
    assert_eq!(
        (part.status().as_u16(), part.headers()["content-range"].to_str().ok()),
        (206, Some(format!("bytes 100-199/{}", mp3.len()).as_str()))
    );
    assert_eq!(part.bytes().await.expect("a body"), mp3[100..200]);
    assert_eq!(ask("range", "bytes=-10").await.bytes().await.expect("a body"), mp3[mp3.len() - 10..]);
    let beyond = ask("range", "bytes=99999999-").await;
    assert_eq!(
        (beyond.status().as_u16(), beyond.headers()["content-range"].to_str().ok()),
        (416, Some(format!("bytes */{}", mp3.len()).as_str()))
    );
    assert_eq!(ask("if-none-match", &etag).await.status(), 304);
    let head = http.head(format!("{url}/download?fid={fid}")).bearer_auth(&ada.token).send().await.expect("sent");
    assert_eq!(head.headers()["content-length"], mp3.len().to_string().as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing() {
    let app = App::start().await;
    let ada = app.user("ada").await;
    let address = app.gateway.url().trim_start_matches("http://").to_owned();
    let mut socket = tokio::net::TcpStream::connect(&address).await.expect("connect");
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 9000000\r\n\
         Content-Type: multipart/form-data; boundary=b\r\n\r\n\
         --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.mp4\"\r\n\r\n",
        ada.token
    );
    socket.write_all(head.as_bytes()).await.expect("send");
    socket.write_all(&vec![7; 4_000_000]).await.expect("send");
    let store = Client::with_uri_str(app.mongod.url()).await.expect("connect");
    let chunks = store.database("videos").collection::<Document>("fs.chunks");
    eventually(SOON, async || chunks.count_documents(doc! {}).await.is_ok_and(|count| count > 3)).await;
    drop(socket);
    nothing_is_kept(&app).await;

    // A body that ends before its last boundary is no upload either.
    let mut socket = tokio::net::TcpStream::connect(&address).await.expect("connect");
    let body = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.mp4\"\r\n\r\nhalf";
    let head = head.split("\r\n\r\n").next().expect("a head").replace("9000000", &body.len().to_string());
    socket.write_all(format!("{}\r\nConnection: close\r\n\r\n{body}", head).as_bytes()).await.expect("send");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    nothing_is_kept(&app).await;
}

async fn classic_channel(app: &App) -> lapin::Channel {
    let connection = Connection::connect(&app.amqp_url, ConnectionProperties::default()).await.expect("connect");
    connection.create_channel().await.expect("a channel")
}

/// Waits until the service that works on `queue` has made it: a classic publisher's message is
/// lost where there is no queue.
async fn is_there(app: &App, queue: &str) {
    let look = async || {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        classic_channel(app).await.queue_declare(queue.into(), options, FieldTable::default()).await.is_ok()
    };
    eventually(SOON, look).await;
}

/// What pymongo's `GridFS.put` makes: no metadata, no name.
async fn classic_put(app: &App, film: &Path) -> ObjectId {
    let store = Client::with_uri_str(app.mongod.url()).await.expect("connect");
    let bucket = store.database("videos").gridfs_bucket(None);
    let mut stream = bucket.open_upload_stream("").await.expect("open");
    stream.write_all(&std::fs::read(film).expect("a film")).await.expect("write");
    stream.close().await.expect("close");
    stream.id().as_object_id().expect("an ObjectId")
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
    let mut app = App::start_with(Setup { broker: Some(vhost.url()), ..Setup::default() }).await;
    let film = film(&app);
    let video_fid = classic_put(&app, &film).await;
    // A classic consumer of `mp3` instead of our notification.
    app.notification.stop(SOON).await;

    let body = format!(r#"{{"video_fid": "{video_fid}", "mp3_fid": null, "username": "ada@example.com"}}"#);
    let persistent = BasicProperties::default().with_delivery_mode(2);
    channel
        .basic_publish("".into(), "video".into(), BasicPublishOptions::default(), body.as_bytes(), persistent)
        .await
        .expect("publish");
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
    media::decode_mp3(&mp3).expect("an MP3");
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
    let channel = classic_channel(&app).await;
    let got =
        channel.basic_get("video".into(), BasicGetOptions { no_ack: true }).await.expect("get").expect("a message");
    let body: serde_json::Value = serde_json::from_slice(&got.delivery.data).expect("JSON");
    let video_fid = body["video_fid"].as_str().expect("an id");
    assert_eq!(body, serde_json::json!({"video_fid": video_fid, "mp3_fid": null, "username": "ada@example.com"}));
    assert_eq!(got.delivery.properties.delivery_mode(), &Some(2));

    // It puts a file that belongs to nobody, and tells.
    let store = Client::with_uri_str(app.mongod.url()).await.expect("connect");
    let mut stream = store.database("mp3s").gridfs_bucket(None).open_upload_stream("").await.expect("open");
    stream.write_all(b"an mp3").await.expect("write");
    stream.close().await.expect("close");
    let mp3_fid = stream.id().as_object_id().expect("an ObjectId").to_hex();
    let told = format!(r#"{{"video_fid": "{video_fid}", "mp3_fid": "{mp3_fid}", "username": "ada@example.com"}}"#);
    let persistent = BasicProperties::default().with_delivery_mode(2);
    is_there(&app, "mp3").await;
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
    is_there(&app, "video").await;
    let channel = classic_channel(&app).await;
    let missing = format!(r#"{{"video_fid": "{}", "mp3_fid": null, "username": "ada@example.com"}}"#, Id::fresh());
    for body in ["not json", r#"{"video_fid": "1"}"#, &missing] {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        channel.basic_publish("".into(), "video".into(), options, body.as_bytes(), properties).await.expect("publish");
    }
    let dead = async || {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let channel = classic_channel(&app).await;
        let queue = channel.queue_declare("video.dead".into(), options, FieldTable::default()).await;
        queue.is_ok_and(|queue| queue.message_count() == 2)
    };
    eventually(SOON, dead).await;
    // The third is a message, only its video is not there: a final failure, and its owner hears of it.
    let mail = app.smtp.wait_for_mail(|mail| mail.to == ["ada@example.com"], SOON).await;
    assert_eq!(mail.subject(), "MP3 conversion failed");
}
