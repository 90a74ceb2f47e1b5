//! How this process takes memory from the system.

/// Two pools for all threads, and segments of sound mapped one by one, so that what a thread has
/// freed is not kept for it alone. glibc's own ways keep a tenth more (see `make bench`).
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two numbers and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}
