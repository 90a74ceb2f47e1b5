#!/bin/sh
# ffmpeg.sh WHITELIST PREFIX: builds of FFmpeg what the converter may open, and nothing else.
#
# The source is Debian's, with its security fixes. WHITELIST is the converter's own list
# (crates/transcode/src/whitelist.rs), so that there is one list.
set -eu
whitelist=$1 prefix=$2

# names CONSTANT: the strings of one list.
names() {
    sed -n "/^const $1:/,/^];/p" "$whitelist" | grep -o '"[^"]*"' | tr -d '"'
}

# Where configure has another word for it than FFmpeg has at run time.
demuxers=$(names DEMUXERS | sed 's/^mpeg$/mpegps/')
decoders=$( (names COMMON && names PCM && names RARE) | sed '
    s/^g72/adpcm_g72/
    s/^8svx/eightsvx/
    s/^real_/ra_/')
list() { printf '%s\n' "$1" | paste -sd, -; }

cd "$(mktemp -d)"
apt-get -qq update
apt-get -qq source ffmpeg
cd ffmpeg-*/
./configure --prefix="$prefix" \
    --enable-shared --disable-static --disable-programs --disable-doc --disable-debug \
    --disable-everything --disable-autodetect --disable-network \
    --disable-avdevice --disable-avfilter --disable-postproc --disable-swscale \
    --enable-zlib --enable-parsers --enable-bsf=extract_extradata,null \
    --enable-demuxer="$(list "$demuxers")" --enable-decoder="$(list "$decoders")" \
    --extra-cflags='-D_FORTIFY_SOURCE=2 -fstack-protector-strong' --extra-ldflags='-Wl,-z,relro,-z,now' |
    tee configure.log

# Not every name is known: other names of one demuxer, and wrappers of outside libraries.
unknown=$(sed -n 's/.*Option --enable-[a-z]*=\([^ ]*\) did not match.*/\1/p' configure.log |
    grep -vxE 'mp4|m4a|3gp|3g2|mj2|webm|lib.*' || true)
if [ -n "$unknown" ]; then
    echo "FFmpeg's configure does not know: $unknown" >&2
    exit 1
fi
make -j"$(nproc)"
make install
rm -rf "$PWD" /var/lib/apt/lists/*
