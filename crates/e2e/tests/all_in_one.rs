//! What only the all-in-one promises: that it can be killed at any moment, and that it needs
//! nothing and nobody.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::Write,
    process::Command,
    time::Duration,
};

use e2e::{AllInOne, Files, Kept, Product, Service, Setup, User, text};
use testkit::{binary, eventually, media};

const SOON: Duration = Duration::from_secs(30);
const FILMS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_ten_jobs_it_finishes_each_exactly_once() {
    let mut app = AllInOne::start().await;
    let ada = app.user("ada").await;
    let film = app.path("film.mkv");
    media::film(&film, 60.0, &media::Film::default()).expect("a film");
    let mut ids = Vec::new();
    for _ in 0..FILMS {
        ids.push(ada.submit(&film).await);
    }
    // Some done, the next at work, the rest waiting.
    let states = async || {
        let mut states = Vec::new();
        for id in &ids {
            states.push(ada.conversion(id).await["state"].as_str().expect("a state").to_owned());
        }
        states
    };
    eventually(SOON, async || {
        let states = states().await;
        let mid = states.iter().any(|s| s == "done") && states.iter().any(|s| s != "done");
        if mid { Ok(()) } else { Err(states) }
    })
    .await;
    app.program.kill();
    let before = app.kept().await;
    assert!(before.done < FILMS as u64, "{before:?}");
    app.program.restart().await;

    let mut fids = HashSet::new();
    for id in &ids {
        // The token is still good: the secret was kept.
        let conversion = ada.outcome(id).await;
        assert_eq!(conversion["state"], "done", "{conversion}");
        let mp3 = media::decode_mp3(&ada.mp3(&conversion).await).expect("an MP3");
        assert!((mp3.seconds() - 60.0).abs() < 0.1, "{}", mp3.seconds());
        fids.insert(conversion["mp3_fid"].as_str().expect("an id").to_owned());
    }
    assert_eq!(fids.len(), FILMS);
    // One result each, and nothing of the attempt that was cut off. A mail may come twice, but
    // then it bears the same id.
    let kept = app.kept().await;
    assert_eq!(
        (kept.mp3s, kept.records, kept.done),
        (Files::exactly(FILMS as u64), FILMS as u64, FILMS as u64),
        "{kept:?}"
    );
    eventually(SOON, async || {
        let ids: HashSet<_> = app.smtp().mails().iter().filter_map(|mail| mail.message_id()).collect();
        ids.len() == FILMS
    })
    .await;
}

/// As a terminal sends it: to the whole group of processes.
#[tokio::test(flavor = "multi_thread")]
async fn interrupted_by_a_key_in_mid_conversion_it_goes_on_at_the_next_start() {
    let mut app =
        AllInOne::start_with(Setup { env: vec![("SHUTDOWN_GRACE", "1s".to_owned())], ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let film = app.path("film.mkv");
    media::film(&film, 300.0, &media::Film::default()).expect("a film");
    let id = ada.submit(&film).await;
    eventually(SOON, async || ada.conversion(&id).await["state"] == "converting").await;
    let group = -i32::try_from(app.program.id()).expect("small");
    // SAFETY: kill takes two numbers; the group is the program's own.
    assert_eq!(unsafe { libc::kill(group, libc::SIGINT) }, 0);
    assert!(app.program.ended(SOON).await.success());
    app.program.restart().await;
    assert_eq!(ada.outcome(&id).await["state"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_mid_upload_it_keeps_nothing_of_it() {
    let env = vec![("UPLOAD_DEADLINE", "2s".to_owned())];
    let mut app = AllInOne::start_with(Setup { env, ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let upload = ada.begin_upload(&app.path("film.mov")).await;
    eventually(SOON, async || app.kept().await.videos == Files { whole: 0, any: 1 }).await;
    app.program.kill();
    assert!(upload.await.expect("it ran").is_err(), "the connection broke");
    app.program.restart().await;
    eventually(SOON, async || if app.kept().await == Kept::default() { Ok(()) } else { Err(app.kept().await) }).await;
    let small = app.path("film.mp4");
    media::film(&small, 2.0, &media::Film::default()).expect("a film");
    assert_eq!(ada.convert(&small).await["state"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_uploads_are_refused_and_what_was_accepted_waits_for_room() {
    let app = AllInOne::start_with(Setup { disk: Some(32 << 20), ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let big = app.path("big.mov");
    media::big_film(&big, 48 << 20).expect("a film");
    let answer = ada.upload(&big).await;
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(text(answer).await.0, 503);
    eventually(SOON, async || if app.kept().await == Kept::default() { Ok(()) } else { Err(app.kept().await) }).await;

    // Room for the film and for the books, and not enough for the MP3.
    let film = app.path("film.ogg");
    let small =
        media::Film { audio: Some("libopus"), rate: 48_000, arguments: vec!["-b:a", "16k"], ..Default::default() };
    media::film(&film, 240.0, &small).expect("a film");
    let path = app.data().join("ballast");
    let mut ballast = File::create(&path).expect("made");
    while ballast.write_all(&[0; 64 << 10]).is_ok() {}
    ballast.set_len(ballast.metadata().expect("known").len() - (5 << 19)).expect("cut");
    let id = ada.submit(&film).await;
    eventually(SOON, async || app.program.log().contains("the attempt failed")).await;
    assert_ne!(ada.conversion(&id).await["state"], "failed");
    // Its room is free once nobody holds it open.
    drop(ballast);
    fs::remove_file(&path).expect("removed");
    let mp3 = media::decode_mp3(&ada.mp3(&ada.outcome(&id).await).await).expect("an MP3");
    assert!((mp3.seconds() - 240.0).abs() < 0.1, "{}", mp3.seconds());
    let kept = app.kept().await;
    assert_eq!((kept.videos, kept.mp3s, kept.done), (Files::exactly(1), Files::exactly(1), 1), "{kept:?}");
}

/// As a newcomer has it: nothing but a folder.
#[tokio::test(flavor = "multi_thread")]
async fn it_needs_nothing_and_says_how_to_get_in_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let env = [("HOME", folder.path().to_str().expect("text").to_owned())];
    let mut program = Service::start("mp3converter", &env, folder.path()).await;
    let said = program.log();
    let password = said.lines().find_map(|line| line.trim().strip_prefix("password ")).expect("a password").trim();
    let me = User::login(&program.url(), "me@localhost", password).await;
    let film = folder.path().join("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    let conversion = me.convert(&film).await;
    media::decode_mp3(&me.mp3(&conversion).await).expect("an MP3");
    let data = folder.path().join(".local/share/mp3converter");
    let mail = format!("{}.done@localhost.eml", conversion["id"].as_str().expect("an id"));
    eventually(SOON, async || data.join("mails").join(&mail).is_file()).await;

    // The folder is taken; who comes second is told so.
    let mut second = Command::new(binary("mp3converter"));
    let second = second.env_clear().envs(env.clone()).env("HTTP_ADDR", "127.0.0.1:0").output().expect("it runs");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("another mp3converter is serving"), "{said}");

    program.stop(SOON).await;
    program.restart().await;
    assert_eq!(program.log().matches("password ").count(), 1, "shown once");
    assert_eq!(me.get("/v1/conversions").await.status(), 200, "still logged in");
}
