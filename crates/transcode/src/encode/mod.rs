//! Samples in, MP3 frames out: LAME, on as many threads as one likes, and the frame in front that
//! tells of the length.

mod segments;
mod workers;

use lame::Settings;

use self::segments::{Cutter, Encoded, Joiner, Segment};
use self::workers::Workers;
use crate::mp3::frame::Header;
use crate::mp3::info::Info;
use crate::resample::Target;
use crate::{Encoding, Error};

/// More threads than one decoder can keep busy only take memory: each has a segment, and one more
/// is being filled.
const MAX_THREADS: usize = 12;

/// Samples of silence that LAME puts in front.
const DELAY: u64 = 576;

/// One MP3 stream in the making.
pub(crate) struct Encoder {
    encoding: Encoding,
    frame: u64,
    lame: Lame,
    /// LAME's output that has not gone out.
    made: Vec<u8>,
    /// The frame in front as LAME fills it in, once that is known; empty where there is none.
    tag: Option<Vec<u8>>,
    info: Info,
    frames_before: u64,
    samples: u64,
    /// Of these, those in segments that are done.
    encoded: u64,
}

enum Lame {
    /// One encoder from the beginning to the end.
    One(lame::Encoder),
    /// One for each segment.
    Many {
        cutter: Cutter,
        workers: Box<Workers<Segment, Encoded>>,
        joiner: Joiner,
        /// The frame in front as the first of them left it.
        first_tag: Option<Vec<u8>>,
    },
}

impl Encoder {
    /// `threads`: how many may encode at the same time; if one, it is the caller's own. `before`:
    /// frames that stand before those to be made, which then have no frame in front of their own.
    pub(crate) fn new(encoding: Encoding, target: Target, threads: usize, before: Option<Info>) -> Result<Self, Error> {
        check(encoding, target.rate)?;
        let has_tag = before.is_none();
        let lame = match threads.min(MAX_THREADS) {
            0 | 1 => Lame::One(lame::Encoder::new(settings(encoding, target, has_tag)).map_err(failed)?),
            threads => Lame::Many {
                cutter: Cutter::new(settings(encoding, target, has_tag), threads),
                workers: Box::new(Workers::new(threads, segments::encode)),
                joiner: Joiner::default(),
                first_tag: None,
            },
        };
        let frame = samples_per_frame(target.rate) as u64;
        let tag = (!has_tag).then(Vec::new);
        let info = before.unwrap_or_default();
        let frames_before = info.frames();
        Ok(Self { encoding, frame, lame, made: Vec::new(), tag, info, frames_before, samples: 0, encoded: 0 })
    }

    /// Samples of each channel taken so far.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// About how many of them there is no more work with: for who watches.
    pub(crate) fn samples_done(&self) -> u64 {
        match &self.lame {
            Lame::One(_) => self.samples,
            // What waits for the segment to fill up waits for the caller.
            Lame::Many { cutter, .. } => self.encoded + self.samples.saturating_sub(cutter.start() * self.frame),
        }
    }

    /// Encodes two planes of the same length (mono: twice the same one) and appends what frames
    /// are complete by now. Samples are around ±1.0 and finite. `wait` is called with
    /// [`samples_done`](Self::samples_done) while other threads are waited for; its error ends that.
    pub(crate) fn encode(&mut self, planes: [&[f32]; 2], out: &mut Vec<u8>, wait: Wait<'_>) -> Result<(), Error> {
        self.samples += planes[0].len() as u64;
        match &mut self.lame {
            Lame::One(encoder) => encoder.encode(planes, &mut self.made).map_err(failed)?,
            Lame::Many { cutter, .. } => cutter.push(planes),
        }
        while let Lame::Many { cutter, workers, .. } = &mut self.lame {
            if workers.is_full() {
                workers.wait()?;
                wait(self.samples_done())?;
            } else if let Some(segment) = cutter.cut() {
                workers.give(segment)?;
            } else {
                break;
            }
            self.collect()?;
        }
        self.collect()?;
        self.hand_out(out);
        Ok(())
    }

    /// Appends the last frames.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, wait: Wait<'_>) -> Result<(), Error> {
        match &mut self.lame {
            Lame::One(encoder) => encoder.finish(&mut self.made).map_err(failed)?,
            Lame::Many { cutter, workers, .. } => workers.give(cutter.rest())?,
        }
        while let Lame::Many { workers, joiner, .. } = &mut self.lame {
            if !workers.is_busy() {
                joiner.finish(&mut self.made);
                break;
            }
            workers.wait()?;
            self.collect()?;
            self.hand_out(out);
            wait(self.samples_done())?;
        }
        self.hand_out(out);
        match self.made.len() {
            0 => Ok(()),
            _ => Err(Error::Internal("LAME left half a frame".to_owned())),
        }
    }

    /// After [`finish`](Self::finish): the frame with length, seek table, delay and padding, to
    /// put in place of the first frame, which held its room. Empty where it would not have fitted
    /// into a frame (CBR of the lowest bit rates) and LAME made none.
    pub(crate) fn head_frame(&self) -> Vec<u8> {
        let mut frame = self.tag.clone().unwrap_or_default();
        self.info.write(&mut frame, matches!(self.encoding, Encoding::Cbr(_)), Some((DELAY, self.padding())));
        frame
    }

    /// After [`finish`](Self::finish): samples of silence at the end.
    pub(crate) fn padding(&self) -> u64 {
        ((self.info.frames() - self.frames_before) * self.frame).saturating_sub(self.samples + DELAY)
    }

    /// All frames, those before included.
    pub(crate) fn into_info(self) -> Info {
        self.info
    }

    /// Takes over what the threads have made, in order.
    fn collect(&mut self) -> Result<(), Error> {
        let Lame::Many { workers, joiner, first_tag, .. } = &mut self.lame else {
            return Ok(());
        };
        while let Some(encoded) = workers.poll()? {
            if self.tag.is_none() && first_tag.is_none() {
                self.made.extend_from_slice(&encoded.tag);
                *first_tag = Some(encoded.tag.clone());
            }
            self.encoded = encoded.end.min(self.samples / self.frame) * self.frame;
            joiner.push(encoded, &mut self.made);
        }
        Ok(())
    }

    /// Appends the frames that are whole.
    fn hand_out(&mut self, out: &mut Vec<u8>) {
        if self.tag.is_none() {
            let Some(tag) = self.find_tag() else {
                return;
            };
            out.extend(self.made.drain(..tag.len()));
            self.tag = Some(tag);
        }
        let whole = self.info.count(&self.made);
        out.extend(self.made.drain(..whole));
    }

    fn find_tag(&mut self) -> Option<Vec<u8>> {
        match &mut self.lame {
            // LAME knows of it only after the frame behind it was begun.
            Lame::One(encoder) => {
                let first = Header::parse(&self.made)?;
                (self.made.len() > first.len()).then(|| encoder.tag_frame())
            }
            Lame::Many { first_tag, .. } => first_tag.clone(),
        }
    }
}

/// Called with [`Encoder::samples_done`]; an error ends the work.
pub(crate) type Wait<'a> = &'a mut dyn FnMut(u64) -> Result<(), Error>;

fn settings(encoding: Encoding, target: Target, tag: bool) -> Settings {
    let mode = match encoding {
        Encoding::Vbr(quality) => lame::Mode::Vbr(quality),
        Encoding::Cbr(kbps) => lame::Mode::Cbr(kbps),
    };
    Settings { rate: target.rate, channels: target.channels, mode, tag }
}

/// Samples of each channel in a frame.
fn samples_per_frame(rate: u32) -> usize {
    if rate >= 32_000 { 1152 } else { 576 }
}

fn failed(error: lame::Failed) -> Error {
    Error::Internal(error.to_string())
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
            for (rate, threads) in [(8_000, 1), (22_050, 2), (48_000, 3)] {
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
                    let mut encoder = Encoder::new(encoding, target, threads, None).expect("set up");
                    let (mut out, wait): (_, Wait<'_>) = (Vec::new(), &mut |_| Ok(()));
                    encoder.encode([&square, &noise], &mut out, wait).expect("encodes");
                    encoder.encode([&[0.0; 5000], &[1e-40; 5000]], &mut out, wait).expect("encodes");
                    encoder.encode([&[], &[]], &mut out, wait).expect("encodes nothing");
                    encoder.finish(&mut out, wait).expect("finishes");
                    assert_eq!(encoder.samples(), 25_000);
                    let head = encoder.head_frame();
                    assert!(!head.is_empty() && out.len() > head.len());
                    assert_eq!(head[..2], out[..2], "in place of a frame of the same kind");
                }
            }
        }
    }

    #[test]
    fn the_frame_in_front_is_the_one_lame_would_have_written() {
        let sound: Vec<f32> = (0..500_000_u32).map(|at| ((at * (at / 1000)) as f32 / 700.0).sin() / 2.0).collect();
        for (rate, channels, encoding) in [
            (44_100, 2, Encoding::Vbr(2)),
            (48_000, 1, Encoding::Cbr(128)),
            (22_050, 2, Encoding::Vbr(6)),
            (8_000, 1, Encoding::Cbr(8)),
        ] {
            let target = Target { rate, channels };
            let mut lame = lame::Encoder::new(settings(encoding, target, true)).expect("set up");
            let mut expected = Vec::new();
            lame.encode([&sound, &sound], &mut expected).expect("encodes");
            lame.finish(&mut expected).expect("finishes");
            let tag = lame.tag_frame();

            let mut encoder = Encoder::new(encoding, target, 1, None).expect("set up");
            let mut out = Vec::new();
            for part in sound.chunks(777) {
                encoder.encode([part, part], &mut out, &mut |_| Ok(())).expect("encodes");
            }
            encoder.finish(&mut out, &mut |_| Ok(())).expect("finishes");
            let head = encoder.head_frame();
            assert!(out == expected, "{encoding:?}: the very same frames");
            assert_eq!(head.len(), tag.len(), "{encoding:?}");
            // The seek points are ours, and with them the checksum over all.
            let Some(seek) = head.windows(4).position(|name| name == b"Xing" || name == b"Info").map(|at| at + 16)
            else {
                assert!(head.is_empty(), "{encoding:?}");
                continue;
            };
            assert_eq!(head[..seek], tag[..seek], "{encoding:?}: frames and bytes");
            assert_eq!(head[seek + 100..seek + 138], tag[seek + 100..seek + 138], "{encoding:?}: all that LAME tells");
            for (ours, theirs) in head[seek..seek + 100].iter().zip(&tag[seek..]) {
                assert!(ours.abs_diff(*theirs) <= 4, "{encoding:?}: {ours} for {theirs}");
            }
        }
    }
}
