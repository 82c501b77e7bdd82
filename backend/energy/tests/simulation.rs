//! What the ledger tells beside what a made device spent.

use super::device::*;

/// The share of answers that are further off than `limit`, and the largest error.
fn off<'a>(answers: impl Iterator<Item = &'a Answer>, limit: f64) -> (usize, f64, f64) {
    let all: Vec<f64> = answers.map(|answer| answer.off().abs()).collect();
    let beyond = all.iter().filter(|off| **off > limit).count() as f64 / all.len().max(1) as f64;
    (all.len(), beyond, all.iter().copied().fold(0.0, f64::max))
}

const METERS: [(u64, u64, u64); 6] =
    [(1, 0, 1), (1, 0, 10), (1, 25, 10), (20, 25, 10), (100, 25, 10), (100, 25, 100)];

fn sizes(base_ns: u64, each_ns: u64, base_uj: f64, each_uj: f64) -> Vec<Kind> {
    [1, 2, 4, 8, 16]
        .map(|rows| Kind { ns: base_ns + each_ns * rows, uj: base_uj + each_uj * rows as f64 })
        .to_vec()
}

#[test]
fn survey() {
    for meter in METERS {
        for concurrency in [1, 4, 32] {
            for (name, kinds) in [
                ("short", sizes(2 * MS, MS / 2, 100_000.0, 50_000.0)),
                ("long", sizes(400 * MS, 40 * MS, 20e6, 5e6)),
                (
                    "mixed",
                    [sizes(2 * MS, MS / 2, 100_000.0, 50_000.0), sizes(400 * MS, 40 * MS, 20e6, 5e6)]
                        .concat(),
                ),
            ] {
                let setup = Setup { pause_ns: 2 * MS, ..Setup::new(kinds, concurrency, meter) };
                let outcome = run(&setup);
                let tick = setup.seen_tick_ns();
                let long = off(outcome.answers.iter().filter(|a| a.ns > 3 * tick && a.nth > 3), 0.05);
                let short = off(outcome.answers.iter().filter(|a| a.ns < tick && a.nth >= 200), 0.10);
                println!(
                    "{meter:?} x{concurrency} {name}: long {} {:.4} {:.3}; short {} {:.4} {:.3}; pending {:.3} of {:.3} J idle {:?}",
                    long.0,
                    long.1,
                    long.2,
                    short.0,
                    short.1,
                    short.2,
                    outcome.pending / 1e6,
                    outcome.bound / 1e6,
                    outcome.ledger.idle_power_uw()
                );
            }
        }
    }
}
