//! The line of films in front of the workers, and a broker that goes away in the middle of the work.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

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

/// A broker that takes no messages for now, as RabbitMQ does when its memory or its disk runs short.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_blocked_loses_nothing_and_keeps_nobody_waiting() {
    let broker = Rabbitmq::start().await.expect("a broker of our own");
    let env = vec![("REPUBLISH_STORED_AFTER", "1s".to_owned())];
    let vhost = Some(broker.broker().default_vhost());
    let app = App::start_with(Setup { broker: vhost, env, ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    assert_eq!(ada.convert(&film).await["state"], "done");

    broker.run_short_of_memory(true).await.expect("blocked");
    let mut accepted = Vec::new();
    for _ in 0..4 {
        let asked = Instant::now();
        accepted.extend(ada.submit_or_later(&film).await);
        assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    }
    assert_eq!(app.kept().await.mp3s.whole, 1);
    broker.run_short_of_memory(false).await.expect("unblocked");
    accepted.push(eventually(Duration::from_secs(30), async || ada.submit_or_later(&film).await).await);
    for id in &accepted {
        assert_eq!(ada.outcome(id).await["state"], "done");
    }
    eventually(Duration::from_secs(60), async || {
        let told: HashSet<_> = app.smtp.mails().iter().filter_map(|mail| mail.message_id()).collect();
        told.len() == accepted.len() + 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_with_many_films_does_not_keep_others_waiting() {
    let env = vec![("MAX_QUEUED_PER_USER", "3".to_owned()), ("REPUBLISH_STORED_AFTER", "1s".to_owned())];
    let mut app = App::start_with(Setup { env, ..Setup::default() }).await;
    let (ada, ben) = (app.user("ada").await, app.user("ben").await);
    let film = app.path("film.mp4");
    media::film(&film, 1.0, &media::Film::default()).expect("a film");
    // The only worker sleeps until all stand in line; it holds one message by then, or none.
    app.converters[0].signal(libc::SIGSTOP);
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(ada.submit(&film).await);
    }
    let other = ben.submit(&film).await;
    // What waits for others of its owner is not taken for forgotten.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let at_the_broker = async || app.vhost.contents().await.expect("the broker answers")["video"];
    eventually(Duration::from_secs(10), async || {
        let video = at_the_broker().await;
        if video.ready + video.unacked == 4 { Ok(()) } else { Err(video) }
    })
    .await;
    let place = ben.conversion(&other).await["position"].as_u64();
    assert!(place.is_some_and(|place| place <= 4), "{place:?}");
    app.converters[0].signal(libc::SIGCONT);

    assert_eq!(ben.outcome(&other).await["state"], "done");
    let mut over = 0;
    for id in &ids {
        over += usize::from(ada.conversion(id).await["state"] == "done");
    }
    assert!(over < 9, "{over} of 12 came first");
    for id in &ids {
        assert_eq!(ada.outcome(id).await["state"], "done");
    }
}
