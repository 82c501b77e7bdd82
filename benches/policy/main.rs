//! How far the policy of adaptive batching is from the optimum, in simulated time.
//!
//! Three shapes of service times, three kinds of arrivals; one worker, requests of one row, a target for 99 %. For each
//! load: the cost (the worker's time for each row), the late requests among those accepted and the refused ones
//! among all, of
//!
//! - the optimum: the solution of a semi-Markov decision process (see [`solver`]) that knows service times, rates and, with
//!   bursty arrivals, the phase, which no online policy can know. Its cost is given at 1 % of requests that
//!   miss the target (they are late or refused), or at the fewest that are possible, and at the share that the
//!   online policy misses
//! - the backend's policy, which has to learn all this
//! - the cheapest setting of Triton's dynamic batcher at this very load, of all that were tried
//!
//! All meet the same requests. `decisions` is another thing: what a request costs in the scheduler, with few and with many
//! waiting.
//!
//! Run by `make bench-policy`, which hands on `ARGS`: `--only poisson,bursty,closed,decisions` for these parts, `--shape gpu`,
//! `--load 80`, `--quick` for fewer requests and loads, `--thresholds` for what the optimum that is as good as the backend's
//! policy does, `--self-test` to check the solver alone. It ends with exit code 1 when one misses its aim.

mod arrivals;
#[allow(dead_code)]
mod backend;
#[path = "../../backend/buckets.rs"]
#[allow(dead_code)]
mod buckets;
mod chain;
mod decisions;
#[path = "../../backend/few.rs"]
#[allow(dead_code)]
mod few;
mod fixed;
mod online;
mod optimum;
mod self_test;
mod simulate;
mod solver;
mod values;

use std::process::ExitCode;

use arrivals::{Closed, Mmpp};
use online::Online;
use optimum::{Frontier, Point};
use simulate::{MS, Machine, Outcome, Scatter, simulate};

/// What those files of the backend take from its configuration.
mod config {
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct Target {
        pub latency_ns: u64,
        pub percentile: f64,
    }
}

/// The share of requests that may be late.
const LATE: f64 = 0.01;
/// That share is simulated: it may be missed by chance.
const LATE_BY_CHANCE: f64 = 0.002;
/// So many times what the optimum refuses may be refused, and so much more.
const REFUSED: (f64, f64) = (1.2, 0.005);
/// The backend's policy may cost so much more than the optimum with as many missed requests, with Poisson arrivals
const DISTANCE: f64 = 0.03;
/// up to this load; and with others so much more than the best fixed setting.
const HIGHEST_LOAD: f64 = 0.9;
const ABOVE_FIXED: f64 = 0.01;
/// From this share on, the optimum that the policy is compared with may refuse too.
const REFUSES: f64 = 0.0005;

/// Names, fixed time and time for each row in ms, largest batch, target in ms.
const SHAPES: [(&str, f64, f64, usize, f64); 3] = [
    ("fixed-cost", 20.0, 2.0, 16, 200.0),
    ("inception", 18.0, 40.0, 16, 600.0),
    ("gpu", 1.0, 0.05, 64, 10.0),
];
const LOADS: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95];
const FEW_LOADS: [f64; 3] = [0.2, 0.5, 0.8];
/// Bursts: the high rate is so many times the low one, and each lasts so many targets on the average.
const BURST: (f64, f64) = (5.0, 10.0);

struct Options {
    only: Option<String>,
    shape: Option<String>,
    load: Option<f64>,
    quick: bool,
    thresholds: bool,
}

impl Options {
    fn measures(&self, kind: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.split(',').any(|name| name == kind))
    }

    fn loads(&self) -> Vec<f64> {
        match self.load {
            Some(load) => vec![load],
            None if self.quick => FEW_LOADS.to_vec(),
            None => LOADS.to_vec(),
        }
    }

    fn requests(&self) -> usize {
        if self.quick { 20_000 } else { 60_000 }
    }

    /// They do not count: policies learn.
    fn warm_up(&self) -> u64 {
        1_000
    }
}

fn main() -> ExitCode {
    let mut options = Options { only: None, shape: None, load: None, quick: false, thresholds: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--only" => options.only = arguments.next(),
            "--shape" => options.shape = arguments.next(),
            "--load" => {
                options.load =
                    arguments.next().and_then(|load| load.parse().ok()).map(|load: f64| load / 100.0)
            }
            "--quick" => options.quick = true,
            "--thresholds" => options.thresholds = true,
            "--self-test" => {
                self_test::run();
                return ExitCode::SUCCESS;
            }
            // From `cargo bench`.
            "--bench" => {}
            _ => {
                eprintln!("Unknown argument: {argument}");
                return ExitCode::from(2);
            }
        }
    }
    self_test::run();
    let mut missed = Vec::new();
    for (name, fixed_ms, each_ms, max_batch_size, target_ms) in SHAPES {
        if options.shape.as_ref().is_some_and(|shape| shape != name) {
            continue;
        }
        let times: Vec<f64> =
            (1..=max_batch_size).map(|rows| (fixed_ms + each_ms * rows as f64) * MS).collect();
        let machine =
            Machine { costs: times.clone(), times, scatter: Scatter::USUAL, target: target_ms * MS };
        println!(
            "\n{name}: {fixed_ms} ms + {each_ms} ms for each row, at most {max_batch_size} rows, target {target_ms} ms"
        );
        if options.measures("poisson") {
            heading("Poisson arrivals", "the optimum");
            for load in options.loads() {
                let process = Mmpp::poisson(load * machine.capacity());
                open(&options, &machine, &process, name, load, &mut missed);
            }
        }
        if options.measures("bursty") {
            heading("Bursty arrivals", "an optimum that knows the phase");
            let (ratio, targets) = BURST;
            let loads = options.loads();
            for load in loads
                .into_iter()
                .filter(|&load| options.load.is_some() || [0.2, 0.4, 0.6, 0.8].contains(&load))
            {
                let process = Mmpp::bursty(load * machine.capacity(), ratio, targets * machine.target);
                open(&options, &machine, &process, name, load, &mut missed);
            }
        }
        if options.measures("closed") {
            closed(&options, &machine, name, &mut missed);
        }
    }
    if options.measures("decisions") && options.shape.is_none() {
        decisions::measure(&mut missed);
    }
    if !missed.is_empty() {
        println!("\nAims missed:");
        missed.iter().for_each(|missed| println!("  {missed}"));
        return ExitCode::FAILURE;
    }
    println!("\nAll aims met.");
    ExitCode::SUCCESS
}

fn heading(arrivals: &str, optimum: &str) {
    println!(
        "\n{arrivals}; late, refused, ms for each row (rows in a batch); the distance is that to {optimum}\n"
    );
    println!("| load | backend | optimum as good | distance | optimum, 1 % missed | best fixed setting |");
    println!("|---|---|---|---|---|---|");
}

fn cell(outcome: &Outcome) -> String {
    let Outcome { late, refused, cost, rows, .. } = outcome;
    format!("{:.2} %, {:.2} %, {:.4} ({rows:.1})", late * 100.0, refused * 100.0, cost / MS)
}

/// Arrivals that do not depend on the answers.
fn open(options: &Options, machine: &Machine, process: &Mmpp, name: &str, load: f64, aims: &mut Vec<String>) {
    let arrivals = process.draw(options.requests(), 42);
    let warm_up = options.warm_up();
    let mut policy = Online::new(machine, 100.0 * (1.0 - LATE));
    let online = simulate(machine, &mut arrivals.clone(), &mut policy, warm_up, 1);
    let (setting, fixed) = fixed::best(machine, || arrivals.clone(), LATE, warm_up);
    let mut frontiers = vec![Frontier::new(machine, process, &arrivals, warm_up, false)];
    if online.refused > REFUSES {
        frontiers.push(Frontier::new(machine, process, &arrivals, warm_up, true));
    }
    for frontier in &mut frontiers {
        frontier.reach(online.missed());
        // With bursts, only what is as good as the backend's policy is asked for.
        if process.phases() == 1 {
            frontier.reach(LATE);
        }
    }
    let points: Vec<&Point> = frontiers.iter().flat_map(|frontier| &frontier.points).collect();
    let as_good = optimum::cost(&points, online.missed());
    // Where the optimum has no point with as few, this is above the real distance.
    let least = optimum::at_most(&points, 0.0).outcome;
    let distance = online.cost / as_good.unwrap_or(least.cost) - 1.0;
    let best = optimum::at_most(&points, LATE);
    println!(
        "| {:.0} % | {} | {} | {}{:+.1} % | {} | {setting}: {} |",
        load * 100.0,
        cell(&online),
        as_good.map_or("none".into(), |cost| format!("{:.4}", cost / MS)),
        if as_good.is_none() { "at most " } else { "" },
        distance * 100.0,
        cell(&best.outcome),
        cell(&fixed),
    );
    if options.thresholds {
        for point in &points {
            println!(
                "    price {:.2}: {}; {} sweeps",
                point.price,
                cell(&point.outcome),
                point.solution.sweeps
            );
        }
        let as_good = optimum::at_most(&points, online.missed());
        let frontier = &frontiers[usize::from(as_good.solution.prices.may_refuse)];
        let thresholds = frontier.thresholds(&as_good.solution);
        let text: Vec<String> =
            thresholds.iter().skip(1).map(|share| format!("{:.0}", share * 100.0)).collect();
        println!(
            "    price {:.2}: 1, 2, ... rows wait up to so many % of the target: {}",
            as_good.price,
            text.join(" ")
        );
    }
    let what = format!("{name}, {} phases, load {:.0} %", process.phases(), load * 100.0);
    if process.phases() == 1 {
        if load <= HIGHEST_LOAD && distance > DISTANCE {
            aims.push(format!("{what}: {:.1} % from the optimum", distance * 100.0));
        }
        is_late(&what, load, &online, &best.outcome, aims);
    } else {
        is_worse(&what, &online, &fixed, aims);
    }
}

/// Neither more late than the target allows, nor many more refused than by an optimum that means to miss no more.
fn is_late(what: &str, load: f64, online: &Outcome, optimum: &Outcome, aims: &mut Vec<String>) {
    if load > HIGHEST_LOAD {
        return;
    }
    if online.late > LATE + LATE_BY_CHANCE {
        aims.push(format!("{what}: {:.2} % of those accepted are late", online.late * 100.0));
    }
    let (factor, more) = REFUSED;
    if online.refused > factor * optimum.refused + more {
        let [online, optimum] = [online, optimum].map(|outcome| outcome.refused * 100.0);
        aims.push(format!("{what}: {online:.2} % refused, by the optimum {optimum:.2} %"));
    }
}

/// Where a fixed setting meets the target, the policy does and is as cheap. Where none does, it misses no more.
fn is_worse(what: &str, online: &Outcome, fixed: &Outcome, aims: &mut Vec<String>) {
    let met = fixed.late <= LATE;
    if online.missed() > fixed.missed().max(LATE) + LATE_BY_CHANCE {
        let [online, fixed] = [online, fixed].map(|outcome| outcome.missed() * 100.0);
        aims.push(format!("{what}: {online:.2} % missed, with a fixed setting {fixed:.2} %"));
    } else if met && online.cost > (1.0 + ABOVE_FIXED) * fixed.cost {
        let above = (online.cost / fixed.cost - 1.0) * 100.0;
        aims.push(format!("{what}: {above:.1} % dearer than a fixed setting"));
    }
}

/// As [`is_worse`], where whoever is refused tries again: what counts is how many are answered in time.
fn is_worse_for_clients(what: &str, online: &Outcome, fixed: &Outcome, aims: &mut Vec<String>) {
    let [ours, theirs] = [online, fixed].map(|outcome| outcome.rate * (1.0 - outcome.late));
    if ours < (1.0 - ABOVE_FIXED) * theirs {
        aims.push(format!("{what}: {ours:.1} rows/s in time, with a fixed setting {theirs:.1}"));
    } else if fixed.late <= LATE && online.cost > (1.0 + ABOVE_FIXED) * fixed.cost {
        let above = (online.cost / fixed.cost - 1.0) * 100.0;
        aims.push(format!("{what}: {above:.1} % dearer than a fixed setting"));
    }
}

/// Clients that wait for their answers.
fn closed(options: &Options, machine: &Machine, name: &str, aims: &mut Vec<String>) {
    println!("\nClosed loops; late, refused, ms for each row (rows in a batch), and rows/s\n");
    println!("| clients | backend | rows/s | best fixed setting | rows/s |");
    println!("|---|---|---|---|---|");
    let largest = machine.max_batch_size();
    let at_once = [1, 4, 8, 16, 32].map(|part| (largest * part / 16, 0.0));
    // Without queueing, so many clients would make such a load.
    let thinking =
        [0.3, 0.6, 0.8].map(|load| (4 * largest, 4.0 * largest as f64 / (load * machine.capacity())));
    for (clients, think) in at_once.into_iter().chain(thinking) {
        let source = || Closed::new(clients, think, machine.target / 10.0, options.requests(), 42);
        let mut policy = Online::new(machine, 100.0 * (1.0 - LATE));
        let online = simulate(machine, &mut source(), &mut policy, options.warm_up(), 1);
        let (setting, fixed) = fixed::best(machine, source, LATE, options.warm_up());
        let thinks = if think > 0.0 { format!(", think {:.1} ms", think / MS) } else { String::new() };
        println!(
            "| {clients}{thinks} | {} | {:.1} | {setting}: {} | {:.1} |",
            cell(&online),
            online.rate,
            cell(&fixed),
            fixed.rate
        );
        let what = format!("{name}, {clients} clients{thinks}");
        if think > 0.0 {
            // The worker has time to spare: what it costs is what counts, as with open arrivals.
            is_worse(&what, &online, &fixed, aims);
        } else {
            is_worse_for_clients(&what, &online, &fixed, aims);
        }
    }
}
