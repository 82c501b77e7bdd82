//! The policy against the settings of Triton's dynamic batcher, simulated. With `--nocapture` the tests print
//! their tables.

use std::ops::Range;

use super::super::service_times::ServiceTimes;
use super::simulation::*;

const ALL: Range<u64> = 0..u64::MAX;

/// What a setting came to at one rate.
struct Row {
    name: String,
    /// Of the requests that ran, the share above the target.
    late: f64,
    /// Of all requests, the share that was refused.
    refused: f64,
    /// Time of the worker for each row, in ms.
    cost: f64,
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, late, refused, cost } = self;
        write!(f, "{name:>8}: {:5.2} % late {:5.2} % refused {cost:6.2} ms", late * 100.0, refused * 100.0)
    }
}

fn run(name: String, setup: Setup, model: Model, arrivals: &[Request], batcher: impl Batcher) -> Row {
    let mut random = fastrand::Rng::with_seed(7);
    let takes = |_, rows| model.scattered(&mut random, rows);
    let outcome = simulate(setup, batcher, arrivals, None, takes);
    let target = setup.goal.target.expect("a target").latency_ns;
    Row { name, late: outcome.late(target, ALL), refused: outcome.refused(), cost: outcome.cost(ALL) }
}

fn unknown(setup: Setup) -> impl Batcher {
    scheduler(setup, ServiceTimes::new(setup.goal.max_batch_size))
}

/// Preferred batch sizes times delays, these in parts of the target.
fn fixed_settings(setup: Setup) -> impl Iterator<Item = (String, usize, u64)> {
    let sizes = [2, 4, 6, 8, 12, 16, 64];
    let delays = [0.0, 1.0 / 12.0, 1.0 / 6.0, 1.0 / 3.0, 1.0 / 2.0, 2.0 / 3.0];
    let target = setup.goal.target.expect("a target").latency_ns as f64;
    sizes.into_iter().filter(move |&size| size <= setup.goal.max_batch_size).flat_map(move |size| {
        delays.map(|part| {
            let delay = (part * target) as u64;
            (format!("{size}/{}ms", delay / MS), size, delay)
        })
    })
}

fn arrivals(setup: Setup, model: Model, load: f64) -> Vec<Request> {
    let rate = model.capacity(setup.goal.max_batch_size) * setup.workers as f64 * load;
    println!("{:4.0} % {rate:8.1}/s", load * 100.0);
    poisson(&mut fastrand::Rng::with_seed(42), 0..((20_000.0 / rate).max(5.0) * SECOND as f64) as u64, rate)
}

/// The policy without and with a bound of the queue, and the cheapest fixed setting with at most 1 % late,
/// or else the one with the fewest.
fn compare(setup: Setup, model: Model, load: f64) -> [Row; 3] {
    let arrivals = arrivals(setup, model, load);
    let order = |row: &Row| if row.late <= 0.01 { (0.0, row.cost) } else { (row.late, 0.0) };
    let fixed = fixed_settings(setup)
        .map(|(name, size, delay)| run(name, setup, model, &arrivals, Fixed::new(setup, size, delay)))
        .min_by(|a, b| order(a).partial_cmp(&order(b)).expect("numbers"))
        .expect("settings");
    let adaptive = run("adaptive".into(), setup, model, &arrivals, unknown(setup.unbounded()));
    let bounded = run("bounded".into(), setup, model, &arrivals, unknown(setup));
    println!("    {adaptive}\n    {bounded}\n    {fixed}");
    [adaptive, bounded, fixed]
}

/// Inception v3 on two cores, as measured.
const INCEPTION: Model = Model { fixed_ms: 18.0, each_ms: 40.0 };
const ALL_SETUPS: [(usize, usize, u64, Model); 6] = [
    (1, 16, 600, INCEPTION),
    (2, 16, 600, INCEPTION),
    // A little faster.
    (1, 16, 600, Model { fixed_ms: 17.0, each_ms: 36.0 }),
    // Nearly all of it fixed, hardly anything fixed, and a fast device.
    (1, 16, 200, Model { fixed_ms: 20.0, each_ms: 2.0 }),
    (1, 16, 600, Model { fixed_ms: 5.0, each_ms: 50.0 }),
    (1, 64, 50, Model { fixed_ms: 1.0, each_ms: 0.05 }),
];

fn setups() -> impl Iterator<Item = (Setup, Model)> {
    ALL_SETUPS.into_iter().map(|(workers, max_batch_size, target_ms, model)| {
        println!("{model:?}, {workers} workers, batches of up to {max_batch_size}, target {target_ms} ms");
        (Setup { workers, ..Setup::new(max_batch_size, target_ms) }, model)
    })
}

/// Wherever a fixed setting meets the target, the policy does, and is as cheap. Where none does, it makes
/// hardly more late than the best.
#[test]
fn as_good_as_the_best_fixed_setting_at_each_rate() {
    for (setup, model) in setups() {
        for load in [0.2, 0.5, 0.7, 0.8] {
            let [adaptive, bounded, fixed] = compare(setup, model, load);
            assert!(adaptive.late <= fixed.late.max(0.01) * 1.5, "{adaptive}, {fixed}");
            assert!(fixed.late > 0.01 || adaptive.cost <= 1.05 * fixed.cost, "{adaptive}, {fixed}");
            assert!(bounded.late <= 0.01 && bounded.refused <= 0.03, "{bounded}");
        }
    }
}

#[test]
fn under_overload_those_let_in_are_in_time_and_the_workers_stay_busy() {
    for (setup, model) in setups() {
        for load in [0.95, 1.5, 3.0] {
            let arrivals = arrivals(setup, model, load);
            let bounded = run("bounded".into(), setup, model, &arrivals, unknown(setup));
            println!("    {bounded}");
            assert!(bounded.late <= 0.01, "{bounded}");
            let served = (1.0 - bounded.refused) * load;
            assert!(served >= 0.85 * load.min(1.0), "{served} of the capacity, {bounded}");
        }
    }
}

/// Twenty times from 20 to 80 percent and back.
#[test]
fn a_step_of_the_rate_is_settled_within_seconds() {
    let setup = Setup::new(16, 600);
    let capacity = INCEPTION.capacity(16);
    let mut random = fastrand::Rng::with_seed(5);
    let mut arrivals = Vec::new();
    let mut spans: [Vec<Range<u64>>; 4] = Default::default();
    for step in 0..40 {
        let (start, load) = (step * 20 * SECOND, [0.2, 0.8][step as usize % 2]);
        let (settled, end) = (start + 5 * SECOND, start + 20 * SECOND);
        arrivals.extend(poisson(&mut random, start..end, capacity * load));
        spans[step as usize % 2].push(start..settled);
        spans[2 + step as usize % 2].push(settled..end);
    }
    let takes = |_, rows| INCEPTION.scattered(&mut random, rows);
    let outcome = simulate(setup, unknown(setup), &arrivals, None, takes);
    let [to_low, to_high, low, high] = spans.map(|spans| {
        let mean = |of: &dyn Fn(Range<u64>) -> f64| spans.iter().cloned().map(of).sum::<f64>() / 20.0;
        (mean(&|span| outcome.late(600 * MS, span)), mean(&|span| outcome.cost(span)))
    });
    println!(
        "after the step down {to_low:?} and later {low:?}, after the step up {to_high:?} and later {high:?}"
    );
    for (name, (late, _)) in [("down", to_low), ("low", low), ("up", to_high), ("high", high)] {
        assert!(late <= 0.015, "{name}: {late}");
    }
    assert!(to_low.1 <= 1.05 * low.1 && to_high.1 <= 1.05 * high.1, "{to_low:?} {to_high:?}");
}
