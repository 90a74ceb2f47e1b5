//! What is said of the API and of its errors, and the page's own files.

use e2e::{App, Product, Setup};
use reqwest::{Client, Method};
use serde_json::Value;

use crate::problem;

#[tokio::test(flavor = "multi_thread")]
async fn the_api_describes_itself_and_its_errors() {
    let app = App::start_with(Setup { converters: Some(0), ..Setup::default() }).await;
    let ada = app.user("ada").await;
    let (base, http) = (app.gateway.url(), Client::new());

    let api: Value =
        http.get(format!("{base}/v1/openapi.json")).send().await.expect("sent").json().await.expect("JSON");
    assert_eq!(api["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
    let paths = api["paths"].as_object().expect("paths");
    for (path, methods) in [
        ("/v1/conversions", &["get", "post"][..]),
        ("/v1/conversions/{id}", &["delete", "get"]),
        ("/v1/conversions/{id}/cancel", &["post"]),
        ("/v1/conversions/{id}/retry", &["post"]),
        ("/v1/conversions/{id}/events", &["get"]),
        ("/v1/conversions/{id}/waveform", &["get"]),
        ("/v1/events", &["get"]),
    ] {
        let described: Vec<_> = paths[path].as_object().expect(path).keys().collect();
        assert_eq!(described, methods, "{path}");
    }
    assert_eq!(paths.len(), 7);
    // It is its own fields and those of the settings.
    let parts = api["components"]["schemas"]["Conversion"]["allOf"].as_array().expect("parts");
    assert!(parts.iter().any(|part| part["properties"]["percent"].is_object()));
    assert!(parts.iter().any(|part| part["$ref"].as_str().is_some_and(|name| name.ends_with("/Asked"))));

    let ask =
        async |method: Method, path: &str| problem(ada.request(method, path).send().await.expect("an answer")).await;
    assert_eq!(ask(Method::GET, "/v1/nothing").await.0, 404);
    assert_eq!(ask(Method::PUT, "/v1/conversions").await.0, 405);
    assert_eq!(ask(Method::GET, "/v1/conversions?limit=many").await.0, 400);
    assert_eq!(ask(Method::GET, "/v1/conversions?cursor=x").await.0, 400);
    assert_eq!(ask(Method::POST, "/v1/conversions").await, (400, "exactly 1 file required".to_owned()));
    for path in ["", "/events", "/waveform", "/retry", "/cancel"] {
        let method = if matches!(path, "/retry" | "/cancel") { Method::POST } else { Method::GET };
        assert_eq!(ask(method, &format!("/v1/conversions/nonsense{path}")).await, (404, "not found".to_owned()));
    }
    let nobody = http.get(format!("{base}/v1/events")).send().await.expect("an answer");
    assert_eq!(problem(nobody).await, (401, "missing credentials".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_files_may_do_little_and_are_asked_for_once() {
    let app = App::start_with(Setup { converters: Some(0), ..Setup::default() }).await;
    let (base, http) = (app.gateway.url(), Client::new());
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/v1/docs", "text/html; charset=utf-8"),
        ("/app.css", "text/css; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
    ] {
        let answer = http.get(format!("{base}{path}")).send().await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &content_type.parse().expect("text"))
        );
        let policy = answer.headers()["content-security-policy"].to_str().expect("text").to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
        let etag = answer.headers()["etag"].clone();
        // Nothing inline, which the policy would not let run, and nothing from elsewhere.
        let text = answer.text().await.expect("text");
        assert!(!text.contains("style=\"") && !text.contains("onclick=\"") && !text.contains("<script>"), "{path}");
        assert!(!text.replace("http://www.w3.org/", "").contains("http://") && !text.contains("https://"), "{path}");
        let again = http.get(format!("{base}{path}")).header("if-none-match", etag).send().await.expect("an answer");
        assert_eq!(again.status(), 304);
    }
}
