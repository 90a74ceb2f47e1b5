//! Free TCP ports on loopback, kept from every other test process.

use std::fs::File;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::process::effective_user;

/// Below the range that Linux and macOS give to outgoing connections: such a port
/// cannot be taken by a passing connection while its server is being restarted.
const RANGE: std::ops::Range<u16> = 18_000..32_000;

/// A port that is this holder's until it is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Its lock is what keeps other test processes away; freed when the file closes.
    _lock: File,
}

impl Port {
    /// Takes a port that nothing listens on.
    ///
    /// # Panics
    /// When there is none, or the temporary folder cannot be written.
    pub fn free() -> Self {
        static TAKEN: AtomicU32 = AtomicU32::new(0);
        // One folder for each account: another's files cannot be opened.
        let locks = std::env::temp_dir().join(format!("testkit-ports-{}", effective_user()));
        std::fs::create_dir_all(&locks).expect("the temporary folder can be written");

        // Processes begin at different places, so that they seldom meet.
        let width = u32::from(RANGE.end - RANGE.start);
        let first = std::process::id().wrapping_mul(97);
        for _ in 0..width {
            let step = TAKEN.fetch_add(1, Ordering::Relaxed);
            let offset = u16::try_from(first.wrapping_add(step) % width).expect("below the width");
            let number = RANGE.start + offset;
            let lock = File::create(locks.join(number.to_string())).expect("a lock file");
            // Bound only for a look; no connection was made, so the port is free again at once.
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port in {RANGE:?}");
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// The number of a free port, this process's until it ends.
pub fn free_port() -> u16 {
    let port = Port::free();
    let number = port.number();
    std::mem::forget(port);
    number
}
