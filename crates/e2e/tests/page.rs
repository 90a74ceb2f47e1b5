//! The page in a browser. The script is `browser/page.test.mjs`; this starts what it needs.

use std::{path::Path, process::Stdio, time::Duration};

use e2e::{App, Product, Setup};
use testkit::{media, workspace_root};
use tokio::process::Command;

/// The whole script, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(170);

#[tokio::test(flavor = "multi_thread")]
async fn the_page_does_what_it_promises() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    assert!(folder.join("node_modules").is_dir(), "playwright-core is missing: run `npm ci` in {}", folder.display());
    let screenshots = workspace_root().join("target/screenshots");
    std::fs::create_dir_all(&screenshots).expect("a folder for screenshots");
    // The page itself sends two at a time.
    let env = vec![("MAX_UPLOADS", "2".to_owned())];
    let app = App::start_with(Setup { env, ..Setup::default() }).await;
    media::long_film(&app.path("long.mp4"), 30).expect("a long film");
    media::film(&app.path("short.mp4"), 12.0, &media::Film::default()).expect("a film");
    media::silent_film(&app.path("silent.mp4"), 2.0).expect("a silent film");

    let mut node = Command::new("node");
    node.args(["--test", "page.test.mjs"]).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    node.env("GATEWAY", app.gateway.url()).env("FILMS", app.folder()).env("SCREENSHOTS", screenshots);
    let said = app.path("page.log");
    let log = std::fs::File::create(&said).expect("a log");
    node.stderr(log.try_clone().expect("the log")).stdout(log);
    let ended = tokio::time::timeout(PATIENCE, node.status()).await;
    let said = std::fs::read_to_string(said).unwrap_or_default();
    let status = ended.unwrap_or_else(|_| panic!("it did not end in time:\n{said}")).expect("node is installed");
    assert!(status.success(), "{said}");
}
