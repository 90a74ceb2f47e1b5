//! What a run came to, in figures.

use std::time::Duration;

use super::{clients::Tally, memory::Memory};

/// The value below which this part (0 to 1) of all lies.
///
/// # Panics
/// When there are none.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

pub fn print(all: &Tally, greedy: &Tally, memory: &Memory, time: Duration) {
    let bytes: usize = all.accepted.iter().map(|upload| upload.bytes).sum();
    let seconds = time.as_secs_f64();
    println!(
        "{} uploads begun, {} accepted ({:.1}/s, {:.1} MB/s), {} of them the greedy user's",
        all.sent,
        all.accepted.len(),
        all.accepted.len() as f64 / seconds,
        bytes as f64 / 1e6 / seconds,
        greedy.accepted.len(),
    );
    for (status, count) in &all.refusals {
        println!("{count} refused with {status}, {} of them the greedy user's", greedy.refused(*status));
    }
    println!("{} dishonest answers", all.faults.len());
    let waited: Vec<f64> = all.accepted.iter().map(|upload| upload.waited.as_secs_f64() * 1e3).collect();
    let [half, most, nearly_all] = [0.5, 0.95, 0.99].map(|part| quantile(&waited, part));
    println!("from the last byte to the answer: p50 {half:.0} ms, p95 {most:.0} ms, p99 {nearly_all:.0} ms");
    for seen in &memory.0 {
        println!("{}: {:.0} MB at the most", seen.name, seen.most() / 1e6);
    }
}
