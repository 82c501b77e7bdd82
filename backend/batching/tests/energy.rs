//! Batches that save energy and no time. The time is simulated.

use super::super::scheduler::{Next, Running, Scheduler, Took};
use super::simulation::*;

/// A row takes as long in any batch, or nearly.
const EVEN: Model = Model { fixed_ms: 0.2, each_ms: 10.0 };
const ALL: std::ops::Range<u64> = 0..u64::MAX;

/// A scheduler that is told what batches cost.
struct Metered {
    scheduler: Scheduler<usize>,
    uj: fn(usize) -> u64,
}

impl Batcher for Metered {
    fn arrived(&mut self, now: u64, number: usize, request: &Request) -> bool {
        Batcher::arrived(&mut self.scheduler, now, number, request)
    }

    fn expired(&mut self, now: u64) -> Option<usize> {
        self.scheduler.expired(now)
    }

    fn next(&mut self, now: u64) -> Next<usize> {
        self.scheduler.next(now)
    }

    fn executed(&mut self, now: u64, running: Running, took: Took) {
        let energy_uj = Some((self.uj)(took.rows)).filter(|uj| *uj > 0);
        self.scheduler.executed(now, running, Some(Took { energy_uj, ..took }));
    }

    fn woke(&mut self, due: u64, now: u64) {
        self.scheduler.woke(due, now);
    }

    fn waiting(&self) -> usize {
        self.scheduler.waiting()
    }
}

/// Five minutes of single rows that come by chance, 30 in a second.
fn run(model: Model, uj: fn(usize) -> u64) -> Outcome {
    let setup = Setup::new(16, 600);
    let metered = Metered { scheduler: scheduler(setup, model.known(16)), uj };
    let arrivals = poisson(&mut fastrand::Rng::with_seed(19), 0..300 * SECOND, 30.0);
    simulate(setup, metered, &arrivals, None, |_, rows| model.exact(rows))
}

/// In microjoules, of the second half.
fn for_a_row(outcome: &Outcome, uj: fn(usize) -> u64) -> f64 {
    let half = &outcome.batches[outcome.batches.len() / 2..];
    let (sum, rows) =
        half.iter().fold((0, 0), |(sum, rows), batch| (sum + uj(batch.rows), rows + batch.rows));
    sum as f64 / rows as f64
}

#[test]
fn energy_is_what_batches_save_where_it_is_known() {
    let dear_to_start = |rows: usize| 4_000_000 + 500_000 * rows as u64;
    let (by_time, by_energy) = (run(EVEN, |_| 0), run(EVEN, dear_to_start));
    let [unaware, aware] = [&by_time, &by_energy].map(|outcome| for_a_row(outcome, dear_to_start));
    println!("{unaware:.0} uJ for a row by time, {aware:.0} uJ by energy");
    assert!(aware < 0.6 * unaware, "{aware} uJ for a row, {unaware} uJ by time");
    assert!(by_energy.late(600 * MS, ALL) <= 0.01 && by_energy.refused() < 0.005);
}

#[test]
fn requests_wait_less_for_batches_that_save_only_time() {
    let saves_time = Model { fixed_ms: 5.0, each_ms: 1.0 };
    let (by_time, by_energy) = (run(saves_time, |_| 0), run(saves_time, |rows| 500_000 * rows as u64));
    let [waits, does_not] = [by_time.mean_ms(), by_energy.mean_ms()];
    println!("{waits:.1} ms by time, {does_not:.1} ms by energy");
    // What a single row costs is not seen at first, as batches are large then, but concluded from those.
    assert!(does_not < 0.35 * waits, "{does_not} ms on the average, {waits} ms by time");
}
