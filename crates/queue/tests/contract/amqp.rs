//! The suite on RabbitMQ, and what other AMQP clients see of us and we of them.

use std::time::Duration;

use common::Secret;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};
use queue::{Options, Queue, Verdict, dead_letters};
use testkit::{Servers, Vhost, eventually};

use crate::kit::{SOON, Worker, connect, depth_becomes, envelope, text};

contract!(home());

async fn home() -> Vhost {
    Servers::shared().vhost().await.expect("a virtual host")
}

/// A client that is not ours.
async fn stranger(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("connection");
    let channel = connection.create_channel().await.expect("channel");
    (connection, channel)
}

async fn declare_classic(channel: &Channel, name: &str) {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(name.into(), options, FieldTable::default()).await.expect("declared");
}

async fn publish_raw(channel: &Channel, queue: &str, properties: BasicProperties) {
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), queue.into(), options, b"{}", properties).await.expect("sent");
}

#[tokio::test]
async fn a_classic_queue_made_by_hand_is_taken_as_it_stands() {
    let home = home().await;
    let (_connection, channel) = stranger(&home.url()).await;
    declare_classic(&channel, "video").await;
    let queue = connect(&home.url()).await;
    let worker = Worker::start(&queue, "video", 1, |delivery| async move {
        match (text(&delivery).as_str(), delivery.attempt) {
            ("bad", _) => Verdict::Dead { reason: "bad".to_owned() },
            ("again", 1) => Verdict::Retry { reason: "again".to_owned() },
            _ => Verdict::Done,
        }
    });
    for body in ["good", "again", "bad"] {
        queue.publish("video", &envelope(body)).await.expect("published");
    }
    worker.has_seen(4).await;
    depth_becomes(&queue, &dead_letters("video"), 1).await;
    worker.stop().await;
    let mut queues = home.queues().await.expect("list");
    queues.sort();
    assert_eq!(queues, ["video", "video.dead", "video.retry.100", "video.retry.200", "video.retry.400"]);
    // The same declaration again is refused unless the queue is still the same.
    declare_classic(&channel, "video").await;
}

#[tokio::test]
async fn a_foreign_message_is_complete_without_headers() {
    let home = home().await;
    let queue = connect(&home.url()).await;
    let worker = Worker::stubborn(&queue, "video", Verdict::Done);
    queue.publish("video", &envelope("ours")).await.expect("the queue is there");
    worker.has_seen(1).await;
    let (_connection, channel) = stranger(&home.url()).await;
    publish_raw(&channel, "video", BasicProperties::default().with_delivery_mode(2)).await;
    let plain = worker.has_seen(2).await.remove(1);
    assert_eq!((plain.envelope.body.as_slice(), plain.attempt, plain.deferred), (&b"{}"[..], 1, 0));
    assert!(plain.envelope.headers.is_empty() && plain.reason.is_none());

    let mut strange = FieldTable::default();
    strange.insert("x-attempt".into(), AMQPValue::LongString("many".into()));
    strange.insert("size".into(), AMQPValue::Double(1.0));
    strange.insert("job".into(), AMQPValue::LongString("7".into()));
    publish_raw(&channel, "video", BasicProperties::default().with_headers(strange)).await;
    let odd = worker.has_seen(3).await.remove(2);
    assert_eq!(odd.attempt, 1);
    assert_eq!(odd.envelope.headers, [("job".to_owned(), "7".to_owned())].into());
    worker.stop().await;
}

#[tokio::test]
async fn others_see_a_persistent_json_message() {
    let home = home().await;
    let queue = connect(&home.url()).await;
    queue.publish("mp3", &envelope("{}")).await.expect("published");
    let (_connection, channel) = stranger(&home.url()).await;
    let got = channel.basic_get("mp3".into(), BasicGetOptions { no_ack: true }).await.expect("get").expect("a message");
    assert_eq!(got.delivery.data, b"{}");
    assert_eq!(*got.delivery.properties.delivery_mode(), Some(2));
    assert_eq!(got.delivery.properties.content_type().as_ref().map(|t| t.as_str()), Some("application/json"));
    // What the broker itself adds (to messages of a quorum queue) is all there is.
    let headers = got.delivery.properties.headers().clone().unwrap_or_default();
    assert!((&headers).into_iter().all(|(name, _)| name.as_str() == "x-delivery-count"), "{headers:?}");
}

/// The one that was published to when the queue is gone is not lost: the queue is made again.
#[tokio::test]
async fn a_queue_deleted_meanwhile_is_made_again() {
    let home = home().await;
    let queue = connect(&home.url()).await;
    let worker = Worker::stubborn(&queue, "video", Verdict::Retry { reason: "again".to_owned() });
    queue.publish("video", &envelope("a")).await.expect("published");
    worker.has_seen(4).await;
    depth_becomes(&queue, &dead_letters("video"), 1).await;
    let (_connection, channel) = stranger(&home.url()).await;
    for name in home.queues().await.expect("list") {
        channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.expect("deleted");
    }
    queue.publish("video", &envelope("b")).await.expect("published to a queue made again");
    // The worker is back as well, and so are the places for retries and the dead.
    worker.has_seen(8).await;
    depth_becomes(&queue, &dead_letters("video"), 1).await;
    worker.stop().await;
}

#[tokio::test]
async fn an_operator_may_close_its_connections() {
    let home = home().await;
    let options = Options { name: "gateway".to_owned(), ..Options::default() };
    let queue = Queue::connect(&Secret::new(home.url()), options).await.expect("URL");
    assert!(!format!("{queue:?}").contains("guest"), "{queue:?}");
    queue.ping().await.expect("alive");
    assert_eq!(eventually(SOON, || async { home.close_connections().await.ok().filter(|&n| n > 0) }).await, 1);
    eventually(Duration::from_secs(10), || queue.ping()).await;
    queue.close().await;
}
