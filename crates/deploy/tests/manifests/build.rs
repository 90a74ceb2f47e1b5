//! Every kustomization builds, and the API's own schemas take what comes out.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use deploy::{Manifests, read, root, run};

/// The Kubernetes that the manifests are written for.
const KUBERNETES: &str = "1.33";

/// Groups whose schemas come with an operator, not with Kubernetes. What we use of them is
/// looked at by name, in `references` and `scaling`.
const OPERATORS: [&str; 4] =
    ["external-secrets.io/v1", "gateway.networking.k8s.io/v1", "keda.sh/v1alpha1", "monitoring.coreos.com/v1"];

#[test]
fn the_schemas_take_every_object() {
    let manifests = Manifests::with_secrets();
    let mut built = 0;
    for name in manifests.all() {
        let file = manifests.path("built.yaml");
        std::fs::write(&file, manifests.build(&name)).expect("written");
        let mut validate = Command::new("python3");
        validate.args(["-m", "kubernetes_validate", "--strict", "--quiet", "--kubernetes-version", KUBERNETES]);
        let said = run(validate.arg(&file)).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        for line in said.lines() {
            // "… api version keda.sh/v1alpha1 for kubernetes version …"
            let known = OPERATORS.iter().any(|group| line.contains(&format!("api version {group} ")));
            assert!(line.starts_with("WARN") && known, "{name}: {line}");
        }
        built += 1;
    }
    assert!(built > 4, "{built}");
}

#[test]
fn no_object_is_there_twice() {
    for (name, objects) in super::everything() {
        let mut seen = BTreeSet::new();
        for object in &objects {
            assert!(seen.insert((object.kind().to_owned(), object.name().to_owned())), "{name}: {object}");
            let namespace = object.text("/metadata/namespace");
            assert!(object.kind() == "Namespace" || namespace == "mp3converter", "{name}: {object} in {namespace:?}");
        }
    }
}

/// The base names the images that `make images` makes, and pins all others.
#[test]
fn images_are_pinned() {
    let mut versions = BTreeMap::new();
    for (name, objects) in super::everything() {
        for pod in objects.iter().filter_map(|object| object.pod()) {
            for container in pod.containers() {
                let image = container.image();
                let (repository, tag) = image.rsplit_once(':').unwrap_or((image, ""));
                assert!(
                    tag.starts_with(|c: char| c.is_ascii_digit() || c == 'v') && tag.contains('.'),
                    "{name}: {image}"
                );
                let pinned = versions.entry(repository.to_owned()).or_insert_with(|| tag.to_owned());
                assert_eq!(pinned, tag, "{name}: {repository} in two versions");
                if repository.starts_with("mp3converter/") {
                    assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{name}: {image}");
                }
            }
        }
    }
    let compose = deploy::parse(&read("docker/compose.yaml"));
    for service in compose[0]["services"].as_object().expect("services").values() {
        let image = service["image"].as_str().expect("an image").replace("${TAG:-", "").replace('}', "");
        let (repository, tag) = image.rsplit_once(':').expect("a tag");
        assert_eq!(versions.get(repository).map(String::as_str), Some(tag), "Compose and Kubernetes differ in {image}");
    }
}

/// `git ls-files`, since what a developer generated lies beside it.
#[test]
fn git_holds_no_secret() {
    let tracked =
        run(Command::new("git").current_dir(root()).args(["ls-files", "manifests", "docker"])).expect("files");
    let mut looked_at = 0;
    for path in tracked.lines() {
        let in_secrets = path.strip_prefix("manifests/components/secrets/");
        assert!(in_secrets.is_none_or(|name| name == "kustomization.yaml"), "{path}");
        let text = read(path);
        for (number, line) in text.lines().enumerate() {
            let code = line.split(" #").next().unwrap_or_default().trim();
            let comment = code.starts_with('#') || code.starts_with("//") || code.starts_with("--");
            // A URL with a password that is neither a variable nor a form.
            let literal = code.split("://").skip(1).any(|rest| {
                let credentials = rest.split(['@', '/', ' ', '"']).next().unwrap_or_default();
                rest.starts_with(&format!("{credentials}@")) && credentials.contains(':') && !credentials.contains('$')
            });
            let placeholder = ["changeme", "CHANGE_ME", "PLACEHOLDER", "placeholder", "hunter2"];
            let placeholder = placeholder.iter().any(|word| code.contains(word));
            assert!(comment || !(literal || placeholder), "{path}:{}: {line}", number + 1);
        }
        looked_at += 1;
    }
    assert!(looked_at > 30, "{looked_at}");
    let manifests = Manifests::with_secrets();
    for kustomization in ["base", "overlays/production"] {
        let objects = manifests.objects(kustomization);
        assert!(objects.iter().all(|object| object.kind() != "Secret"), "{kustomization}");
    }
}
