//! The Python services' manners: films without a name or an owner, messages without headers.

use std::path::Path;

use futures_util::AsyncWriteExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::BasicPublishOptions,
    types::{AMQPValue, FieldTable},
};
use mongodb::{Client, bson::oid::ObjectId};

use crate::App;

pub async fn channel(app: &App) -> Channel {
    let connection = Connection::connect(&app.vhost.url(), ConnectionProperties::default()).await.expect("connect");
    connection.create_channel().await.expect("a channel")
}

/// What pymongo's `GridFS.put` makes of a film.
pub async fn put(app: &App, film: &Path) -> ObjectId {
    let store = Client::with_uri_str(app.mongod.url()).await.expect("connect");
    let bucket = store.database("videos").gridfs_bucket(None);
    let mut stream = bucket.open_upload_stream("").await.expect("open");
    stream.write_all(&std::fs::read(film).expect("a film")).await.expect("write");
    stream.close().await.expect("close");
    stream.id().as_object_id().expect("an ObjectId")
}

/// A message for the converter, as a gateway without a ledger sends it, on behalf of ada; what she wishes for
/// beyond that in headers.
pub async fn publish(channel: &Channel, video_fid: ObjectId, wishes: &[(&str, &str)]) {
    let body = format!(r#"{{"video_fid": "{video_fid}", "mp3_fid": null, "username": "ada@example.com"}}"#);
    let mut headers = FieldTable::default();
    for (name, text) in wishes {
        headers.insert((*name).into(), AMQPValue::LongString((*text).into()));
    }
    let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), "video".into(), options, body.as_bytes(), properties).await.expect("publish");
}
