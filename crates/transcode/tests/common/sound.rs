//! Sounds, made on the spot, that are hard on an encoder in different ways.

use std::f32::consts::TAU;
use std::process::Command;

/// Seconds of each: enough for four seams at 44.1 kHz.
const SECONDS: usize = 36;

/// Samples between -1 and 1.
pub struct Sound {
    pub name: &'static str,
    pub rate: u32,
    pub planes: Vec<Vec<f32>>,
}

impl Sound {
    fn new(name: &'static str, rate: u32, planes: Vec<Vec<f32>>) -> Self {
        // As 16 bits, so that nothing is lost on the way.
        let round = |x: &f32| (x.clamp(-1.0, 1.0) * 32767.0).round() / 32768.0;
        let planes = planes.iter().map(|plane| plane.iter().map(round).collect()).collect();
        Self { name, rate, planes }
    }

    /// As a WAV file of 16 bits.
    pub fn wav(&self) -> Vec<u8> {
        let (channels, samples) = (self.planes.len(), self.planes[0].len());
        let bytes = (samples * channels * 2) as u32;
        let mut wav = [&b"RIFF"[..], &(36 + bytes).to_le_bytes(), b"WAVEfmt ", &16_u32.to_le_bytes()].concat();
        wav.extend(1_u16.to_le_bytes());
        wav.extend((channels as u16).to_le_bytes());
        wav.extend(self.rate.to_le_bytes());
        wav.extend((self.rate * channels as u32 * 2).to_le_bytes());
        wav.extend((channels as u16 * 2).to_le_bytes());
        wav.extend(16_u16.to_le_bytes());
        wav.extend([&b"data"[..], &bytes.to_le_bytes()].concat());
        for at in 0..samples {
            for plane in &self.planes {
                wav.extend(((plane[at] * 32768.0) as i16).to_le_bytes());
            }
        }
        wav
    }
}

/// Noise between -1 and 1, the same each time.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        // xorshift32
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as f32 / (u32::MAX / 2) as f32 - 1.0
    }
}

/// Some number of samples that is not one of whole frames.
fn samples(rate: u32) -> usize {
    rate as usize * SECONDS + 777
}

fn planes(rate: u32, channels: usize, mut sample: impl FnMut(usize, f32) -> f32) -> Vec<Vec<f32>> {
    (0..channels).map(|side| (0..samples(rate)).map(|at| sample(side, at as f32 / rate as f32)).collect()).collect()
}

/// Two voices, one on each side, as espeak-ng has them.
pub fn speech(rate: u32, channels: usize) -> Sound {
    const TEXT: &str = "The quick brown fox jumps over the lazy dog, while seven wizards ponder the price of zinc. ";
    let voices = ["en-us", "en-gb+f3"].iter().take(channels).map(|voice| {
        let mut espeak = Command::new("espeak-ng");
        let output = espeak.args(["-v", voice, "--stdout", &TEXT.repeat(9)]).output().expect("espeak-ng is there");
        assert!(output.status.success(), "espeak-ng speaks");
        let words = output.stdout[44..].as_chunks::<2>().0;
        let spoken: Vec<f32> = words.iter().map(|word| f32::from(i16::from_le_bytes(*word)) / 32768.0).collect();
        (0..samples(rate))
            .map(|at| {
                let position = at as f64 * 22_050.0 / f64::from(rate);
                let (index, part) = (position as usize % (spoken.len() - 1), position.fract() as f32);
                spoken[index] * (1.0 - part) + spoken[index + 1] * part
            })
            .collect()
    });
    Sound::new("speech", rate, voices.collect())
}

/// Chords with overtones, a bass and a drum.
pub fn music(rate: u32, channels: usize) -> Sound {
    const CHORDS: [[f32; 3]; 4] =
        [[261.6, 329.6, 392.0], [220.0, 261.6, 329.6], [174.6, 220.0, 261.6], [196.0, 246.9, 293.7]];
    let mut noise = Noise(7);
    let sample = |side: usize, t: f32| {
        let (beat, bar) = ((t * 2.0).fract() / 2.0, (t / 2.0) as usize);
        let ring = (-3.0 * beat).exp();
        let mut sum = 0.0;
        for (voice, hz) in CHORDS[bar % 4].iter().enumerate() {
            for overtone in 1..6_u8 {
                let over = f32::from(overtone);
                let place = if voice % 2 == side { 1.0 } else { 0.4 };
                sum += place * ring * 0.08 / over * (TAU * ((hz * over * t) % 1.0)).sin();
            }
        }
        sum += 0.15 * (TAU * ((CHORDS[bar % 4][0] / 4.0 * t) % 1.0)).sin();
        sum + 0.3 * (-60.0 * beat).exp() * noise.next()
    };
    Sound::new("music", rate, planes(rate, channels, sample))
}

/// Many claps at random: an attack in almost every frame.
pub fn applause(rate: u32, channels: usize) -> Sound {
    let (mut noise, mut loud) = (Noise(99), 0.0);
    let sample = |_: usize, _: f32| {
        if noise.next() > 1.0 - 400.0 / rate as f32 {
            loud = 0.5 + 0.4 * noise.next();
        }
        loud *= 1.0 - 300.0 / rate as f32;
        loud * noise.next()
    };
    Sound::new("applause", rate, planes(rate, channels, sample))
}

/// Nothing at all, a murmur and a roar, in turn.
pub fn silences(rate: u32, channels: usize) -> Sound {
    let mut noise = Noise(5);
    let sample = |_: usize, t: f32| match (t / 1.7) as usize % 4 {
        0 | 2 => 0.0,
        1 => 0.001 * noise.next(),
        _ => 0.9 * noise.next(),
    };
    Sound::new("silences", rate, planes(rate, channels, sample))
}

/// Pure tones that never stop: the smallest click is heard.
pub fn tones(rate: u32, channels: usize) -> Sound {
    let sample = |side: usize, t: f32| {
        let hz = if side == 0 { 997.0_f64 } else { 311.0 };
        (0.5 * (std::f64::consts::TAU * hz * (f64::from(t) * f64::from(rate)).round() / f64::from(rate)).sin()) as f32
    };
    Sound::new("tones", rate, planes(rate, channels, sample))
}
