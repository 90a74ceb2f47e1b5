//! The sound as it will be encoded: in the MP3's rate and channels, as loud as it was wished for.

use std::ops::Range;

use ffmpeg_next::frame::Audio;

use crate::Error;
use crate::loudness::{Level, Leveller};
use crate::resample::{Resampler, Target};
use crate::waveform::Waveform;

/// Frames in, planes of the target out.
pub(crate) struct Shaper {
    target: Target,
    resampler: Resampler,
    leveller: Option<Leveller>,
    waveform: Waveform,
}

impl Shaper {
    /// For frames like this one.
    pub(crate) fn new(frame: &Audio, target: Target, level: Option<Level>) -> Result<Self, Error> {
        let leveller = level.map(|level| Leveller::new(level, target)).transpose()?;
        Ok(Self { target, resampler: Resampler::new(frame, target)?, leveller, waveform: Waveform::new() })
    }

    /// Whether the frame is of the kind that is expected.
    pub(crate) fn fits(&self, frame: &Audio) -> bool {
        self.resampler.fits(frame)
    }

    /// Expects frames like this one from here on; what is still inside must be out.
    pub(crate) fn expect(&mut self, frame: &Audio) -> Result<(), Error> {
        self.resampler = Resampler::new(frame, self.target)?;
        Ok(())
    }

    /// These of the frame's samples; some may stay inside until later.
    pub(crate) fn convert(&mut self, frame: &Audio, part: Range<usize>) -> Result<[&[f32]; 2], Error> {
        let mut planes = self.resampler.convert(frame, part)?;
        if let Some(leveller) = &mut self.leveller {
            planes = leveller.pass(planes)?;
        }
        self.waveform.add(planes);
        Ok(planes)
    }

    /// What is still inside. Empty planes: that was all.
    pub(crate) fn flush(&mut self) -> Result<[&[f32]; 2], Error> {
        let planes = match &mut self.leveller {
            None => self.resampler.flush()?,
            Some(leveller) => {
                leveller.clear();
                loop {
                    let planes = self.resampler.flush()?;
                    if planes[0].is_empty() {
                        break leveller.flush()?;
                    }
                    leveller.add(planes)?;
                }
            }
        };
        self.waveform.add(planes);
        Ok(planes)
    }

    /// A picture of what came out.
    pub(crate) fn waveform(&self) -> Vec<u8> {
        self.waveform.points()
    }
}
