//! Objects name each other: whoever is named is there.

use std::collections::BTreeSet;

use deploy::{Object, Pod};
use serde_json::Value;

fn pods(objects: &[Object]) -> Vec<Pod<'_>> {
    objects.iter().filter_map(Object::pod).collect()
}

fn named<'a>(objects: &'a [Object], kind: &str, name: &Value) -> Option<&'a Object> {
    objects.iter().find(|object| object.kind() == kind && object.name() == name)
}

/// Names of the secrets that a kustomization brings along, itself or from outside.
fn secrets(objects: &[Object]) -> BTreeSet<&str> {
    let kinds = ["Secret", "ExternalSecret"];
    objects.iter().filter(|object| kinds.contains(&object.kind())).map(Object::name).collect()
}

#[test]
fn selectors_find_the_pods_that_they_mean() {
    for (name, objects) in super::everything() {
        let pods = pods(&objects);
        for object in &objects {
            let (selector, own) = match object.kind() {
                "Service" => (object.texts("/spec/selector"), false),
                "Deployment" | "StatefulSet" => (object.texts("/spec/selector/matchLabels"), true),
                "PodDisruptionBudget" => (object.texts("/spec/selector/matchLabels"), false),
                _ => continue,
            };
            let found: Vec<_> = pods.iter().filter(|pod| pod.fits(&selector)).collect();
            assert_eq!(found.len(), 1, "{name}: {object} selects {} kinds of pod", found.len());
            assert!(!own || found[0].owner.name() == object.name(), "{name}: {object}");
            if object.kind() == "Service" {
                for port in object.list("/spec/ports") {
                    assert!(found[0].port(&port["targetPort"]).is_some(), "{name}: {object} {port}");
                }
            }
        }
        // Whatever runs more than once, or keeps something, is taken down one at a time.
        for pod in pods.iter().filter(|pod| pod.owner.kind() == "StatefulSet" || pod.owner.at("/spec/replicas") != 1) {
            let budgets = objects.iter().filter(|object| object.kind() == "PodDisruptionBudget");
            let own = budgets.filter(|budget| pod.fits(&budget.texts("/spec/selector/matchLabels"))).count();
            assert_eq!(own, 1, "{name}: {}", pod.owner);
        }
    }
}

#[test]
fn ways_in_lead_to_services() {
    let mut ways = 0;
    for (name, objects) in super::everything() {
        for object in &objects {
            let mut backends = Vec::new();
            for rule in object.list("/spec/rules") {
                match object.kind() {
                    "Ingress" => {
                        let paths = rule["http"]["paths"].as_array().expect("paths");
                        backends.extend(paths.iter().map(|path| {
                            let service = &path["backend"]["service"];
                            (service["name"].clone(), service["port"]["name"].clone())
                        }));
                    }
                    "HTTPRoute" => {
                        let targets = rule["backendRefs"].as_array().expect("backends");
                        backends.extend(targets.iter().map(|target| (target["name"].clone(), target["port"].clone())));
                        for timeout in ["request", "backendRequest"] {
                            assert!(rule["timeouts"][timeout].is_string(), "{name}: {object} has no {timeout}");
                        }
                    }
                    _ => {}
                }
            }
            for (service, port) in backends {
                let found =
                    named(&objects, "Service", &service).unwrap_or_else(|| panic!("{name}: {object} {service}"));
                let ports = found.list("/spec/ports");
                assert!(ports.iter().any(|own| own["name"] == port || own["port"] == port), "{name}: {object} {port}");
                ways += 1;
            }
            if object.kind() == "HTTPRoute" {
                for parent in object.list("/spec/parentRefs") {
                    assert!(named(&objects, "Gateway", &parent["name"]).is_some(), "{name}: {object}");
                }
            }
        }
        let hosts =
            |kind: &str, pointer: &str| objects.iter().any(|o| o.kind() == kind && o.at(pointer) == "mp3converter.com");
        assert!(hosts("Ingress", "/spec/rules/0/host") || hosts("HTTPRoute", "/spec/hostnames/0"), "{name}");
    }
    assert!(ways > 5, "{ways}");
}

/// An upload may be large and slow, and events come one at a time.
#[test]
fn the_way_in_holds_nothing_back() {
    for (name, objects) in super::everything() {
        for ingress in objects.iter().filter(|object| object.is("Ingress", "gateway")) {
            let annotation =
                |key: &str| ingress.text(&format!("/metadata/annotations/nginx.ingress.kubernetes.io~1{key}"));
            assert_eq!(annotation("proxy-body-size"), "0", "{name}");
            assert_eq!(annotation("proxy-request-buffering"), "off", "{name}");
            assert_eq!(annotation("proxy-buffering"), "off", "{name}");
            assert!(annotation("proxy-read-timeout").parse::<u32>().is_ok_and(|seconds| seconds >= 600), "{name}");
        }
    }
}

/// Volumes, claims, configuration and secrets that a pod mounts or reads.
#[test]
fn what_pods_take_is_there() {
    for (name, objects) in super::everything() {
        let secrets = secrets(&objects);
        // Kustomizations that leave the secrets to another one.
        let brings_secrets = !secrets.is_empty();
        for pod in pods(&objects) {
            let name = format!("{name}: {}", pod.owner);
            let mut volumes = BTreeSet::new();
            for volume in pod.at("/spec/volumes").as_array().into_iter().flatten() {
                volumes.insert(volume["name"].clone().to_string());
                let map = &volume["configMap"]["name"];
                assert!(map.is_null() || named(&objects, "ConfigMap", map).is_some(), "{name}: {map}");
                let secret = &volume["secret"]["secretName"];
                let there = secret.as_str().is_none_or(|secret| !brings_secrets || secrets.contains(secret));
                assert!(there, "{name}: {secret}");
            }
            for claim in pod.owner.list("/spec/volumeClaimTemplates") {
                volumes.insert(claim["metadata"]["name"].to_string());
            }
            for container in pod.containers() {
                for mount in container.list("volumeMounts") {
                    assert!(volumes.contains(&mount["name"].to_string()), "{name}: {mount}");
                }
                for source in container.list("envFrom") {
                    let map = &source["configMapRef"]["name"];
                    assert!(map.is_null() || named(&objects, "ConfigMap", map).is_some(), "{name}: {map}");
                    let secret = source["secretRef"]["name"].as_str();
                    assert!(secret.is_none_or(|s| !brings_secrets || secrets.contains(s)), "{name}: {secret:?}");
                }
                if objects.iter().any(|object| object.kind() == "Secret") {
                    // Panics where a key is missing.
                    container.environment(&objects);
                }
            }
        }
    }
}

#[test]
fn stateful_sets_have_a_service_of_their_own() {
    for (name, objects) in super::everything() {
        for set in objects.iter().filter(|object| object.kind() == "StatefulSet") {
            let service = named(&objects, "Service", set.at("/spec/serviceName"));
            let service = service.unwrap_or_else(|| panic!("{name}: {set}"));
            assert_eq!(service.text("/spec/clusterIP"), "None", "{name}: {set}");
            assert!(set.pod().expect("a pod").fits(&service.texts("/spec/selector")), "{name}: {set}");
            assert!(!set.list("/spec/volumeClaimTemplates").is_empty(), "{name}: {set}");
        }
    }
}

/// Every arrow of the network's policies begins and ends at ports and pods that exist.
#[test]
fn policies_name_pods_and_ports_that_exist() {
    let (_, objects) = super::everything().into_iter().find(|(name, _)| name == "overlays/production").expect("it");
    let pods = pods(&objects);
    let names: BTreeSet<_> = pods.iter().map(|pod| pod.labels()["app.kubernetes.io/name"].clone()).collect();
    let chosen = |selector: &Value| -> Vec<String> {
        let label = selector["matchLabels"]["app.kubernetes.io/name"].as_str().map(str::to_owned);
        let listed = selector["matchExpressions"][0]["values"].as_array().into_iter().flatten();
        label.into_iter().chain(listed.filter_map(|value| value.as_str().map(str::to_owned))).collect()
    };
    let policies: Vec<_> = objects.iter().filter(|object| object.kind() == "NetworkPolicy").collect();
    let all = policies.iter().find(|policy| policy.name() == "default-deny").expect("a default");
    assert_eq!(all.at("/spec/podSelector"), &serde_json::json!({}));
    assert_eq!(all.at("/spec/policyTypes"), &serde_json::json!(["Ingress", "Egress"]));
    assert!(all.list("/spec/ingress").is_empty() && all.list("/spec/egress").is_empty());

    let mut arrows = BTreeSet::new();
    for policy in &policies {
        let own = chosen(policy.at("/spec/podSelector"));
        assert!(own.iter().all(|name| names.contains(name)), "{policy} is about nobody: {own:?}");
        for (side, ends) in [("ingress", "from"), ("egress", "to")] {
            for rule in policy.list(&format!("/spec/{side}")) {
                for port in rule["ports"].as_array().into_iter().flatten() {
                    for end in rule[ends].as_array().into_iter().flatten() {
                        let others = chosen(&end["podSelector"]);
                        assert!(others.iter().all(|name| names.contains(name)), "{policy}: {others:?}");
                        for (own, other) in own.iter().flat_map(|own| others.iter().map(move |other| (own, other))) {
                            let (from, to) = if side == "ingress" { (other, own) } else { (own, other) };
                            let server =
                                pods.iter().find(|pod| pod.labels()["app.kubernetes.io/name"] == *to).expect("it");
                            if let Some(name) = port["port"].as_str() {
                                assert!(server.port(&port["port"]).is_some(), "{policy}: {to} has no port {name}");
                                arrows.insert((side, from.clone(), to.clone(), name.to_owned()));
                            }
                        }
                    }
                }
            }
        }
    }
    // Both ends must agree, or nothing passes.
    for (from, to, port) in [
        ("gateway", "auth", "http"),
        ("gateway", "mongodb", "mongodb"),
        ("gateway", "rabbitmq", "amqp"),
        ("converter", "mongodb", "mongodb"),
        ("converter", "rabbitmq", "amqp"),
        ("notification", "mongodb", "mongodb"),
        ("notification", "rabbitmq", "amqp"),
        ("mongodb", "mongodb", "mongodb"),
        ("rabbitmq", "rabbitmq", "epmd"),
        ("rabbitmq", "rabbitmq", "nodes"),
    ] {
        for side in ["ingress", "egress"] {
            let arrow = (side, from.to_owned(), to.to_owned(), port.to_owned());
            assert!(arrows.remove(&arrow), "{arrow:?} is missing");
        }
    }
    assert!(arrows.is_empty(), "nobody knows what for: {arrows:?}");
}

/// Prometheus finds the ports that it is told of, and the network lets it, and spans, through.
#[test]
fn observers_get_where_they_are_sent() {
    let manifests = deploy::Manifests::with_secrets();
    let everything = super::everything();
    let of = |kind: &'static str| {
        let found = everything.iter().flat_map(|(_, objects)| objects.iter().filter(move |o| o.kind() == kind));
        found.collect::<Vec<_>>()
    };
    let production = manifests.objects("overlays/production");
    let open = |pod: &Pod, direction: &str, namespace: &str, port: &Value| {
        production.iter().filter(|object| object.kind() == "NetworkPolicy").any(|policy| {
            let peers = if direction == "egress" { "to" } else { "from" };
            selects(policy, pod)
                && policy.list(&format!("/spec/{direction}")).iter().any(|rule| {
                    let from = &rule[peers][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
                    let ports = rule["ports"].as_array().expect("ports");
                    from == namespace && ports.iter().any(|own| own["port"] == *port)
                })
        })
    };
    let pods = pods(&production);
    let mut scraped = 0;
    for monitor in of("PodMonitor") {
        for pod in pods.iter().filter(|pod| selects(monitor, pod)) {
            for endpoint in monitor.list("/spec/podMetricsEndpoints") {
                assert!(pod.port(&endpoint["port"]).is_some(), "{monitor} {} {endpoint}", pod.owner);
                assert!(open(pod, "ingress", "monitoring", &endpoint["port"]), "{monitor} {}", pod.owner);
                scraped += 1;
            }
        }
    }
    assert_eq!(scraped, 5, "four services and the broker");

    let settings = of("ConfigMap").into_iter().find(|map| map.name() == "tracing").expect("the component's settings");
    let collector = settings.text("/data/OTEL_EXPORTER_OTLP_ENDPOINT");
    let (host, port) = collector.trim_start_matches("http://").split_once(':').expect("a port");
    let (_, namespace) = host.split_once('.').expect("a namespace");
    let port = Value::from(port.parse::<u16>().expect("a number"));
    for service in ["auth", "gateway", "converter", "notification"] {
        let pod = pods.iter().find(|pod| pod.owner.name() == service).expect("a pod");
        assert!(open(pod, "egress", namespace, &port), "{service}");
    }
}

/// Whether an object's pod selector means a pod, by labels and lists of values.
fn selects(object: &Object, pod: &Pod) -> bool {
    let selector = if object.kind() == "NetworkPolicy" { "/spec/podSelector" } else { "/spec/selector" };
    let labels = object.texts(&format!("{selector}/matchLabels"));
    let expressions = object.list(&format!("{selector}/matchExpressions"));
    let is_one_of = |expression: &Value| {
        assert_eq!(expression["operator"], "In", "{object}");
        let own = pod.labels().remove(expression["key"].as_str().expect("a key"));
        expression["values"].as_array().expect("values").iter().any(|value| value.as_str() == own.as_deref())
    };
    (labels.is_empty() || pod.fits(&labels))
        && !(labels.is_empty() && expressions.is_empty())
        && expressions.iter().all(is_one_of)
}
