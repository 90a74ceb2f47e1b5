//! Numbers that tell whether two sounds are the same.

/// How alike the two are (1.0: the same but for loudness) where `sound` lags `lag` samples behind
/// `original`; fails if a sample earlier or later they are more so.
pub fn likeness_at(original: &[f32], sound: &[f32], lag: i64) -> f64 {
    let [before, here, after] = [-1, 0, 1].map(|by| correlation_at(original, sound, lag + by));
    assert!(here > before && here > after, "not aligned at {lag}: {before} {here} {after}");
    here
}

fn correlation_at(original: &[f32], sound: &[f32], lag: i64) -> f64 {
    let skip = lag.unsigned_abs() as usize;
    let (a, b) = if lag >= 0 {
        (original, sound.get(skip..).unwrap_or(&[]))
    } else {
        (original.get(skip..).unwrap_or(&[]), sound)
    };
    correlation(a, b)
}

/// Normalised correlation over the common length.
pub fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let (mut ab, mut aa, mut bb) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (f64::from(*x), f64::from(*y));
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    ab / (aa * bb).sqrt().max(1e-12)
}

/// Loudness over time, one value for each `window` samples: what stays of speech when a codec
/// keeps no waveform.
pub fn envelope(sound: &[f32], window: usize) -> Vec<f32> {
    sound.chunks(window).map(|chunk| (chunk.iter().map(|x| x * x).sum::<f32>() / chunk.len() as f32).sqrt()).collect()
}

/// Amplitude of one frequency (Goertzel's algorithm over the whole of `sound`).
pub fn amplitude(sound: &[f32], rate: u32, frequency: f64) -> f64 {
    let omega = std::f64::consts::TAU * frequency / f64::from(rate);
    let coefficient = 2.0 * omega.cos();
    let (mut previous, mut before) = (0.0, 0.0);
    for x in sound {
        let now = f64::from(*x) + coefficient * previous - before;
        before = previous;
        previous = now;
    }
    let power = previous * previous + before * before - coefficient * previous * before;
    2.0 * power.sqrt() / sound.len() as f64
}

pub fn peak(sound: &[f32]) -> f32 {
    sound.iter().fold(0.0, |peak, x| peak.max(x.abs()))
}
