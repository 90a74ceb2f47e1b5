//! Dockerfile, Compose file and workflows, as their own linters see them.

use std::process::Command;

use deploy::{read, root, run};

#[test]
fn the_dockerfile_is_clean() {
    run(Command::new("hadolint").current_dir(root()).args(["--failure-threshold", "style", "docker/Dockerfile"]))
        .expect("hadolint finds nothing");
    let dockerfile = read("docker/Dockerfile");
    for target in ["auth", "gateway", "converter", "notification", "mp3converter"] {
        let (_, stage) = dockerfile.split_once(&format!(" AS {target}\n")).expect("a target");
        let stage = stage.split("\nFROM ").next().expect("it");
        assert!(stage.contains(&format!("ENTRYPOINT [\"/usr/bin/{target}\"]")), "{target}");
    }
    // What the services' images begin with: a number, which Kubernetes can tell from root's.
    assert!(dockerfile.contains("\nUSER 65532:65532\n"));
    // A frontend from a registry is one more thing to trust, and to be online for.
    assert!(!dockerfile.starts_with("# syntax"));
    assert!(!dockerfile.contains("HEALTHCHECK"), "Kubernetes asks, not Docker");
    assert!(dockerfile.contains(concat!("ARG VERSION=", env!("CARGO_PKG_VERSION"), "\n")));
}

#[test]
fn compose_and_workflows_keep_to_their_schemas() {
    let check = |schema: &str, path: &str| {
        let mut command = Command::new("python3");
        command.current_dir(root()).args(["-m", "check_jsonschema", "--builtin-schema", schema, path]);
        run(&mut command).unwrap_or_else(|error| panic!("{path}: {error:#}"));
    };
    check("vendor.compose-spec", "docker/compose.yaml");
    let workflows = std::fs::read_dir(root().join(".github/workflows")).expect("workflows");
    let mut checked = 0;
    for workflow in workflows {
        let path = workflow.expect("an entry").path();
        check("vendor.github-workflows", path.to_str().expect("a path"));
        let text = std::fs::read_to_string(&path).expect("text");
        for line in text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix("uses: ")) {
            let (_, version) = line.split_once('@').expect("a version");
            let version = version.split(' ').next().expect("it");
            let commit = version.len() == 40 && version.chars().all(|c| c.is_ascii_hexdigit());
            assert!(commit, "{}: {line}: a tag can be moved, a commit cannot", path.display());
        }
        checked += 1;
    }
    assert!(checked > 1);
}
