//! `POST /register`.

use testkit::Servers;

use crate::app::{App, answer, text};

#[tokio::test]
async fn a_new_account_can_log_in() {
    let app = App::start().await;
    assert_eq!(app.register("New.User@Example.com", "correct horse").await, text(201, "created"));
    let token = app.token("new.user@example.com", "correct horse").await;
    let claims = app.validate(&token).await.body;
    assert!(
        claims.starts_with(r#"{"username":"new.user@example.com","#) && claims.ends_with(r#""admin":true}"#),
        "{claims}"
    );
    assert!(app.stored("new.user@example.com").await.starts_with("$argon2id$"));
    assert_eq!(app.login("new.user@example.com", "wrong horse").await, text(401, "invalid credentials"));
}

#[tokio::test]
async fn the_classic_table_takes_new_accounts_too() {
    let app = App::classic().await;
    assert_eq!(app.register("new@example.com", "correct horse").await, text(201, "created"));
    app.token("new@example.com", "correct horse").await;
}

#[tokio::test]
async fn a_taken_address_in_any_case() {
    let app = App::start().await;
    for address in ["admin@mp3converter.com", "ADMIN@mp3converter.com", " admin@mp3converter.com "] {
        assert_eq!(
            app.register(address, "correct horse").await,
            text(409, "this e-mail address is taken"),
            "{address}"
        );
    }
    app.token("admin@mp3converter.com", "change-me-now").await;
}

#[tokio::test]
async fn of_many_at_once_one_wins() {
    let app = App::start().await;
    let all = (0..8).map(|_| app.register("race@example.com", "correct horse"));
    let answers = futures_util::future::join_all(all).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn addresses_and_passwords_that_are_none() {
    let app = App::start().await;
    for address in ["", "nobody", "a b@c.d", "a@b.c\r\nBcc: x@y.z", &format!("{}@b.c", "a".repeat(255))] {
        let answer = app.register(address, "correct horse").await;
        assert_eq!(answer, text(422, "this is not an e-mail address"), "{address}");
    }
    for (length, expected) in [
        (7, text(422, "the password is shorter than 8 bytes")),
        (8, text(201, "created")),
        (1_024, text(201, "created")),
        (1_025, text(422, "the password is longer than 1024 bytes")),
    ] {
        let address = format!("length{length}@example.com");
        let password = "x".repeat(length);
        assert_eq!(app.register(&address, &password).await, expected, "{length}");
        if expected.status == 201 {
            app.token(&address, &password).await;
        }
    }
}

#[tokio::test]
async fn bodies_that_are_not_understood() {
    let app = App::start().await;
    let expected = text(400, "a JSON object with \"email\" and \"password\" is expected");
    for body in [
        "",
        "{",
        "null",
        "email=a@b.c&password=correct+horse",
        r#"{"email":1,"password":"correct horse"}"#,
        "\u{feff}{}",
    ] {
        assert_eq!(app.register_raw(body).await, expected, "{body}");
    }
    assert_eq!(app.register_raw(vec![0xff; 64]).await, expected);
    assert_eq!(app.register_raw("{}").await.status, 422);
    assert_eq!(app.register_raw(format!(r#"{{"email":"{}"}}"#, "a".repeat(17_000))).await.status, 413);
}

#[tokio::test]
async fn the_content_type_and_further_keys_do_not_matter() {
    let app = App::start().await;
    for (n, content_type) in ["application/json", "text/plain", "application/x-www-form-urlencoded"].iter().enumerate()
    {
        let body = format!(r#" {{"name": "N", "email": "user{n}@example.com", "password": "correct horse"}} "#);
        let request = app.client.post(format!("{}/register", app.url)).header("content-type", *content_type).body(body);
        assert_eq!(answer(request).await, text(201, "created"), "{content_type}");
    }
}

#[tokio::test]
async fn registration_may_be_closed() {
    let database = Servers::shared().auth_database().await.expect("a database");
    let app = App::on(&database, &[("REGISTRATION", "closed")]).await;
    assert_eq!(app.register("new@example.com", "correct horse").await, text(403, "registration is closed"));
    assert_eq!(app.register_raw("nonsense").await, text(403, "registration is closed"));
    app.token("admin@mp3converter.com", "change-me-now").await;
}
