//! Private servers start, answer, and come back with their data; shared ones are there.

use std::time::Duration;

use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use mongodb::Client;
use mongodb::bson::{Document, doc};
use sqlx::{ConnectOptions, MySqlConnection, Row};
use testkit::{Mariadb, Mongod, Rabbitmq, Servers, eventually, run_sql};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn mariadb_keeps_its_data_over_a_stop_and_a_kill() -> anyhow::Result<()> {
    let mut server = Mariadb::start().await?;
    let url = server.database().await?;
    run_sql(&url, "CREATE TABLE t (n INT); INSERT INTO t VALUES (1);").await?;

    server.stop().await?;
    assert!(connect(&url).await.is_err(), "it is down");
    server.restart().await?;
    run_sql(&url, "INSERT INTO t VALUES (2)").await?;

    server.kill();
    server.restart().await?;
    let row = sqlx::query("SELECT COUNT(*) FROM t").fetch_one(&mut connect(&url).await?).await?;
    assert_eq!(row.get::<i64, _>(0), 2);
    Ok(())
}

async fn connect(url: &str) -> anyhow::Result<MySqlConnection> {
    let options: sqlx::mysql::MySqlConnectOptions = url.parse()?;
    Ok(options.ssl_mode(sqlx::mysql::MySqlSslMode::Disabled).connect().await?)
}

#[tokio::test]
async fn mongod_keeps_what_a_majority_has_seen_over_a_stop_and_a_kill() -> anyhow::Result<()> {
    let mut server = Mongod::start().await?;
    let client = Client::with_uri_str(server.url()).await?;
    let things = client.database("db").collection::<Document>("things");
    things.insert_one(doc! { "n": 1 }).await?;

    server.stop().await?;
    server.restart().await?;
    eventually(PATIENCE, || async { things.insert_one(doc! { "n": 2 }).await }).await;

    server.kill();
    server.restart().await?;
    let count = eventually(PATIENCE, || async { things.count_documents(doc! {}).await }).await;
    assert_eq!(count, 2);
    Ok(())
}

#[tokio::test]
async fn rabbitmq_keeps_confirmed_messages_over_a_kill() -> anyhow::Result<()> {
    let mut server = Rabbitmq::start().await?;
    let vhost = server.broker().vhost().await?;
    publish(&vhost.url(), "letters", b"one").await?;
    publish(&vhost.url(), "letters", b"two").await?;
    eventually(PATIENCE, || async { server.knows_quorum_queue(&vhost, "letters") }).await;

    server.kill();
    server.restart().await?;
    let connection = Connection::connect(&vhost.url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    for wanted in [b"one", b"two"] {
        let message = eventually(PATIENCE, || async {
            channel.basic_get("letters".into(), BasicGetOptions { no_ack: true }).await.ok().flatten()
        });
        assert_eq!(message.await.delivery.data, wanted);
    }
    server.stop().await
}

#[tokio::test]
async fn shared_servers_give_each_test_places_of_its_own() -> anyhow::Result<()> {
    let servers = Servers::shared();

    let (one, other) = (servers.mysql_database().await?, servers.mysql_database().await?);
    assert_ne!(one, other);
    run_sql(&one, "CREATE TABLE t (n INT)").await?;
    assert!(run_sql(&other, "SELECT * FROM t").await.is_err());

    let client = Client::with_uri_str(servers.mongodb_database()).await?;
    let database = client.default_database().expect("the URI names one");
    database.collection("things").insert_one(doc! { "n": 1 }).await?;

    let vhost = servers.vhost().await?;
    assert_eq!(vhost.queue("letters").await?, None);
    publish(&vhost.url(), "letters", b"one").await?;
    publish(&vhost.url(), "letters", b"two").await?;
    let connection = Connection::connect(&vhost.url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(1, Default::default()).await?;
    let _reader = channel
        .basic_consume("letters".into(), "reader".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    // One is held by the reader and not acknowledged, the other waits.
    eventually(PATIENCE, || async {
        let state = vhost.queue("letters").await.ok().flatten().unwrap_or_default();
        if (state.ready, state.unacked, state.consumers) == (1, 1, 1) { Ok(()) } else { Err(state) }
    })
    .await;

    assert_eq!(eventually(PATIENCE, || async { vhost.close_connections().await.ok().filter(|n| *n > 0) }).await, 1);
    eventually(PATIENCE, || async { !connection.status().connected() }).await;
    vhost.delete().await
}

/// Puts a persistent message into a quorum queue and waits for the confirm.
async fn publish(url: &str, queue: &str, body: &[u8]) -> anyhow::Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), durable, arguments).await?;
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let confirm =
        channel.basic_publish("".into(), queue.into(), BasicPublishOptions::default(), body, persistent).await?.await?;
    anyhow::ensure!(confirm.is_ack(), "{confirm:?}");
    connection.close(200, "done".into()).await?;
    Ok(())
}
