//! What the gateway answers, word for word, and what it keeps.

use std::time::Duration;

use e2e::{Files, Kept, Product, Setup, User, text};
use reqwest::multipart::{Form, Part};
use testkit::{eventually, media};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SOON: Duration = Duration::from_secs(30);
const PLAIN: &str = "text/plain; charset=utf-8";

fn film(app: &impl Product) -> std::path::PathBuf {
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    film
}

fn file(bytes: Vec<u8>) -> Part {
    Part::bytes(bytes).file_name("film.mp4")
}

async fn nothing_is_kept(app: &impl Product) {
    eventually(SOON, async || app.kept().await == Kept::default()).await;
}

pub async fn every_answer_of_the_gateway<P: Product>() {
    let app = P::start_with(Setup { env: vec![("MAX_UPLOAD_BYTES", "3000000".to_owned())], ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let (http, url) = (reqwest::Client::new(), app.gateway().url());
    let answer = |status: u16, body: &str| (status, PLAIN.to_owned(), body.to_owned());

    let login = |user: &str, password: &str| http.post(format!("{url}/login")).basic_auth(user, Some(password)).send();
    assert_eq!(
        text(http.post(format!("{url}/login")).send().await.expect("sent")).await,
        answer(401, "missing credentials")
    );
    for (user, password) in [("ada@example.com", "wrong horse"), ("nobody@example.com", "correct horse")] {
        assert_eq!(text(login(user, password).await.expect("sent")).await, answer(401, "invalid credentials"));
    }
    let token = text(login("ada@example.com", "correct horse").await.expect("sent")).await;
    assert_eq!((token.0, token.1.as_str(), token.2.split('.').count()), (200, PLAIN, 3));
    let again = http
        .post(format!("{url}/register"))
        .json(&serde_json::json!({"email": "ADA@example.com", "password": "correct horse"}));
    assert_eq!(again.send().await.expect("sent").status(), 409);

    // Without a token, with a bad one.
    for (path, post) in [("/upload", true), ("/download?fid=1", false), ("/v1/conversions", false)] {
        let request = || if post { http.post(format!("{url}{path}")) } else { http.get(format!("{url}{path}")) };
        let missing = text(request().send().await.expect("sent")).await;
        let bad = text(request().bearer_auth("a.b.c").send().await.expect("sent")).await;
        if path.starts_with("/v1") {
            assert_eq!((missing.0, bad.0, bad.1.as_str()), (401, 403, "application/problem+json"));
        } else {
            assert_eq!((missing, bad), (answer(401, "missing credentials"), answer(403, "not authorized")), "{path}");
        }
    }

    // Not exactly one file.
    let exactly_one = answer(400, "exactly 1 file required");
    let two = Form::new().part("a", file(vec![1; 500_000])).part("b", file(vec![2; 500_000]));
    assert_eq!(text(ada.send(two, false).await).await, exactly_one);
    assert_eq!(text(ada.send(Form::new().text("note", "no file"), false).await).await, exactly_one);
    let not_multipart = http.post(format!("{url}/upload")).bearer_auth(&ada.token).body("film");
    assert_eq!(text(not_multipart.send().await.expect("sent")).await, exactly_one);
    // Too large, whether the length is told beforehand or not.
    assert_eq!(ada.send(Form::new().part("file", file(vec![0; 3_100_000])), false).await.status(), 413);
    let stream = futures_util::stream::iter((0..31).map(|_| Ok::<_, std::io::Error>(vec![0u8; 100_000])));
    let stream = Part::stream(reqwest::Body::wrap_stream(stream)).file_name("film.mp4");
    assert_eq!(ada.send(Form::new().part("file", stream), false).await.status(), 413);
    nothing_is_kept(&app).await;

    // A success, under any field name, with a text field beside it.
    let bytes = std::fs::read(film(&app)).expect("a film");
    let form = Form::new().text("note", "hello").part("whatever", file(bytes));
    let accepted = ada.send(form, false).await;
    let location = accepted.headers()["location"].to_str().expect("text").to_owned();
    assert_eq!(text(accepted).await, answer(200, "success!"));
    let id = location.strip_prefix("/v1/conversions/").expect("the conversion's address");
    let conversion = ada.outcome(id).await;

    // Downloads.
    assert_eq!(text(ada.get("/download").await).await, answer(400, "fid is required"));
    assert_eq!(text(ada.get("/download?fid=").await).await, answer(400, "fid is required"));
    assert_eq!(text(ada.get("/download?fid=xyz").await).await, answer(404, "not found"));
    let mp3 = ada.mp3(&conversion).await;
    download_in_parts(&ada, &url, conversion["mp3_fid"].as_str().expect("done"), &mp3).await;
}

async fn download_in_parts(ada: &User, url: &str, fid: &str, mp3: &[u8]) {
    let http = reqwest::Client::new();
    let ask = async |name: &str, value: &str| {
        let request = http.get(format!("{url}/download?fid={fid}")).bearer_auth(&ada.token).header(name, value);
        request.send().await.expect("sent")
    };
    let whole = ada.get(&format!("/download?fid={fid}")).await;
    assert_eq!(whole.headers()["content-length"], mp3.len().to_string().as_str());
    let disposition = whole.headers()["content-disposition"].to_str().expect("text").to_owned();
    assert_eq!(disposition, format!("inline; filename=\"{fid}.mp3\"; filename*=UTF-8''film.mp3"));
    let etag = whole.headers()["etag"].to_str().expect("text").to_owned();

    let part = ask("range", "bytes=100-199").await;
    assert_eq!(
        (part.status().as_u16(), part.headers()["content-range"].to_str().ok()),
        (206, Some(format!("bytes 100-199/{}", mp3.len()).as_str()))
    );
    assert_eq!(part.bytes().await.expect("a body"), mp3[100..200]);
    assert_eq!(ask("range", "bytes=-10").await.bytes().await.expect("a body"), mp3[mp3.len() - 10..]);
    let beyond = ask("range", "bytes=99999999-").await;
    assert_eq!(
        (beyond.status().as_u16(), beyond.headers()["content-range"].to_str().ok()),
        (416, Some(format!("bytes */{}", mp3.len()).as_str()))
    );
    assert_eq!(ask("if-none-match", &etag).await.status(), 304);
    let head = http.head(format!("{url}/download?fid={fid}")).bearer_auth(&ada.token).send().await.expect("sent");
    assert_eq!(head.headers()["content-length"], mp3.len().to_string().as_str());
}

pub async fn a_client_that_goes_away_leaves_nothing<P: Product>() {
    let app = P::start().await;
    let ada = app.user("ada").await;
    let address = app.gateway().url().trim_start_matches("http://").to_owned();
    let mut socket = tokio::net::TcpStream::connect(&address).await.expect("connect");
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 9000000\r\n\
         Content-Type: multipart/form-data; boundary=b\r\n\r\n\
         --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.mp4\"\r\n\r\n",
        ada.token
    );
    socket.write_all(head.as_bytes()).await.expect("send");
    socket.write_all(&vec![7; 4_000_000]).await.expect("send");
    eventually(SOON, async || app.kept().await.videos == Files { whole: 0, any: 1 }).await;
    drop(socket);
    nothing_is_kept(&app).await;

    // A body that ends before its last boundary is no upload either.
    let mut socket = tokio::net::TcpStream::connect(&address).await.expect("connect");
    let body = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.mp4\"\r\n\r\nhalf";
    let head = head.split("\r\n\r\n").next().expect("a head").replace("9000000", &body.len().to_string());
    socket.write_all(format!("{}\r\nConnection: close\r\n\r\n{body}", head).as_bytes()).await.expect("send");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    nothing_is_kept(&app).await;
}
