//! Samples in, MP3 frames out: LAME, its settings and its length tag.

use std::ffi::c_int;

use mp3lame_sys as lame;

use crate::resample::Target;
use crate::{Encoding, Error};

/// Samples given to LAME at a time.
const CHUNK: usize = 8 * 1152;

/// LAME's own formula (1.25 × samples + 7200) for the most it may write in answer to a chunk, and
/// room to spare for what a flush brings.
const ROOM: usize = CHUNK * 5 / 4 + 2 * 7200;

/// One MP3 stream in the making.
pub(crate) struct Encoder {
    lame: lame::lame_t,
    samples: u64,
}

impl Encoder {
    pub(crate) fn new(encoding: Encoding, target: Target) -> Result<Self, Error> {
        check(encoding, target.rate)?;
        // SAFETY: takes nothing.
        let lame = unsafe { lame::lame_init() };
        if lame.is_null() {
            return Err(failed("lame_init", -1));
        }
        let encoder = Self { lame, samples: 0 };
        let mode = match target.channels {
            1 => lame::MPEG_mode::MONO,
            _ => lame::MPEG_mode::JOINT_STEREO,
        };
        let rate = target.rate as c_int;
        // SAFETY: `lame` is a live handle, not yet initialised by `lame_init_params`, which is
        // when parameters may be set. Without report functions it prints nothing.
        unsafe {
            lame::lame_set_errorf(lame, None);
            lame::lame_set_debugf(lame, None);
            lame::lame_set_msgf(lame, None);
            for code in [
                lame::lame_set_num_channels(lame, target.channels as c_int),
                lame::lame_set_mode(lame, mode),
                // Both, or LAME resamples on its own account.
                lame::lame_set_in_samplerate(lame, rate),
                lame::lame_set_out_samplerate(lame, rate),
                lame::lame_set_bWriteVbrTag(lame, 1),
            ] {
                succeeded("set up LAME", code)?;
            }
            lame::lame_set_write_id3tag_automatic(lame, 0);
            match encoding {
                Encoding::Vbr(quality) => {
                    succeeded("VBR", lame::lame_set_VBR(lame, lame::vbr_mode::vbr_default))?;
                    succeeded("VBR", lame::lame_set_VBR_q(lame, quality.into()))?;
                }
                Encoding::Cbr(kbps) => {
                    succeeded("CBR", lame::lame_set_VBR(lame, lame::vbr_mode::vbr_off))?;
                    succeeded("CBR", lame::lame_set_brate(lame, kbps as c_int))?;
                }
            }
            succeeded("lame_init_params", lame::lame_init_params(lame))?;
        }
        Ok(encoder)
    }

    /// Samples of each channel taken so far.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// Encodes two planes of the same length (mono: twice the same one) and appends what frames
    /// they complete. Samples are around ±1.0 and finite.
    pub(crate) fn encode(&mut self, planes: [&[f32]; 2], out: &mut Vec<u8>) -> Result<(), Error> {
        let [left, right] = planes;
        for (left, right) in left.chunks(CHUNK).zip(right.chunks(CHUNK)) {
            let samples = left.len().min(right.len());
            let lame = self.lame;
            append(out, |buffer, room| {
                // SAFETY: the handle is initialised, both planes hold `samples` samples, and
                // `buffer` has `room` bytes.
                unsafe {
                    lame::lame_encode_buffer_ieee_float(
                        lame,
                        left.as_ptr(),
                        right.as_ptr(),
                        samples as c_int,
                        buffer,
                        room,
                    )
                }
            })?;
            self.samples += samples as u64;
        }
        Ok(())
    }

    /// Appends the last frames.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        // SAFETY: the handle is initialised, and `buffer` has `room` bytes.
        append(out, |buffer, room| unsafe { lame::lame_encode_flush(self.lame, buffer, room) })
    }

    /// After [`finish`](Self::finish): the frame with length, seek table, delay and padding, to
    /// put in place of the first frame, which held its room. Empty where it would not have fitted
    /// into a frame (CBR of the lowest bit rates) and LAME made none.
    pub(crate) fn head_frame(&self) -> Vec<u8> {
        // SAFETY: with no buffer the function only tells the size.
        let size = unsafe { lame::lame_get_lametag_frame(self.lame, std::ptr::null_mut(), 0) };
        let mut frame = vec![0; size];
        // SAFETY: `frame` has as many bytes as it says.
        let written = unsafe { lame::lame_get_lametag_frame(self.lame, frame.as_mut_ptr(), frame.len()) };
        frame.truncate(written);
        frame
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: the handle is live and owned by `self` alone.
        unsafe { lame::lame_close(self.lame) };
    }
}

/// Whether there is such an MP3; a bad quality needs no file to be told.
pub(crate) fn check(encoding: Encoding, sample_rate: u32) -> Result<(), Error> {
    match encoding {
        Encoding::Vbr(quality) if quality > 9 => Err(Error::Quality(quality)),
        Encoding::Cbr(kbps) if !bit_rates(sample_rate).contains(&kbps) => Err(Error::BitRate { kbps, sample_rate }),
        _ => Ok(()),
    }
}

/// Layer III's bit rates in kbit/s at a sample rate: ISO 11172-3 (MPEG-1), 13818-3 (MPEG-2), and
/// of Fraunhofer's extension to 12 kHz and below (MPEG-2.5) what decoders agree on.
fn bit_rates(sample_rate: u32) -> &'static [u32] {
    match sample_rate {
        32_000.. => &[32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        16_000.. => &[8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
        _ => &[8, 16, 24, 32, 40, 48, 56, 64],
    }
}

/// Lets LAME write behind `out`.
fn append(out: &mut Vec<u8>, write: impl FnOnce(*mut u8, c_int) -> c_int) -> Result<(), Error> {
    let len = out.len();
    out.resize(len + ROOM, 0);
    let written = write(out[len..].as_mut_ptr(), ROOM as c_int);
    out.truncate(len + usize::try_from(written).unwrap_or(0).min(ROOM));
    succeeded("encode", written)
}

fn succeeded(what: &str, code: c_int) -> Result<(), Error> {
    if code < 0 { Err(failed(what, code)) } else { Ok(()) }
}

fn failed(what: &str, code: c_int) -> Error {
    Error::Internal(format!("{what}: LAME error {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bit_rates_that_mp3_has() {
        assert!(check(Encoding::Cbr(320), 44_100).is_ok());
        assert!(check(Encoding::Cbr(160), 22_050).is_ok());
        assert!(check(Encoding::Cbr(64), 8_000).is_ok());
        for (kbps, rate) in [(100, 44_100), (8, 44_100), (320, 22_050), (160, 8_000), (0, 48_000)] {
            let error = check(Encoding::Cbr(kbps), rate).expect_err("no such MP3");
            assert!(error.is_final() && error.to_string().contains(&kbps.to_string()));
        }
        assert!(check(Encoding::Vbr(9), 8_000).is_ok());
        assert!(check(Encoding::Vbr(10), 44_100).is_err());
    }

    #[test]
    fn the_loudest_and_wildest_sound_is_encoded() {
        for channels in [1, 2] {
            for rate in [8_000, 22_050, 48_000] {
                let target = Target { rate, channels };
                for encoding in [Encoding::Vbr(0), Encoding::Vbr(9), Encoding::Cbr(64)] {
                    let square: Vec<f32> = (0..20_000).map(|i| if i / 40 % 2 == 0 { 4.0 } else { -4.0 }).collect();
                    let mut x = 1_u32;
                    let noise: Vec<f32> = (0..20_000)
                        .map(|_| {
                            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                            (x as f32 / u32::MAX as f32 - 0.5) * 8.0
                        })
                        .collect();
                    let mut encoder = Encoder::new(encoding, target).expect("set up");
                    let mut out = Vec::new();
                    encoder.encode([&square, &noise], &mut out).expect("encodes");
                    encoder.encode([&[0.0; 5000], &[1e-40; 5000]], &mut out).expect("encodes");
                    encoder.encode([&[], &[]], &mut out).expect("encodes nothing");
                    encoder.finish(&mut out).expect("finishes");
                    assert_eq!(encoder.samples(), 25_000);
                    let head = encoder.head_frame();
                    assert!(!head.is_empty() && out.len() > head.len());
                    assert_eq!(head[..2], out[..2], "in place of a frame of the same kind");
                }
            }
        }
    }
}
