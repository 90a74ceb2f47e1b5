//! A message as AMQP carries it: properties and headers.

use std::collections::BTreeMap;

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

use crate::{Delivery, Envelope};

const ATTEMPT: &str = "x-attempt";
const DEFERRED: &str = "x-deferred";
const REASON: &str = "x-reason";
/// Set by RabbitMQ's quorum queues: how often the message came back unacknowledged.
const RETURNS: &str = "x-delivery-count";
/// Such headers are the broker's or ours: never the user's.
const RESERVED: &str = "x-";

/// The counters that travel with a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counters<'a> {
    pub(super) attempt: u32,
    pub(super) deferred: u32,
    pub(super) reason: Option<&'a str>,
}

impl Counters<'_> {
    /// Of a message that nobody has tried yet.
    pub(super) const FRESH: Self = Self { attempt: 1, deferred: 0, reason: None };
}

/// Persistent, JSON. Names that AMQP cannot carry (over 255 bytes) are left out.
pub(super) fn properties(headers: &BTreeMap<String, String>, counters: &Counters<'_>) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        if let Ok(short) = ShortString::try_new(name.as_str())
            && !name.starts_with(RESERVED)
        {
            table.insert(short, AMQPValue::LongString(value.as_str().into()));
        }
    }
    // A fresh message needs no counters: it looks like one of any other publisher.
    if counters.attempt > 1 {
        table.insert(ATTEMPT.into(), AMQPValue::LongLongInt(counters.attempt.into()));
    }
    if counters.deferred > 0 {
        table.insert(DEFERRED.into(), AMQPValue::LongLongInt(counters.deferred.into()));
    }
    if let Some(reason) = counters.reason {
        table.insert(REASON.into(), AMQPValue::LongString(reason.into()));
    }
    BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into()).with_headers(table)
}

/// Takes what it understands; a message without any headers is complete.
pub(super) fn delivery(message: lapin::message::Delivery) -> Delivery {
    let empty = FieldTable::default();
    let table = message.properties.headers().as_ref().unwrap_or(&empty);
    let number = |name| table.inner().get(name).and_then(number).unwrap_or(0);
    let text = |name| table.inner().get(name).and_then(text);
    let headers = table
        .into_iter()
        .filter(|(name, _)| !name.as_str().starts_with(RESERVED))
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), self::text(value)?)))
        .collect();
    Delivery {
        attempt: number(ATTEMPT).max(1).saturating_add(number(RETURNS)),
        deferred: number(DEFERRED),
        reason: text(REASON),
        redelivered: message.redelivered,
        envelope: Envelope { headers, body: message.data },
    }
}

fn number(value: &AMQPValue) -> Option<u32> {
    let wide = match *value {
        AMQPValue::ShortShortInt(n) => n.into(),
        AMQPValue::ShortShortUInt(n) => n.into(),
        AMQPValue::ShortInt(n) => n.into(),
        AMQPValue::ShortUInt(n) => n.into(),
        AMQPValue::LongInt(n) => n.into(),
        AMQPValue::LongUInt(n) => n.into(),
        AMQPValue::LongLongInt(n) => n,
        _ => return None,
    };
    wide.try_into().ok()
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(properties: BasicProperties) -> Delivery {
        let mut message = lapin::message::Delivery::mock(1, "".into(), "q".into(), true, b"{}".to_vec());
        message.properties = properties;
        delivery(message)
    }

    #[test]
    fn what_is_sent_is_received() {
        let headers: BTreeMap<_, _> = [("job".to_owned(), "ä1".to_owned())].into();
        let counters = Counters { attempt: 3, deferred: 7, reason: Some("no luck") };
        let got = received(properties(&headers, &counters));
        assert_eq!((got.attempt, got.deferred, got.reason.as_deref()), (3, 7, Some("no luck")));
        assert_eq!((got.envelope.headers, got.envelope.body), (headers, b"{}".to_vec()));
    }

    #[test]
    fn a_message_without_headers_is_complete() {
        let got = received(BasicProperties::default());
        assert_eq!((got.attempt, got.deferred, got.reason, got.redelivered), (1, 0, None, true));
        assert!(got.envelope.headers.is_empty());
    }

    #[test]
    fn strange_headers_are_passed_over() {
        let mut table = FieldTable::default();
        table.insert("x-attempt".into(), AMQPValue::LongString("many".into()));
        table.insert("x-deferred".into(), AMQPValue::LongInt(-4));
        table.insert("x-death".into(), AMQPValue::FieldArray(Default::default()));
        table.insert("x-first-death-queue".into(), AMQPValue::LongString("q".into()));
        table.insert("weight".into(), AMQPValue::Double(1.5));
        table.insert("bytes".into(), AMQPValue::LongString(vec![0xff].into()));
        table.insert("x-delivery-count".into(), AMQPValue::LongLongInt(2));
        let got = received(BasicProperties::default().with_headers(table));
        assert_eq!((got.attempt, got.deferred), (3, 0));
        assert!(got.envelope.headers.is_empty(), "{:?}", got.envelope.headers);
    }

    #[test]
    fn no_user_can_forge_the_counters() {
        let headers = [("x-attempt".to_owned(), "9".to_owned()), ("k".repeat(256), "v".to_owned())].into();
        let sent = properties(&headers, &Counters::FRESH);
        assert!(sent.headers().as_ref().is_some_and(|table| table.inner().is_empty()));
    }
}
