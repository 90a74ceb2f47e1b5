//! Names that no other test uses.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// `prefix` followed by what makes it unique on this machine; fit for the name of a
/// database, a queue or a virtual host.
pub fn unique_name(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // A process id alone comes back after a while; the clock tells such twins apart.
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}_{}_{:x}_{count}", std::process::id(), micros & 0xffff_ffff)
}
