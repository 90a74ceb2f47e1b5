//! As many pods as there is work, and none of them lost in the middle of it.

use deploy::Object;

fn one<'a>(objects: &'a [Object], kind: &str, name: &str) -> &'a Object {
    objects.iter().find(|object| object.is(kind, name)).unwrap_or_else(|| panic!("there is no {kind}/{name}"))
}

fn scaled() -> Vec<(String, Vec<Object>)> {
    let all = super::everything().into_iter();
    let scaled: Vec<_> = all.filter(|(_, objects)| objects.iter().any(|o| o.kind() == "ScaledObject")).collect();
    assert_eq!(scaled.len(), 2, "minikube-autoscale and production");
    scaled
}

#[test]
fn workers_follow_the_length_of_the_queue() {
    for (name, objects) in scaled() {
        let converter = one(&objects, "ScaledObject", "converter");
        assert_eq!(converter.text("/spec/scaleTargetRef/name"), "converter", "{name}");
        assert_eq!(converter.at("/spec/minReplicaCount"), 0, "{name}");
        let trigger = converter.texts("/spec/triggers/0/metadata");
        let queue = one(&objects, "ConfigMap", "converter-configmap").text("/data/VIDEO_QUEUE");
        assert_eq!(trigger["queueName"], queue, "{name}");
        // Only over HTTP do messages count that a worker holds: without them the last worker
        // would be taken away from its last job.
        assert_eq!(
            (trigger["protocol"].as_str(), trigger["excludeUnacknowledged"].as_str()),
            ("http", "false"),
            "{name}"
        );
        let reference = converter.text("/spec/triggers/0/authenticationRef/name");
        let authentication = one(&objects, "TriggerAuthentication", reference);
        let target = authentication.texts("/spec/secretTargetRef/0");
        assert_eq!(target["parameter"], "host", "{name}");
        let broker = one(&objects, "StatefulSet", "rabbitmq").pod().expect("a pod");
        let known = broker.containers()[0].list("env").iter().any(|variable| {
            let from = &variable["valueFrom"]["secretKeyRef"];
            from["name"] == target["name"].as_str() && from["key"] == target["key"].as_str()
        });
        assert!(known, "{name}: the broker does not make the user that KEDA comes as");
    }
}

/// A count in the manifest would undo what the scaler did, at every apply.
#[test]
fn who_is_scaled_has_no_count_of_its_own() {
    for (name, objects) in scaled() {
        for service in ["auth", "gateway"] {
            let scaler = one(&objects, "HorizontalPodAutoscaler", service);
            assert_eq!(scaler.text("/spec/scaleTargetRef/name"), service, "{name}");
            assert_eq!(scaler.at("/spec/minReplicas"), 2, "{name}");
        }
        for service in ["auth", "gateway", "converter"] {
            assert!(one(&objects, "Deployment", service).at("/spec/replicas").is_null(), "{name}: {service}");
        }
    }
}

/// KEDA comes from its own namespace, and so needs the whole name.
#[test]
fn the_monitors_address_is_known_in_the_whole_cluster() {
    let url = deploy::Manifests::with_secrets().secret("rabbitmq-secret", "MONITOR_URL");
    assert!(url.starts_with("http://monitor:"), "the user of definitions.sh");
    assert!(url.ends_with("@rabbitmq.mp3converter.svc.cluster.local:15672/"), "the Service's full name");
}

/// Three of each store keep what two of them have acknowledged.
#[test]
fn stores_in_production_are_three() {
    let objects = deploy::Manifests::with_secrets().objects("overlays/production");
    for store in ["mongodb", "rabbitmq"] {
        let set = one(&objects, "StatefulSet", store);
        assert_eq!(set.at("/spec/replicas"), 3, "{store}");
        let pod = set.pod().expect("a pod");
        assert_eq!(pod.at("/spec/topologySpreadConstraints/0/whenUnsatisfiable"), "DoNotSchedule", "{store}");
    }
    let mongodb = one(&objects, "StatefulSet", "mongodb").pod().expect("a pod");
    let sidecar = mongodb.containers()[1];
    let told = sidecar.list("env").iter().find(|variable| variable["name"] == "MEMBERS").expect("its members");
    let members: Vec<_> = (0..3).map(|n| format!("mongodb-{n}.mongodb.mp3converter.svc.cluster.local:27017")).collect();
    assert_eq!(told["value"], members.join(","));
    let cluster = one(&objects, "ConfigMap", "rabbitmq-configmap").text("/data/20-cluster.conf");
    for n in 0..3 {
        let node = format!("rabbit@rabbitmq-{n}.rabbitmq-nodes.mp3converter.svc.cluster.local");
        assert!(cluster.contains(&node), "{node}");
    }
    assert!(objects.iter().all(|object| object.name() != "mysql"), "the accounts are on a server outside");
}

/// A film that takes more ends its conversion, and not the pod with all that it is doing.
#[test]
fn a_conversion_may_take_less_than_its_pod() {
    for (name, objects) in super::everything() {
        let settings = one(&objects, "ConfigMap", "converter-configmap");
        let conversion: u64 = settings.text("/data/CONVERSION_MEMORY").parse().expect("bytes");
        let pod = one(&objects, "Deployment", "converter").pod().expect("a pod");
        let limit = pod.containers()[0].at("/resources/limits/memory").as_str().expect("text").to_owned();
        let limit: u64 = limit.strip_suffix("Mi").and_then(|mebibytes| mebibytes.parse().ok()).expect("MiB");
        assert!(conversion + (128 << 20) <= limit << 20, "{name}: {conversion} of {limit} MiB");
    }
}
