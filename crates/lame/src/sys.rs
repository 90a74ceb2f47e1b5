//! The C side: one table of functions for each build of LAME.

use std::ffi::{c_int, c_void};

/// `lame_t`, LAME's encoder.
pub(crate) type Handle = *mut c_void;

/// A `lame_report_function`, of which only "none" is ever given.
pub(crate) type Report = Option<unsafe extern "C" fn()>;

type Setter = unsafe extern "C" fn(Handle, c_int) -> c_int;
type ReportSetter = unsafe extern "C" fn(Handle, Report) -> c_int;
type Flush = unsafe extern "C" fn(Handle, *mut u8, c_int) -> c_int;

/// `struct kernel` of kernel.c.
#[repr(C)]
pub(crate) struct Kernel {
    pub(crate) init: unsafe extern "C" fn() -> Handle,
    pub(crate) close: unsafe extern "C" fn(Handle) -> c_int,
    pub(crate) set_errorf: ReportSetter,
    pub(crate) set_debugf: ReportSetter,
    pub(crate) set_msgf: ReportSetter,
    pub(crate) set_num_channels: Setter,
    pub(crate) set_mode: Setter,
    pub(crate) set_in_samplerate: Setter,
    pub(crate) set_out_samplerate: Setter,
    pub(crate) set_write_vbr_tag: Setter,
    pub(crate) set_vbr: Setter,
    pub(crate) set_vbr_quality: Setter,
    pub(crate) set_bit_rate: Setter,
    pub(crate) init_params: unsafe extern "C" fn(Handle) -> c_int,
    pub(crate) encode: unsafe extern "C" fn(Handle, *const f32, *const f32, c_int, *mut u8, c_int) -> c_int,
    pub(crate) flush: Flush,
    pub(crate) flush_nogap: Flush,
    pub(crate) tag_frame: unsafe extern "C" fn(Handle, *mut u8, usize) -> usize,
}

/// `MPEG_mode` and `vbr_mode` of lame.h.
pub(crate) const JOINT_STEREO: c_int = 1;
pub(crate) const MONO: c_int = 3;
pub(crate) const VBR_OFF: c_int = 0;
pub(crate) const VBR_MTRH: c_int = 4;

unsafe extern "C" {
    static lame_baseline_kernel: Kernel;
    #[cfg(target_arch = "x86_64")]
    static lame_avx2_kernel: Kernel;
}

/// The build of LAME that runs on any processor of this architecture.
pub(crate) fn baseline() -> &'static Kernel {
    // SAFETY: a constant of kernel.c.
    unsafe { &lame_baseline_kernel }
}

/// The build for AVX2 and FMA, where the processor has them.
#[cfg(target_arch = "x86_64")]
pub(crate) fn avx2() -> Option<&'static Kernel> {
    let has_it = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt");
    // SAFETY: a constant of kernel.c.
    has_it.then_some(unsafe { &lame_avx2_kernel })
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn avx2() -> Option<&'static Kernel> {
    None
}
