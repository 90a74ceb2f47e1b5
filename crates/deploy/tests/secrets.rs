//! A service's configuration, shown for debugging, shows no secret.

use std::fmt::Debug;

use common::Env;

const MARK: &str = "hunter2marked";

fn shown<C: Debug>(read: impl FnOnce(&mut Env) -> C, settings: &[(&str, String)]) -> String {
    let mut env: Env = settings.iter().map(|(name, value)| (*name, value.clone())).collect();
    let config = read(&mut env);
    let shown = format!("{config:?} {config:#?} {env:?}");
    let config = env.finish(config).unwrap_or_else(|faults| panic!("{faults}"));
    format!("{shown} {config:?}")
}

#[test]
fn no_configuration_shows_its_secrets() {
    let url = |scheme: &str| format!("{scheme}://user:{MARK}@host.example/x");
    let settings = [
        ("DATABASE_URL", url("mysql")),
        ("MYSQL_PASSWORD", MARK.to_owned()),
        ("JWT_SECRET", MARK.repeat(3)),
        ("JWT_SECRET_PREVIOUS", MARK.repeat(4)),
        ("MONGODB_URI", url("mongodb")),
        ("AMQP_URL", url("amqp")),
        ("SMTP_URL", url("smtps")),
    ];
    let gmail = [
        ("GMAIL_ADDRESS", "me@gmail.com".to_owned()),
        ("GMAIL_PASSWORD", MARK.to_owned()),
        ("MONGODB_URI", url("mongodb")),
        ("AMQP_URL", url("amqp")),
    ];
    for shown in [
        shown(auth::Config::from_env, &settings),
        shown(gateway::Config::from_env, &settings),
        shown(converter::Config::from_env, &settings),
        shown(notification::Config::from_env, &settings),
        shown(notification::Config::from_env, &gmail),
    ] {
        assert!(shown.contains("[secret]"), "{shown}");
        assert!(!shown.contains(MARK), "{shown}");
    }
}

#[test]
fn no_fault_shows_the_secret_that_it_is_about() {
    let url = |scheme: &str| format!("{scheme}://user:{MARK}@host.example:port/x");
    let settings: [(&str, String); 6] = [
        ("DATABASE_URL", url("postgres")),
        ("JWT_SECRET", MARK.to_owned()),
        ("JWT_SECRET_PREVIOUS", MARK.to_owned()),
        ("MONGODB_URI", url("mongo")),
        ("AMQP_URL", url("rabbit")),
        ("SMTP_URL", url("mailto")),
    ];
    let mut env: Env = settings.into_iter().collect();
    auth::Config::from_env(&mut env);
    gateway::Config::from_env(&mut env);
    converter::Config::from_env(&mut env);
    notification::Config::from_env(&mut env);
    let faults = env.finish(()).expect_err("all of them").to_string();
    assert!(faults.contains("AMQP_URL") && faults.contains("JWT_SECRET_PREVIOUS"), "{faults}");
    assert!(!faults.contains(MARK), "{faults}");
}
