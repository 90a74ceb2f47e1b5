//! Loudness by EBU R 128: what it is, and by how much to turn the sound up or down.

use ebur128::{Channel, EbuR128, Mode};

use crate::Error;
use crate::limiter::Limiter;
use crate::resample::Target;

/// Highest true peak, in dBTP. EBU R 128 allows -1; what is decoded from an MP3 overshoots a little
/// what was encoded.
const CEILING: f64 = -1.5;

/// Measures what passes.
pub(crate) struct Meter {
    inner: EbuR128,
    target: Target,
    samples: u64,
}

impl Meter {
    pub(crate) fn new(target: Target) -> Result<Self, Error> {
        // With a histogram its memory does not grow with the sound.
        let mode = Mode::I | Mode::TRUE_PEAK | Mode::HISTOGRAM;
        let mut inner = EbuR128::new(target.channels as u32, target.rate, mode).map_err(failed)?;
        if target.channels == 1 {
            // As it is heard: on both sides.
            inner.set_channel(0, Channel::DualMono).map_err(failed)?;
        }
        Ok(Self { inner, target, samples: 0 })
    }

    pub(crate) fn add(&mut self, planes: [&[f32]; 2]) -> Result<(), Error> {
        self.samples += planes[0].len() as u64;
        self.inner.add_frames_planar_f32(&planes[..self.target.channels]).map_err(failed)
    }

    /// Samples of each channel so far.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    pub(crate) fn rate(&self) -> u32 {
        self.target.rate
    }

    /// What makes the sound as loud as `lufs`; `None` for silence, and for less than 0.4 s, which
    /// has no loudness.
    pub(crate) fn level(&self, lufs: i8) -> Result<Option<Level>, Error> {
        let loudness = self.inner.loudness_global().map_err(failed)?;
        if !loudness.is_finite() {
            return Ok(None);
        }
        let gain = amplitude(f64::from(lufs) - loudness);
        let peaks = (0..self.target.channels as u32).map(|channel| self.inner.true_peak(channel).unwrap_or_default());
        let limited = peaks.fold(0.0, f64::max) * gain > amplitude(CEILING);
        Ok(Some(Level { gain: gain as f32, limited }))
    }
}

/// How the sound is to be turned up or down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Level {
    /// A factor.
    gain: f32,
    /// It would come too close to full scale.
    limited: bool,
}

/// Turns up or down what passes.
pub(crate) struct Leveller {
    gain: f32,
    limiter: Option<Limiter>,
    channels: usize,
    planes: [Vec<f32>; 2],
}

impl Leveller {
    pub(crate) fn new(level: Level, target: Target) -> Result<Self, Error> {
        let limiter = || Limiter::new(target, amplitude(CEILING) as f32);
        let limiter = level.limited.then(limiter).transpose()?;
        Ok(Self { gain: level.gain, limiter, channels: target.channels, planes: Default::default() })
    }

    /// Of two planes (mono: twice the same one) what is ready; some may stay inside until later.
    pub(crate) fn pass(&mut self, planes: [&[f32]; 2]) -> Result<[&[f32]; 2], Error> {
        self.clear();
        self.add(planes)?;
        Ok(self.ready())
    }

    /// What was ready has been taken.
    pub(crate) fn clear(&mut self) {
        self.planes.iter_mut().for_each(Vec::clear);
    }

    /// Takes two planes; what is ready of them comes with what was not cleared.
    pub(crate) fn add(&mut self, planes: [&[f32]; 2]) -> Result<(), Error> {
        let gain = self.gain;
        let given = planes.map(|plane| plane.iter().map(move |sample| sample * gain));
        match &mut self.limiter {
            Some(limiter) => limiter.pass(given, &mut self.planes),
            None => {
                let own = self.planes.iter_mut().zip(given).take(self.channels);
                own.for_each(|(own, given)| own.extend(given));
                Ok(())
            }
        }
    }

    /// What is ready, and what is still inside.
    pub(crate) fn flush(&mut self) -> Result<[&[f32]; 2], Error> {
        if let Some(limiter) = &mut self.limiter {
            limiter.flush(&mut self.planes)?;
        }
        Ok(self.ready())
    }

    fn ready(&self) -> [&[f32]; 2] {
        [&self.planes[0], &self.planes[self.channels - 1]]
    }
}

fn amplitude(decibels: f64) -> f64 {
    10_f64.powf(decibels / 20.0)
}

pub(crate) fn failed(error: ebur128::Error) -> Error {
    Error::Internal(format!("loudness: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEREO: Target = Target { rate: 48_000, channels: 2 };

    fn sine(amplitude: f32, seconds: usize) -> Vec<f32> {
        let angle = |i: usize| i as f32 * 1000.0 * std::f32::consts::TAU / 48_000.0;
        (0..48_000 * seconds).map(|i| amplitude * angle(i % 48).sin()).collect()
    }

    fn measured(target: Target, left: &[f32], right: &[f32]) -> Meter {
        let mut meter = Meter::new(target).expect("a meter");
        meter.add([left, right]).expect("measures");
        meter
    }

    /// EBU Tech 3341, case 1: a stereo sine of 1 kHz at -23 dBFS has -23 LUFS.
    #[test]
    fn loudness_is_that_of_the_standard() {
        let sound = sine(amplitude(-23.0) as f32, 20);
        let loudness = measured(STEREO, &sound, &sound).inner.loudness_global().expect("loudness");
        assert!((loudness + 23.0).abs() < 0.1, "{loudness}");
        // In one channel it is as loud as it will be heard on two sides.
        let mono = Target { channels: 1, ..STEREO };
        let alone = measured(mono, &sound, &sound).inner.loudness_global().expect("loudness");
        assert!((alone - loudness).abs() < 0.01, "{alone}");
    }

    #[test]
    fn the_level_is_what_is_missing() {
        let quiet = sine(amplitude(-23.0) as f32, 5);
        let level = measured(STEREO, &quiet, &quiet).level(-16).expect("measured").expect("sound");
        assert!((f64::from(level.gain) - amplitude(7.0)).abs() < 0.02 && !level.limited, "{level:?}");
        let loud = measured(STEREO, &quiet, &quiet).level(-6).expect("measured").expect("sound");
        assert!(!loud.limited, "a sine of -6 dBFS: {loud:?}");
        assert_eq!(measured(STEREO, &[0.0; 96_000], &[0.0; 96_000]).level(-16).expect("measured"), None);
        assert_eq!(measured(STEREO, &quiet[..1000], &quiet[..1000]).level(-16).expect("measured"), None);
    }

    #[test]
    fn peaks_are_held_down_and_no_sample_is_lost() {
        // Speech-like: mostly quiet, with bursts that would go far over.
        let mut sound = sine(0.1, 4);
        for burst in sound.chunks_mut(24_000).map(|chunk| &mut chunk[..300]) {
            burst.iter_mut().for_each(|sample| *sample *= 9.0);
        }
        let level = Level { gain: 3.0, limited: true };
        let mut leveller = Leveller::new(level, STEREO).expect("a leveller");
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for piece in sound.chunks(1_111) {
            let ready = leveller.pass([piece, piece]).expect("passes");
            left.extend_from_slice(ready[0]);
            right.extend_from_slice(ready[1]);
        }
        leveller.clear();
        left.extend_from_slice(leveller.flush().expect("flushes")[0]);
        leveller.clear();
        right.extend_from_slice(leveller.flush().expect("nothing is left")[1]);
        assert_eq!(left.len(), sound.len());
        let peak = measured(STEREO, &left, &left).inner.true_peak(0).expect("a peak");
        assert!((amplitude(-2.5)..amplitude(CEILING + 0.2)).contains(&peak), "{peak}");
        // Far from the bursts nothing but the gain is left.
        for (at, (out, given)) in
            left.iter().zip(&sound).enumerate().filter(|(at, _)| (22_000..23_500).contains(&(at % 24_000)))
        {
            assert!((out - 3.0 * given).abs() < 0.02, "{at}: {out} for {given}");
        }
        assert_eq!(left[..right.len()], right, "both sides alike");
    }
}
