//! What each service says in `/metrics` after some work.

use std::time::Duration;

use e2e::{App, Product, Service};
use testkit::{eventually, media};

/// The value of one series; its labels stand in the order in which they are printed.
fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// Waits for a series to have a value that satisfies the test.
async fn becomes(service: &Service, series: &str, is_right: impl Fn(f64) -> bool) -> f64 {
    eventually(Duration::from_secs(20), async || {
        let metrics = service.metrics().await;
        value(&metrics, series).filter(|value| is_right(*value)).ok_or(metrics)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn they_tell_how_long_where_what_fails_and_what_is_left() {
    let app = App::start().await;
    let ada = app.user("ada").await;
    let (film, mute, page) = (app.path("film.mp4"), app.path("mute.mp4"), app.path("text.mp4"));
    media::film(&film, 20.0, &media::Film::default()).expect("a film");
    media::silent_film(&mute, 2.0).expect("a film");
    media::text_file(&page).expect("a text");
    let done = ada.convert(&film).await;
    assert_eq!(done["state"], "done");
    for bad in [&mute, &page] {
        assert_eq!(ada.convert(bad).await["state"], "failed");
    }
    let mp3 = ada.mp3(&done).await;
    eventually(Duration::from_secs(20), async || app.smtp.mails().len() == 3).await;

    let auth = app.auth.metrics().await;
    assert_eq!(value(&auth, r#"auth_logins_total{outcome="ok"}"#), Some(1.0), "{auth}");
    assert_eq!(value(&auth, r#"auth_logins_total{outcome="refused"}"#), Some(0.0), "{auth}");
    assert!(value(&auth, r#"auth_validations_total{outcome="ok"}"#) >= Some(3.0), "{auth}");

    let gateway = &app.gateway;
    let metrics = gateway.metrics().await;
    let sizes: u64 = [&film, &mute, &page].iter().map(|path| path.metadata().expect("there").len()).sum();
    assert_eq!(value(&metrics, r#"uploads_total{outcome="accepted"}"#), Some(3.0), "{metrics}");
    assert_eq!(value(&metrics, "upload_bytes_total"), Some(sizes as f64), "{metrics}");
    assert_eq!(value(&metrics, "upload_size_bytes_count"), Some(3.0), "{metrics}");
    assert_eq!(value(&metrics, "download_bytes_total"), Some(mp3.len() as f64), "{metrics}");
    let answered = r#"http_requests_total{method="POST",route="/upload",status="202"}"#;
    assert_eq!(value(&metrics, answered), Some(3.0), "{metrics}");
    let took = r#"http_request_duration_seconds_count{method="POST",route="/upload"}"#;
    assert_eq!(value(&metrics, took), Some(3.0), "{metrics}");
    // What the reconciler measures, at its next round.
    becomes(gateway, r#"jobs{state="done"}"#, |jobs| jobs == 1.0).await;
    becomes(gateway, r#"jobs{state="failed"}"#, |jobs| jobs == 2.0).await;
    becomes(gateway, "jobs_longest_wait_seconds", |wait| wait == 0.0).await;
    for queue in ["video", "mp3"] {
        becomes(gateway, &format!(r#"queue_messages{{queue="{queue}"}}"#), |messages| messages == 0.0).await;
        becomes(gateway, &format!(r#"queue_dead_letters{{queue="{queue}"}}"#), |letters| letters == 0.0).await;
    }
    for store in ["videos", "mp3s"] {
        becomes(gateway, &format!(r#"store_bytes{{store="{store}"}}"#), |bytes| bytes >= 0.0).await;
        let size = becomes(gateway, &format!(r#"store_disk_size_bytes{{store="{store}"}}"#), |size| size > 0.0).await;
        becomes(gateway, &format!(r#"store_disk_free_bytes{{store="{store}"}}"#), |free| free > 0.0 && free < size)
            .await;
    }
    becomes(gateway, r#"reconcile_rounds_total{outcome="ok"}"#, |rounds| rounds > 0.0).await;

    let converter = app.converters[0].metrics().await;
    assert_eq!(value(&converter, r#"conversions_total{outcome="done"}"#), Some(1.0), "{converter}");
    for (kind, reason, count) in
        [("final", "no_sound", 1.0), ("final", "not_media", 1.0), ("retry", "store", 0.0), ("exhausted", "store", 0.0)]
    {
        let series = format!(r#"conversion_failures_total{{kind="{kind}",reason="{reason}"}}"#);
        assert_eq!(value(&converter, &series), Some(count), "{converter}");
    }
    for (series, count) in [
        ("job_queue_wait_seconds_count", 3.0),
        (r#"job_wait_seconds_count{outcome="done"}"#, 1.0),
        (r#"job_wait_seconds_count{outcome="failed"}"#, 2.0),
        (r#"conversion_duration_seconds_count{outcome="done"}"#, 1.0),
        ("conversion_speed_ratio_count", 1.0),
        ("converted_audio_seconds_total", 20.0),
        ("conversions_running", 0.0),
        ("conversion_slots", 1.0),
    ] {
        assert_eq!(value(&converter, series), Some(count), "{series}\n{converter}");
    }
    let waited = value(&converter, r#"job_wait_seconds_sum{outcome="done"}"#).expect("a sum");
    let converted = value(&converter, r#"conversion_duration_seconds_sum{outcome="done"}"#).expect("a sum");
    assert!(waited > 0.5 * converted && waited < 60.0, "{converter}");

    let notification = app.notification.metrics().await;
    for (kind, count) in [("done", 1.0), ("failed", 2.0)] {
        let sent = format!(r#"mails_total{{kind="{kind}",outcome="sent"}}"#);
        let lag = format!(r#"mail_lag_seconds_count{{kind="{kind}"}}"#);
        assert_eq!((value(&notification, &sent), value(&notification, &lag)), (Some(count), Some(count)));
    }
    for service in app.services() {
        assert!(service.metrics().await.contains("build_info{"));
    }
}

/// Clients must not be able to make series as they like.
#[tokio::test(flavor = "multi_thread")]
async fn labels_are_bounded() {
    let app = App::start().await;
    let http = reqwest::Client::new();
    for n in 0..3 {
        let method = reqwest::Method::from_bytes(format!("BREW{n}").as_bytes()).expect("a method");
        http.request(method, format!("{}/pot-{n}", app.gateway.url())).send().await.expect("an answer");
    }
    let metrics = app.gateway.metrics().await;
    assert!(!metrics.contains("BREW") && !metrics.contains("pot-"), "{metrics}");
    let strange = r#"http_requests_total{method="other",route="unmatched",status="404"}"#;
    assert_eq!(value(&metrics, strange), Some(3.0), "{metrics}");
}

/// An ingress passes every path on; figures are not for its clients.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_them_through_a_proxy() {
    let app = App::start().await;
    let client = reqwest::Client::new();
    for service in app.services() {
        for (name, value) in [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7")] {
            let asked = client.get(format!("{}/metrics", service.url())).header(name, value);
            let answer = asked.send().await.expect("an answer");
            assert_eq!(
                (answer.status().as_u16(), answer.text().await.expect("a text")),
                (404, String::new()),
                "{name}"
            );
        }
    }
}
