//! `POST /validate`.

use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp};
use serde_json::{Value, json};
use testkit::run_sql;

use crate::app::{App, SECRET, text};

/// Made by PyJWT 2.15 with [`SECRET`]; expires with the year 2099.
const PYTHON: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VybmFtZSI6Imdlb3JnaW9AZW1haWwuY29tIiwiZXhwIjo0MTAyNDQ0ODAwLCJpYXQiOjE3MDQwNjcyMDAsImFkbWluIjp0cnVlfQ.M6O3sNGueCp_doW2rrFtERfjf74MSFAEvbrYok-llDs";
const PYTHON_CLAIMS: &str = r#"{"username":"georgio@email.com","exp":4102444800,"iat":1704067200,"admin":true}"#;

fn signed(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes()))
        .expect("a token")
}

fn claims() -> Value {
    let now = get_current_timestamp();
    json!({ "username": "georgio@email.com", "exp": now + 60, "iat": now, "admin": true })
}

/// Where the tokens' user has an account.
async fn app() -> App {
    App::classic().await
}

#[tokio::test]
async fn a_token_made_by_python_is_accepted() {
    let answer = app().await.validate(PYTHON).await;
    assert_eq!((answer.status.as_u16(), answer.content_type.as_str()), (200, "application/json"));
    assert_eq!(answer.body, PYTHON_CLAIMS);
}

#[tokio::test]
async fn without_a_token() {
    let app = app().await;
    let basic = format!("Basic {PYTHON}");
    for header in [None, Some("Bearer"), Some("Bearer "), Some("Bearer    "), Some(basic.as_str()), Some(PYTHON)] {
        assert_eq!(app.authorized("/validate", header).await, text(401, "missing credentials"), "{header:?}");
    }
    let lower = format!("bearer {PYTHON}");
    assert_eq!(app.authorized("/validate", Some(&lower)).await.status, 200);
}

#[tokio::test]
async fn forged_expired_and_foreign_tokens() {
    let app = app().await;
    let with = |key: &str, value: Value| {
        let mut claims = claims();
        claims[key] = value;
        signed(Algorithm::HS256, SECRET, &claims)
    };
    assert_eq!(app.validate(&signed(Algorithm::HS256, SECRET, &claims())).await.status, 200, "the model of the rest");

    let mut tampered = PYTHON.to_owned();
    tampered.replace_range(60..61, if &PYTHON[60..61] == "A" { "B" } else { "A" });
    let (signed_part, signature) = PYTHON.rsplit_once('.').expect("three parts");
    let payload = signed_part.split_once('.').expect("three parts").1;
    // {"alg":"none","typ":"JWT"}, with and without the signature of the true header.
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.");
    let none_signed = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.{signature}");
    let mut no_expiry = claims();
    no_expiry.as_object_mut().expect("an object").remove("exp");

    for (what, token) in [
        ("nonsense", "nonsense".to_owned()),
        ("no signature", signed_part.to_owned()),
        ("an empty signature", format!("{signed_part}.")),
        ("tampered", tampered),
        ("another secret", signed(Algorithm::HS256, "somebody else's secret of at least 32 bytes", &claims())),
        ("HS384", signed(Algorithm::HS384, SECRET, &claims())),
        ("HS512", signed(Algorithm::HS512, SECRET, &claims())),
        ("no algorithm", none),
        ("no algorithm, but signed", none_signed),
        ("expired", with("exp", json!(get_current_timestamp() - 60))),
        ("expiry as text", with("exp", json!("4102444800"))),
        ("no expiry", signed(Algorithm::HS256, SECRET, &no_expiry)),
        ("admin as text", with("admin", json!("true"))),
        ("for somebody else", with("aud", json!("another service"))),
    ] {
        assert_eq!(app.validate(&token).await, text(403, "not authorized"), "{what}: {token}");
    }
}

#[tokio::test]
async fn the_previous_secret_validates_and_no_longer_signs() {
    let new = "another secret, which also is 32 bytes or more";
    let settings = [("JWT_SECRET", new), ("JWT_SECRET_PREVIOUS", SECRET)];
    let database = app().await.database;
    let rotated = App::on(&database, &settings).await;
    assert_eq!(rotated.validate(PYTHON).await.body, PYTHON_CLAIMS);
    assert_eq!(rotated.validate(&signed(Algorithm::HS256, new, &claims())).await.status, 200);
    let later = App::on(&database, &settings[..1]).await;
    assert_eq!(later.validate(PYTHON).await, text(403, "not authorized"));
}

#[tokio::test]
async fn a_disabled_account_loses_its_access_at_once() {
    let app = App::start().await;
    let admin = "admin@mp3converter.com";
    let token = app.token(admin, "change-me-now").await;
    let permits = async || {
        let answer = app.validate(&token).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str::<Value>(&answer.body).expect("JSON")["admin"].as_bool().expect("a word")
    };
    assert!(permits().await);
    run_sql(&app.database, "UPDATE user SET enabled = FALSE").await.expect("an update");
    assert!(!permits().await, "the same token");
    run_sql(&app.database, "UPDATE user SET enabled = TRUE").await.expect("an update");
    assert!(permits().await);
    run_sql(&app.database, "DELETE FROM user").await.expect("deleted");
    assert_eq!(app.validate(&token).await, text(403, "not authorized"));
}

#[tokio::test]
async fn other_methods_and_paths() {
    let app = app().await;
    assert_eq!(app.get("/validate").await.status, 405);
    assert_eq!(app.get("/nowhere").await.status, 404);
    assert_eq!(app.get("/healthz").await, text(200, "ok"));
}
