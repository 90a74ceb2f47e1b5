//! Temporary folders of servers, which go away with them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;

const PREFIX: &str = "testkit-server-";
const LOCK: &str = "in-use";

/// A folder that is removed when dropped. Folders whose owner was killed are removed
/// by the next one who asks for a folder.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: TempDir,
    /// Locked while the owner lives; the kernel frees it however the owner ends.
    _lock: File,
}

impl Folder {
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        sweep();
        let dir = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{name}-"))
            .tempdir()
            .context("cannot make a temporary folder")?;
        let lock = File::create(dir.path().join(LOCK))?;
        lock.try_lock().context("cannot lock a new folder")?;
        Ok(Self { dir, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

/// Removes what killed owners left behind. Best effort: another process may be sweeping.
fn sweep() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if ours && is_abandoned(&entry.path()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn is_abandoned(dir: &Path) -> bool {
    let lock = dir.join(LOCK);
    let age = lock.metadata().and_then(|m| m.modified()).map(|t| t.elapsed().unwrap_or_default());
    // A folder just made may not be locked yet.
    age.is_ok_and(|age| age > Duration::from_secs(60)) && File::open(&lock).is_ok_and(|file| file.try_lock().is_ok())
}
