//! The manifests as a cluster would get them: valid, hardened, and in accord with one another
//! and with the programs.

mod build;
mod environment;
mod pods;
mod references;
mod scaling;

use deploy::{Manifests, Object};

/// All that can be applied, with the objects of each.
fn everything() -> Vec<(String, Vec<Object>)> {
    let manifests = Manifests::with_secrets();
    manifests.all().into_iter().map(|name| (name.clone(), manifests.objects(&name))).collect()
}
