//! A mail server that misbehaves in every way costs time, and never a mail.

use std::{collections::HashSet, os::unix::process::ExitStatusExt};

use common::fault::Point;
use e2e::{App, Checker, Due, Product, Setup};
use testkit::{
    eventually,
    smtp::{Fault, Phase},
};

use crate::{SOON, film, impatient};

/// The reconciler tells nobody again: what comes twice was sent twice.
fn env() -> Vec<(&'static str, String)> {
    let mut env = impatient();
    env.push(("RENOTIFY_AFTER", "60s".to_owned()));
    env
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_arrive_whatever_their_server_does() {
    let mut env = env();
    env.extend([("SMTP_TIMEOUT", "3s".to_owned()), ("MAIL_RETRY_DELAYS", ["100ms"; 20].join(","))]);
    let app = App::start_with(Setup { env, ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let mut checker = Checker::default();
    for (phase, fault, copies) in [
        (Phase::Greeting, Fault::Answer(421), 1),
        (Phase::Greeting, Fault::Hang, 1),
        (Phase::Sender, Fault::Answer(450), 1),
        (Phase::Recipient, Fault::Answer(450), 1),
        (Phase::Data, Fault::Reset, 1),
        (Phase::Message, Fault::Answer(421), 1),
        (Phase::Message, Fault::Answer(452), 1),
        // Taken, and not acknowledged: it has to come again.
        (Phase::Message, Fault::Hang, 2),
        (Phase::Message, Fault::Reset, 2),
    ] {
        app.smtp.set_fault_times(phase, fault, 1);
        let id = ada.submit(&film(&app, 1.0)).await;
        checker.expect(&id, Due::Mp3(1.0));
        let checked = checker.check(&app, SOON).await;
        assert!(checked.is_ok(), "{phase:?} {fault:?}: {checked:#?}");
        let mut names: Vec<_> = app.smtp.mails().iter().filter_map(|mail| mail.message_id()).collect();
        // A late copy of the mail before is none of this one.
        names.retain(|name| name.starts_with(&id));
        let different: HashSet<_> = names.iter().collect();
        assert!(names.len() >= copies && different.len() == 1, "{phase:?} {fault:?}: {names:?}");
        app.smtp.clear_faults();
    }
}

/// Refused for good, it is laid aside for the operator, who sends it when the cause is mended; also if the
/// notification dies in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_refused_is_kept() {
    let mut app = App::start_with(Setup { env: env(), ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let mut checker = Checker::default();
    app.smtp.set_fault(Phase::Recipient, Fault::Answer(550));
    app.notification.set("CRASH_AT", Some(Point::GivenUp.name()));
    app.notification.restart().await;
    let id = ada.submit(&film(&app, 1.0)).await;
    checker.expect(&id, Due::Mp3(1.0));
    ada.outcome(&id).await;
    let ended = app.notification.ended(SOON).await;
    assert_eq!(ended.signal(), Some(libc::SIGABRT), "{}", app.notification.log());
    app.notification.set("CRASH_AT", None);
    app.notification.restart().await;
    eventually(SOON, async || {
        let held = app.vhost.contents().await.unwrap_or_default();
        held.get("mp3.dead").is_some_and(|dead| dead.ready == 1)
    })
    .await;
    app.smtp.clear_faults();
    let replayed = app.gateway.operate(&["admin", "replay", &id]).await;
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    let checked = checker.check(&app, SOON).await;
    assert!(checked.is_ok(), "{checked:#?}");
}

/// A mail that is late has nothing to tell of what its owner has had and deleted.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_written_to_of_what_is_deleted() {
    let app = App::start_with(Setup { env: env(), ..Setup::default() }).await;
    let ada = app.user("ada").await;
    app.smtp.set_fault(Phase::Message, Fault::Answer(451));
    let id = ada.submit(&film(&app, 1.0)).await;
    ada.outcome(&id).await;
    let said = async |words: &str| eventually(SOON, async || app.notification.log().contains(words)).await;
    said("mail not sent yet").await;
    assert_eq!(ada.delete(&format!("/v1/conversions/{id}")).await.status(), 204);
    eventually(SOON, async || ada.get(&format!("/v1/conversions/{id}")).await.status() == 404).await;
    app.smtp.clear_faults();
    said("nothing to tell any more").await;
    assert_eq!(app.smtp.mails().len(), 0);
    let checked = Checker::default().check(&app, SOON).await;
    assert!(checked.is_ok(), "{checked:#?}");
}
