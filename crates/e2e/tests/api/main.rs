//! `/v1` and what the page stands on.

mod conversions;
mod describe;
mod events;
mod session;
mod uploads;

use reqwest::Response;
use serde_json::Value;

/// The problem that an answer is, which must have the form of one.
async fn problem(answer: Response) -> (u16, String) {
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.expect("JSON");
    assert_eq!((&problem["status"], &problem["type"]), (&status.into(), &"about:blank".into()));
    assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
    (status, problem["detail"].as_str().expect("a detail").to_owned())
}
