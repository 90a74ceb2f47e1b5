//! LAME 3.100, built for speed: once for any processor and once for those with AVX2, the better of
//! which is chosen when the program runs. Its sound is that of the LAME everybody knows.
//!
//! LAME is under the LGPL, version 2 or later; its source comes with the crate `mp3lame-sys`.

mod sys;

use std::ffi::c_int;

/// Samples given to LAME at a time.
const CHUNK: usize = 8 * 1152;

/// LAME's own formula (1.25 × samples + 7200) for the most it may write in answer to a chunk, and
/// room to spare for what a flush brings.
const ROOM: usize = CHUNK * 5 / 4 + 2 * 7200;

/// What LAME aims for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Variable bit rate, 0 (best) to 9 (smallest).
    Vbr(u8),
    /// Constant bit rate in kbit/s, one that MP3 has at the sample rate.
    Cbr(u32),
}

/// What an encoder is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Samples a second, of the sound and of the MP3: one of the nine that MP3 has.
    pub rate: u32,
    /// 1 or 2.
    pub channels: usize,
    pub mode: Mode,
    /// Whether the first frame keeps the room for [`Encoder::tag_frame`].
    pub tag: bool,
}

/// LAME did not do what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    pub what: &'static str,
    /// LAME's negative code.
    pub code: i32,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: LAME error {}", self.what, self.code)
    }
}

impl std::error::Error for Failed {}

/// One stream of MP3 frames in the making.
pub struct Encoder {
    kernel: &'static sys::Kernel,
    handle: sys::Handle,
}

// SAFETY: an encoder of LAME's is plain memory of its own, bound to no thread; what its instances
// share are constant tables.
unsafe impl Send for Encoder {}

impl Encoder {
    /// An encoder by the build of LAME that is fastest here.
    pub fn new(settings: Settings) -> Result<Self, Failed> {
        Self::with_kernel(sys::avx2().unwrap_or_else(sys::baseline), settings)
    }

    /// An encoder by the build that runs everywhere.
    pub fn portable(settings: Settings) -> Result<Self, Failed> {
        Self::with_kernel(sys::baseline(), settings)
    }

    fn with_kernel(kernel: &'static sys::Kernel, settings: Settings) -> Result<Self, Failed> {
        // SAFETY: takes nothing.
        let handle = unsafe { (kernel.init)() };
        if handle.is_null() {
            return Err(Failed { what: "lame_init", code: -1 });
        }
        let encoder = Self { kernel, handle };
        let mode = if settings.channels == 1 { sys::MONO } else { sys::JOINT_STEREO };
        let rate = settings.rate as c_int;
        let number = |name, set: unsafe extern "C" fn(sys::Handle, c_int) -> c_int, value| {
            // SAFETY: a live handle, not yet initialised by `lame_init_params`, which is when
            // parameters may be set.
            succeeded(name, unsafe { set(handle, value) }).map(drop)
        };
        // SAFETY: as above; without report functions LAME prints nothing.
        unsafe {
            (kernel.set_errorf)(handle, None);
            (kernel.set_debugf)(handle, None);
            (kernel.set_msgf)(handle, None);
        }
        number("channels", kernel.set_num_channels, settings.channels as c_int)?;
        number("mode", kernel.set_mode, mode)?;
        // Both, or LAME resamples on its own account.
        number("sample rate", kernel.set_in_samplerate, rate)?;
        number("sample rate", kernel.set_out_samplerate, rate)?;
        number("tag", kernel.set_write_vbr_tag, settings.tag.into())?;
        match settings.mode {
            Mode::Vbr(quality) => {
                number("VBR", kernel.set_vbr, sys::VBR_MTRH)?;
                number("VBR", kernel.set_vbr_quality, quality.into())?;
            }
            Mode::Cbr(kbps) => {
                number("CBR", kernel.set_vbr, sys::VBR_OFF)?;
                number("CBR", kernel.set_bit_rate, kbps as c_int)?;
            }
        }
        // SAFETY: a live handle, all of whose parameters are set.
        succeeded("lame_init_params", unsafe { (kernel.init_params)(handle) })?;
        Ok(encoder)
    }

    /// Encodes two planes of the same length (mono: twice the same one) and appends what frames
    /// they complete. Samples are around ±1.0 and finite.
    pub fn encode(&mut self, planes: [&[f32]; 2], out: &mut Vec<u8>) -> Result<(), Failed> {
        let [left, right] = planes;
        for (left, right) in left.chunks(CHUNK).zip(right.chunks(CHUNK)) {
            let samples = left.len().min(right.len()) as c_int;
            append("encode", out, |buffer, room| {
                // SAFETY: the handle is initialised, both planes hold `samples` samples, and
                // `buffer` has `room` bytes.
                unsafe { (self.kernel.encode)(self.handle, left.as_ptr(), right.as_ptr(), samples, buffer, room) }
            })?;
        }
        Ok(())
    }

    /// Appends the last frames, as many as hold all the sound that was given.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Failed> {
        // SAFETY: the handle is initialised, and `buffer` has `room` bytes.
        append("flush", out, |buffer, room| unsafe { (self.kernel.flush)(self.handle, buffer, room) })
    }

    /// Appends what is still missing of frames that were begun; the sound of the last 1904
    /// samples at most is not in any.
    pub fn break_off(&mut self, out: &mut Vec<u8>) -> Result<(), Failed> {
        // SAFETY: the handle is initialised, and `buffer` has `room` bytes.
        append("flush", out, |buffer, room| unsafe { (self.kernel.flush_nogap)(self.handle, buffer, room) })
    }

    /// With [`Settings::tag`]: the frame that tells of the stream's length and settings, in the
    /// room of the first frame. Empty where it does not fit into one (CBR of the lowest rates),
    /// and the first frame is one of sound then; or as long as there are no frames.
    pub fn tag_frame(&self) -> Vec<u8> {
        // SAFETY: with no buffer the function only tells the size.
        let size = unsafe { (self.kernel.tag_frame)(self.handle, std::ptr::null_mut(), 0) };
        let mut frame = vec![0; size];
        // SAFETY: `frame` has as many bytes as it says.
        let written = unsafe { (self.kernel.tag_frame)(self.handle, frame.as_mut_ptr(), frame.len()) };
        frame.truncate(written);
        frame
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: the handle is live and owned by `self` alone.
        unsafe { (self.kernel.close)(self.handle) };
    }
}

/// Lets LAME write behind `out`.
fn append(what: &'static str, out: &mut Vec<u8>, write: impl FnOnce(*mut u8, c_int) -> c_int) -> Result<(), Failed> {
    let len = out.len();
    out.resize(len + ROOM, 0);
    let written = write(out[len..].as_mut_ptr(), ROOM as c_int);
    out.truncate(len + usize::try_from(written).unwrap_or(0).min(ROOM));
    succeeded(what, written).map(drop)
}

fn succeeded(what: &'static str, code: c_int) -> Result<c_int, Failed> {
    if code < 0 { Err(Failed { what, code }) } else { Ok(code) }
}
