//! Triton's dynamic batcher with the best of its settings, found by trying them.

use std::collections::VecDeque;

use crate::arrivals::Source;
use crate::simulate::{Decision, Machine, Outcome, Policy, simulate};

/// Delays, as shares of the target.
const DELAYS: [f64; 10] = [0.0, 0.03, 0.06, 0.125, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8];

/// Runs a batch of the preferred size as soon as it is there, and whatever waits once the oldest has waited for
/// the delay.
pub struct Fixed {
    preferred: usize,
    delay: u64,
    waiting: VecDeque<u64>,
}

impl Policy for Fixed {
    fn arrived(&mut self, now: u64, _: u64) -> bool {
        self.waiting.push_back(now);
        true
    }

    fn decide(&mut self, now: u64) -> Decision {
        let Some(oldest) = self.waiting.front() else { return Decision::Idle };
        let latest = oldest + self.delay;
        let rows = self.waiting.len().min(self.preferred);
        if rows < self.preferred && now < latest {
            return Decision::LookAgain(latest);
        }
        self.waiting.drain(..rows);
        Decision::Run(rows)
    }

    fn executed(&mut self, _: u64, _: usize, _: u64) {}
}

/// The setting, as text, and its outcome: the cheapest with at most this share of late requests, or else the one with
/// the fewest.
pub fn best<S: Source>(
    machine: &Machine,
    source: impl Fn() -> S,
    late: f64,
    warm_up: u64,
) -> (String, Outcome) {
    let sizes = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 24, 32, 40, 48, 56, 64];
    let mut best: Option<(String, Outcome)> = None;
    let order =
        |outcome: &Outcome| if outcome.late <= late { (0.0, outcome.cost) } else { (outcome.late, 0.0) };
    for preferred in sizes.into_iter().filter(|&size| size <= machine.max_batch_size()) {
        for share in DELAYS {
            let delay = (share * machine.target) as u64;
            let mut policy = Fixed { preferred, delay, waiting: VecDeque::new() };
            let outcome = simulate(machine, &mut source(), &mut policy, warm_up, 1);
            if best.as_ref().is_none_or(|(_, best)| order(&outcome) < order(best)) {
                best = Some((format!("{preferred} / {:.0} %", share * 100.0), outcome));
            }
        }
    }
    best.expect("a setting")
}
