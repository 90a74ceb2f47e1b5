//! Guessing passwords.

use std::time::{Duration, Instant};

use crate::app::App;

const ADMIN: (&str, &str) = ("admin@mp3converter.com", "change-me-now");

async fn status(app: &App, client: &str, email: &str, password: &str) -> u16 {
    app.login_from(client, email, password).await.status().as_u16()
}

#[tokio::test]
async fn a_stranger_who_guesses_is_stopped_and_locks_nobody_out() {
    let app = App::start().await;
    let (email, password) = ADMIN;
    assert!(app.metric("auth_logins_total", "limited").await < 1.0);
    assert_eq!(status(&app, "192.0.2.1", email, password).await, 200);
    // At an account that is there, and at one that is not: nobody can tell which is which.
    for target in [email, "nobody@example.com"] {
        for guess in 0..20 {
            let answer = app.login_from("203.0.113.9", target, &format!("guess {guess}")).await;
            assert_eq!(answer.status(), 401, "{target}");
            assert_eq!(answer.text().await.expect("text"), "invalid credentials");
        }
        let answer = app.login_from("203.0.113.9", target, password).await;
        assert_eq!(answer.status(), 429, "{target}");
        let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
        let after: u64 = header("retry-after").parse().expect("seconds");
        assert!((1..=30).contains(&after), "{after}");
        assert_eq!(header("ratelimit-policy"), "\"log-ins\";q=20;w=600");
        assert_eq!(header("ratelimit"), format!("\"log-ins\";r=0;t={after}"));
        assert_eq!(answer.text().await.expect("text"), "too many failed log-ins, try again later");
    }
    // Its owner, from elsewhere, does not notice.
    assert_eq!(status(&app, "192.0.2.1", email, password).await, 200);
    assert_eq!(status(&app, "192.0.2.2", email, password).await, 200);
    assert!(app.metric("auth_logins_total", "limited").await >= 2.0);
}

#[tokio::test]
async fn guesses_from_everywhere_slow_those_down_whom_the_account_does_not_know() {
    let app = App::start().await;
    let (email, password) = ADMIN;
    assert_eq!(status(&app, "192.0.2.1", email, password).await, 200);
    for guess in 0..60 {
        assert_eq!(status(&app, &format!("203.0.113.{guess}"), email, "guess").await, 401);
    }
    let timed = async |client: &str| {
        let started = Instant::now();
        assert_eq!(status(&app, client, email, password).await, 200, "{client}: never refused");
        started.elapsed()
    };
    assert!(timed("198.51.100.1").await >= Duration::from_secs(3));
    assert!(timed("192.0.2.1").await < Duration::from_secs(3), "where its owner has been before");
    assert!(timed("198.51.100.1").await < Duration::from_secs(3), "and now here as well");
}

#[tokio::test]
async fn whose_word_about_clients_counts_is_configured() {
    let database = App::start().await.database;
    let app = App::on(&database, &[("TRUSTED_PROXIES", "192.0.2.0/24")]).await;
    for guess in 0..20 {
        // A new name each time helps nobody whose word does not count.
        assert_eq!(status(&app, &format!("203.0.113.{guess}"), ADMIN.0, "guess").await, 401);
    }
    assert_eq!(status(&app, "203.0.113.99", ADMIN.0, ADMIN.1).await, 429);
}

#[tokio::test]
async fn an_unknown_user_costs_as_much_time_as_a_wrong_password() {
    let app = App::start().await;
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    // In turns, so that whatever else this machine is doing slows both down.
    for guess in 0..15 {
        for (email, times) in [(ADMIN.0, &mut known), ("nobody@example.com", &mut unknown)] {
            let started = Instant::now();
            assert_eq!(status(&app, &format!("192.0.2.{guess}"), email, "wrong").await, 401);
            times.push(started.elapsed());
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (known, unknown) = (median(&mut known), median(&mut unknown));
    let ratio = known.as_secs_f64() / unknown.as_secs_f64();
    assert!((0.5..2.0).contains(&ratio), "{known:?} and {unknown:?}");
}
