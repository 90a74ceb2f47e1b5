//! Everything that fuzzing has found so far, and each of it spoiled in a few ways more.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use audit::{TARGETS, Target};

/// Nothing so small takes longer, even where nothing is optimised.
const PATIENCE: Duration = Duration::from_secs(5);

/// The kept inputs of a target, by name.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let files = fs::read_dir(folder).expect("a corpus").map(|entry| entry.expect("a file").path());
    let mut inputs: Vec<_> =
        files.map(|path| (path.display().to_string(), fs::read(&path).expect("readable"))).collect();
    inputs.sort();
    inputs
}

fn within_patience(name: &str, target: Target, input: &[u8]) {
    let began = Instant::now();
    target(input);
    assert!(began.elapsed() < PATIENCE, "{name} took {:?}", began.elapsed());
}

#[test]
fn what_was_found_stays_mended() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(inputs.len() >= 2, "{name}: {}", inputs.len());
        inputs.iter().for_each(|(input, bytes)| within_patience(input, target, bytes));
    }
}

/// Cut short, and with flipped bits; the same at every run.
fn spoiled(input: &[u8], seed: u64, times: usize) -> Vec<Vec<u8>> {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut below = |end: usize| {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % end.max(1) as u64) as usize
    };
    let mut all = Vec::new();
    for _ in 0..times {
        all.push(input[..below(input.len())].to_vec());
        let mut scratched = input.to_vec();
        for _ in 0..=below(30) {
            let bit = below(8 * input.len());
            if let Some(byte) = scratched.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        all.push(scratched);
    }
    all
}

#[test]
fn nor_does_it_help_to_spoil_it_more() {
    thread::scope(|scope| {
        for (name, target) in TARGETS {
            scope.spawn(move || {
                let times = if name == "engine" { 2 } else { 10 };
                for (seed, (input, bytes)) in corpus(name).into_iter().enumerate() {
                    for input_spoiled in spoiled(&bytes, seed as u64 + 1, times) {
                        within_patience(&input, target, &input_spoiled);
                    }
                }
            });
        }
    });
}
