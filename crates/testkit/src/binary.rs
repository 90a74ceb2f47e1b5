//! Where the workspace's own programs are.

use std::path::PathBuf;

/// The built program `name`, beside the program that asks (a test or another binary).
///
/// # Panics
/// When it has not been built.
pub fn binary(name: &str) -> PathBuf {
    let me = std::env::current_exe().expect("this program has a path");
    // Tests lie in target/PROFILE/deps, programs in target/PROFILE.
    let found = me
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no program {name} beside {}: run `cargo build --workspace --bins`", me.display()))
}
