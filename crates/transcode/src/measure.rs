//! The first of two passes: how loud the sound is that the second will convert.

use std::io::{Read, Seek};
use std::ops::Range;
use std::time::Duration;

use ffmpeg_next::frame::Audio;

use crate::convert::{Opened, duration, too_long};
use crate::cut::Cut;
use crate::loudness::{Level, Meter};
use crate::monitor::Monitor;
use crate::resample::{Resampler, Target};
use crate::{Error, Options, encode};

/// What makes the sound as loud as `lufs`, and how much sound there was. What is wrong with the
/// file the second pass will say, if it does not keep it from being opened.
pub(crate) fn measure<'m, R>(
    input: R,
    lufs: i8,
    options: &Options,
    monitor: &'m Monitor<'m>,
) -> Result<(Option<Level>, Duration), Error>
where
    R: Read + Seek + Send + 'static,
{
    let Opened { mut source, stream, mut decoder, .. } = Opened::new(input, options, monitor)?;
    let mut cut = Cut::new(&source, stream, options.part);
    let mut ear = Ear { options, hearing: None };
    while !cut.is_over()
        && let Some(packet) = source.next_packet()?
    {
        if !cut.skips(&mut source, &mut decoder, &packet)? {
            decoder.decode(Some(&packet), |frame| ear.hear(frame, cut.keep(frame)))?;
        }
        monitor.tick(ear.duration())?;
    }
    if !cut.is_over() {
        decoder.decode(None, |frame| ear.hear(frame, cut.keep(frame)))?;
    }
    ear.drain()?;
    let level = ear.hearing.as_ref().map(|hearing| hearing.meter.level(lufs)).transpose()?;
    Ok((level.flatten(), ear.duration()))
}

/// Frames in, loudness out.
struct Ear<'a> {
    options: &'a Options,
    /// There from the first frame on.
    hearing: Option<Hearing>,
}

struct Hearing {
    target: Target,
    resampler: Resampler,
    meter: Meter,
}

impl Ear<'_> {
    fn hear(&mut self, frame: &Audio, part: Range<usize>) -> Result<(), Error> {
        if part.is_empty() {
            return Ok(());
        }
        if self.hearing.as_ref().is_some_and(|hearing| !hearing.resampler.fits(frame)) {
            self.drain()?;
        }
        let hearing = match &mut self.hearing {
            Some(hearing) => hearing,
            none => {
                let target = Target::nearest(frame, self.options);
                // So that nobody waits for the second pass to hear of it.
                encode::check(self.options.encoding.unwrap_or_default(), target.rate)?;
                let resampler = Resampler::new(frame, target)?;
                none.insert(Hearing { target, resampler, meter: Meter::new(target)? })
            }
        };
        if !hearing.resampler.fits(frame) {
            hearing.resampler = Resampler::new(frame, hearing.target)?;
        }
        hearing.meter.add(hearing.resampler.convert(frame, part)?)?;
        if self.duration() > self.options.max_duration {
            return Err(too_long(self.options));
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), Error> {
        let Some(Hearing { resampler, meter, .. }) = &mut self.hearing else {
            return Ok(());
        };
        loop {
            let planes = resampler.flush()?;
            if planes[0].is_empty() {
                return Ok(());
            }
            meter.add(planes)?;
        }
    }

    fn duration(&self) -> Duration {
        let meter = self.hearing.as_ref().map(|hearing| &hearing.meter);
        meter.map(|meter| duration(meter.samples(), meter.rate())).unwrap_or_default()
    }
}
