//! Servers that speak TLS, and which of them are believed.

use std::time::Duration;

use e2e::{App, Product};
use testkit::{Tls, eventually, media};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_spoken_to_if_they_prove_who_they_are() {
    let mut app = App::start().await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    let (good, other) = (Tls::of(&["127.0.0.1"]).expect("TLS"), Tls::of(&["elsewhere.example"]).expect("TLS"));
    // Of an authority that nobody named; for somebody else; and as it should be.
    for (tls, trusted, proven) in [(&good, None, false), (&other, Some(&other), false), (&good, Some(&good), true)] {
        let ca = trusted.map(|tls| tls.ca_pem().display().to_string());
        let mongodb = tls.before(&format!("mongodb://127.0.0.1:{}/", app.mongod.port())).await;
        let file = ca.as_ref().map(|ca| format!("&tlsCAFile={ca}")).unwrap_or_default();
        let mongodb = format!("{mongodb}?directConnection=true&tls=true{file}");
        let amqp = tls.before(&app.vhost.url()).await.replacen("amqp:", "amqps:", 1);
        let App { gateway, notification, converters, .. } = &mut app;
        for service in [gateway, notification].into_iter().chain(converters) {
            service.set("MONGODB_URI", Some(&mongodb));
            service.set("AMQP_URL", Some(&amqp));
            service.set("SSL_CERT_FILE", ca.as_deref());
            service.relaunch();
        }
        if proven {
            break;
        }
        for service in [&app.gateway, &app.notification, &app.converters[0]] {
            let url = format!("{}/readyz", service.url());
            let names =
                if service.url() == app.notification.url() { "broker, ledger" } else { "ledger, store, broker" };
            let nobody = format!("not ready: {names}");
            let said = async || reqwest::get(&url).await.ok()?.text().await.ok();
            eventually(SOON, async || said().await.as_ref() == Some(&nobody)).await;
        }
        assert_eq!(ada.upload(&film).await.status(), 503);
    }
    for service in app.services() {
        service.ready().await;
    }
    assert_eq!(ada.convert(&film).await["state"], "done");
    app.smtp.wait_for_mail(|mail| mail.to == ["ada@example.com"], SOON).await;
}
