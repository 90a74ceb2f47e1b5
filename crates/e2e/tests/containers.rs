//! The images as they are shipped, on their real servers. `make test-containers` runs these;
//! they need Docker.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use e2e::{
    User,
    stack::{Stack, address, docker, tag},
};
use reqwest::Method;
use testkit::{eventually, media};

const SERVICES: [&str; 4] = ["auth", "gateway", "converter", "notification"];
const SOON: Duration = Duration::from_secs(60);

fn image(name: &str) -> String {
    format!("mp3converter/{name}:{}", tag())
}

#[test]
fn images_hold_a_program_and_little_else() {
    for (name, megabytes) in
        [("auth", 25), ("gateway", 45), ("notification", 40), ("converter", 50), ("mp3converter", 65)]
    {
        let inspect = |what: &str| docker(&["image", "inspect", "--format", what, &image(name)]);
        assert_eq!(inspect("{{.Config.User}}"), "65532:65532", "{name}");
        assert_eq!(inspect("{{json .Config.Healthcheck}}"), "null", "{name}");
        assert_eq!(inspect("{{json .Config.Entrypoint}}"), format!("[\"/usr/bin/{name}\"]"));
        let label = |key: &str| inspect(&format!("{{{{index .Config.Labels \"org.opencontainers.image.{key}\"}}}}"));
        assert!(label("licenses").contains("MIT OR Apache-2.0"), "{name}");
        assert!(!label("description").is_empty(), "{name}");
        let size: u64 = inspect("{{.Size}}").parse().expect("bytes");
        assert!(size < megabytes * 1_000_000, "{name} has {size} bytes");

        let container = docker(&["create", &image(name)]);
        let archive = tempfile::NamedTempFile::new().expect("a temporary file");
        docker(&["export", "--output", archive.path().to_str().expect("a path"), &container]);
        docker(&["rm", &container]);
        let files = std::process::Command::new("tar").arg("-tf").arg(archive.path()).output().expect("tar");
        let files = String::from_utf8_lossy(&files.stdout);
        assert!(files.contains(&format!("usr/bin/{name}\n")), "{name}: {files}");
        for other in ["bin/sh", "bin/bash", "bin/dash", "usr/bin/apt", "usr/bin/perl"] {
            assert!(!files.lines().any(|file| file.ends_with(other)), "{name} has {other}");
        }
    }
}

/// As the manifests have it: nothing to write to, no rights, and the first process there is.
#[test]
fn a_program_that_is_process_number_one_stops_when_it_is_told_to() {
    let hardened = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"];
    let environment = [
        "--env=JWT_SECRET=0123456789012345678901234567890123456789",
        "--env=SMTP_URL=smtp://localhost:25",
        "--env=AMQP_URL=amqp://localhost:1",
        "--env=MONGODB_URI=mongodb://localhost:1",
    ];
    for name in SERVICES {
        let image = image(name);
        let arguments: Vec<_> =
            ["run", "--detach"].into_iter().chain(hardened).chain(environment).chain([&*image]).collect();
        let container = docker(&arguments);
        let log = || {
            let output = std::process::Command::new("docker").args(["logs", &container]).output().expect("docker");
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        let started = std::time::Instant::now();
        while !log().contains("started") {
            assert!(started.elapsed() < SOON, "{name}: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        docker(&["stop", "--time", "60", &container]);
        let code = docker(&["inspect", "--format", "{{.State.ExitCode}}", &container]);
        assert_eq!(code, "0", "{name}: {}", log());
        docker(&["rm", &container]);

        // Without any configuration but the defaults, a program that needs some says so.
        let output = std::process::Command::new("docker")
            .args(["run", "--rm", "--read-only", "--env=LOG_FORMAT=xml", &image])
            .output()
            .expect("docker");
        assert_eq!(output.status.code(), Some(64), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_all_in_one_needs_a_volume_and_nothing_else() {
    let volume = docker(&["volume", "create"]);
    let mount = format!("--volume={volume}:/data");
    let container = docker(&[
        "run",
        "--detach",
        "--read-only",
        "--cap-drop=ALL",
        "--publish=127.0.0.1::8080",
        &mount,
        &image("mp3converter"),
    ]);
    let gateway = address(&container, 8080);
    let ready = format!("{gateway}/readyz");
    eventually(SOON, async || reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success())).await;
    let ada = User::register(&gateway, "ada@example.com", "correct horse").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let film = folder.path().join("film.mkv");
    media::film(&film, 5.0, &media::Film::default()).expect("a film");
    let mp3 = ada.mp3(&ada.convert(&film).await).await;
    assert!((media::decode_mp3(&mp3).expect("an MP3").seconds() - 5.0).abs() < 0.1);
    docker(&["stop", "--time", "60", &container]);
    assert_eq!(docker(&["inspect", "--format", "{{.State.ExitCode}}", &container]), "0");
    docker(&["rm", "--volumes", &container]);
    docker(&["volume", "rm", &volume]);
}

/// From a clean start to the mail, with every kind of sound that the converter's own FFmpeg
/// was built for: what was left out by mistake would show here.
#[tokio::test(flavor = "multi_thread")]
async fn films_become_mp3s_and_their_owners_get_mail() {
    let stack = Stack::start(&[]).await;
    let ada = stack.user("ada").await;
    let mut ids = Vec::new();
    for (container, codec) in [
        ("mp4", "aac"),
        ("mov", "alac"),
        ("mkv", "flac"),
        ("mkv", "ac3"),
        ("mkv", "eac3"),
        ("mkv", "dca"),
        ("webm", "libopus"),
        ("webm", "libvorbis"),
        ("avi", "libmp3lame"),
        ("avi", "pcm_s16le"),
        ("ts", "mp2"),
        ("mpg", "mp2"),
        ("asf", "wmav2"),
        ("flv", "aac"),
    ] {
        let film = stack.path(&format!("{codec}.{container}"));
        encode(&film, codec);
        ids.push((codec, ada.submit(&film).await));
    }
    for (codec, id) in &ids {
        let mp3 = ada.mp3(&ada.outcome(id).await).await;
        let seconds = media::decode_mp3(&mp3).expect("an MP3").seconds();
        assert!((seconds - 3.0).abs() < 0.2, "{codec}: {seconds} s");
    }
    eventually(SOON, async || stack.mails("ada@example.com").await.len() == ids.len()).await;
    // The first user, whom init.sql makes.
    User::login(ada.gateway(), "admin@mp3converter.com", "change-me-now").await;
    // Rights that somebody lacks would be complained about here.
    for service in SERVICES {
        let log = stack.log(service).to_lowercase();
        for complaint in ["not authorized", "access_refused", "access refused", "denied"] {
            assert!(!log.contains(complaint), "{service}: {log}");
        }
    }
}

fn encode(film: &std::path::Path, codec: &str) {
    let status = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=10", "-f", "lavfi", "-i", "sine"])
        .args(["-t", "3", "-ac", "2", "-ar", "44100", "-strict", "-2", "-c:a", codec])
        .args(if codec.starts_with("libopus") { &["-ar", "48000"][..] } else { &[] })
        .arg(film)
        .status()
        .expect("ffmpeg");
    assert!(status.success(), "{codec}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_mid_job_costs_time_only() {
    let stack = Stack::start(&["converter=1"]).await;
    let ada = stack.user("ada").await;
    let film = stack.path("long.mkv");
    media::film(&film, 1_200.0, &media::Film::default()).expect("a film");
    let id = ada.submit(&film).await;
    eventually(SOON, async || ada.conversion(&id).await["state"] == "converting").await;
    let worker = stack.containers("converter").remove(0);
    docker(&["kill", &worker]);
    assert_eq!(ada.conversion(&id).await["state"], "converting", "nobody knows yet");
    docker(&["start", &worker]);
    eventually(Duration::from_secs(240), async || ada.conversion(&id).await["state"] == "done").await;
    let mp3 = ada.mp3(&ada.conversion(&id).await).await;
    assert!((media::decode_mp3(&mp3).expect("an MP3").seconds() - 1_200.0).abs() < 0.1);
    eventually(SOON, async || stack.mails("ada@example.com").await == ["MP3 Download"]).await;
}

/// Everything of ours is replaced, one container after the other, while users go on. As in
/// Kubernetes, a gateway is taken out of service before it is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_fails_no_request() {
    let stack = Stack::start(&["auth=2", "gateway=2", "converter=2", "notification=2"]).await;
    let ada = stack.user("ada").await;
    let film = stack.path("film.mp4");
    media::film(&film, 20.0, &media::Film::default()).expect("a film");

    let in_service = Arc::new(Mutex::new(stack.gateways()));
    let (over, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..3)
        .map(|number| {
            let (in_service, over, requests) = (in_service.clone(), over.clone(), requests.clone());
            let (ada, film) = (ada.clone(), film.clone());
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for turn in number.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let gateway = {
                        let gateways = in_service.lock().expect("a list");
                        gateways[turn % gateways.len()].clone()
                    };
                    let ada = ada.at(&gateway);
                    if turn % 10 == 0 {
                        ids.push(ada.submit(&film).await);
                    }
                    let list = ada.request(Method::GET, "/v1/conversions").send().await.expect("an answer");
                    assert_eq!(list.status(), 200, "{}", list.text().await.unwrap_or_default());
                    requests.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                ids
            })
        })
        .collect();

    for service in ["auth", "converter", "notification"] {
        for container in stack.containers(service) {
            docker(&["stop", "--time", "60", &container]);
            docker(&["start", &container]);
            running_again(&container);
        }
    }
    for container in stack.containers("gateway") {
        let before = address(&container, 8080);
        in_service.lock().expect("a list").retain(|gateway| *gateway != before);
        // What the pause before the stop is for: nobody sends anything new.
        tokio::time::sleep(Duration::from_secs(1)).await;
        docker(&["stop", "--time", "60", &container]);
        docker(&["start", &container]);
        let after = address(&container, 8080);
        stack.ready(&after).await;
        in_service.lock().expect("a list").push(after);
    }
    over.store(true, Ordering::Relaxed);
    let mut ids = Vec::new();
    for task in load {
        ids.extend(task.await.expect("no request failed"));
    }
    assert!(requests.load(Ordering::Relaxed) > 100 && ids.len() > 10, "{requests:?} requests, {} films", ids.len());
    let ada = ada.at(&stack.gateways()[0]);
    for id in &ids {
        assert_eq!(ada.outcome(id).await["state"], "done");
    }
    eventually(SOON, async || stack.mails("ada@example.com").await.len() >= ids.len()).await;
}

fn running_again(container: &str) {
    let started = std::time::Instant::now();
    loop {
        let log = docker(&["inspect", "--format", "{{.State.Running}}", container]);
        if log == "true" && started.elapsed() > Duration::from_secs(2) {
            return;
        }
        assert!(started.elapsed() < SOON, "{container}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
