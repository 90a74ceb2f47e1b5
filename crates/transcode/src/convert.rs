//! The whole way from a reader to a sink, and the verdict at its end.

use std::io::{Read, Seek};
use std::ops::ControlFlow;
use std::time::Duration;

use crate::chain::Chain;
use crate::copy::Copier;
use crate::cut::Cut;
use crate::decode::{Decoder, codec_name};
use crate::ffmpeg::rescale_to_micros;
use crate::input::Source;
use crate::loudness::Level;
use crate::measure::measure;
use crate::monitor::{Monitor, Progress};
use crate::reader::Shared;
use crate::resample::MP3_RATES;
use crate::sink::Sink;
use crate::split::{self, Chapter};
use crate::streams::{self, Claim};
use crate::{Error, Options, Split, Summary, Track, tags, whitelist};

/// Makes an MP3 of the sound in `input`, or a zip of several. Blocks for as long as that takes.
///
/// The sink gets the MP3 as it is made, and its first bytes once more at the end (see [`Sink`]);
/// it gets nothing before there is any sound. After an error what it got is to be thrown away.
///
/// `on_progress` is called on this thread, at most every 100 ms, already while the file is being
/// opened; `Break` ends the work with [`Error::Cancelled`]. The reader may block; it is not
/// interrupted inside a call.
///
/// Timestamps are looked at only to find a [`Part`](crate::Part): gaps in a recording are not
/// filled with silence. What containers mark as priming or padding of a codec is cut, and the
/// length is exact to the sample wherever the container tells it (in MP4 the end may keep up to
/// one AAC frame of padding).
pub fn convert<R>(
    input: R,
    sink: &mut dyn Sink,
    options: &Options,
    on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Summary, Error>
where
    R: Read + Seek + Send + 'static,
{
    let monitor = Monitor::new(on_progress);
    let result = run(input, sink, options, &monitor);
    monitor.resume_panic();
    result
}

fn run<'m, R>(input: R, sink: &mut dyn Sink, options: &Options, monitor: &'m Monitor<'m>) -> Result<Summary, Error>
where
    R: Read + Seek + Send + 'static,
{
    check(options)?;
    if options.loudness.is_none() && options.split.is_none() {
        return pass(input, sink, options, None, None, monitor);
    }
    let input = Shared::new(input);
    let chapters = match options.split {
        Some(Split::Chapters) => Some(split::chapters(input.clone(), options, monitor)?),
        None => None,
    };
    let (mut level, mut measured) = (None, Duration::ZERO);
    if let Some(lufs) = options.loudness {
        monitor.expect_two_passes();
        (level, measured) = measure(input.clone(), lufs, options, monitor)?;
        monitor.begin_pass(measured);
    }
    match chapters {
        Some(chapters) => split::convert(&chapters, &input, sink, options, level, measured, monitor),
        None => pass(input, sink, options, level, None, monitor),
    }
}

/// What no file can make good.
fn check(options: &Options) -> Result<(), Error> {
    let part = options.part;
    if part.end.is_some_and(|end| end <= part.start) {
        return Err(Error::EmptyPart);
    }
    match options.sample_rate.filter(|rate| !MP3_RATES.contains(rate)) {
        Some(rate) => Err(Error::SampleRate(rate)),
        None => Ok(()),
    }
}

/// A file whose sound is ready to be read.
pub(crate) struct Opened<'m> {
    pub(crate) source: Source<'m>,
    pub(crate) stream: usize,
    pub(crate) decoder: Decoder,
    claim: Claim,
    /// Of the part, as far as can be told beforehand.
    pub(crate) length: Option<Duration>,
}

impl<'m> Opened<'m> {
    pub(crate) fn new<R>(input: R, options: &Options, monitor: &'m Monitor<'m>) -> Result<Self, Error>
    where
        R: Read + Seek + Send + 'static,
    {
        let part = options.part;
        let mut source = Source::open(input, monitor)?;
        let (stream, decoder) = open_decoder(&source, options.track.as_ref())?;
        source.select(stream);
        let claim = Claim::of(&source, stream);
        if let Claim::Track(duration) = claim
            && part.length_of(duration) > options.max_duration
        {
            return Err(too_long(options));
        }
        let length = streams::likely_duration(&source, stream).map(|whole| part.length_of(whole));
        monitor.set_total(length);
        Ok(Self { source, stream, decoder, claim, length })
    }
}

/// Decodes and encodes, once; `chapter` is the one that the options' part is.
pub(crate) fn pass<'m, R>(
    input: R,
    sink: &mut dyn Sink,
    options: &Options,
    level: Option<Level>,
    chapter: Option<&Chapter>,
    monitor: &'m Monitor<'m>,
) -> Result<Summary, Error>
where
    R: Read + Seek + Send + 'static,
{
    let part = options.part;
    let Opened { mut source, stream, mut decoder, claim, .. } = Opened::new(input, options, monitor)?;

    let tag = tags::id3(&source, stream, options, chapter)?;
    let mut chain = Chain::new(sink, options, level, tag, monitor);
    let as_it_is = options.encoding.is_none() && !options.changes_sound();
    chain.copier = Copier::of(&source, stream).filter(|_| as_it_is);
    let mut cut = Cut::new(&source, stream, part);
    let mut span = Span::default();
    while !cut.is_over()
        && let Some(packet) = source.next_packet()?
    {
        if !cut.skips(&mut source, &mut decoder, &packet)? && !chain.copy(&mut decoder, &packet)? {
            decoder.decode(Some(&packet), |frame| chain.push(frame, cut.keep(frame)))?;
        }
        monitor.tick(chain.done())?;
        span.include(&source, &packet);
    }
    if !cut.is_over() {
        decoder.decode(None, |frame| chain.push(frame, cut.keep(frame)))?;
        let claimed = claim.length();
        if claimed.is_none_or(|claimed| claimed <= part.start) {
            cut.check_reached(claimed)?;
        }
        judge(&mut source, &decoder, claim, chain.duration() + cut.passed_over(), span)?;
        cut.check_reached(claimed)?;
    }
    check_packets(&decoder, chain.duration())?;

    let context = source.context();
    let input_codec = context.stream(stream).map(|s| codec_name(&s));
    chain.finish(Summary {
        input_codec: input_codec.unwrap_or_default(),
        input_format: source.format_name(),
        packets_skipped: decoder.skipped,
        ..Summary::default()
    })
}

/// The best sound stream there is a decoder for, of those that are wished for.
fn open_decoder(source: &Source<'_>, wished: Option<&Track>) -> Result<(usize, Decoder), Error> {
    let mut error = Error::NoSound;
    for index in streams::sound_streams(source, wished)? {
        let Some(stream) = source.context().stream(index) else {
            continue;
        };
        match Decoder::open(&stream) {
            Ok(decoder) => return Ok((index, decoder)),
            // Of several the best one's codec is what the user should hear of.
            Err(e) if matches!(error, Error::NoSound) => error = e,
            Err(_) => {}
        }
    }
    Err(error)
}

/// Where in the file the sound begins and ends, by its packets' timestamps.
#[derive(Default, Clone, Copy)]
struct Span {
    begin: Option<Duration>,
    end: Duration,
}

impl Span {
    fn include(&mut self, source: &Source<'_>, packet: &ffmpeg_next::Packet) {
        let Some(stream) = source.context().stream(packet.stream()) else {
            return;
        };
        let at = |ts| {
            let micros = rescale_to_micros(ts, stream.time_base()).saturating_sub(source.start_time());
            Duration::from_micros(u64::try_from(micros).unwrap_or(0))
        };
        if let Some(pts) = packet.pts() {
            self.begin.get_or_insert_with(|| at(pts));
            self.end = self.end.max(at(pts.saturating_add(packet.duration())));
        }
    }
}

/// Whether what was decoded is what the file holds.
fn judge(source: &mut Source<'_>, decoder: &Decoder, claim: Claim, decoded: Duration, span: Span) -> Result<(), Error> {
    let damaged = |of| Error::Damaged { read: decoded, of };
    if decoded.is_zero() {
        return Err(match claim {
            _ if whitelist::is_sync_word_only(&source.format_name()) && decoder.packets > 0 => Error::NotMedia,
            Claim::None if decoder.packets == 0 => Error::NoSound,
            _ => damaged(None),
        });
    }
    match claim {
        Claim::Track(claimed) if falls_short(decoded, claimed) => {
            return Err(damaged(Some(claimed)));
        }
        Claim::TrackEnd(claimed) if falls_short(decoded.saturating_add(span.begin.unwrap_or_default()), claimed) => {
            return Err(damaged(Some(claimed)));
        }
        // A film's sound may end before its pictures do; but then the pictures go on.
        Claim::File(claimed)
            if falls_short(decoded.max(span.end), claimed) && !source.reaches(tolerated(claimed))? =>
        {
            return Err(damaged(Some(claimed)));
        }
        Claim::None if source.broke_off() => return Err(damaged(None)),
        _ => {}
    }
    Ok(())
}

/// Whether most of the sound could be decoded. One or two broken packets are a rough edge, as at
/// the start of a recording from the air.
fn check_packets(decoder: &Decoder, read: Duration) -> Result<(), Error> {
    if decoder.skipped > 2 && decoder.skipped * 20 > decoder.packets {
        return Err(Error::Damaged { read, of: None });
    }
    Ok(())
}

fn falls_short(read: Duration, claimed: Duration) -> bool {
    read < tolerated(claimed)
}

/// Headers are rounded and a little wrong at times: 5 % and 2 s are forgiven.
fn tolerated(claimed: Duration) -> Duration {
    (claimed - claimed / 20).saturating_sub(Duration::from_secs(2))
}

pub(crate) fn too_long(options: &Options) -> Error {
    Error::TooLong { limit: options.max_duration }
}

pub(crate) fn duration(samples: u64, rate: u32) -> Duration {
    let nanos = u128::from(samples) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_little_may_be_missing() {
        let seconds = Duration::from_secs;
        assert!(!falls_short(seconds(93), seconds(100)));
        assert!(falls_short(seconds(92), seconds(100)));
        assert!(!falls_short(Duration::ZERO, seconds(2)));
    }
}
