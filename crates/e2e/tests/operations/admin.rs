//! `mp3converter admin`, in the hands of an operator.

use std::time::Duration;

use e2e::{AllInOne, App, Product, Setup};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    types::{AMQPValue, FieldTable},
};
use testkit::{
    eventually, media,
    smtp::{Fault, Phase},
};

const SOON: Duration = Duration::from_secs(30);

/// What the program printed, or else what it complained of.
async fn admin(product: &impl Product, arguments: &[&str]) -> Result<String, String> {
    let output = product.gateway().operate(&[&["admin"], arguments].concat()).await;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

async fn subjects(product: &impl Product, count: usize) -> Vec<String> {
    eventually(SOON, async || {
        let mails = product.smtp().mails();
        let subjects: Vec<_> = mails.iter().map(|mail| mail.subject()).collect();
        if subjects.len() == count { Ok(subjects) } else { Err(subjects) }
    })
    .await
}

async fn dead_letters_go_back_to_work<P: Product>() {
    let product = P::start_with(Setup::default()).await;
    let ada = product.user("ada").await;
    let (film, silent) = (product.path("film.mp4"), product.path("silent.mp4"));
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    media::silent_film(&silent, 2.0).expect("a film");
    assert_eq!(admin(&product, &["dead"]).await.as_deref(), Ok(""));

    product.smtp().set_fault(Phase::Recipient, Fault::Answer(550));
    let id = ada.submit(&film).await;
    let listed = eventually(SOON, async || {
        let listed = admin(&product, &["dead"]).await.expect("listed");
        if listed.is_empty() { Err(listed) } else { Ok(listed) }
    })
    .await;
    assert!(listed.contains("mp3") && listed.contains(&id) && listed.contains("550"), "{listed}");
    assert!(!listed.contains("ada@"), "no addresses: {listed}");
    eventually(SOON, async || {
        let metrics = product.gateway().metrics().await;
        if metrics.contains("queue_dead_letters{queue=\"mp3\"} 1\n") { Ok(()) } else { Err(metrics) }
    })
    .await;

    let strange = "0123456789abcdef01234567";
    assert!(admin(&product, &["replay", strange]).await.expect_err("none").contains("no such dead letter"));
    assert!(admin(&product, &["replay"]).await.is_err(), "which ones must be said");
    product.smtp().clear_faults();
    assert!(admin(&product, &["replay", &id]).await.expect("replayed").contains(&id));
    assert_eq!(subjects(&product, 1).await, ["MP3 Download"]);
    assert_eq!(admin(&product, &["dead"]).await.as_deref(), Ok(""));

    assert!(admin(&product, &["requeue", &id]).await.expect_err("mailed").contains("its owner knows"));
    assert!(admin(&product, &["requeue", strange]).await.expect_err("none").contains("no conversion"));
    let failed = ada.submit(&silent).await;
    subjects(&product, 2).await;
    admin(&product, &["requeue", &failed]).await.expect("another run");
    // The owner hears of the second failure as well.
    assert_eq!(subjects(&product, 3).await[1..], ["MP3 conversion failed", "MP3 conversion failed"]);
    assert_eq!(admin(&product, &["jobs", "--older-than", "0s"]).await.as_deref(), Ok(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_go_back_to_work_on_servers() {
    dead_letters_go_back_to_work::<App>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_go_back_to_work_all_in_one() {
    dead_letters_go_back_to_work::<AllInOne>().await;
}

async fn publish(channel: &Channel, queue: &str, body: &str, job: Option<&str>) {
    let mut headers = FieldTable::default();
    if let Some(job) = job {
        headers.insert("job-id".into(), AMQPValue::LongString(job.into()));
    }
    let properties = BasicProperties::default().with_headers(headers).with_delivery_mode(2);
    let sent = channel.basic_publish("".into(), queue.into(), Default::default(), body.as_bytes(), properties).await;
    sent.expect("sent").await.expect("taken");
}

/// RabbitMQ's dead letters: what is none of ours, and a conversion that failed with its message.
#[tokio::test(flavor = "multi_thread")]
async fn what_failed_begins_anew_and_junk_is_thrown_away() {
    let mut app = App::start().await;
    let ada = app.user("ada").await;
    let silent = app.path("silent.mp4");
    media::silent_film(&silent, 2.0).expect("a film");
    let failed = ada.convert(&silent).await;
    let id = failed["id"].as_str().expect("an id");
    subjects(&app, 1).await;
    let connection =
        Connection::connect(&app.vhost.url(), ConnectionProperties::default()).await.expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    publish(&channel, "video", "junk", None).await;
    let body = format!(r#"{{"video_fid":"{id}","mp3_fid":null,"username":"ada@example.com"}}"#);
    publish(&channel, "video.dead", &body, Some(id)).await;
    eventually(SOON, async || {
        let listed = admin(&app, &["dead"]).await.expect("listed");
        if listed.lines().count() == 2 && listed.contains("not a conversion message") { Ok(()) } else { Err(listed) }
    })
    .await;

    admin(&app, &["replay", id]).await.expect("replayed");
    assert_eq!(subjects(&app, 2).await, ["MP3 conversion failed", "MP3 conversion failed"]);
    let left = admin(&app, &["dead"]).await.expect("listed");
    assert!(left.lines().count() == 1 && !left.contains(id), "{left}");
    admin(&app, &["discard", "--all"]).await.expect("discarded");
    assert_eq!(admin(&app, &["dead"]).await.as_deref(), Ok(""));

    // Without a worker a film stands still, and its message can be made anew.
    app.converters[0].stop(Duration::from_secs(10)).await;
    let id = ada.submit(&silent).await;
    channel.queue_purge("video".into(), Default::default()).await.expect("purged");
    let standing = admin(&app, &["jobs", "--older-than", "0s"]).await.expect("listed");
    assert!(standing.starts_with(&id) && standing.contains("queued"), "{standing}");
    assert_eq!(admin(&app, &["jobs"]).await.as_deref(), Ok(""), "ten minutes have not passed");
    admin(&app, &["requeue", &id]).await.expect("queued");
    app.add_converter().await;
    assert_eq!(ada.outcome(&id).await["state"], "failed");
}
