//! What FFmpeg may open. Everything else it was built with (playlists, scripts, picture formats,
//! network protocols, video decoders) stays closed to what strangers send.

use ffmpeg_next::codec::Id;
use ffmpeg_next::{Codec, ffi};

/// Demuxers, by any of the names in `AVInputFormat.name`. Containers of sound and film only: none
/// that names other files (hls, dash, concat, sdp, …), none that is text, and none of the
/// header-less formats that take any bytes for sound (raw PCM, raw AMR, …).
const DEMUXERS: &[&str] = &[
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf", "rm", "dv",
    "mxf", "gxf", "nut", "wtv", "ogg", "wav", "w64", "aiff", "au", "caf", "voc", "flac", "mp3", "aac", "loas", "ac3",
    "eac3", "dts", "dtshd", "truehd", "mlp", "amr", "ape", "wv", "tta", "tak", "mpc", "mpc8", "oma", "dsf", "iff",
];

/// Demuxers recognised by nothing but a repeating sync word; if such a "file" does not decode, it
/// was never sound.
const SYNC_WORD_ONLY: &[&str] = &["mp3", "aac", "loas", "ac3", "eac3", "dts", "truehd", "mlp", "mpeg", "mpegts"];

/// Decoders of what films and recordings are made of.
const COMMON: &[&str] = &[
    "aac",
    "aac_latm",
    "mp1",
    "mp1float",
    "mp2",
    "mp2float",
    "mp3",
    "mp3float",
    "mp3adu",
    "mp3adufloat",
    "mp3on4",
    "mp3on4float",
    "opus",
    "libopus",
    "vorbis",
    "libvorbis",
    "ac3",
    "eac3",
    "dca",
    "truehd",
    "mlp",
    "flac",
    "alac",
    "wmav1",
    "wmav2",
    "wmapro",
    "wmalossless",
    "wmavoice",
    "amrnb",
    "amrwb",
    "libopencore_amrnb",
    "libopencore_amrwb",
    "s302m",
];

/// Decoders of plain samples.
const PCM: &[&str] = &[
    "pcm_alaw",
    "pcm_bluray",
    "pcm_dvd",
    "pcm_f16le",
    "pcm_f24le",
    "pcm_f32be",
    "pcm_f32le",
    "pcm_f64be",
    "pcm_f64le",
    "pcm_mulaw",
    "pcm_s16be",
    "pcm_s16be_planar",
    "pcm_s16le",
    "pcm_s16le_planar",
    "pcm_s24be",
    "pcm_s24le",
    "pcm_s24le_planar",
    "pcm_s32be",
    "pcm_s32le",
    "pcm_s32le_planar",
    "pcm_s64be",
    "pcm_s64le",
    "pcm_s8",
    "pcm_s8_planar",
    "pcm_u16be",
    "pcm_u16le",
    "pcm_u24be",
    "pcm_u24le",
    "pcm_u32be",
    "pcm_u32le",
    "pcm_u8",
    "dvaudio",
    "dsd_lsbf",
    "dsd_lsbf_planar",
    "dsd_msbf",
    "dsd_msbf_planar",
];

/// Decoders of what is older or rarer.
const RARE: &[&str] = &[
    "adpcm_ima_qt",
    "adpcm_ima_wav",
    "adpcm_ima_amv",
    "adpcm_ms",
    "adpcm_swf",
    "adpcm_yamaha",
    "adpcm_ct",
    "g722",
    "g726",
    "g726le",
    "gsm",
    "libgsm",
    "gsm_ms",
    "libgsm_ms",
    "cook",
    "real_144",
    "real_288",
    "ralf",
    "sipr",
    "ape",
    "wavpack",
    "tta",
    "tak",
    "shorten",
    "mpc7",
    "mpc8",
    "qdm2",
    "qdmc",
    "qcelp",
    "evrc",
    "nellymoser",
    "speex",
    "libspeex",
    "atrac1",
    "atrac3",
    "atrac3al",
    "atrac3plus",
    "atrac3plusal",
    "mace3",
    "mace6",
    "imc",
    "iac",
    "ilbc",
    "truespeech",
    "8svx_exp",
    "8svx_fib",
];

/// FFmpeg's option `format_whitelist`.
pub(crate) fn demuxers() -> String {
    DEMUXERS.join(",")
}

/// FFmpeg's option `codec_whitelist`.
pub(crate) fn decoders() -> String {
    [COMMON, PCM, RARE].concat().join(",")
}

/// Whether `AVInputFormat.name`, a comma list, is one we open.
pub(crate) fn allows_demuxer(name: &str) -> bool {
    name.split(',').any(|name| DEMUXERS.contains(&name))
}

pub(crate) fn is_sync_word_only(demuxer: &str) -> bool {
    demuxer.split(',').any(|name| SYNC_WORD_ONLY.contains(&name))
}

/// FFmpeg's preferred decoder among those allowed.
pub(crate) fn decoder(id: Id) -> Option<Codec> {
    let mut iterator = std::ptr::null_mut();
    loop {
        // SAFETY: `iterator` is the opaque state the function asks for, null at first.
        let codec = unsafe { ffi::av_codec_iterate(&mut iterator) };
        if codec.is_null() {
            return None;
        }
        // SAFETY: a codec description is static data of libavcodec.
        let codec = unsafe { Codec::wrap(codec) };
        if codec.is_decoder()
            && codec.id() == id
            && [COMMON, PCM, RARE].iter().any(|names| names.contains(&codec.name()))
        {
            return Some(codec);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sound_is_ever_decoded() {
        for id in [Id::AAC, Id::MP3, Id::OPUS, Id::DTS, Id::PCM_S16LE, Id::AMR_NB] {
            let codec = decoder(id).expect("a decoder");
            assert!(codec.is_audio(), "{id:?}");
        }
        assert_eq!(decoder(Id::MP3).expect("a decoder").name(), "mp3float");
        for id in [Id::H264, Id::PNG, Id::MJPEG, Id::HEVC, Id::SUBRIP, Id::None] {
            assert!(decoder(id).is_none(), "{id:?}");
        }
        for name in [COMMON, PCM, RARE].concat() {
            // Not every build of FFmpeg has all of them, but none may be a picture's.
            if let Some(codec) = ffmpeg_next::decoder::find_by_name(name) {
                assert!(codec.is_audio(), "{name}");
            }
        }
    }

    #[test]
    fn no_playlist_or_picture_is_opened() {
        for name in ["hls", "concat", "dash", "image2", "png_pipe", "sdp", "tty", "srt", "lrc"] {
            assert!(!allows_demuxer(name), "{name}");
        }
        assert!(allows_demuxer("matroska,webm"));
        assert!(allows_demuxer("mov,mp4,m4a,3gp,3g2,mj2"));
    }
}
