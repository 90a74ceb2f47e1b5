//! Decoded sound, and how alike two of them are.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, ensure};
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::film::words;
use super::tool::ffmpeg;

/// Sound as samples between -1 and 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Pcm {
    /// Samples a second.
    pub rate: u32,
    /// How many channels.
    pub channels: usize,
    /// One row for each channel, all of the same length.
    pub samples: Vec<Vec<f32>>,
}

impl Pcm {
    /// Samples in each channel.
    pub fn frames(&self) -> usize {
        self.samples.first().map_or(0, Vec::len)
    }

    /// The length in seconds.
    pub fn seconds(&self) -> f64 {
        self.frames() as f64 / f64::from(self.rate)
    }

    /// All channels as one, their mean.
    fn mixed(&self) -> Vec<f32> {
        let share = 1.0 / self.channels as f32;
        (0..self.frames()).map(|at| self.samples.iter().map(|channel| channel[at]).sum::<f32>() * share).collect()
    }
}

/// Decodes an MP3 with symphonia, which shares no code with FFmpeg or LAME. Delay and
/// padding that the LAME header tells of are cut off, as a player does.
///
/// # Errors
/// When it is not an MP3, or not a sound one: nothing broken is skipped.
pub fn decode_mp3(mp3: &[u8]) -> anyhow::Result<Pcm> {
    let source = MediaSourceStream::new(Box::new(Cursor::new(mp3.to_vec())), Default::default());
    let mut hint = Hint::new();
    hint.with_extension("mp3");
    let mut format = symphonia::default::get_probe()
        .probe(&hint, source, FormatOptions::default(), MetadataOptions::default())
        .context("not an MP3")?;
    let track = format.default_track(TrackType::Audio).context("no track")?;
    let parameters = track.codec_params.as_ref().and_then(|codec| codec.audio()).context("no sound")?;
    let options = AudioDecoderOptions::default().gapless(true);
    let mut decoder = symphonia::default::get_codecs().make_audio_decoder(parameters, &options)?;

    let mut pcm = Pcm { rate: 0, channels: 0, samples: Vec::new() };
    let mut block: Vec<Vec<f32>> = Vec::new();
    while let Some(packet) = format.next_packet().context("a broken frame")? {
        let decoded = decoder.decode(&packet).context("a frame that cannot be decoded")?;
        if pcm.samples.is_empty() {
            pcm.rate = decoded.spec().rate();
            pcm.channels = decoded.spec().channels().count();
            pcm.samples.resize(pcm.channels, Vec::new());
        }
        decoded.copy_to_vecs_planar(&mut block);
        for (all, new) in pcm.samples.iter_mut().zip(&block) {
            all.extend_from_slice(new);
        }
    }
    ensure!(pcm.frames() > 0, "no frames");
    Ok(pcm)
}

/// What a media file should sound like at this rate and number of channels, by the
/// program ffmpeg.
///
/// # Errors
/// When ffmpeg cannot decode it.
pub fn reference(path: &Path, rate: u32, channels: usize) -> anyhow::Result<Pcm> {
    let mut call = words(&["-i"]);
    call.push(path.into());
    let (rate_word, channels_word) = (rate.to_string(), channels.to_string());
    call.extend(words(&["-vn", "-f", "f32le", "-ar", &rate_word, "-ac", &channels_word, "-"]));
    let bytes = ffmpeg(call)?;
    let mut samples = vec![Vec::with_capacity(bytes.len() / 4 / channels); channels];
    for (at, sample) in bytes.as_chunks::<4>().0.iter().enumerate() {
        samples[at % channels].push(f32::from_le_bytes(*sample));
    }
    Ok(Pcm { rate, channels, samples })
}

/// How two sounds compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeness {
    /// Normalized cross-correlation of the least alike pair of channels: 1 for the same
    /// waveform at any volume, near 0 for unrelated sounds. An MP3 of speech reaches
    /// over 0.98.
    pub similarity: f64,
    /// By how many frames the second sound is later than the first.
    pub lag: isize,
}

/// [`compare`] without the lag.
///
/// # Panics
/// As [`compare`] does.
pub fn similarity(one: &Pcm, other: &Pcm) -> f64 {
    compare(one, other).similarity
}

/// Compares channel by channel, after shifting by up to 50 ms to the best fit.
///
/// # Panics
/// When rate or number of channels differ: such sounds are not alike at all.
pub fn compare(one: &Pcm, other: &Pcm) -> Likeness {
    assert_eq!((one.rate, one.channels), (other.rate, other.channels), "rate and channels");
    let lag = best_lag(&one.mixed(), &other.mixed(), one.rate as usize / 20);
    let channels = one.samples.iter().zip(&other.samples);
    let similarity = channels.map(|(a, b)| correlation(a, b, lag)).fold(1.0, f64::min);
    Likeness { similarity, lag }
}

/// The shift at which the loudest stretch of `one` is found again in `other`.
fn best_lag(one: &[f32], other: &[f32], reach: usize) -> isize {
    const STRETCH: usize = 4096;
    let loudest = one
        .chunks_exact(STRETCH)
        .enumerate()
        .max_by(|(_, a), (_, b)| energy(a).total_cmp(&energy(b)))
        .map_or(0, |(index, _)| index * STRETCH);
    let stretch = &one[loudest..one.len().min(loudest + STRETCH)];
    let reach = isize::try_from(reach).unwrap_or(0);
    (-reach..=reach)
        .filter_map(|lag| {
            let start = loudest.checked_add_signed(lag)?;
            let there = other.get(start..start + stretch.len())?;
            Some((lag, correlation(stretch, there, 0)))
        })
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .map_or(0, |(lag, _)| lag)
}

/// Normalized cross-correlation where both are there, `b` being `lag` later.
fn correlation(a: &[f32], b: &[f32], lag: isize) -> f64 {
    let a = &a[a.len().min(lag.min(0).unsigned_abs())..];
    let b = &b[b.len().min(lag.max(0).unsigned_abs())..];
    let mut product = 0.0;
    let mut energies = (0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        product += a * b;
        energies.0 += a * a;
        energies.1 += b * b;
    }
    match (energies.0 * energies.1).sqrt() {
        // Two silences are alike; a silence and a sound are not.
        0.0 if energies == (0.0, 0.0) => 1.0,
        0.0 => 0.0,
        norm => product / norm,
    }
}

fn energy(samples: &[f32]) -> f64 {
    samples.iter().map(|sample| f64::from(*sample).powi(2)).sum()
}
