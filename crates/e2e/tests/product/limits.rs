//! What one user, or one client, can have at once.

use std::{path::PathBuf, time::Duration};

use e2e::{Product, Setup, User, text};
use futures_util::stream;
use reqwest::{
    Body, Method, Response, StatusCode,
    multipart::{Form, Part},
};
use testkit::{eventually, media};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

const SOON: Duration = Duration::from_secs(30);

async fn start<P: Product>(env: &[(&'static str, &str)]) -> P {
    let env = env.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    P::start_with(Setup { env, ..Setup::default() }).await
}

fn film(app: &impl Product) -> PathBuf {
    let path = app.path("film.mp4");
    media::film(&path, 2.0, &media::Film::default()).expect("a film");
    path
}

/// Two big uploads, at once: an upload is over in seconds, and making the second film may take as long.
async fn begin_uploads(app: &impl Product, [one, another]: [&User; 2]) -> [JoinHandle<reqwest::Result<Response>>; 2] {
    let paths = [app.path("one.mov"), app.path("another.mov")];
    // Side by side: each makes its film in one go, before it waits for anything.
    tokio::join!(one.begin_upload(&paths[0]), another.begin_upload(&paths[1])).into()
}

/// What a refusal says: its policy and its words.
async fn limited(answer: Response) -> (String, String) {
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
    let after: u64 = header("retry-after").parse().expect("seconds");
    assert!(after >= 1);
    let (policy, left) = (header("ratelimit-policy"), header("ratelimit"));
    let name = policy.split(';').next().expect("a name").to_owned();
    assert!(left.starts_with(&format!("{name};r=")) && left.ends_with(&format!(";t={after}")), "{policy} {left}");
    (policy, text(answer).await.2)
}

pub async fn a_user_has_so_much_room<P: Product>() {
    let app = start::<P>(&[("MAX_BYTES_PER_USER", "3000000")]).await;
    let (ada, ben) = (app.user("ada").await, app.user("ben").await);
    let (small, big) = (film(&app), app.path("big.mov"));
    // No film at all; the room that it takes is the same.
    std::fs::write(&big, vec![7; 2 << 20]).expect("written");
    let first = ada.submit(&big).await;
    // Announced, and found out on the way.
    let (policy, words) = limited(ada.upload(&big).await).await;
    assert_eq!(policy, "\"bytes\";q=3000000;qu=\"content-bytes\"");
    assert_eq!(words, "there is no room left for this file: delete some conversions, try again later");
    let unannounced = reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::new(
        tokio::fs::File::open(&big).await.expect("the film"),
    ));
    let part = Part::stream(unannounced).file_name("big.mov");
    limited(ada.send(Form::new().part("file", part), false).await).await;
    // What there is room for is taken, and others have their own.
    ada.submit(&small).await;
    ben.submit(&big).await;
    ada.outcome(&first).await;
    assert_eq!(ada.delete(&format!("/v1/conversions/{first}")).await.status(), 204);
    ada.submit(&big).await;
}

pub async fn a_user_has_so_many_uploads_at_once<P: Product>() {
    let app = start::<P>(&[("MAX_UPLOADS_PER_USER", "2")]).await;
    let (ada, ben) = (app.user("ada").await, app.user("ben").await);
    let film = film(&app);
    let running = begin_uploads(&app, [&ada, &ada]).await;
    eventually(SOON, async || app.kept().await.videos.any == 2).await;
    let (policy, words) = limited(ada.upload(&film).await).await;
    assert_eq!(policy, "\"uploads\";q=2;qu=\"concurrent-requests\"");
    assert_eq!(words, "too many uploads at once, try again later");
    ben.submit(&film).await;
    for upload in running {
        upload.abort();
    }
    eventually(SOON, async || ada.upload(&film).await.status() == 202).await;

    // One that is sent again under its key has a place, too, until all of it has come.
    let keyed = |film: Part| {
        let form = Form::new().part("file", film.file_name("film.mp4"));
        ada.request(Method::POST, "/upload").header("idempotency-key", "once").multipart(form).send()
    };
    let answer = keyed(Part::bytes(std::fs::read(&film).expect("the film"))).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let endless = || Part::stream(Body::wrap_stream(stream::pending::<std::io::Result<Vec<u8>>>()));
    let one_too_many = async || {
        tokio::spawn(keyed(endless()));
        ada.upload(&film).await.status() == StatusCode::TOO_MANY_REQUESTS
    };
    eventually(SOON, one_too_many).await;
}

pub async fn all_users_together_have_so_many_uploads_at_once<P: Product>() {
    let app = start::<P>(&[("MAX_UPLOADS", "2")]).await;
    let (ada, ben, cam) = (app.user("ada").await, app.user("ben").await, app.user("cam").await);
    let film = film(&app);
    let running = begin_uploads(&app, [&ada, &ben]).await;
    eventually(SOON, async || app.kept().await.videos.any == 2).await;
    let refused = cam.upload(&film).await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].as_bytes()), (503, &b"5"[..]));
    assert!(text(refused).await.2.contains("too many uploads are under way, try again later"));
    for upload in running {
        upload.abort();
    }
    eventually(SOON, async || cam.upload(&film).await.status() == 202).await;
}

pub async fn a_user_has_so_many_downloads_and_streams_at_once<P: Product>() {
    let app = start::<P>(&[("MAX_DOWNLOADS_PER_USER", "2"), ("MAX_EVENT_STREAMS_PER_USER", "2")]).await;
    let (ada, ben) = (app.user("ada").await, app.user("ben").await);
    let film = app.path("long.mp4");
    media::film(&film, 600.0, &media::Film::default()).expect("a film");
    let bytes = std::fs::read(&film).expect("the film");
    let form = Form::new().text("bitrate", "320").part("file", Part::bytes(bytes).file_name("long.mp4"));
    let answer = ada.request(Method::POST, "/v1/conversions").multipart(form).send().await.expect("an answer");
    let conversion: serde_json::Value = answer.json().await.expect("JSON");
    let conversion = ada.outcome(conversion["id"].as_str().expect("an id")).await;
    // 24 MB: more than stands in any buffer on the way to a client that does not read.
    let mp3 = format!("/download?fid={}", conversion["mp3_fid"].as_str().expect("done"));
    for (path, policy, words) in [
        (mp3.as_str(), "downloads", "too many downloads at once, try again later"),
        ("/v1/events", "streams", "too many streams of events at once"),
    ] {
        let held = [ada.get(path).await, ada.get(path).await];
        assert!(held.iter().all(|answer| answer.status() == 200), "{path}");
        let refused = limited(ada.get(path).await).await;
        assert_eq!(refused.0, format!("\"{policy}\";q=2;qu=\"concurrent-requests\""));
        assert!(refused.1.contains(words), "{}", refused.1);
        assert_eq!(ben.get("/v1/events").await.status(), 200, "another user");
        drop(held);
        eventually(SOON, async || ada.get(path).await.status() == 200).await;
    }
}

pub async fn a_user_has_so_many_requests_a_minute<P: Product>() {
    let app = start::<P>(&[("REQUESTS_PER_MINUTE", "20")]).await;
    let (ada, ben) = (app.user("ada").await, app.user("ben").await);
    let list = async |user: &User| user.get("/v1/conversions").await;
    let mut answer = list(&ada).await;
    let mut count = 0;
    while answer.status() == 200 {
        count += 1;
        assert!(count < 60, "without end");
        answer = list(&ada).await;
    }
    assert!(count >= 20, "{count}");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let (policy, problem) = limited(answer).await;
    assert_eq!(policy, "\"requests\";q=20;w=60");
    assert!(problem.contains("too many requests, try again later"), "{problem}");
    assert_eq!(list(&ben).await.status(), 200, "another user");
    // Ada's other requests are hers, too.
    limited(ada.get("/download?fid=1").await).await;
    eventually(SOON, async || list(&ada).await.status() == 200).await;
}

pub async fn an_address_is_told_by_a_proxy_of_ours<P: Product>() {
    let app = start::<P>(&[("TRUSTED_PROXIES", "127.0.0.1"), ("REQUESTS_PER_MINUTE_AND_ADDRESS", "40")]).await;
    app.user("ada").await;
    let (http, url) = (reqwest::Client::new(), app.gateway().url());
    let from = |client: &str, path: &str| http.post(format!("{url}{path}")).header("x-forwarded-for", client);
    let login = |client: &str, password: &str| from(client, "/login").basic_auth("ada@example.com", Some(password));
    for _ in 0..20 {
        let answer = text(login("192.0.2.1", "guess").send().await.expect("sent")).await;
        assert_eq!((answer.0, answer.2.as_str()), (401, "invalid credentials"));
    }
    let (policy, words) = limited(login("192.0.2.1", "correct horse").send().await.expect("sent")).await;
    assert_eq!(
        (policy.as_str(), words.as_str()),
        ("\"log-ins\";q=20;w=600", "too many failed log-ins, try again later")
    );
    // The page's way in is the same one.
    let body = serde_json::json!({"email": "ada@example.com", "password": "correct horse"});
    limited(from("192.0.2.1", "/session").json(&body).send().await.expect("sent")).await;
    // Its owner, at another address and with what a client may write in front, does not notice.
    assert_eq!(login("192.0.2.1, 192.0.2.2", "correct horse").send().await.expect("sent").status(), 200);

    // And what one address sends comes to an end, whatever it is.
    let home = |client: &str| http.get(&url).header("x-forwarded-for", client).send();
    let ask = async || home("192.0.2.3").await.expect("sent").status() == 429;
    eventually(SOON, ask).await;
    assert_eq!(home("192.0.2.4").await.expect("sent").status(), 200);
}

pub async fn an_address_has_so_many_connections<P: Product>() {
    let app = start::<P>(&[("MAX_CONNECTIONS_PER_ADDRESS", "20")]).await;
    let address = app.gateway().url().trim_start_matches("http://").to_owned();
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(&address).await.expect("connect"));
    }
    let answers = async || {
        let mut socket = TcpStream::connect(&address).await.expect("connect");
        let sent = socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        let mut answer = String::new();
        sent.is_ok() && socket.read_to_string(&mut answer).await.is_ok() && answer.starts_with("HTTP/1.1 200 ")
    };
    eventually(SOON, async || !answers().await).await;
    drop(idle);
    eventually(SOON, answers).await;
}

pub async fn connections_beyond_so_many_wait<P: Product>() {
    let app = start::<P>(&[("MAX_CONNECTIONS", "8")]).await;
    let address = app.gateway().url().trim_start_matches("http://").to_owned();
    let mut open = Vec::new();
    let mut waiting = loop {
        let mut socket = TcpStream::connect(&address).await.expect("connect");
        socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
        match tokio::time::timeout(Duration::from_secs(2), socket.read_u8()).await {
            Ok(first) => assert_eq!(first.expect("an answer"), b'H'),
            Err(_) => break socket,
        }
        open.push(socket);
        assert!(open.len() <= 8, "all of them are served");
    };
    // Its turn has come, and what it asked was kept.
    open.pop();
    let first = tokio::time::timeout(SOON, waiting.read_u8()).await.expect("soon").expect("an answer");
    assert_eq!(first, b'H');
}

pub async fn who_dawdles_is_sent_away<P: Product>() {
    let app = start::<P>(&[("HEADER_TIMEOUT", "3s"), ("UPLOAD_IDLE_TIMEOUT", "1s")]).await;
    let ada = app.user("ada").await;
    let address = app.gateway().url().trim_start_matches("http://").to_owned();
    let answer = async |sent: &str| {
        let mut socket = TcpStream::connect(&address).await.expect("connect");
        socket.write_all(sent.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        tokio::time::timeout(SOON, socket.read_to_end(&mut answer)).await.expect("an end").expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    };
    // A body that stops.
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\nContent-Length: 9000000\r\n\
         Content-Type: multipart/form-data; boundary=b\r\n\r\n\
         --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.mp4\"\r\n\r\nhalf",
        ada.token
    );
    let said = answer(&head).await;
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    assert!(said.ends_with("the request stalled"), "{said}");
    eventually(SOON, async || app.kept().await == e2e::Kept::default()).await;
    // A head that never ends.
    let said = answer("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
}
