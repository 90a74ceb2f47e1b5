//! Requests that are made to do harm: forms without end, heads without end, and many of them.

use std::{sync::Arc, time::Duration};

use e2e::{Kept, Product, Setup, User, text};
use futures_util::{StreamExt, stream};
use reqwest::{
    Body, Method,
    multipart::{Form, Part},
};
use testkit::{eventually, media};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    time::{Instant, interval, timeout},
};

const SOON: Duration = Duration::from_secs(30);
/// What the gateway still takes, to throw it away, so that the answer can be read.
const MUCH: usize = 14 << 20;
/// More than forms take in memory, and less than any of these is long.
const LITTLE: u64 = 8 << 20;

async fn send(user: &User, body: Vec<u8>) -> (u16, String) {
    // In pieces, as the network brings it.
    let pieces: Vec<_> = body.chunks(64 << 10).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    let request = user.request(Method::POST, "/upload").header("content-type", "multipart/form-data; boundary=b");
    let answer = request.body(Body::wrap_stream(stream::iter(pieces))).send().await.expect("an answer");
    let (status, _, words) = text(answer).await;
    (status, words)
}

/// Parts that hold parts, so many levels deep.
fn nested(depth: usize) -> String {
    let part = |level| format!("--c{level}\r\nContent-Type: multipart/mixed; boundary=c{}\r\n\r\n", level + 1);
    (0..depth).map(part).collect()
}

pub async fn a_form_takes_no_more_memory_than_a_piece_of_its_film<P: Product>() {
    let app = P::start().await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 1.0, &media::Film::default()).expect("a film");
    ada.outcome(&ada.submit(&film).await).await;
    let (before, kept) = (app.gateway().peak_memory(), app.kept().await);

    let (text, file) = ("--b\r\nContent-Disposition: form-data; name=\"x\"", "; filename=\"f.mp4\"\r\n\r\nfilm\r\n");
    let empty = format!("{text}\r\n\r\n\r\n");
    let too_much = "there is too much beside the file";
    for (what, body, words) in [
        ("what stands in front of the first part", "x".repeat(MUCH), too_much),
        ("a part's head", format!("{text}\r\nX-Long: {}", "x".repeat(MUCH)), too_much),
        ("heads of a part", format!("{text}\r\n{}", "X-Many: x\r\n".repeat(MUCH / 11)), too_much),
        ("a text field", format!("{text}\r\n\r\n{}", "x".repeat(MUCH)), too_much),
        ("empty fields", empty.repeat(MUCH / empty.len()), too_much),
        ("what follows the file", format!("{text}{file}{}", empty.repeat(MUCH / empty.len())), too_much),
        ("parts in parts", format!("{text}\r\n\r\n{}\r\n--b--\r\n", nested(10_000)), "exactly 1 file required"),
        ("a hundred heads", format!("{text}\r\n{}\r\n\r\n--b--\r\n", "X-Many: x\r\n".repeat(100)), "not well-formed"),
        (
            "files without names",
            format!("{}--b--\r\n", format!("{text}; filename=\"\"\r\n\r\n\r\n").repeat(5_000)),
            "exactly 1",
        ),
    ] {
        let (status, said) = send(&ada, body.into_bytes()).await;
        assert_eq!(status, 400, "{what}: {said}");
        assert!(said.contains(words), "{what}: {said}");
        let more = app.gateway().peak_memory() - before;
        assert!(more < LITTLE, "{what}: {more} bytes");
    }
    // A few fields more than anybody needs are no harm.
    let bytes = [empty.repeat(500).as_bytes(), text.as_bytes(), file.as_bytes(), b"--b--\r\n"].concat();
    assert_eq!(send(&ada, bytes).await, (200, "success!".to_owned()));
    eventually(SOON, async || app.kept().await.videos.any == kept.videos.any + 1).await;
}

pub async fn a_head_has_an_end<P: Product>() {
    let app = P::start_with(Setup { env: vec![("HEADER_TIMEOUT", "2s".to_owned())], ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let address = app.gateway().url().trim_start_matches("http://").to_owned();
    for (what, lines) in [
        ("thousands of headers", "X-Many: x\r\n".repeat(5_000)),
        ("a header of two megabytes", format!("X-Long: {}\r\n", "x".repeat(2 << 20))),
        ("a long list of cookies", format!("Cookie: {}\r\n", "session=x; ".repeat(100_000))),
    ] {
        let mut socket = TcpStream::connect(&address).await.expect("connect");
        // It need not read all of it.
        let _ = socket.write_all(format!("GET /v1/conversions HTTP/1.1\r\nHost: x\r\n{lines}\r\n").as_bytes()).await;
        let mut answer = Vec::new();
        let _ = timeout(SOON, socket.read_to_end(&mut answer)).await.expect("an end");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{what}: {answer}");
    }

    // A byte now and then does not keep a connection open, nor do a hundred of those keep others out.
    let began = Instant::now();
    let slow: Vec<_> = (0..100)
        .map(|_| {
            let address = address.clone();
            tokio::spawn(async move {
                let mut socket = TcpStream::connect(&address).await.expect("connect");
                socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.expect("sent");
                let mut tick = interval(Duration::from_millis(100));
                let mut byte = [0];
                loop {
                    tokio::select! {
                        _ = tick.tick() => if socket.write_all(b"x").await.is_err() { return },
                        read = socket.read(&mut byte) => if !matches!(read, Ok(1..)) { return },
                    }
                }
            })
        })
        .collect();
    ada.get("/v1/conversions").await.error_for_status().expect("others are not kept out");
    for connection in slow {
        timeout(SOON, connection).await.expect("an end").expect("no panic");
    }
    assert!(began.elapsed() >= Duration::from_secs(2), "they had their time");
    // On a connection of its own: Ada's has rested for as long, and may be closed under her request.
    let list = reqwest::Client::new().get(format!("{}/v1/conversions", app.gateway().url()));
    let after = list.bearer_auth(&ada.token).send().await.expect("an answer");
    assert_eq!(after.status(), 200, "{}", app.gateway().log());
    assert_eq!(app.kept().await, Kept::default());
}

/// Given up while its client sent nothing; what comes after all is refused, and kept by nobody.
pub async fn an_upload_that_was_given_up_leaves_nothing<P: Product>() {
    let env = [("UPLOAD_DEADLINE", "1s"), ("RECONCILE_INTERVAL", "200ms")];
    let env = env.map(|(name, value)| (name, value.to_owned())).into();
    let app = P::start_with(Setup { env, ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let reaped = Arc::new(Notify::new());
    // So little that none of it is in the store before the end.
    let late = reaped.clone();
    let rest = stream::once(async move {
        late.notified().await;
        std::io::Result::Ok(vec![7_u8; 10_000])
    });
    let film = stream::once(async { Ok(vec![7_u8; 10_000]) }).chain(rest);
    let form = Form::new().part("file", Part::stream(Body::wrap_stream(film)).file_name("film.mov"));
    let sent = tokio::spawn(ada.request(Method::POST, "/upload").multipart(form).send());
    eventually(SOON, async || app.gateway().log().contains("removed with its files")).await;
    reaped.notify_one();
    let answer = sent.await.expect("no panic").expect("an answer");
    // A folder no longer has what it was writing to.
    assert!(matches!(answer.status().as_u16(), 409 | 503), "{}", answer.status());
    eventually(SOON, async || app.kept().await == Kept::default()).await;
}
