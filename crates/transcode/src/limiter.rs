//! A limiter: turns the sound down, for as short a time as can be done without a noise, wherever
//! it would come too close to full scale.
//!
//! It goes by blocks of a millisecond. The true peak of each tells how far it has to be turned
//! down; of the blocks ahead the least of these counts, averaged over [`ATTACK`] blocks so that
//! the gain is there when the peak comes, and it recovers slowly.

use std::collections::VecDeque;

use ebur128::{EbuR128, Mode};

use crate::Error;
use crate::loudness::failed;
use crate::resample::Target;

/// Blocks over which the gain goes down.
const ATTACK: usize = 5;

/// Blocks that must be known before one can go: those of the attack, one because a ramp has two
/// ends, and one because the interpolation of peaks lags behind by some samples.
const AHEAD: usize = ATTACK + 2;

/// How much of the way back to full gain is made in a block: a time constant of 60 ms.
const RELEASE: f32 = 1.0 / 60.0;

pub(crate) struct Limiter {
    peaks: EbuR128,
    channels: usize,
    ceiling: f32,
    /// Samples in a block.
    block: usize,
    /// Sound that has not gone yet, a row for each channel.
    held: [Vec<f32>; 2],
    /// The gain that each block of it needs, as far as they are known.
    needs: VecDeque<f32>,
    /// The last gains, before they are averaged.
    recent: VecDeque<f32>,
    /// The gain at the end of the last block.
    gain: f32,
}

impl Limiter {
    /// `ceiling`: the highest true peak, as a part of full scale.
    pub(crate) fn new(target: Target, ceiling: f32) -> Result<Self, Error> {
        Ok(Self {
            peaks: EbuR128::new(target.channels as u32, target.rate, Mode::TRUE_PEAK).map_err(failed)?,
            channels: target.channels,
            ceiling,
            block: target.rate as usize / 1000,
            held: Default::default(),
            needs: VecDeque::new(),
            recent: VecDeque::new(),
            gain: 1.0,
        })
    }

    /// Takes samples and appends those that are ready.
    pub(crate) fn pass(
        &mut self,
        given: [impl Iterator<Item = f32>; 2],
        planes: &mut [Vec<f32>; 2],
    ) -> Result<(), Error> {
        for (held, given) in self.held.iter_mut().zip(given).take(self.channels) {
            held.extend(given);
        }
        while self.held[0].len() >= (self.needs.len() + 1) * self.block {
            self.look(self.block)?;
        }
        let known = self.needs.len();
        if known > AHEAD {
            self.emit(known - AHEAD, planes);
        }
        Ok(())
    }

    /// Appends what is still held.
    pub(crate) fn flush(&mut self, planes: &mut [Vec<f32>; 2]) -> Result<(), Error> {
        let rest = self.held[0].len() - self.needs.len() * self.block;
        if rest > 0 {
            self.look(rest)?;
        }
        let blocks = self.needs.len();
        self.needs.extend([1.0; AHEAD]);
        self.emit(blocks, planes);
        self.needs.clear();
        Ok(())
    }

    /// Finds out what the next block of `length` samples needs.
    fn look(&mut self, length: usize) -> Result<(), Error> {
        let begin = self.needs.len() * self.block;
        let block: Vec<&[f32]> = self.held[..self.channels].iter().map(|plane| &plane[begin..begin + length]).collect();
        self.peaks.add_frames_planar_f32(&block).map_err(failed)?;
        let peaks = (0..self.channels as u32).map(|channel| self.peaks.prev_true_peak(channel).unwrap_or_default());
        let peak = peaks.fold(0.0, f64::max) as f32;
        self.needs.push_back(if peak > self.ceiling { self.ceiling / peak } else { 1.0 });
        Ok(())
    }

    /// Lets so many blocks go.
    fn emit(&mut self, blocks: usize, planes: &mut [Vec<f32>; 2]) {
        if self.recent.is_empty() {
            // The sound begins as it has to go on.
            self.gain = self.need();
            self.recent.extend([self.gain; ATTACK]);
        }
        for at in 0..blocks {
            let from = self.gain;
            self.gain = self.next_gain();
            let begin = at * self.block;
            let end = (begin + self.block).min(self.held[0].len());
            let step = (self.gain - from) / self.block as f32;
            for (plane, held) in planes.iter_mut().zip(&self.held).take(self.channels) {
                let ramp = (1..).map(|i| from + step * i as f32);
                plane.extend(held[begin..end].iter().zip(ramp).map(|(sample, gain)| sample * gain));
            }
        }
        for held in &mut self.held[..self.channels] {
            held.drain(..(blocks * self.block).min(held.len()));
        }
    }

    /// The gain at the end of the first block that is held, which then counts as gone.
    fn next_gain(&mut self) -> f32 {
        let need = self.need();
        self.needs.pop_front();
        let last = self.recent.pop_front().and(self.recent.back().copied()).unwrap_or(1.0);
        self.recent.push_back(need.min(last + (1.0 - last) * RELEASE));
        self.recent.iter().sum::<f32>() / ATTACK as f32
    }

    /// The least gain of all that are to come soon.
    fn need(&self) -> f32 {
        self.needs.iter().take(AHEAD).copied().fold(1.0, f32::min)
    }
}
