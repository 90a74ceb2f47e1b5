#!/usr/bin/env bash
# Makes the first inputs of the fuzz targets: tiny media of every kind, forms and headers as
# clients send them. What fuzzing found since lies beside them in fuzz/corpus.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/corpus"
mkdir -p engine mp3 form token text frames

# film NAME OPTION ARGUMENTS…: the engine's target takes a file's last byte for its options.
film() {
    local name=$1 option=$2
    shift 2
    ffmpeg -nostdin -loglevel error -y -f lavfi -i "sine=frequency=440:sample_rate=16000:duration=0.3" \
        -f lavfi -i "testsrc=size=16x16:rate=5:duration=0.3" -bitexact "$@" "/tmp/seed.$$.${name##*.}"
    { cat "/tmp/seed.$$.${name##*.}"; printf "\\x$option"; } >"engine/${name/./-}"
    rm "/tmp/seed.$$.${name##*.}"
}
sound=(-map 0:a)
both=(-map 0:a -map 1:v -c:v mpeg4 -g 1)
film aac.mp4 00 "${both[@]}" -c:a aac -b:a 24k -movflags faststart -metadata title=One -metadata:s:a language=deu
film fragments.mp4 05 "${sound[@]}" -c:a aac -b:a 24k -movflags frag_keyframe+empty_moov
film alac.m4a 01 "${sound[@]}" -c:a alac
film mp3.mp4 00 "${sound[@]}" -c:a libmp3lame -b:a 16k
film pcm.mov 05 "${both[@]}" -c:a pcm_s16le
film opus.webm 00 "${sound[@]}" -c:a libopus -ar 48000 -b:a 16k
film vorbis.mkv 02 "${both[@]}" -c:a libvorbis
film ac3.mkv 07 "${sound[@]}" -c:a ac3 -b:a 32k -metadata:s:a language=ger
film dts.mkv 01 "${sound[@]}" -c:a dca -strict -2 -ar 8000 -b:a 64k -t 0.1
film mp3.avi 00 "${both[@]}" -c:a libmp3lame -b:a 16k
film adpcm.avi 03 "${sound[@]}" -c:a adpcm_ms
film aac.ts 05 "${both[@]}" -c:a aac -b:a 24k
film mp2.mpg 06 "${sound[@]}" -c:a mp2 -b:a 32k
film mp3.flv 00 "${sound[@]}" -c:a libmp3lame -ar 22050 -b:a 16k
film wma.asf 01 "${sound[@]}" -c:a wmav2 -b:a 24k
film pcm.wav 03 "${sound[@]}" -ar 8000
film flac.flac 01 "${sound[@]}"
film vorbis.ogg 04 "${sound[@]}" -c:a libvorbis -metadata CHAPTER000=00:00:00.000 -metadata CHAPTER000NAME=One
film tagged.mp3 00 "${sound[@]}" -c:a libmp3lame -b:a 16k -metadata title=One -metadata comment=Two
film plain.mp3 05 "${sound[@]}" -c:a libmp3lame -q:a 9 -id3v2_version 0 -write_xing 0
film adts.aac 06 "${sound[@]}" -c:a aac -b:a 24k
film pcm.aiff 00 "${sound[@]}" -ar 8000
film pcm.caf 02 "${sound[@]}" -ar 8000
film wavpack.wv 01 "${sound[@]}"
film tta.tta 01 "${sound[@]}"
film pcm.au 00 "${sound[@]}" -ar 8000
film eac3.eac3 00 "${sound[@]}" -b:a 32k
printf ';FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=150\ntitle=One\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=150\nEND=300\n' \
    >"/tmp/seed.$$"
film chapters.mkv 04 -f ffmetadata -i "/tmp/seed.$$" "${sound[@]}" -map_metadata 2 -c:a libopus -ar 48000 -b:a 16k
film chapters.m4a 04 -f ffmetadata -i "/tmp/seed.$$" "${sound[@]}" -map_metadata 2 -c:a aac -b:a 24k
rm "/tmp/seed.$$"

head -c -1 engine/plain-mp3 >mp3/vbr
head -c -1 engine/tagged-mp3 | tail -c 600 >mp3/cbr
seq 60 | tr -d '\n' >mp3/seams

crlf() { printf '%s\r\n' "$@"; }
file='Content-Disposition: form-data; name="file"; filename="a film.mp4"'
{ echo 'multipart/form-data; boundary=b'; crlf --b "$file" '' film --b--; } >form/film
{
    echo 'multipart/form-data; boundary="b b"'
    crlf '--b b' 'Content-Disposition: form-data; name="quality"' '' 4 '--b b' "$file" 'Content-Type: video/mp4' '' \
        $'\r\n--b \r-' '--b b--' rest
} >form/wishes
{ echo 'multipart/form-data; boundary=b'; crlf preamble --b 'content-disposition: form-data; name=a; filename=' '' '' --b--; } >form/empty
{
    echo 'multipart/form-data; boundary=b'
    crlf --b 'Content-Disposition: form-data; name="file"; filename="..\\..\\x\"y"' 'Content-Type: multipart/mixed; boundary=c' \
        '' --c "$file" '' film --c-- --b--
} >form/nested

encode() { printf '%s' "$1" | base64 -w0 | tr '+/' '-_' | tr -d '='; }
head='{"typ":"JWT","alg":"HS256"}'
claims='{"username":"a@b.c","exp":9999999999,"iat":1700000000,"admin":true}'
printf 'Bearer %s.%s.c2lnbmF0dXJl' "$(encode "$head")" "$(encode "$claims")" >token/bearer
printf 'Bearer %s.%s.' "$(encode '{"alg":"none"}')" "$(encode "$claims")" >token/none
printf 'Basic %s' "$(encode 'a@b.c:correct horse')" >token/basic
printf 'theme=dark; session=%s.%s.c2lnbmF0dXJl; x="y"' "$(encode "$head")" "$(encode "$claims")" >token/cookie
printf '%s\n%s' "$head" "$claims" >token/signed
printf '%s\n%s' '{"alg":"HS512"}' "$claims" >token/other
printf '192.0.2.1, [2001:db8::1]:80, 10.0.0.2:443' >token/forwarded-for
printf 'for="[2001:db8::1]:4711";proto=https, for=192.0.2.1;by=10.0.0.1' >token/forwarded

printf '\0\20\0\0\0\0\0\0\0bytes=1-5' >text/range
printf '\0\20\0\0\0\0\0\0\0bytes=-18446744073709551615' >text/suffix
printf '\1preset=voice\nstart=1:02:03.250\nend=2:00:00\nnormalize=-16\nstream=de\ntrack=3/12\nyear=2019\n' >text/wishes
printf '\1quality=0\nbitrate=\nchannels=mono\nsample_rate=24000\nsplit=chapters\ntitle=One\n' >text/more-wishes
printf '\2{"video_fid":"65a1b2c3d4e5f60718293a4b","mp3_fid":null,"username":"a@b.c","reason":"x"}' >text/message

# frame KIND NUMBER BYTES: as crates/sandbox/src/frames.rs has them, little-endian.
frame() {
    printf "\\x$(printf %02x "$1")\\0\\0\\0\\x$(printf %02x $((${#3} & 255)))\\x$(printf %02x $((${#3} >> 8)))\\0\\0"
    printf "\\x$(printf %02x "$2")\\0\\0\\0\\0\\0\\0\\0%s" "$3"
}
summary='{"duration":{"secs":1,"nanos":5},"samples":8000,"sample_rate":8000,"channels":1,"waveform":[],"bytes_out":3'
summary+=',"input_codec":"aac","input_format":"mp4","packets_skipped":0}'
{ frame 0 0 ''; frame 2 9 ''; frame 5 0 '{"done":{"secs":1,"nanos":0},"total":{"secs":2,"nanos":0}}'
    frame 3 0 ID3; frame 4 1 D; frame 6 0 "$summary"; } >frames/done
for error in '"NoSound"' '{"UnknownCodec":{"codec":"xyz"}}' '{"Damaged":{"read":{"secs":1,"nanos":0},"of":null}}' \
    '{"Input":"gone"}' '{"Unbearable":"x"}' '{"NoSuchTrack":{"wished":"2","there":"only 1"}}'; do
    frame 7 0 "$error"
done >frames/failed
