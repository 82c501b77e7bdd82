//! C7 of the field: windows of 2 s on a counter that moves every 98 to 102 ms, in simulated time, with accounts that read
//! as often as they themselves ask for.

use fastrand::Rng;

use crate::account::Account;
use crate::device::{Limits, Reading};

const MS: u64 = 1_000_000;
const S: u64 = 1000 * MS;

/// With 200 windows each.
const RUNS: u64 = 25;

/// Energy that is known exactly: power in watts for each millisecond.
struct Truth(Vec<f64>);

impl Truth {
    fn new(seconds: u64, power: impl FnMut(u64) -> f64) -> Self {
        let mut sum = 0.0;
        let add = |watts: f64| {
            sum += watts * 1e3;
            sum
        };
        Self(std::iter::once(0.0).chain((0..seconds * 1000).map(power).map(add)).collect())
    }

    /// In microjoules since the beginning.
    fn uj(&self, ns: u64) -> f64 {
        let (ms, rest) = ((ns / MS) as usize, (ns % MS) as f64 / MS as f64);
        self.0[ms] + (self.0[ms + 1] - self.0[ms]) * rest
    }

    fn watts(&self, ns: u64) -> f64 {
        let ms = (ns / MS) as usize;
        (self.0[ms + 1] - self.0[ms]) / 1e3
    }
}

struct Outcome {
    /// Of each window, in parts of the truth.
    errors: Vec<f64>,
    /// Windows that are off by more than their own estimate.
    beyond: usize,
    readings: usize,
}

/// Reads for 30 s, then asks for many windows of 2 s.
fn simulate(truth: &Truth, tick_ms: (f64, f64), cost_ms: f64, slow_ms: f64, seed: u64) -> Outcome {
    let mut rng = Rng::with_seed(seed);
    let (mut ticks, mut at) = (Vec::new(), rng.f64() * 100.0);
    while at < 40_000.0 {
        ticks.push((at * MS as f64) as u64);
        at += tick_ms.0 + (tick_ms.1 - tick_ms.0) * rng.f64();
    }
    let tick_before =
        |ns: u64| ticks.partition_point(|tick| *tick <= ns).checked_sub(1).map(|index| ticks[index]);
    let limits = Limits {
        has_counter: true,
        range_uj: None,
        tick_ns: 100 * MS,
        most_w: 5000.0,
        standstill_ns: S,
        blind_standstill_ns: 10 * S,
    };
    let mut account = Account::new("simulated", limits);
    let (mut ns, mut readings) = (MS, 0);
    while ns < 30 * S {
        // 24 ms at the 99th percentile.
        let call = |rng: &mut Rng| {
            ((if rng.f64() < 0.02 { slow_ms } else { cost_ms * (0.8 + 0.4 * rng.f64()) }) * MS as f64) as u64
        };
        let also = account.also(ns, false);
        let (begin_ns, cost) = (ns, call(&mut rng));
        let end_ns = begin_ns + cost;
        // The value is of some moment within the call. The counter counts in millijoules.
        let looked = begin_ns + (cost as f64 * rng.f64()) as u64;
        let counter_uj = tick_before(looked).map(|tick| 5_000_000_000 + truth.uj(tick) as u64 / 1000 * 1000);
        let after_ns = if also.power { end_ns + call(&mut rng) } else { end_ns };
        let power_ns = end_ns + (after_ns - end_ns) / 2;
        let instant_w = also.power.then(|| truth.watts(tick_before(power_ns).unwrap_or(0)));
        let reading = Reading { begin_ns, end_ns, counter_uj, power_ns, instant_w, ..Reading::default() };
        account.take(Ok(reading), after_ns);
        readings += 1;
        ns = (begin_ns + account.interval_ns()).max(after_ns);
    }
    let mut outcome = Outcome { errors: Vec::new(), beyond: 0, readings };
    for _ in 0..200 {
        let from = 2 * S + (rng.f64() * 25.0 * S as f64) as u64;
        let to = from + 2 * S;
        let energy = account.energy(from, to).unwrap();
        let exact = truth.uj(to) - truth.uj(from);
        let off = (energy.uj as f64 - exact).abs();
        outcome.errors.push(off / exact);
        outcome.beyond += usize::from(off > energy.error_uj as f64);
    }
    assert!(account.basis() == crate::judge::Basis::Counter);
    outcome
}

/// The share of windows within 1 %, the worst, the share beyond their estimate, readings a second.
fn over_seeds(
    power: impl Fn(&mut Rng, u64) -> f64,
    tick_ms: (f64, f64),
    cost_ms: f64,
    slow_ms: f64,
) -> (f64, f64, f64, f64) {
    let (mut within, mut count, mut worst, mut beyond, mut readings) = (0, 0, 0.0f64, 0, 0);
    for seed in 0..RUNS {
        let mut rng = Rng::with_seed(1000 + seed);
        let truth = Truth::new(41, |ms| power(&mut rng, ms));
        let outcome = simulate(&truth, tick_ms, cost_ms, slow_ms, seed);
        within += outcome.errors.iter().filter(|error| **error <= 0.01).count();
        count += outcome.errors.len();
        worst = outcome.errors.iter().copied().fold(worst, f64::max);
        beyond += outcome.beyond;
        readings += outcome.readings;
    }
    let share = |of: usize| of as f64 / count as f64;
    let result = (share(within), worst, share(beyond), readings as f64 / (RUNS * 30) as f64);
    println!("{tick_ms:?} {cost_ms} {slow_ms}: within, worst, beyond, readings/s: {result:?}");
    result
}

fn noisy(rng: &mut Rng, ms: u64) -> f64 {
    // Slow waves and quick noise, as of a load of many short executions.
    250.0 + 60.0 * (ms as f64 / 2500.0).sin() + 60.0 * (rng.f64() - 0.5)
}

#[test]
fn two_seconds_are_within_one_percent_of_the_truth() {
    for slow_ms in [3.0, 25.0] {
        let (within, worst, beyond, readings) = over_seeds(noisy, (98.0, 102.0), 3.0, slow_ms);
        assert_eq!(within, 1.0, "worst {worst}");
        assert!(readings < 35.0, "{readings} readings a second");
        assert!(beyond < 0.01, "{beyond}");
    }
}

/// What happens within a tick is nowhere in the counter: a window that begins in the middle of a burst is off by up to half
/// a tick of the change of power, which its error says.
#[test]
fn bursts_of_the_length_of_a_tick_are_told_by_the_error() {
    let bursts = |_: &mut Rng, ms: u64| if (ms / 150).is_multiple_of(2) { 400.0 } else { 100.0 };
    let (within, worst, beyond, _) = over_seeds(bursts, (98.0, 102.0), 3.0, 25.0);
    assert!(within > 0.5 && worst < 0.05 && beyond < 0.02, "{within} {worst} {beyond}");
}

#[test]
fn other_ticks_than_expected_are_learnt() {
    for (tick_ms, most) in [((19.0, 21.0), 0.005), ((240.0, 260.0), 0.03)] {
        let (_, worst, ..) = over_seeds(noisy, tick_ms, 0.5, 3.0);
        assert!(worst < most, "{tick_ms:?}: worst {worst}");
    }
}
