#!/bin/sh
# rootfs.sh OUT PROGRAMS: lays out below OUT what the images are made of.
#
#   common        what every program needs: the C library, certificates, names
#   audio         the libraries of the converter
#   data          an empty folder to own
#   PROGRAM       each program
set -eu
out=$1 programs=$2
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH)

# Folders as Debian has them, where the loader looks for libraries.
tree() {
    mkdir -p "$1/usr/bin" "$1/usr/lib/$multiarch" "$1/usr/lib64"
}

# libraries PROGRAM: the files that it loads, the loader included.
libraries() {
    ldd "$1" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | sort -u
}

# install_library OUT FILE
install_library() {
    case $2 in
    */ld-linux*) target=$1/usr/$(basename "$(dirname "$2")")/ ;;
    *) target=$1/usr/lib/$multiarch/ ;;
    esac
    cp --dereference "$2" "$target"
    # Scanners find the libraries' packages here, as in distroless images.
    package=$(dpkg --search "*/$(basename "$2")" 2>/dev/null | head -n 1 | cut -d: -f1 || true)
    if [ -n "$package" ]; then
        mkdir -p "$1/var/lib/dpkg/status.d"
        dpkg --status "$package" > "$1/var/lib/dpkg/status.d/$package"
    fi
}

tree "$out/common"
ln -s usr/lib "$out/common/lib"
ln -s usr/lib64 "$out/common/lib64"
libraries "$programs/auth" | while read -r library; do install_library "$out/common" "$library"; done
mkdir -p "$out/common/etc/ssl/certs"
cp /etc/ssl/certs/ca-certificates.crt "$out/common/etc/ssl/certs/"
cp /etc/os-release "$out/common/etc/"
echo 'nonroot:x:65532:65532::/:/nonexistent' > "$out/common/etc/passwd"
echo 'nonroot:x:65532:' > "$out/common/etc/group"
echo 'hosts: files dns' > "$out/common/etc/nsswitch.conf"
mkdir -m 1777 "$out/common/tmp"

tree "$out/audio"
libraries "$programs/converter" | while read -r library; do
    [ -e "$out/common/usr/lib/$multiarch/$(basename "$library")" ] || install_library "$out/audio" "$library"
done
rm -f "$out"/audio/usr/*/ld-linux*

mkdir "$out/data"
for program in auth gateway converter notification mp3converter; do
    mkdir -p "$out/$program/usr/bin"
    cp "$programs/$program" "$out/$program/usr/bin/"
    # A library that only this one needs would be missing at run time: better to know now.
    libraries "$programs/$program" | while read -r library; do
        name=$(basename "$library")
        [ -n "$(find "$out/common" "$out/audio" -name "$name")" ] || { echo "$program needs $name" >&2; exit 1; }
    done
done
