//! A browser's way in.

use e2e::{App, Product, Setup, text};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use testkit::media;

use crate::problem;

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_opens_what_a_token_does() {
    let app = App::start().await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    let conversion = ada.convert(&film).await;
    let (base, http) = (app.gateway.url(), Client::new());
    let login = async |password: &str| {
        let body = json!({"email": "Ada@example.com", "password": password});
        http.post(format!("{base}/session")).json(&body).send().await.expect("an answer")
    };

    let refused = text(login("wrong horse").await).await;
    assert_eq!((refused.0, refused.2.as_str()), (401, "invalid credentials"));
    assert_eq!(http.post(format!("{base}/session")).body("{").send().await.expect("an answer").status(), 400);
    let answer = login("correct horse").await;
    assert_eq!(answer.status(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().expect("text").to_owned();
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/; Max-Age=86400"), "{cookie}");
    let who: Value = answer.json().await.expect("JSON");
    assert_eq!(who["email"], "ada@example.com");
    assert!(who["max_upload_bytes"].as_u64().is_some(), "{who}");
    let cookie = cookie.split(';').next().expect("a pair").to_owned();

    let get = |path: &str| http.get(format!("{base}{path}")).header("cookie", format!("theme=dark; {cookie}"));
    let who: Value = get("/session").send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(who["email"], "ada@example.com");
    let list: Value = get("/v1/conversions").send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(list["conversions"][0]["id"], conversion["id"]);
    // What an <audio> element sends.
    let mp3 = format!("/download?fid={}", conversion["mp3_fid"].as_str().expect("done"));
    let part = get(&mp3).header("range", "bytes=0-9").send().await.expect("an answer");
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["x-content-type-options"], "nosniff");
    let name = part.headers()["content-disposition"].to_str().expect("text");
    assert!(name.ends_with("filename*=UTF-8''film.mp3"), "{name}");

    // A header counts before a cookie, and neither is as it always was.
    let forged = get("/v1/conversions").bearer_auth("x.y.z").send().await.expect("an answer");
    assert_eq!(problem(forged).await, (403, "not authorized".to_owned()));
    assert_eq!(http.get(format!("{base}/session")).send().await.expect("an answer").status(), 204);
    let nobody = http.get(format!("{base}{mp3}")).send().await.expect("an answer");
    assert_eq!(text(nobody).await.2, "missing credentials");

    // Another site's page cannot use it.
    let path = format!("/v1/conversions/{}", conversion["id"].as_str().expect("an id"));
    let delete = || http.delete(format!("{base}{path}")).header("cookie", &cookie);
    for foreign in
        [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://elsewhere.example")]
    {
        let answer = delete().header(foreign.0, foreign.1).send().await.expect("an answer");
        assert_eq!(problem(answer).await, (403, "this request came from another site".to_owned()), "{foreign:?}");
    }
    let body = json!({"email": "ada@example.com", "password": "correct horse"});
    let login = http.post(format!("{base}/session")).json(&body).header("sec-fetch-site", "cross-site");
    assert_eq!(login.send().await.expect("an answer").status(), 403, "nor log somebody in");
    assert_eq!(delete().header("origin", &base).send().await.expect("an answer").status(), 204);

    let logout = http.delete(format!("{base}/session")).header("cookie", &cookie).send().await.expect("an answer");
    assert_eq!(logout.status(), 204);
    assert!(logout.headers()["set-cookie"].to_str().expect("text").starts_with("session=; "), "{logout:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_tls_the_cookie_goes_nowhere_else() {
    let env = vec![("PUBLIC_URL", "https://mp3.example.com".to_owned())];
    let app = App::start_with(Setup { converters: Some(0), env, ..Setup::default() }).await;
    app.user("ada").await;
    let body = json!({"email": "ada@example.com", "password": "correct horse"});
    let answer = Client::new().post(format!("{}/session", app.gateway.url())).json(&body).send().await;
    let answer = answer.expect("an answer");
    assert!(answer.headers()["set-cookie"].to_str().expect("text").ends_with("; Secure"), "{answer:?}");
}
