//! What belongs to somebody else: every route there is, walked by its description.

use std::time::Duration;

use e2e::{Product, User};
use futures_util::StreamExt;
use reqwest::{Method, Response};
use serde_json::Value;
use testkit::media;

/// As much of an answer as comes within a moment: streams of events do not end.
async fn beginning(answer: Response) -> String {
    let (mut body, mut text) = (answer.bytes_stream(), String::new());
    while let Ok(Some(Ok(bytes))) = tokio::time::timeout(Duration::from_millis(800), body.next()).await {
        text += &String::from_utf8_lossy(&bytes);
    }
    text
}

fn assert_careful(answer: &Response, what: &str) {
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("text"));
    assert_eq!(header("x-content-type-options"), Some("nosniff"), "{what}");
    let caching = header("cache-control").unwrap_or_default();
    assert!(caching.contains("no-store") || caching.contains("no-cache"), "{what}: {caching}");
    assert!(header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'")), "{what}");
}

pub async fn no_route_shows_or_changes_what_is_anothers<P: Product>() {
    let app = P::start().await;
    let (ada, ben) = (app.user("ada").await, app.user("ben").await);
    let film = app.path("adas holiday.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    let before = ada.convert(&film).await;
    let (id, fid) = (before["id"].as_str().expect("an id"), before["mp3_fid"].as_str().expect("done"));

    let api: Value = ben.get("/v1/openapi.json").await.json().await.expect("JSON");
    let mut routes: Vec<(Method, String)> = Vec::new();
    for (path, methods) in api["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            routes.push((method, path.clone()));
        }
    }
    assert!(routes.iter().filter(|(_, path)| path.contains("{id}")).count() >= 6, "{routes:?}");
    // The classic layer has no description.
    routes.extend([(Method::GET, "/download?fid={fid}".to_owned()), (Method::HEAD, "/download?fid={fid}".to_owned())]);

    for (method, path) in routes {
        let what = format!("{method} {path}");
        let names_one = path.contains('{');
        let asked = path.replace("{id}", id).replace("{fid}", fid);
        assert!(!asked.contains('{'), "{what}: what else does it name?");
        let ask = |user: &User| user.request(method.clone(), &asked).send();
        let answer = ask(&ben).await.expect("an answer");
        if names_one {
            assert_eq!(answer.status(), 404, "{what}");
        }
        assert_careful(&answer, &what);
        let text = beginning(answer).await;
        for secret in [id, fid, "adas holiday"] {
            assert!(!text.contains(secret), "{what}: {text}");
        }
        // An id that is nobody's gets the very same answer.
        if names_one {
            let nobodys = path.replace("{id}", "0123456789abcdef01234567").replace("{fid}", "0123456789abcdef01234567");
            let answer = ben.request(method.clone(), &nobodys).send().await.expect("an answer");
            assert_eq!((answer.status().as_u16(), beginning(answer).await), (404, text), "{what}");
        }
        for token in ["", "a.b.c"] {
            let answer = ask(&ada.with_token(token)).await.expect("an answer");
            assert!(matches!(answer.status().as_u16(), 401 | 403), "{what}: {}", answer.status());
            assert_careful(&answer, &what);
            assert!(!beginning(answer).await.contains(id), "{what}");
        }
    }
    let mut after = ada.conversion(id).await;
    // Since then its owner has had the mail.
    after["updated_at"] = before["updated_at"].clone();
    assert_eq!(after, before, "nothing has happened to it");
    assert!(!ada.mp3(&before).await.is_empty());
}

pub async fn who_is_kept_out_is_out_at_once<P: Product>() {
    let app = P::start().await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    let conversion = ada.convert(&film).await;
    let id = conversion["id"].as_str().expect("an id");
    let download = format!("/download?fid={}", conversion["mp3_fid"].as_str().expect("done"));
    let auth = app.services()[0];
    let operate = async |what: &str| {
        let data = app.folder().join("mp3converter");
        let output = auth.operate(&["--data", data.to_str().expect("text"), "user", what, "ADA@example.com"]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let paths =
        ["/v1/conversions", &format!("/v1/conversions/{id}"), &format!("/v1/conversions/{id}/events"), &download];
    operate("disable").await;
    for path in paths.into_iter().chain(["/v1/events"]) {
        assert_eq!(ada.get(path).await.status(), 401, "{path}");
    }
    let answer = e2e::text(ada.upload(&film).await).await;
    assert_eq!((answer.0, answer.2.as_str()), (401, "not authorized"));
    operate("enable").await;
    for path in paths {
        assert_eq!(ada.get(path).await.status(), 200, "{path}");
    }
    let unknown = auth.operate(&["--data", app.folder().to_str().expect("text"), "user", "disable", "x@y.z"]).await;
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("x@y.z has no account"), "{unknown:?}");
}
