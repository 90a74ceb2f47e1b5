//! What an operator relies on.

mod admin;
mod metrics;
mod monitoring;
mod traces;

use std::process::Command;

use e2e::{App, Product};

#[tokio::test(flavor = "multi_thread")]
async fn health_readiness_and_clean_logs_of_all_services() {
    let app = App::start().await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    testkit::media::film(&film, 2.0, &testkit::media::Film::default()).expect("a film");
    assert_eq!(ada.convert(&film).await["state"], "done");
    for service in app.services() {
        for path in ["/healthz", "/readyz", "/metrics"] {
            let answer = reqwest::get(format!("{}{path}", service.url())).await.expect("an answer");
            assert_eq!(answer.status(), 200, "{path}");
        }
    }
    // No secrets and no addresses in what is kept longest.
    for service in app.services() {
        let log = service.log();
        assert!(
            !log.contains(&ada.token) && !log.contains("ada@example.com") && !log.contains("correct horse"),
            "{log}"
        );
        assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
    }
}

/// All that is wrong is said together, and with exit code 64.
#[test]
fn faults_in_the_configuration_are_reported_together() {
    for (name, faults) in [("auth", 3), ("gateway", 3), ("converter", 3), ("notification", 3)] {
        let mut command = Command::new(testkit::binary(name));
        command.env_clear().envs([
            ("LOG_FORMAT", "xml"),
            ("MAX_CONNECTIONS", "many"),
            ("JWT_SECRET", "0123456789012345678901234567890123456789"),
            ("DATABASE_URL", "postgres://x"),
            ("AMQP_URL", "http://x"),
            ("SMTP_URL", "smtp://localhost:25"),
            ("MAIL_FROM", "a@example.com"),
        ]);
        let output = command.output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{name}: {said}");
        assert!(said.contains(&format!("{faults} faults")), "{name}: {said}");
    }
}
