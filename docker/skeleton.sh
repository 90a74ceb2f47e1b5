#!/bin/sh
# Leaves of the sources what decides which dependencies are built and how: manifests, the
# lock file, and an empty source in the place of each target.
set -eu
find . -type f \
    ! -name Cargo.toml ! -path ./Cargo.lock ! -path './docker/*.sh' \
    ! -path '*/src/lib.rs' ! -path '*/src/main.rs' ! -path '*/src/bin/*' ! -path '*/build.rs' -delete
find . -type d -empty -delete
find . -name lib.rs | while read -r source; do : > "$source"; done
find . \( -name main.rs -o -path '*/src/bin/*.rs' -o -name build.rs \) | while read -r source; do
    echo 'fn main() {}' > "$source"
done
