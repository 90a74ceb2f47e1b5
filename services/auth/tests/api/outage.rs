//! The database is down, hangs, and comes back.

use std::time::{Duration, Instant};

use testkit::{Breakage, Mariadb, Proxy, Servers, eventually, load_schema};
use tokio::net::TcpListener;
use url::Url;

use crate::app::{Answer, App, connect, text};

const EMAIL: &str = "admin@mp3converter.com";
const PASSWORD: &str = "change-me-now";

fn down() -> Answer {
    text(503, "database is unavailable, try again later")
}

/// More than the service's own limits add up to, by what a busy machine may take.
const IN_TIME: Duration = Duration::from_secs(15);

/// Everything that needs the database says so in time; the rest works, and so does a token whose
/// account was seen before.
async fn assert_down(app: &App, token: Option<&str>) {
    let started = Instant::now();
    let not_ready = async || app.get("/readyz").await == text(503, "not ready: database");
    let (login, unknown, register, ()) = tokio::join!(
        app.login(EMAIL, PASSWORD),
        app.login("nobody@example.com", PASSWORD),
        app.register("new@example.com", PASSWORD),
        eventually(IN_TIME, not_ready),
    );
    let took = started.elapsed();
    assert_eq!((login, unknown, register), (down(), down(), down()));
    assert!(took < IN_TIME, "{took:?}");
    assert_eq!(app.get("/healthz").await.status, 200);
    if let Some(token) = token {
        assert_eq!(app.validate(token).await.status, 200);
    }
}

/// Works again, without a restart.
async fn assert_back(app: &App) {
    eventually(Duration::from_secs(20), || async { app.login(EMAIL, PASSWORD).await.status == 200 }).await;
    eventually(Duration::from_secs(20), || async { app.get("/readyz").await == text(200, "ready") }).await;
}

#[tokio::test]
async fn a_database_that_stops_is_missed_and_taken_back() {
    let mut server = Mariadb::start().await.expect("MariaDB");
    let database = server.database().await.expect("a database");
    load_schema(&database).await.expect("the schema");
    let app = App::on(&database, &[]).await;
    let token = app.token(EMAIL, PASSWORD).await;
    assert_eq!(app.validate(&token).await.status, 200);
    let after_a_restart = App::on(&database, &[]).await;
    assert_eq!(app.get("/readyz").await, text(200, "ready"));

    server.stop().await.expect("stopped");
    assert_down(&app, Some(&token)).await;
    assert_eq!(after_a_restart.validate(&token).await, down(), "an account of which nothing is known");
    server.restart().await.expect("restarted");
    assert_back(&app).await;

    server.kill();
    assert_down(&app, Some(&token)).await;
    server.restart().await.expect("restarted");
    assert_back(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn the_service_starts_without_its_database() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let app = App::on(&format!("mysql://auth:x@{nobody}/auth"), &[]).await;
    assert_down(&app, None).await;
    app.stop().await;
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing() {
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = mute.local_addr().expect("an address");
    let url = format!("mysql://auth:x@{address}/auth");
    let app = App::on(&url, &[]).await;
    assert_down(&app, None).await;
    app.stop().await;

    let app = App::on(&url, &[("DATABASE_TIMEOUT", "300ms")]).await;
    let started = Instant::now();
    assert_eq!(app.login(EMAIL, PASSWORD).await, down());
    // Without it, it would take three.
    assert!(started.elapsed() < Duration::from_millis(2_500), "{:?}", started.elapsed());
    app.stop().await;

    let app = App::on(&url, &[("REQUEST_TIMEOUT", "300ms")]).await;
    let started = Instant::now();
    assert_eq!(app.login(EMAIL, PASSWORD).await, text(503, "auth is unavailable, try again later"));
    // Without it, it would take three.
    assert!(started.elapsed() < Duration::from_millis(2_500), "{:?}", started.elapsed());
    app.stop().await;
}

#[tokio::test]
async fn connections_that_die_without_a_word_are_given_up() {
    let url = Url::parse(&Servers::shared().auth_database().await.expect("a database")).expect("a URL");
    let mut holder = connect(url.as_str()).await;
    let name = url.path().trim_start_matches('/').to_owned();
    let (proxy, behind) = Proxy::before(url.as_str()).await;
    let app = App::on(&behind, &[]).await;
    let token = app.token(EMAIL, PASSWORD).await;
    assert_eq!(app.validate(&token).await.status, 200);

    // All connections are in the middle of a statement when the wire is cut.
    sqlx::raw_sql("LOCK TABLES user WRITE").execute(&mut holder).await.expect("locked");
    let watcher = tokio::sync::Mutex::new(connect(Servers::shared().mysql_url()).await);
    let logins = futures_util::future::join_all((0..20).map(|_| app.login(EMAIL, PASSWORD)));
    let cut = async {
        eventually(Duration::from_secs(20), || async {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM information_schema.processlist WHERE db = ? AND info LIKE 'SELECT * FROM%'",
            )
            .bind(&name)
            .fetch_one(&mut *watcher.lock().await)
            .await
            .expect("a count");
            waiting == 10
        })
        .await;
        proxy.break_it(Breakage::Blackhole);
    };
    let (answers, ()) = tokio::join!(logins, cut);
    assert!(answers.iter().all(|answer| *answer == down()), "{answers:?}");

    sqlx::raw_sql("UNLOCK TABLES").execute(&mut holder).await.expect("unlocked");
    assert_down(&app, Some(&token)).await;
    proxy.mend();
    assert_back(&app).await;
}
