//! A picture of the sound, for pages that show it: how loud it is, in so many points.

/// Points of the picture.
pub const POINTS: usize = 240;

/// Gathers loudness while sound passes whose length nobody knows yet: when all places are taken,
/// pairs become one and each takes twice as much from there on.
pub(crate) struct Waveform {
    /// Sums of squares.
    sums: Vec<f64>,
    /// Samples of each channel in all but the last.
    span: usize,
    /// In the last.
    last: usize,
}

impl Waveform {
    /// The first places are this many samples long.
    const FINEST: usize = 64;

    pub(crate) fn new() -> Self {
        Self { sums: Vec::with_capacity(4 * POINTS), span: Self::FINEST, last: Self::FINEST }
    }

    /// Takes two planes (mono: twice the same one).
    pub(crate) fn add(&mut self, [mut left, mut right]: [&[f32]; 2]) {
        while !left.is_empty() && !right.is_empty() {
            if self.last == self.span {
                self.begin();
            }
            let here = (self.span - self.last).min(left.len()).min(right.len());
            let (these, those) = (left.split_at(here), right.split_at(here));
            self.last += here;
            if let Some(sum) = self.sums.last_mut() {
                *sum += f64::from(energy(these.0, those.0));
            }
            (left, right) = (these.1, those.1);
        }
    }

    fn begin(&mut self) {
        if self.sums.len() == 4 * POINTS {
            self.sums = self.sums.chunks(2).map(|pair| pair.iter().sum()).collect();
            self.span *= 2;
        }
        self.sums.push(0.0);
        self.last = 0;
    }

    /// From 0 to 255, the loudest being 255; nothing if there was no sound.
    pub(crate) fn points(&self) -> Vec<u8> {
        let length = (self.sums.len().saturating_sub(1) * self.span) as f64 + self.last as f64;
        if self.sums.is_empty() {
            return Vec::new();
        }
        let edge = |point: usize| (point as f64 / POINTS as f64 * length / self.span as f64) as usize;
        let loudness = |point: usize| {
            let from = edge(point).min(self.sums.len() - 1);
            let to = edge(point + 1).clamp(from + 1, self.sums.len());
            (self.sums[from..to].iter().sum::<f64>() / (to - from) as f64).sqrt()
        };
        let raw: Vec<f64> = (0..POINTS).map(loudness).collect();
        // What is quieter than -90 dBFS all the way is silence, not a picture.
        let most = raw.iter().copied().fold(3e-5 * (self.span as f64).sqrt(), f64::max);
        raw.iter().map(|value| (255.0 * value / most).round() as u8).collect()
    }
}

/// Several sums side by side, which is what a processor is quick at.
fn energy(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    let (left, left_rest) = left.as_chunks::<8>();
    let (right, right_rest) = right.as_chunks::<8>();
    for (left, right) in left.iter().zip(right) {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += left * left + right * right;
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left * left + right * right).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(sound: &[f32], piece: usize) -> Vec<u8> {
        let mut waveform = Waveform::new();
        for piece in sound.chunks(piece) {
            waveform.add([piece, piece]);
        }
        waveform.points()
    }

    #[test]
    fn loud_and_quiet_stand_where_they_are_at_any_length() {
        for length in [24_000, 1_000_000, 10_000_001] {
            // Quiet, loud, silent: a third each.
            let sound: Vec<f32> = (0..length)
                .map(|i| {
                    if i < length / 3 {
                        0.1
                    } else if i < 2 * length / 3 {
                        0.5
                    } else {
                        0.0
                    }
                })
                .collect();
            let points = picture(&sound, 1_153);
            assert_eq!(points.len(), POINTS);
            for (at, expected) in [(1, 51), (40, 51), (77, 51), (83, 255), (120, 255), (157, 255), (163, 0), (239, 0)] {
                assert_eq!(points[at], expected, "{at} of {length}: {points:?}");
            }
        }
    }

    #[test]
    fn little_and_nothing_have_a_picture_too() {
        assert!(picture(&[], 1).is_empty());
        assert_eq!(picture(&[0.5], 1), [255; POINTS]);
        assert_eq!(picture(&[0.0; 100_000], 999), [0; POINTS]);
        assert_eq!(picture(&[1e-6; 100_000], 999).iter().max(), Some(&12));
    }
}
