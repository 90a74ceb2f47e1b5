//! What is deployed and how, read as Kubernetes and Compose would read it. For tests.

mod object;
mod pod;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use tempfile::TempDir;

pub use object::{Object, parse};
pub use pod::{Container, Pod};

/// The root of the project.
pub fn root() -> PathBuf {
    testkit::workspace_root()
}

/// A file of the project.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a tool that `scripts/setup.sh test` has installed; its output, if it went well.
///
/// # Errors
/// When it is not there, or did not; the error holds what it printed.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let tools = root().join(".tools");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = [tools.join("bin")].into_iter().chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(places)?).env("PYTHONPATH", tools.join("python"));
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {program}; run `scripts/setup.sh test`"))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{program} failed ({}):\n{out}{err}", output.status);
    Ok(out.into_owned())
}

/// A copy of the manifests with secrets of their own, as `make secrets` makes them.
pub struct Manifests {
    folder: TempDir,
}

impl Manifests {
    /// # Panics
    /// When the copy cannot be made.
    pub fn with_secrets() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let own = Self { folder };
        // What git ignores stays behind: a developer's own secrets are no test's business.
        copy(&root().join("manifests"), &own.path("manifests")).expect("the manifests are copied");
        let secrets = own.path("manifests/components/secrets");
        run(Command::new("sh").arg(root().join("scripts/secrets.sh")).arg(secrets)).expect("secrets are made");
        own
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The overlays, and the base with each component that none of them uses.
    pub fn all(&self) -> Vec<String> {
        let folder = self.path("manifests");
        let mut all: Vec<_> = names(&folder.join("overlays")).iter().map(|name| format!("overlays/{name}")).collect();
        let text = |path: &str| std::fs::read_to_string(folder.join(path).join("kustomization.yaml")).expect("text");
        let mut users: String = all.iter().map(|overlay| text(overlay)).collect();
        users.push_str(&text("base"));
        for component in names(&folder.join("components")) {
            if users.contains(&format!("components/{component}\n")) {
                continue;
            }
            let own = format!("overlays/base-with-{component}");
            let kustomization = format!(
                "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: mp3converter\n\
                 resources: [../../base]\ncomponents: [../../components/{component}]\n"
            );
            std::fs::create_dir_all(folder.join(&own)).expect("a folder");
            std::fs::write(folder.join(&own).join("kustomization.yaml"), kustomization).expect("written");
            all.push(own);
        }
        all
    }

    /// What `kubectl apply -k` would send.
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn build(&self, kustomization: &str) -> String {
        let folder = self.path("manifests").join(kustomization);
        run(Command::new("kubectl").arg("kustomize").arg(folder)).unwrap_or_else(|e| panic!("{kustomization}: {e:#}"))
    }

    /// The objects of a kustomization.
    pub fn objects(&self, kustomization: &str) -> Vec<Object> {
        parse(&self.build(kustomization)).into_iter().map(Object::new).collect()
    }

    /// One of the secrets made for this copy.
    pub fn secret(&self, name: &str, key: &str) -> String {
        let path = self.path("manifests/components/secrets").join(name).join(key);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// What lies in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_file() {
            std::fs::copy(from, to)?;
        } else if !entry.file_name().to_string_lossy().ends_with("-secret") {
            copy(&from, &to)?;
        }
    }
    Ok(())
}
