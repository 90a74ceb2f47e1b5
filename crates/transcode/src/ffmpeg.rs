//! The few calls of FFmpeg's C interface that stand alone.

use std::ffi::{CStr, c_int};
use std::sync::Once;

use ffmpeg_next::ffi;

use crate::whitelist;

/// Most bytes FFmpeg allocates in one piece. The largest honest one is an MP4's index: 24 bytes a
/// packet, 200 MB for two days of AAC.
const MAX_ALLOC: usize = 256 * 1024 * 1024;

/// The versions of FFmpeg's libraries that this program runs with, for people.
pub fn versions() -> String {
    // SAFETY: each returns a constant.
    let found = unsafe {
        [
            ("libavformat", ffi::avformat_version()),
            ("libavcodec", ffi::avcodec_version()),
            ("libavutil", ffi::avutil_version()),
        ]
    };
    let text = found.map(|(name, v)| format!("{name} {}.{}.{}", v >> 16, v >> 8 & 0xff, v & 0xff));
    text.join(", ")
}

/// `ts` in microseconds.
pub(crate) fn rescale_to_micros(ts: i64, time_base: ffmpeg_next::Rational) -> i64 {
    // SAFETY: plain arithmetic; FFmpeg's stream time bases are positive.
    unsafe { ffi::av_rescale_q(ts, time_base.into(), ffi::AVRational { num: 1, den: 1_000_000 }) }
}

/// The value under `key`, upper or lower case, whatever bytes it is made of.
///
/// # Safety
/// `dictionary` is null or a live dictionary.
pub(crate) unsafe fn tag(dictionary: *const ffi::AVDictionary, key: &CStr) -> Option<String> {
    // SAFETY: by this function's contract; the entry lives as long as the dictionary is unchanged.
    unsafe {
        let entry = ffi::av_dict_get(dictionary, key.as_ptr(), std::ptr::null(), 0);
        if entry.is_null() {
            return None;
        }
        Some(CStr::from_ptr((*entry).value).to_string_lossy().into_owned())
    }
}

/// Whether a file that could not be opened at least begins like one we would open.
pub(crate) fn is_known_media(head: &[u8]) -> bool {
    let mut bytes = head.to_vec();
    bytes.resize(head.len() + ffi::AVPROBE_PADDING_SIZE as usize, 0);
    let probe = ffi::AVProbeData {
        filename: c"".as_ptr(),
        buf: bytes.as_mut_ptr(),
        buf_size: head.len() as c_int,
        mime_type: std::ptr::null(),
    };
    let mut score = 0;
    // SAFETY: `probe` describes `bytes`, padded as its documentation asks; a format description
    // is static data of libavformat, its name a C string.
    unsafe {
        let format = ffi::av_probe_input_format3(&probe, 1, &mut score);
        !format.is_null()
            && score > ffi::AVPROBE_SCORE_MAX / 2
            && whitelist::allows_demuxer(&CStr::from_ptr((*format).name).to_string_lossy())
    }
}

/// FFmpeg writes to stderr unless told not to (what matters comes back as an error), and allocates
/// up to 2 GiB in one piece if a file says so.
pub(crate) fn prepare() {
    static ONCE: Once = Once::new();
    // SAFETY: each sets one atomic of libavutil.
    ONCE.call_once(|| unsafe {
        ffi::av_log_set_level(ffi::AV_LOG_QUIET);
        ffi::av_max_alloc(MAX_ALLOC);
    });
}
