//! Every container and codec people upload comes out with the right words on the right side, at
//! the right speed and of the right length.

mod common;

use common::measure::{correlation, envelope, likeness_at};
use common::{Media, SECONDS, convert_and_decode};
use transcode::Summary;

/// What a case has to come to. Lag and extra are samples against the original WAV.
struct Expected {
    codec: &'static str,
    /// Codecs add priming at the front; few containers say how much, and only then it is cut.
    lag: i64,
    /// Whole codec frames at the end, where the container does not tell the exact length.
    extra: i64,
}

/// Puts the speech into a film, converts it and compares both sides with the original.
fn check(name: &str, args: &str, expected: &Expected) {
    let media = Media::new();
    let (summary, decoded) = convert_and_decode(&media.film(name, args));
    assert_eq!(summary.input_codec, expected.codec);
    assert_eq!(summary.channels, 2);
    assert_eq!(summary.packets_skipped, 0);
    let originals = media.pcm("speech.wav", summary.sample_rate, 2);
    let extra = summary.samples as i64 - originals[0].len() as i64;
    assert_eq!(extra, expected.extra, "length");
    for (side, (original, sound)) in originals.iter().zip(&decoded.planes).enumerate() {
        let likeness = likeness_at(original, sound, expected.lag);
        assert!(likeness > 0.99, "side {side}: {likeness}");
    }
    let across = correlation(&originals[0], &decoded.planes[1]);
    assert!(across < 0.5, "the sides are different texts: {across}");
}

macro_rules! films {
    ($($test:ident: $name:literal, $video:expr, $audio:literal => $codec:literal, lag $lag:literal, extra $extra:literal;)*) => {$(
        #[test]
        fn $test() {
            let expected = Expected { codec: $codec, lag: $lag, extra: $extra };
            check($name, &format!("{} -c:a {}", $video, $audio), &expected);
        }
    )*};
}

const H264: &str = "-c:v libx264 -preset ultrafast -g 25";
const VP8: &str = "-c:v libvpx -deadline realtime -cpu-used 8";
const MPEG4: &str = "-c:v mpeg4";
const MPEG2: &str = "-c:v mpeg2video";
const WMV: &str = "-c:v wmv2";

films! {
    // The edit list cuts the priming; the last AAC frame stays whole.
    mp4_aac: "f.mp4", H264, "aac -b:a 160k" => "aac", lag 0, extra 512;
    mp4_moov_first: "f.mp4", H264, "aac -b:a 160k -movflags faststart" => "aac", lag 0, extra 512;
    mp4_fragmented: "f.mp4", H264, "aac -b:a 160k -movflags frag_keyframe+empty_moov" => "aac", lag 1024, extra 1536;
    mp4_ac3: "f.mp4", H264, "ac3 -b:a 192k" => "ac3", lag 0, extra -256;
    mp4_mp3: "f.mp4", H264, "libmp3lame -b:a 192k" => "mp3", lag 0, extra 431;
    m4v_flac: "f.mp4", H264, "flac -strict -2" => "flac", lag 0, extra 0;
    mov_pcm: "f.mov", H264, "pcm_s16le" => "pcm_s16le", lag 0, extra 0;
    mov_pcm_big_endian_24: "f.mov", H264, "pcm_s24be" => "pcm_s24be", lag 0, extra 0;
    mov_alac: "f.mov", H264, "alac" => "alac", lag 0, extra 0;
    threegp_aac: "f.3gp", H264, "aac -b:a 160k" => "aac", lag 0, extra 512;
    mkv_aac: "f.mkv", H264, "aac -b:a 160k" => "aac", lag 1024, extra 1536;
    mkv_vorbis: "f.mkv", H264, "libvorbis -q:a 6" => "vorbis", lag 0, extra 64;
    mkv_flac: "f.mkv", H264, "flac" => "flac", lag 0, extra 0;
    mkv_pcm_float: "f.mkv", H264, "pcm_f32le" => "pcm_f32le", lag 0, extra 0;
    mkv_ac3: "f.mkv", H264, "ac3 -b:a 192k" => "ac3", lag 256, extra 0;
    mkv_eac3: "f.mkv", H264, "eac3 -b:a 192k" => "eac3", lag 256, extra 0;
    mkv_dts: "f.mkv", H264, "dca -strict -2 -b:a 768k" => "dts", lag 512, extra 0;
    mkv_opus: "f.mkv", H264, "libopus -b:a 128k" => "opus", lag 0, extra 0;
    mkv_mp3: "f.mkv", H264, "libmp3lame -b:a 192k" => "mp3", lag 576, extra 576;
    webm_opus: "f.webm", VP8, "libopus -b:a 128k" => "opus", lag 0, extra 0;
    webm_vorbis: "f.webm", VP8, "libvorbis -q:a 6" => "vorbis", lag 0, extra 64;
    avi_mp3: "f.avi", MPEG4, "libmp3lame -b:a 192k" => "mp3", lag 1105, extra 1536;
    avi_pcm: "f.avi", MPEG4, "pcm_s16le" => "pcm_s16le", lag 0, extra 0;
    ts_aac: "f.ts", H264, "aac -b:a 160k" => "aac", lag 1024, extra 1536;
    ts_ac3: "f.ts", H264, "ac3 -b:a 192k" => "ac3", lag 256, extra 0;
    mpg_mp2: "f.mpg", MPEG2, "mp2 -b:a 256k" => "mp2", lag 481, extra 384;
    // FFmpeg's decoder cuts two frames of priming, as Windows writes it; FFmpeg's encoder has one.
    wmv_wma: "f.wmv", WMV, "wmav2 -b:a 192k" => "wmav2", lag -2048, extra -1536;
    flv_aac: "f.flv", H264, "aac -b:a 160k" => "aac", lag 1024, extra 1536;
    flv_mp3: "f.flv", H264, "libmp3lame -ar 44100 -b:a 192k" => "mp3", lag 1105, extra 2160;
    wav_pcm: "f.wav", "-vn", "pcm_s24le" => "pcm_s24le", lag 0, extra 0;
    wav_alaw: "f.wav", "-vn", "pcm_alaw" => "pcm_alaw", lag 0, extra 0;
    m4a_alac: "f.m4a", "-vn", "alac" => "alac", lag 0, extra 0;
    ogg_vorbis: "f.ogg", "-vn", "libvorbis -q:a 6" => "vorbis", lag 0, extra 0;
    ogg_opus: "f.ogg", "-vn", "libopus -b:a 128k" => "opus", lag 0, extra 0;
    flac: "f.flac", "-vn", "flac" => "flac", lag 0, extra 0;
    mp3_with_length_tag: "f.mp3", "-vn", "libmp3lame -b:a 192k" => "mp3", lag 0, extra 0;
    adts_aac: "f.aac", "-vn", "aac -b:a 160k" => "aac", lag 1024, extra 1536;
    raw_ac3: "f.ac3", "-vn", "ac3 -b:a 192k" => "ac3", lag 256, extra 0;
    aiff: "f.aiff", "-vn", "pcm_s16be" => "pcm_s16be", lag 0, extra 0;
}

/// AMR keeps no waveform to compare: the loudness over time has to be that of the speech.
fn check_amr(media: &Media, summary: &Summary, sound: &[f32]) {
    assert_eq!((summary.sample_rate, summary.channels), (8_000, 1));
    assert_eq!(summary.input_codec, "amr_nb");
    let length = 8_000 * SECONDS as i64;
    let extra = summary.samples as i64 - length;
    assert!((0..=320).contains(&extra), "AMR frames are 160 samples: {extra}");
    let original = &media.pcm("left.wav", 8_000, 1)[0];
    let likeness = correlation(&envelope(original, 800), &envelope(sound, 800));
    assert!(likeness > 0.9, "{likeness}");
}

#[test]
fn threegp_amr() {
    let media = Media::new();
    media.speech();
    media.run(
        "sox",
        &["left.wav", "-r", "8000", "-c", "1", "-t", "amr-nb", "left.amr", "pad", "0", "4", "trim", "0", "4"],
    );
    media.ffmpeg(
        "-f lavfi -i testsrc=size=176x144:rate=25:duration=4 -i left.amr \
         -c:v mpeg4 -c:a copy film.3gp",
    );
    for name in ["film.3gp", "left.amr"] {
        let (summary, decoded) = convert_and_decode(&media.path(name));
        check_amr(&media, &summary, &decoded.planes[0]);
    }
}

#[test]
fn the_stream_with_a_decoder_is_taken() {
    let media = Media::new();
    media.speech();
    // The first track gets a codec that nobody knows.
    media.ffmpeg(
        "-i speech.wav -i speech.wav -map 0 -map 1 -c:a pcm_s16le -ac:a:0 2 -ac:a:1 1 \
         -disposition:a:0 default two.mov",
    );
    let mut bytes = media.read("two.mov");
    let at = bytes.windows(4).position(|w| w == b"sowt").expect("a sample entry");
    bytes[at..at + 4].copy_from_slice(b"zzzz");
    let (summary, _) = convert_and_decode(&media.write("odd.mov", &bytes));
    assert_eq!(summary.channels, 1, "the second track");
}
