#!/bin/sh
# Leaves of the sources what decides which dependencies are built and how: manifests, the
# lock file, and an empty source in the place of each target. LAME's crate stays as it is: it is
# as good as a dependency, and its C code takes a while.
set -eu
find . -type f ! -path './crates/lame/*' \
    ! -name Cargo.toml ! -path ./Cargo.lock ! -path ./docker/build.sh \
    ! -path '*/src/lib.rs' ! -path '*/src/main.rs' ! -path '*/src/bin/*' ! -path '*/build.rs' -delete
find . -type d -empty -delete
find . -name lib.rs ! -path './crates/lame/*' | while read -r source; do : > "$source"; done
find . \( -name main.rs -o -path '*/src/bin/*.rs' -o -name build.rs \) ! -path './crates/lame/*' | while read -r source; do
    echo 'fn main() {}' > "$source"
done
