//! What every pod keeps to, whichever overlay it comes from.

use deploy::{Container, Pod};
use serde_json::{Value, json};

/// Calls `check` for every pod of everything that can be applied.
fn every_pod(check: impl Fn(&str, Pod<'_>)) {
    let mut count = 0;
    for (name, objects) in super::everything() {
        for pod in objects.iter().filter_map(|object| object.pod()) {
            check(&format!("{name}: {}", pod.owner), pod);
            count += 1;
        }
    }
    assert!(count > 20, "{count} pods");
}

fn every_container(check: impl Fn(&str, Container<'_>)) {
    every_pod(|name, pod| {
        for container in pod.containers() {
            check(&format!("{name}/{}", container.name()), container);
        }
    });
}

/// The Pod Security Standard "restricted", which the namespace enforces, and a file system that
/// nobody can write to.
#[test]
fn pods_are_restricted() {
    for (name, objects) in super::everything() {
        let namespace = objects.iter().find(|object| object.kind() == "Namespace").expect("a namespace");
        assert_eq!(namespace.text("/metadata/labels/pod-security.kubernetes.io~1enforce"), "restricted", "{name}");
    }
    every_pod(|name, pod| {
        assert_eq!(pod.at("/spec/securityContext/runAsNonRoot"), true, "{name}");
        assert_eq!(pod.at("/spec/securityContext/seccompProfile/type"), "RuntimeDefault", "{name}");
        assert_ne!(pod.at("/spec/securityContext/runAsUser"), 0, "{name}");
        for forbidden in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod.at("/spec")[forbidden].is_null(), "{name}: {forbidden}");
        }
        for volume in pod.at("/spec/volumes").as_array().into_iter().flatten() {
            let kinds = ["configMap", "secret", "emptyDir", "projected", "persistentVolumeClaim", "downwardAPI", "csi"];
            assert!(kinds.iter().any(|kind| !volume[kind].is_null()), "{name}: {volume}");
        }
    });
    every_container(|name, container| {
        assert_eq!(container.at("/securityContext/allowPrivilegeEscalation"), false, "{name}");
        assert_eq!(container.at("/securityContext/readOnlyRootFilesystem"), true, "{name}");
        assert_eq!(container.at("/securityContext/capabilities"), &json!({"drop": ["ALL"]}), "{name}");
        assert!(container.at("/securityContext/privileged").is_null(), "{name}");
        assert!(container.list("ports").iter().all(|port| port["hostPort"].is_null()), "{name}");
    });
}

/// The images of others would run as root if nobody said who else.
#[test]
fn images_of_others_run_under_an_account_of_their_own() {
    every_pod(|name, pod| {
        let ours = pod.containers().iter().all(|container| container.image().starts_with("mp3converter/"));
        assert!(ours || pod.at("/spec/securityContext/runAsUser").as_u64().is_some_and(|id| id > 0), "{name}");
    });
}

#[test]
fn nobody_gets_a_token_of_the_cluster() {
    every_pod(|name, pod| {
        assert_eq!(pod.at("/spec/automountServiceAccountToken"), false, "{name}");
        assert_eq!(pod.at("/spec/enableServiceLinks"), false, "{name}");
        assert!(pod.at("/spec/serviceAccountName").is_null(), "{name}");
    });
}

#[test]
fn resources_are_asked_for_and_limited() {
    every_container(|name, container| {
        for which in ["requests", "limits"] {
            for what in ["cpu", "memory"] {
                assert!(container.at(&format!("/resources/{which}/{what}")).is_string(), "{name}: {which} of {what}");
            }
        }
    });
}

/// A dependency that is away must take pods out of service, never restart them.
#[test]
fn being_alive_depends_on_nobody_else() {
    every_pod(|name, pod| {
        // Whoever serves is asked; what only runs along is not.
        for container in pod.containers().into_iter().filter(|container| !container.list("ports").is_empty()) {
            let name = format!("{name}/{}", container.name());
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                assert!(container.0[probe].is_object(), "{name}: {probe}");
                let port = &container.0[probe]["httpGet"]["port"];
                let port = if port.is_null() { &container.0[probe]["tcpSocket"]["port"] } else { port };
                assert!(port.is_null() || pod.port(port).is_some(), "{name}: {probe} asks at {port}");
            }
            let path = |probe: &str| container.0[probe]["httpGet"]["path"].clone();
            if container.image().starts_with("mp3converter/") {
                assert_eq!(path("livenessProbe"), "/healthz", "{name}");
                assert_eq!(path("startupProbe"), "/healthz", "{name}");
                assert_eq!(path("readinessProbe"), "/readyz", "{name}");
                // /readyz takes up to 3 s to find out what is missing.
                assert!(container.at("/readinessProbe/timeoutSeconds").as_u64() > Some(3), "{name}");
            }
            let slow = |probe: &str, what: &str, usual: u64| container.0[probe][what].as_u64().unwrap_or(usual);
            let patience = slow("livenessProbe", "periodSeconds", 10) * slow("livenessProbe", "failureThreshold", 3);
            assert!(patience >= 60, "{name} is restarted after {patience} s");
        }
    });
}

#[test]
fn pods_are_spread_over_the_nodes() {
    every_pod(|name, pod| {
        let constraint = pod.at("/spec/topologySpreadConstraints/0");
        assert_eq!(constraint["topologyKey"], "kubernetes.io/hostname", "{name}");
        assert_eq!(constraint["matchLabelKeys"], json!(["app.kubernetes.io/name"]), "{name}");
        assert!(pod.labels().contains_key("app.kubernetes.io/name"), "{name}");
    });
}

/// Requests and jobs get the time that the programs promise them, and some.
#[test]
fn nobody_is_killed_in_the_middle_of_something() {
    for (name, objects) in super::everything() {
        for (service, config) in super::environment::configs(&objects) {
            let owner = objects.iter().find(|object| object.is("Deployment", &service)).expect("a deployment");
            let pod = owner.pod().expect("a pod");
            let given = pod.at("/spec/terminationGracePeriodSeconds").as_u64().unwrap_or(30);
            let pause = pod.containers()[0].at("/lifecycle/preStop/sleep/seconds").as_u64().unwrap_or(0);
            let needed = pause + config.drain.as_secs() + config.work.as_secs();
            assert!(given >= needed + 10, "{name}: {service} has {given} s and needs {needed} s");
            // Who is asked by others pauses first, and is replaced before it goes.
            if matches!(service.as_str(), "auth" | "gateway") {
                assert!(pause > 0, "{name}: {service}");
                assert_eq!(
                    owner.at("/spec/strategy/rollingUpdate/maxUnavailable"),
                    &Value::from(0),
                    "{name}: {service}"
                );
            }
        }
    }
}
