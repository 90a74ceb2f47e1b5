//! What the manifests tell the programs: no variable that nobody reads, none missing.

use std::{collections::BTreeMap, time::Duration};

use common::{Env, telemetry};
use deploy::{Manifests, Object, read};

/// How long a service wants to go on when it is told to stop.
pub struct Config {
    /// For requests.
    pub drain: Duration,
    /// For work of its own.
    pub work: Duration,
}

/// Reads `variables` as the service would.
///
/// # Panics
/// When the service would not start, or does not know one of the variables.
fn config(service: &str, variables: BTreeMap<String, String>) -> Config {
    let mut env: Env = variables.into_iter().collect();
    telemetry::init(&mut env);
    env.string("HTTP_ADDR", "");
    let config = match service {
        "auth" => Config { drain: auth::Config::from_env(&mut env).limits.drain, work: Duration::ZERO },
        "gateway" => Config { drain: gateway::Config::from_env(&mut env).limits.drain, work: Duration::ZERO },
        "converter" => {
            let config = converter::Config::from_env(&mut env);
            Config { drain: config.limits.drain, work: config.grace }
        }
        "notification" => {
            let config = notification::Config::from_env(&mut env);
            Config { drain: config.limits.drain, work: config.smtp_timeout }
        }
        other => panic!("who is {other}?"),
    };
    assert_eq!(env.unread(), Vec::<&str>::new(), "{service} does not read this");
    env.finish(config).unwrap_or_else(|faults| panic!("{service}: {faults}"))
}

/// The services among `objects`, with their configuration.
pub fn configs(objects: &[Object]) -> Vec<(String, Config)> {
    let with_secrets = with_secrets(objects);
    let mut found = Vec::new();
    for object in objects.iter().filter(|object| object.kind() == "Deployment") {
        for container in object.pod().expect("a pod").containers() {
            let Some((name, _)) =
                container.image().strip_prefix("mp3converter/").and_then(|image| image.split_once(':'))
            else {
                continue;
            };
            assert_eq!(name, object.name(), "a program in somebody else's deployment");
            found.push((name.to_owned(), config(name, container.environment(&with_secrets))));
        }
    }
    found
}

/// Where the secrets come from outside, those of the project's own making stand in.
fn with_secrets(objects: &[Object]) -> Vec<Object> {
    let mut all = objects.to_vec();
    if objects.iter().all(|object| object.kind() != "Secret") {
        let made = Manifests::with_secrets().objects("overlays/minikube");
        all.extend(made.into_iter().filter(|object| object.kind() == "Secret"));
    }
    let mails = all.iter().any(|o| o.is("ConfigMap", "notification-configmap") && o.at("/data/SMTP_URL").is_string());
    if !mails {
        // A secret of whoever runs it for others: SMTP_URL or Gmail's two.
        let secret = all.iter().position(|object| object.is("Secret", "notification-secret")).expect("a secret");
        let mut data = all[secret].at("/data").clone();
        data["SMTP_URL"] = "c210cDovL21haWw6MjU=".into();
        all[secret] = Object::new(serde_json::json!({
            "kind": "Secret", "metadata": {"name": "notification-secret"}, "data": data,
        }));
    }
    all
}

#[test]
fn the_services_start_with_what_they_are_told() {
    for (name, objects) in super::everything() {
        let names: Vec<_> = configs(&objects).into_iter().map(|(service, _)| service).collect();
        assert_eq!(names, ["auth", "converter", "gateway", "notification"], "{name}");
    }
}

/// The classic names, under which people look for things.
#[test]
fn configuration_lies_where_it_always_did() {
    let objects = Manifests::with_secrets().objects("overlays/minikube");
    for service in ["auth", "gateway", "converter", "notification", "rabbitmq"] {
        for (kind, name) in [("ConfigMap", "configmap"), ("Secret", "secret")] {
            let name = format!("{service}-{name}");
            assert!(objects.iter().any(|object| object.is(kind, &name)), "{kind}/{name}");
        }
    }
    let auth = objects.iter().find(|object| object.is("ConfigMap", "auth-configmap")).expect("a map");
    for name in ["MYSQL_HOST", "MYSQL_USER", "MYSQL_DB", "MYSQL_PORT"] {
        assert!(auth.at("/data")[name].is_string(), "{name}");
    }
    let replicas = |name: &str| {
        objects.iter().find(|object| object.is("Deployment", name)).expect("a deployment").at("/spec/replicas").as_u64()
    };
    assert_eq!(["auth", "gateway", "converter", "notification"].map(replicas), [2, 2, 4, 4].map(Some));
}

#[test]
fn the_ports_are_those_that_the_services_listen_on() {
    let objects = Manifests::with_secrets().objects("overlays/minikube");
    for service in ["auth", "gateway", "converter", "notification"] {
        let main = read(&format!("services/{service}/src/main.rs"));
        let (_, rest) = main.split_once("\"0.0.0.0:").expect("a default address");
        let port: u64 = rest.split_once('"').expect("its end").0.parse().expect("a port");
        let deployment = objects.iter().find(|object| object.is("Deployment", service)).expect("a deployment");
        assert_eq!(deployment.pod().expect("a pod").port(&"http".into()), Some(port), "{service}");
        let dockerfile = read("docker/Dockerfile");
        let (_, target) = dockerfile.split_once(&format!(" AS {service}\n")).expect("a target");
        assert!(target.split("FROM").next().expect("it").contains(&format!("EXPOSE {port}\n")), "{service}");
    }
    let service = |name: &str, port: u64| {
        let service = objects.iter().find(|object| object.is("Service", name)).expect("a service");
        assert!(service.list("/spec/ports").iter().any(|own| own["port"] == port), "{name}:{port}");
    };
    service("auth", 5000);
    service("gateway", 8080);
    service("rabbitmq", 5672);
    service("rabbitmq", 15672);
}

/// The containers of Compose, too.
#[test]
fn compose_tells_the_services_what_they_need() {
    let manifests = Manifests::with_secrets();
    let compose = deploy::parse(&read("docker/compose.yaml")).remove(0);
    for service in ["auth", "gateway", "converter", "notification"] {
        let variables = compose["services"][service]["environment"].as_object().expect("an environment");
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let variables = variables.iter().map(|(name, value)| {
            let value = unless_told_otherwise(&text(value));
            // Where the volume is, as far as this machine is concerned.
            let secret = value.strip_prefix("/secrets/").and_then(|path| path.split_once('/'));
            let value = match secret {
                Some((name, key)) => {
                    manifests.secret(name, key);
                    let path = manifests.path("manifests/components/secrets").join(name).join(key);
                    path.to_string_lossy().into_owned()
                }
                None => value,
            };
            (name.clone(), value)
        });
        config(service, variables.collect());
    }
    for service in compose["services"].as_object().expect("services").values() {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = text_before_colon(volume);
            if source.starts_with("..") {
                assert!(deploy::root().join("docker").join(source).exists(), "{source}");
            } else {
                assert!(compose["volumes"].as_object().expect("volumes").contains_key(source), "{source}");
            }
        }
    }
}

/// `${NAME:-default}` where nobody sets `NAME`.
fn unless_told_otherwise(value: &str) -> String {
    let default = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')?.split_once(":-"));
    default.map_or(value, |(_, default)| default).to_owned()
}

fn text_before_colon(volume: &serde_json::Value) -> &str {
    volume.as_str().and_then(|volume| volume.split(':').next()).expect("a volume")
}
