//! Whatever the decoder gives (any sample format, channel layout and rate) becomes planar `f32`
//! of the MP3's rate and channels. libswresample does the work.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

use ffmpeg_next::ffi::{self, AVChannelLayout, AVChannelOrder, AVSampleFormat, SwrContext};
use ffmpeg_next::format::Sample;
use ffmpeg_next::frame::Audio;

use crate::{Channels, Error, Options};

/// Four times full scale. Decoders of lossy sound overshoot a little, which LAME can take; floats
/// from a damaged or malicious file hold anything, which it cannot (it has assertions).
const CEILING: f32 = 4.0;

/// All sample rates that MP3 has, in Hz: ISO 11172-3, 13818-3 and Fraunhofer's MPEG-2.5.
pub(crate) const MP3_RATES: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// Rate in Hz and channels (1 or 2) of the MP3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) rate: u32,
    pub(crate) channels: usize,
}

impl Target {
    /// What is closest to the frame among what MP3 has, where nothing else is wished for.
    pub(crate) fn nearest(frame: &Audio, options: &Options) -> Self {
        let channels = match options.channels {
            Some(Channels::Mono) => 1,
            Some(Channels::Stereo) => 2,
            None => usize::from(frame.channels()).min(2),
        };
        Self { rate: options.sample_rate.unwrap_or_else(|| mp3_rate(frame.rate())), channels }
    }
}

/// The source's own rate where MP3 has it, else the next above; over 48 kHz a whole fraction
/// where there is one.
pub(crate) fn mp3_rate(source: u32) -> u32 {
    match MP3_RATES.iter().find(|rate| **rate >= source) {
        Some(rate) => *rate,
        None if source.is_multiple_of(44_100) => 44_100,
        None => 48_000,
    }
}

/// Converts frames of one kind. When the kind changes: [`flush`](Self::flush), then a new one.
pub(crate) struct Resampler {
    swr: *mut SwrContext,
    from: Kind,
    channels: usize,
    planes: [Vec<f32>; 2],
}

impl Resampler {
    /// For frames like this one.
    pub(crate) fn new(frame: &Audio, to: Target) -> Result<Self, Error> {
        let from = Kind::of(frame)?;
        // One channel is as loud on two sides as on one; libswresample would turn it down.
        let to = Target { channels: to.channels.min(from.layout.0.nb_channels.max(1) as usize), ..to };
        let mut layouts = vec![from.layout.clone_checked()?];
        layouts.push(Layout::default_for(from.layout.0.nb_channels));
        let swr = layouts.iter_mut().find_map(|layout| open(&from, layout, to, None)).or_else(|| {
            let matrix = alternating(from.layout.0.nb_channels, to.channels);
            open(&from, layouts.last_mut()?, to, Some(&matrix))
        });
        Ok(Self {
            swr: swr.ok_or_else(|| Error::Internal("no resampler for this sound".to_owned()))?,
            from,
            channels: to.channels,
            planes: [Vec::new(), Vec::new()],
        })
    }

    /// Whether the frame is of the kind this was made for.
    pub(crate) fn fits(&self, frame: &Audio) -> bool {
        // SAFETY: both are initialised layouts: ours, and one owned by a live frame.
        let layout = unsafe { ffi::av_channel_layout_compare(&self.from.layout.0, &(*frame.as_ptr()).ch_layout) };
        layout == 0 && self.from.rate == frame.rate() && self.from.format == frame.format()
    }

    /// These of the frame's samples; with a change of rate some stay inside until later.
    pub(crate) fn convert(&mut self, frame: &Audio, part: Range<usize>) -> Result<[&[f32]; 2], Error> {
        debug_assert!(self.fits(frame));
        let end = part.end.min(frame.samples());
        let start = part.start.min(end);
        let channels = usize::from(frame.channels());
        let (planes, together) = if frame.is_planar() { (channels, 1) } else { (1, channels) };
        let offset = start * together * frame.format().bytes();
        // SAFETY: a decoded frame's `extended_data` holds a pointer for each plane of its format
        // and layout, which are the ones this context was opened with (`fits`), each with
        // `nb_samples` samples, `start` of which are passed over.
        unsafe {
            let frame = (*frame.as_ptr()).extended_data;
            let mut input: Vec<*const u8> =
                (0..planes).map(|plane| (*frame.add(plane)).add(offset).cast_const()).collect();
            self.run(input.as_mut_ptr(), c_int::try_from(end - start).unwrap_or(0))
        }
    }

    /// What is still inside. Empty planes: that was all.
    pub(crate) fn flush(&mut self) -> Result<[&[f32]; 2], Error> {
        // SAFETY: a null input asks for what is buffered.
        unsafe { self.run(ptr::null_mut(), 0) }
    }

    /// # Safety
    /// `input` is null, or points to the planes of `samples` samples of the kind `self.from`.
    unsafe fn run(&mut self, input: *mut *const u8, samples: c_int) -> Result<[&[f32]; 2], Error> {
        // SAFETY: the context is open.
        let room = unsafe { ffi::swr_get_out_samples(self.swr, samples) };
        let room = usize::try_from(room).map_err(|_| Error::ffmpeg("resample", room))?;
        for plane in &mut self.planes[..self.channels] {
            if plane.len() < room {
                plane.resize(room, 0.0);
            }
        }
        let [left, right] = &mut self.planes;
        let mut output = [left.as_mut_ptr().cast::<u8>(), right.as_mut_ptr().cast()];
        // SAFETY: the output is planar f32 of `self.channels` channels, each with room for `room`
        // samples; the input is as this function's contract says.
        let made = unsafe { ffi::swr_convert(self.swr, output.as_mut_ptr(), room as c_int, input, samples) };
        let made = usize::try_from(made).map_err(|_| Error::ffmpeg("resample", made))?;
        for plane in &mut self.planes[..self.channels] {
            plane[..made].iter_mut().for_each(tame);
        }
        let left = &self.planes[0][..made];
        Ok([left, if self.channels == 2 { &self.planes[1][..made] } else { left }])
    }
}

impl Drop for Resampler {
    fn drop(&mut self) {
        // SAFETY: made by `open` and owned by `self` alone.
        unsafe { ffi::swr_free(&mut self.swr) };
    }
}

/// A finite number of a size LAME can work with.
fn tame(sample: &mut f32) {
    let bounded = sample.clamp(-CEILING, CEILING);
    *sample = if bounded.is_nan() { 0.0 } else { bounded };
}

/// An initialised context, or `None` if libswresample cannot make this out of that.
fn open(from: &Kind, layout: &mut Layout, to: Target, matrix: Option<&[f64]>) -> Option<*mut SwrContext> {
    let mut out = Layout::default_for(to.channels as c_int);
    let mut swr = ptr::null_mut();
    // SAFETY: all pointers are to live values of the types asked for; `swr` is ours and is freed
    // where it is not returned.
    unsafe {
        let made = ffi::swr_alloc_set_opts2(
            &mut swr,
            &mut out.0,
            AVSampleFormat::AV_SAMPLE_FMT_FLTP,
            to.rate as c_int,
            &mut layout.0,
            from.format.into(),
            from.rate as c_int,
            0,
            ptr::null_mut(),
        );
        if made < 0 {
            return None;
        }
        // For floats libswresample sums channels up unbounded: six loud ones would clip in the
        // listener's decoder. 1.0 scales the whole matrix so that no sum can pass full scale.
        ffi::av_opt_set_double(swr.cast(), c"rematrix_maxval".as_ptr(), 1.0, 0);
        let ready = match matrix {
            Some(matrix) => {
                let stride = layout.0.nb_channels;
                ffi::swr_set_matrix(swr, matrix.as_ptr(), stride) >= 0
            }
            None => true,
        };
        if !ready || ffi::swr_init(swr) < 0 {
            ffi::swr_free(&mut swr);
            return None;
        }
    }
    Some(swr)
}

/// For channels of which nobody knows where they belong: every other one left and right, all as
/// loud, together no louder than one.
fn alternating(from: c_int, to: usize) -> Vec<f64> {
    let from = from.max(0) as usize;
    let mut matrix = vec![0.0; from * to];
    for (side, row) in matrix.chunks_mut(from.max(1)).enumerate() {
        let mine = (side..from).step_by(to).count().max(1);
        for coefficient in row.iter_mut().skip(side).step_by(to) {
            *coefficient = 1.0 / mine as f64;
        }
    }
    matrix
}

/// What a resampler has to know of a frame.
struct Kind {
    rate: u32,
    format: Sample,
    layout: Layout,
}

impl Kind {
    fn of(frame: &Audio) -> Result<Self, Error> {
        Ok(Self {
            rate: frame.rate(),
            format: frame.format(),
            // SAFETY: a decoded frame holds an initialised layout.
            layout: unsafe { Layout::copy(&raw const (*frame.as_ptr()).ch_layout) }?,
        })
    }
}

/// An owned channel layout.
struct Layout(AVChannelLayout);

impl Layout {
    /// # Safety
    /// `source` points to an initialised layout.
    unsafe fn copy(source: *const AVChannelLayout) -> Result<Self, Error> {
        // SAFETY: all zero is how FFmpeg's documentation says to begin a layout.
        let mut layout = unsafe { MaybeUninit::<AVChannelLayout>::zeroed().assume_init() };
        // SAFETY: `source` by contract, `layout` just made.
        match unsafe { ffi::av_channel_layout_copy(&mut layout, source) } {
            e if e < 0 => Err(Error::ffmpeg("copy a channel layout", e)),
            _ => Ok(Self(layout)),
        }
    }

    /// The usual layout of so many channels: mono, stereo, 5.1, …
    fn default_for(channels: c_int) -> Self {
        // SAFETY: all zero is how FFmpeg's documentation says to begin a layout.
        let mut layout = unsafe { MaybeUninit::<AVChannelLayout>::zeroed().assume_init() };
        // SAFETY: `layout` is ours.
        unsafe { ffi::av_channel_layout_default(&mut layout, channels) };
        Self(layout)
    }

    /// A copy, with the usual layout in place of none.
    fn clone_checked(&self) -> Result<Self, Error> {
        if self.0.order == AVChannelOrder::AV_CHANNEL_ORDER_UNSPEC {
            return Ok(Self::default_for(self.0.nb_channels));
        }
        // SAFETY: ours is initialised.
        unsafe { Self::copy(&self.0) }
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: initialised, and owned by `self` alone.
        unsafe { ffi::av_channel_layout_uninit(&mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_go_to_the_nearest_mp3_has_without_losing_treble() {
        for same in [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000] {
            assert_eq!(mp3_rate(same), same);
        }
        for (source, mp3) in [
            (5_512, 8_000),
            (18_900, 22_050),
            (37_800, 44_100),
            (88_200, 44_100),
            (96_000, 48_000),
            (176_400, 44_100),
            (192_000, 48_000),
            (50_000, 48_000),
        ] {
            assert_eq!(mp3_rate(source), mp3, "{source}");
        }
    }

    #[test]
    fn no_float_is_too_wild() {
        let wild = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -0.5, 1.1];
        let mut tamed = wild;
        tamed.iter_mut().for_each(tame);
        assert_eq!(tamed, [0.0, 4.0, -4.0, 4.0, -0.5, 1.1]);
    }

    #[test]
    fn unknown_channels_are_shared_out() {
        assert_eq!(alternating(3, 2), [0.5, 0.0, 0.5, 0.0, 1.0, 0.0]);
        assert_eq!(alternating(2, 1), [0.5, 0.5]);
    }
}
