//! Replays the noise of recorded comparisons: how often the test would err with it, and how often it would find 2 %.
//!
//! Run with `cargo bench -p triton-experiment --bench ab_noise -- FOLDER...`, the folders of comparisons of a contender with
//! itself (`ab_rates.py --keep` leaves them). Each simulated comparison begins somewhere in the recorded series of blocks,
//! takes them in order (and from the start again at the end), and draws its own order of contenders.

use std::path::PathBuf;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use triton_experiment::ab::{ALPHA, Ab, Contender, Decision, Judge, Order};

const COMPARISONS: u64 = 10_000;
const DIFFERENCE: f64 = 0.02;

fn main() {
    let folders: Vec<PathBuf> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).map(PathBuf::from).collect();
    if folders.is_empty() {
        println!("ab_noise: no recorded comparisons were named, nothing to replay");
        return;
    }
    let mut series = Vec::new();
    for folder in &folders {
        match Ab::read(folder) {
            Ok(ab) => series.extend(ab.rounds.iter().flat_map(|round| round.values).map(f64::ln)),
            Err(error) => eprintln!("{error:#}"),
        }
    }
    if series.len() < 8 {
        println!("{} blocks are too few to replay", series.len());
        return;
    }
    let mean = series.iter().sum::<f64>() / series.len() as f64;
    let variance = series.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / series.len() as f64;
    let next = series.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum::<f64>();
    println!(
        "{} blocks, standard deviation {:.2} %, correlation with the next {:.2}",
        series.len(),
        variance.sqrt() * 100.0,
        next / series.len() as f64 / variance
    );
    println!(
        "{:>8} {:>10} {:>8} {:>8} {:>12} {:>10} {:>14}",
        "rounds", "planted", "better", "worse", "equivalent", "undecided", "median rounds"
    );
    for rounds in [60, 120, 240] {
        for effect in [0.0, DIFFERENCE, -DIFFERENCE] {
            row(&series, rounds, effect);
        }
    }
}

fn row(series: &[f64], rounds: usize, effect: f64) {
    let mut counts = [0_u64; 4];
    let mut lengths = Vec::new();
    for seed in 0..COMPARISONS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut at = random.random_range(0..series.len());
        let mut order = Order::new(seed ^ 0x00c0_ffee);
        let mut judge = Judge::new(ALPHA, DIFFERENCE);
        let mut decided = None;
        let mut length = 0;
        while decided.is_none() && length < rounds {
            let mut sum = 0.0;
            for contender in order.next_round() {
                let block = series[at];
                at = (at + 1) % series.len();
                sum += match contender {
                    Contender::A => -block,
                    Contender::B => block + effect.ln_1p(),
                };
            }
            decided = judge.add(sum / 2.0);
            length += 1;
        }
        lengths.push(length);
        counts[match decided {
            Some(Decision::Better) => 0,
            Some(Decision::Worse) => 1,
            Some(Decision::Equivalent) => 2,
            None => 3,
        }] += 1;
    }
    lengths.sort_unstable();
    let share = |count: u64| format!("{:.2} %", count as f64 * 100.0 / COMPARISONS as f64);
    println!(
        "{rounds:>8} {:>10} {:>8} {:>8} {:>12} {:>10} {:>14}",
        format!("{} %", effect * 100.0),
        share(counts[0]),
        share(counts[1]),
        share(counts[2]),
        share(counts[3]),
        lengths[lengths.len() / 2]
    );
}
