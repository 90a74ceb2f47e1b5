//! `POST /login`.

use std::time::Duration;

use serde_json::Value;
use testkit::{Mariadb, Servers, Tls, load_schema, run_sql, unique_name};
use url::Url;

use crate::app::{App, CLASSIC, text};

const ADMIN: (&str, &str) = ("admin@mp3converter.com", "change-me-now");

async fn claims(app: &App, token: &str) -> Value {
    let answer = app.validate(token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).expect("JSON")
}

#[tokio::test]
async fn the_first_user_logs_in_and_gets_a_token_alone() {
    let app = App::start().await;
    let answer = app.login(ADMIN.0, ADMIN.1).await;
    assert_eq!(answer, text(200, &answer.body), "plain text");
    assert_eq!(answer.body.split('.').count(), 3, "a JWT: {}", answer.body);
    let claims = claims(&app, &answer.body).await;
    assert_eq!(claims["username"], ADMIN.0);
    assert_eq!(claims["admin"], true);
    app.stop().await;
}

#[tokio::test]
async fn without_basic_credentials() {
    let app = App::start().await;
    // "a:b" is YTpi, "no colon" is bm8gY29sb24=
    for header in [None, Some("Basic"), Some("Basic !"), Some("Basic bm8gY29sb24="), Some("Bearer YTpi"), Some("YTpi")]
    {
        assert_eq!(app.authorized("/login", header).await, text(401, "missing credentials"), "{header:?}");
    }
    for header in ["Basic YTpi", "basic YTpi", "BASIC  YTpi"] {
        assert_eq!(app.authorized("/login", Some(header)).await, text(401, "invalid credentials"), "{header:?}");
    }
}

#[tokio::test]
async fn an_unknown_user_is_told_the_same_and_costs_the_same_as_a_wrong_password() {
    let app = App::classic().await;
    app.token("georgio@email.com", "Admin123").await; // from now on a hash
    run_sql(&app.database, "INSERT INTO user (email, password) VALUES ('old@email.com', 'plain text')")
        .await
        .expect("a row");
    // A wrong password, an unknown user, a wrong password where plain text is stored.
    for email in ["georgio@email.com", "nobody@email.com", "old@email.com", "", "' OR 1=1 -- "] {
        let before = app.metric("auth_password_hashes_total", "check").await;
        assert_eq!(app.login(email, "wrong").await, text(401, "invalid credentials"), "{email}");
        let after = app.metric("auth_password_hashes_total", "check").await;
        assert!(after > before, "a hash was computed for {email:?}");
    }
    assert!(app.metric("auth_logins_total", "refused").await >= 5.0);
}

#[tokio::test]
async fn a_password_longer_than_any_is_refused_before_hashing() {
    let app = App::start().await;
    let before = app.metric("auth_password_hashes_total", "").await;
    assert_eq!(app.login(ADMIN.0, &"x".repeat(1_025)).await, text(401, "invalid credentials"));
    assert_eq!(app.metric("auth_password_hashes_total", "").await, before);
    assert_eq!(app.login(ADMIN.0, "").await, text(401, "invalid credentials"));
}

#[tokio::test]
async fn the_case_of_an_address_does_not_matter() {
    let app = App::classic().await;
    for spelling in ["georgio@email.com", "Georgio@Email.com", "GEORGIO@EMAIL.COM"] {
        let token = app.token(spelling, "Admin123").await;
        assert_eq!(claims(&app, &token).await["username"], "georgio@email.com", "{spelling}");
    }
    assert_eq!(app.login("géorgio@email.com", "Admin123").await, text(401, "invalid credentials"), "accents do");
    assert_eq!(app.login("georgio@email.com", "admin123").await, text(401, "invalid credentials"), "and passwords");
}

#[tokio::test]
async fn plain_text_of_an_old_installation_logs_in_once_and_becomes_a_hash() {
    let app = App::classic().await;
    assert_eq!(app.login("georgio@email.com", "ADMIN123").await, text(401, "invalid credentials"));
    assert_eq!(app.stored("georgio@email.com").await, "Admin123", "a wrong password changes nothing");
    app.token("georgio@email.com", "Admin123").await;
    let stored = app.stored("georgio@email.com").await;
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    app.token("georgio@email.com", "Admin123").await;
    assert_eq!(app.stored("georgio@email.com").await, stored, "written once");
    assert_eq!(app.login("georgio@email.com", &stored).await, text(401, "invalid credentials"));
}

#[tokio::test]
async fn log_ins_at_the_same_moment_all_succeed() {
    let app = App::classic().await;
    let all = (0..12).map(|_| app.login("georgio@email.com", "Admin123"));
    let answers = futures_util::future::join_all(all).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    app.token("georgio@email.com", "Admin123").await;
}

#[tokio::test]
async fn an_account_that_is_not_enabled_gets_a_token_that_permits_nothing() {
    let app = App::start().await;
    run_sql(&app.database, "UPDATE user SET enabled = FALSE").await.expect("an update");
    let token = app.token(ADMIN.0, ADMIN.1).await;
    assert_eq!(claims(&app, &token).await["admin"], false);
}

#[tokio::test]
async fn a_table_may_gain_its_columns_while_the_service_runs() {
    let app = App::classic().await;
    app.token("georgio@email.com", "Admin123").await;
    run_sql(&app.database, "ALTER TABLE user ADD COLUMN enabled BOOLEAN NOT NULL DEFAULT FALSE AFTER id")
        .await
        .expect("altered");
    let token = app.token("georgio@email.com", "Admin123").await;
    assert_eq!(claims(&app, &token).await["admin"], false);
}

#[tokio::test]
async fn a_database_password_may_hold_any_character() {
    const ODD: &str = "p@ss:w/ö rd%41#?&+'";
    let servers = Servers::shared();
    let mut url = Url::parse(&servers.auth_database().await.expect("a database")).expect("a URL");
    let name = url.path().trim_start_matches('/').to_owned();
    let account = unique_name("odd");
    let quoted = ODD.replace('\'', "''");
    let sql = format!(
        "CREATE USER '{account}'@'127.0.0.1' IDENTIFIED BY '{quoted}'; GRANT ALL ON {name}.* TO '{account}'@'127.0.0.1'"
    );
    run_sql(servers.mysql_url(), &sql).await.expect("an account");

    let port = url.port().expect("a port").to_string();
    let classic = [
        ("MYSQL_HOST", "127.0.0.1"),
        ("MYSQL_PORT", &port),
        ("MYSQL_USER", &account),
        ("MYSQL_PASSWORD", ODD),
        ("MYSQL_DB", &name),
    ];
    App::configured(&classic).await.token(ADMIN.0, ADMIN.1).await;

    url.set_username(&account).expect("a name");
    url.set_password(Some(&ODD.replace('%', "%25"))).expect("a password");
    App::on(url.as_str(), &[]).await.token(ADMIN.0, ADMIN.1).await;
}

#[tokio::test]
async fn tls_is_used_where_asked_for_or_the_connection_fails() {
    // The throw-away server has no certificate.
    let database = Servers::shared().auth_database().await.expect("a database");
    let app = App::on(&format!("{database}?ssl-mode=required"), &[]).await;
    assert_eq!(app.login(ADMIN.0, ADMIN.1).await, text(503, "database is unavailable, try again later"));
}

#[tokio::test]
async fn a_database_is_spoken_to_if_it_proves_who_it_is() {
    let (good, other) = (Tls::of(&["127.0.0.1"]).expect("TLS"), Tls::of(&["elsewhere.example"]).expect("TLS"));
    let ca = |tls: &Tls| format!("&ssl-ca={}", tls.ca_pem().display());
    // Of an authority that nobody named; for somebody else; and as it should be.
    for (tls, trusted, status) in [(&good, String::new(), 503), (&other, ca(&other), 503), (&good, ca(&good), 200)] {
        let server = Mariadb::start_with_tls(tls).await.expect("MariaDB");
        let database = server.database().await.expect("a database");
        load_schema(&database).await.expect("the schema");
        let app = App::on(&format!("{database}?ssl-mode=VERIFY_IDENTITY{trusted}"), &[]).await;
        assert_eq!(app.login(ADMIN.0, ADMIN.1).await.status, status, "{trusted}");
    }
}

#[tokio::test]
async fn a_column_too_narrow_for_a_hash_keeps_its_plain_text() {
    // A server of its own: what a lax one does is set for all of it.
    let server = Mariadb::start().await.expect("MariaDB");
    run_sql(&server.url(), "SET GLOBAL sql_mode = ''").await.expect("lax");
    let database = server.database().await.expect("a database");
    let narrow = CLASSIC.replace("password VARCHAR(255)", "password VARCHAR(64)");
    run_sql(&database, &narrow).await.expect("the classic table");
    let app = App::on(&database, &[]).await;
    for _ in 0..2 {
        let answer = tokio::time::timeout(Duration::from_secs(5), app.login("georgio@email.com", "Admin123")).await;
        assert_eq!(answer.expect("in time").status, 200);
        assert_eq!(app.stored("georgio@email.com").await, "Admin123", "not cut off");
    }
}
