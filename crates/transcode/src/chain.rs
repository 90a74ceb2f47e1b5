//! From frames of sound, or of MP3, to the sink.

use std::ops::Range;
use std::time::Duration;

use ffmpeg_next::Packet;
use ffmpeg_next::frame::Audio;

use crate::convert::{duration, too_long};
use crate::copy::{Copied, Copier};
use crate::decode::Decoder;
use crate::encode::Encoder;
use crate::loudness::Level;
use crate::monitor::Monitor;
use crate::mp3::info::Info;
use crate::resample::Target;
use crate::shape::Shaper;
use crate::sink::{Output, Sink};
use crate::{Error, Options, Summary};

/// Frames in, MP3 into the sink.
pub(crate) struct Chain<'a, 'm> {
    options: &'a Options,
    level: Option<Level>,
    monitor: &'a Monitor<'m>,
    output: Output<'a>,
    /// Goes out with the first sound.
    tag: Vec<u8>,
    /// Where sound is MP3 already and is to stay so.
    pub(crate) copier: Option<Copier>,
    /// There from the first frame on that is encoded, which decides on the MP3's rate and channels.
    running: Option<Running>,
}

struct Running {
    target: Target,
    shaper: Shaper,
    encoder: Encoder,
}

impl<'a, 'm> Chain<'a, 'm> {
    pub(crate) fn new(
        sink: &'a mut dyn Sink,
        options: &'a Options,
        level: Option<Level>,
        tag: Vec<u8>,
        monitor: &'a Monitor<'m>,
    ) -> Self {
        let output = Output::new(sink, options.max_output_bytes);
        Self { options, level, monitor, output, tag, copier: None, running: None }
    }

    /// Length of the sound taken so far.
    pub(crate) fn duration(&self) -> Duration {
        self.copied() + self.running.as_ref().map(Running::duration).unwrap_or_default()
    }

    /// Length of the sound that is done with, or nearly.
    pub(crate) fn done(&self) -> Duration {
        self.copied() + self.running.as_ref().map(Running::done).unwrap_or_default()
    }

    fn copied(&self) -> Duration {
        let copier = self.copier.as_ref();
        copier.and_then(|copier| Some(duration(copier.samples(), copier.target()?.rate))).unwrap_or_default()
    }

    /// Takes the packet over as it is, where that is wanted and possible.
    pub(crate) fn copy(&mut self, decoder: &mut Decoder, packet: &Packet) -> Result<bool, Error> {
        let Some(copier) = self.copier.as_mut().filter(|copier| !copier.is_over()) else {
            return Ok(false);
        };
        let (is_first, mut frames) = (copier.target().is_none(), Vec::new());
        let copied = copier.copy(packet, &mut frames);
        if is_first && copier.target().is_some() {
            self.output.append(&self.tag)?;
        }
        self.output.append(&frames)?;
        if copied == Copied::Other {
            return Ok(false);
        }
        decoder.packets += 1;
        decoder.skipped += u64::from(copied == Copied::Broken);
        self.check_duration()?;
        Ok(true)
    }

    fn check_duration(&self) -> Result<(), Error> {
        if self.duration() > self.options.max_duration {
            return Err(too_long(self.options));
        }
        Ok(())
    }

    /// Takes these of the frame's samples.
    pub(crate) fn push(&mut self, frame: &Audio, part: Range<usize>) -> Result<(), Error> {
        if part.is_empty() {
            return Ok(());
        }
        let running = match &mut self.running {
            Some(running) => running,
            none => {
                let copied = self.copier.as_mut().and_then(Copier::hand_over);
                if copied.is_none() {
                    self.output.append(&self.tag)?;
                }
                none.insert(Running::new(frame, self.options, self.level, copied)?)
            }
        };
        if !running.shaper.fits(frame) {
            running.drain(&mut self.output, self.monitor)?;
            running.shaper.expect(frame)?;
        }
        let planes = running.shaper.convert(frame, part)?;
        let rate = running.target.rate;
        let wait = &mut |samples| self.monitor.tick(duration(samples, rate));
        self.output.fill(|out| running.encoder.encode(planes, out, wait))?;
        self.check_duration()
    }

    pub(crate) fn finish(mut self, summary: Summary) -> Result<Summary, Error> {
        if let Some(running) = &mut self.running {
            running.drain(&mut self.output, self.monitor)?;
            running.finish(&mut self.output, self.monitor)?;
        }
        self.output.flush()?;
        let copied = self.copier.take().and_then(|copier| Some((copier.target()?, copier)));
        // Of what is taken over as it is nothing was heard.
        let heard = self.running.as_ref().filter(|_| copied.is_none());
        let waveform = heard.map(|running| running.shaper.waveform()).unwrap_or_default();
        let (target, samples, head) = match (self.running, copied) {
            (None, None) => return Err(Error::NoSound),
            (Some(running), None) => (running.target, running.encoder.samples(), running.encoder.head_frame()),
            (running, Some((target, mut copier))) => {
                if let Some(running) = running {
                    copier.take_back(running.encoder);
                }
                (target, copier.samples(), copier.head_frame())
            }
        };
        if !head.is_empty() {
            self.output.rewrite_head(self.tag.len() as u64, &head)?;
        }
        Ok(Summary {
            duration: duration(samples, target.rate),
            samples,
            sample_rate: target.rate,
            channels: target.channels as u8,
            bytes_out: self.output.written(),
            waveform,
            ..summary
        })
    }
}

impl Running {
    /// With `copied`: what stands before it, and is to go on in its rate and channels.
    fn new(
        frame: &Audio,
        options: &Options,
        level: Option<Level>,
        copied: Option<(Target, Info)>,
    ) -> Result<Self, Error> {
        let nearest = || (Target::nearest(frame, options), None);
        let (target, before) = copied.map_or_else(nearest, |(target, info)| (target, Some(info)));
        let encoder = Encoder::new(options.encoding.unwrap_or_default(), target, options.threads(), before)?;
        Ok(Self { target, encoder, shaper: Shaper::new(frame, target, level)? })
    }

    fn duration(&self) -> Duration {
        duration(self.encoder.samples(), self.target.rate)
    }

    fn done(&self) -> Duration {
        duration(self.encoder.samples_done(), self.target.rate)
    }

    /// Encodes what the shaper still holds.
    fn drain(&mut self, output: &mut Output<'_>, monitor: &Monitor<'_>) -> Result<(), Error> {
        let wait = &mut |samples| monitor.tick(duration(samples, self.target.rate));
        loop {
            let planes = self.shaper.flush()?;
            if planes[0].is_empty() {
                return Ok(());
            }
            output.fill(|out| self.encoder.encode(planes, out, wait))?;
        }
    }

    /// Encodes what the encoder still holds.
    fn finish(&mut self, output: &mut Output<'_>, monitor: &Monitor<'_>) -> Result<(), Error> {
        let wait = &mut |samples| monitor.tick(duration(samples, self.target.rate));
        output.fill(|out| self.encoder.finish(out, wait))
    }
}
