//! A broker that goes away in the middle of the work.

use std::{collections::HashSet, time::Duration};

use e2e::{App, Product, Setup};
use testkit::{Rabbitmq, eventually, media};

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_loses_nothing() {
    let mut broker = Rabbitmq::start().await.expect("a broker of our own");
    let app = App::start_with(Setup { broker: Some(broker.broker().default_vhost()), ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 40.0, &media::Film::default()).expect("a film");
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(ada.submit(&film).await);
    }
    broker.stop().await.expect("stops");

    // While it is away the gateway says so at once, keeps nothing, and goes on with the rest.
    let refused = e2e::text(ada.upload(&film).await).await;
    assert_eq!(refused.0, 503, "{refused:?}");
    assert_eq!(reqwest::get(format!("{}/readyz", app.gateway.url())).await.expect("an answer").status(), 503);
    assert_eq!(reqwest::get(format!("{}/healthz", app.gateway.url())).await.expect("an answer").status(), 200);

    broker.restart().await.expect("starts again");
    app.gateway.ready().await;
    ids.push(ada.submit(&film).await);
    for id in &ids {
        assert_eq!(ada.outcome(id).await["state"], "done");
    }
    eventually(Duration::from_secs(60), async || {
        let told: HashSet<_> = app.smtp.mails().iter().filter_map(|mail| mail.message_id()).collect();
        told.len() == ids.len()
    })
    .await;
    assert_eq!(app.kept().await.mp3s.whole, ids.len() as u64);
    assert_eq!(app.converters[0].log().matches("\"started\"").count(), 1, "nobody was restarted");
}
