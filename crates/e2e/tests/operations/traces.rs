//! One trace from the client's request to the mail.

use std::time::Duration;

use e2e::{AllInOne, App, Product, Setup};
use serde_json::Value;
use testkit::{OtlpReceiver, TracedSpan, eventually, media};

/// What a client that traces itself sends along.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: &str = "00f067aa0ba902b7";

async fn a_conversion_is_one_trace<P: Product>(services: [&str; 4]) {
    let collector = OtlpReceiver::start().await.expect("a collector");
    let env = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()), ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned())];
    let product = P::start_with(Setup { env, ..Setup::default() }).await;
    let ada = product.user("ada").await;
    let film = product.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    let form = reqwest::multipart::Form::new().file("file", &film).await.expect("a form");
    let upload = ada.request(reqwest::Method::POST, "/upload").multipart(form).header("accept", "application/json");
    let answer = upload.header("traceparent", format!("00-{TRACE}-{CLIENT}-01")).send().await.expect("an answer");
    let accepted: Value = answer.json().await.expect("JSON");
    assert_eq!(ada.outcome(accepted["id"].as_str().expect("an id")).await["state"], "done");

    // From the mail, which is last, back to the client. `publish` and `process` are the queue's.
    let [gateway, auth, converter, notification] = services;
    let way = [
        (notification, "mail"),
        (notification, "process mp3"),
        (converter, "publish mp3"),
        (converter, "job"),
        (converter, "process video"),
        (gateway, "publish video"),
        (gateway, "POST /upload"),
    ];
    let of_trace = || collector.spans().into_iter().filter(|span| span.trace_id == TRACE).collect::<Vec<_>>();
    let spans = eventually(Duration::from_secs(30), async || {
        let spans = of_trace();
        let whole = way.iter().all(|(_, name)| spans.iter().any(|span| span.name == *name));
        if whole { Ok(spans) } else { Err(spans) }
    })
    .await;
    let named = |service: &str, name: &str| {
        let found: Vec<&TracedSpan> =
            spans.iter().filter(|span| span.service == service && span.name == name).collect();
        assert_eq!(found.len(), 1, "{service} {name}: {spans:#?}");
        found[0]
    };
    for pair in way.windows(2) {
        let [(service, name), (parents_service, parents_name)] = pair else { continue };
        assert_eq!(named(service, name).parent_id, named(parents_service, parents_name).id, "{name}");
    }
    let request = named(gateway, "POST /upload");
    assert_eq!((request.parent_id.as_str(), request.kind), (CLIENT, 2));
    assert_eq!(named(auth, "POST /validate").parent_id, request.id);
    // Whoever finds the trace's id in a log line finds the trace.
    for service in product.services() {
        assert!(service.log().contains(TRACE), "{}", service.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_four_services() {
    a_conversion_is_one_trace::<App>(["gateway", "auth", "converter", "notification"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_program_that_is_all_of_them() {
    a_conversion_is_one_trace::<AllInOne>(["mp3converter"; 4]).await;
}

/// A message that was lost is replaced by the reconciler, in the trace of the upload.
#[tokio::test(flavor = "multi_thread")]
async fn that_goes_on_when_a_message_was_lost() {
    let collector = OtlpReceiver::start().await.expect("a collector");
    let env = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
        ("OTEL_SERVICE_NAME", "mine".to_owned()),
        ("REPUBLISH_QUEUED_AFTER", "5s".to_owned()),
    ];
    // The worker has been here, but is away while its message is lost.
    let mut app = App::start_with(Setup { env, ..Setup::default() }).await;
    app.converters[0].stop(Duration::from_secs(10)).await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    let id = ada.submit(&film).await;
    let connection = lapin::Connection::connect(&app.vhost.url(), lapin::ConnectionProperties::default()).await;
    let channel = connection.expect("a connection").create_channel().await.expect("a channel");
    let purged = channel.queue_purge("video".into(), Default::default()).await.expect("purged");
    // Two on a machine so slow that the reconciler was there first.
    assert!(purged > 0);
    app.add_converter().await;
    assert_eq!(ada.outcome(&id).await["state"], "done");
    // What is still in hand is sent at the end.
    app.converters[1].stop(Duration::from_secs(10)).await;
    app.gateway.stop(Duration::from_secs(10)).await;
    let spans = collector.spans();
    let upload = spans.iter().find(|span| span.name == "POST /upload").expect("an upload");
    let converted = spans.iter().find(|span| span.name == "process video").expect("a conversion");
    assert_eq!(converted.trace_id, upload.trace_id);
    assert!(spans.iter().all(|span| span.service == "mine"));
}
