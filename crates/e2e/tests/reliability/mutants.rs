//! The checker, checked: what is broken on purpose turns it red, for the reason it should; the same
//! story without the mutant does not.

use std::time::{Duration, Instant};

use common::fault::{Mutant, Point};
use e2e::{App, Checker, Due, Product, Setup, User};
use futures_util::{future::join_all, stream};
use reqwest::{
    Body, Method,
    multipart::{Form, Part},
};
use testkit::{
    Breakage, eventually,
    smtp::{Fault, Phase},
};

use crate::{LONG, SOON, film, impatient, long_film};

/// What is wrong by then will stay so.
const PATIENCE: Duration = Duration::from_secs(15);
const NO_MAIL: &str = "got no mail";

macro_rules! caught {
    ($($mutant:ident in $name:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            is_caught(Mutant::$mutant).await;
        })*

        #[test]
        fn none_is_left_out() {
            assert_eq!(Mutant::ALL, [$(Mutant::$mutant),*]);
        }
    };
}

caught! {
    AckFirst in acknowledging_first_is_caught
    NoConfirms in publishing_without_confirms_is_caught
    ReusedId in one_id_for_all_attempts_is_caught
    OpenIndex in an_index_that_is_not_unique_is_caught
    MailedFirst in noting_a_mail_before_the_250_is_caught
}

async fn is_caught(mutant: Mutant) {
    for mutated in [false, true] {
        let mut env = impatient();
        env.extend(mutated.then(|| ("MUTANT", mutant.name().to_owned())));
        // Told again by the reconciler, the owner would get the mail after all.
        env.extend((mutant == Mutant::AckFirst).then(|| ("RENOTIFY_AFTER", "60s".to_owned())));
        let wired = mutant == Mutant::NoConfirms;
        let mut app = App::start_with(Setup { env, wired, ..Setup::default() }).await;
        let ada = app.user("ada").await;
        let mut checker = Checker::default();
        let complaint = match mutant {
            Mutant::AckFirst => {
                the_notification_dies_before_a_mail(&mut app, &ada, &mut checker).await;
                NO_MAIL
            }
            Mutant::NoConfirms => {
                the_news_is_lost_on_its_way(&app, &ada, &mut checker).await;
                NO_MAIL
            }
            Mutant::ReusedId => {
                a_worker_comes_back_from_the_dead(&mut app, &ada, &mut checker).await;
                "is not whole"
            }
            Mutant::OpenIndex => {
                an_upload_is_sent_many_times_at_once(&app, &ada, &mut checker).await;
                "have the key"
            }
            Mutant::MailedFirst => {
                a_mail_is_refused_once(&app, &ada, &mut checker).await;
                NO_MAIL
            }
        };
        let found = checker.check(&app, if mutated { PATIENCE } else { SOON }).await;
        match found {
            Ok(ends) => assert!(!mutated, "{} was not noticed: {ends:?}", mutant.name()),
            Err(wrong) => {
                let is_it = |what: &String| what.contains(complaint);
                // A mail that is only late would be missing as well, and its message be somewhere.
                let caught =
                    mutated && if complaint == NO_MAIL { wrong.iter().all(is_it) } else { wrong.iter().any(is_it) };
                assert!(caught, "{}, {mutated}: {wrong:#?}", mutant.name());
            }
        }
    }
}

async fn the_notification_dies_before_a_mail(app: &mut App, ada: &User, checker: &mut Checker) {
    app.notification.set("CRASH_AT", Some(Point::MailDue.name()));
    app.notification.restart().await;
    checker.expect(ada.submit(&film(app, 2.0)).await, Due::Mp3(2.0));
    app.notification.ended(SOON).await;
    app.notification.set("CRASH_AT", None);
    app.notification.restart().await;
}

/// The wire to the broker goes dead in mid-conversion, without either end noticing.
async fn the_news_is_lost_on_its_way(app: &App, ada: &User, checker: &mut Checker) {
    let wires = app.wires.as_ref().expect("wired");
    // All channels that there will be are open after the first.
    checker.expect(ada.submit(&film(app, 2.0)).await, Due::Mp3(2.0));
    checker.check(app, SOON).await.expect("in order so far");
    let id = ada.submit(&long_film(app)).await;
    checker.expect(&id, Due::Mp3(LONG));
    eventually(SOON, async || ada.conversion(&id).await["state"] == "converting").await;
    wires.rabbitmq.break_it(Breakage::Blackhole);
    eventually(SOON, async || ada.conversion(&id).await["state"] == "done").await;
    // Who waits for the confirmation does so longer than this.
    let told = async || {
        let records = app.state().await.map_err(|error| error.to_string())?.records;
        if records.iter().all(|record| record.told) { Ok(()) } else { Err(format!("{records:?}")) }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), eventually(SOON, told)).await;
    wires.rabbitmq.mend();
    wires.rabbitmq.cut();
}

async fn a_worker_comes_back_from_the_dead(app: &mut App, ada: &User, checker: &mut Checker) {
    let id = ada.submit(&long_film(app)).await;
    checker.expect(&id, Due::Mp3(LONG));
    // It is looked at while it stands still, and goes on if it has not begun to write.
    let deadline = Instant::now() + SOON;
    loop {
        app.converters[0].signal(libc::SIGSTOP);
        if app.state().await.is_ok_and(|state| !state.mp3s.remains.is_empty()) {
            break;
        }
        assert!(Instant::now() < deadline, "it wrote nothing");
        app.converters[0].signal(libc::SIGCONT);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    app.add_converter().await;
    ada.outcome(&id).await;
    app.converters[0].signal(libc::SIGCONT);
    app.converters[0].learns_that_it_lost(SOON).await;
}

async fn an_upload_is_sent_many_times_at_once(app: &App, ada: &User, checker: &mut Checker) {
    let bytes = std::fs::read(film(app, 2.0)).expect("a film");
    let sent = join_all((0..8).map(|_| {
        let bytes = bytes.clone();
        // By the time the films come, the gateway has looked for the key in vain for several.
        let held = stream::once(async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            std::io::Result::Ok(bytes)
        });
        let form = Form::new().part("file", Part::stream(Body::wrap_stream(held)).file_name("film.mkv"));
        ada.request(Method::POST, "/v1/conversions").header("idempotency-key", "once").multipart(form).send()
    }));
    for answer in sent.await {
        let answer = answer.expect("an answer");
        match answer.status().as_u16() {
            202 => {
                let conversion: serde_json::Value = answer.json().await.expect("JSON");
                checker.expect(conversion["id"].as_str().expect("an id"), Due::Mp3(2.0));
            }
            other => assert_eq!(other, 409),
        }
    }
}

async fn a_mail_is_refused_once(app: &App, ada: &User, checker: &mut Checker) {
    app.smtp.set_fault_times(Phase::Message, Fault::Answer(451), 1);
    checker.expect(ada.submit(&film(app, 2.0)).await, Due::Mp3(2.0));
}
