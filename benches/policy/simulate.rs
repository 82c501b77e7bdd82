//! One worker, a queue and requests of one row each, in simulated time.

use crate::arrivals::Source;

pub const MS: f64 = 1e6;

/// When a batch began and ends, and its requests with their arrivals.
type Running = (u64, u64, Vec<(u64, u64)>);

/// What decides when how many of the waiting requests run. It keeps the queue itself.
pub trait Policy {
    /// A request of one row came at `now` (ns). false: refused at once.
    fn arrived(&mut self, now: u64, id: u64) -> bool;
    /// Asked whenever something changed and the worker is free.
    fn decide(&mut self, now: u64) -> Decision;
    /// A batch of so many rows is over, it took so long.
    fn executed(&mut self, now: u64, rows: usize, took_ns: u64);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Run the first so many of those that wait.
    Run(usize),
    /// Ask again at this time, which is later than now, or when a request comes.
    LookAgain(u64),
    /// Nothing to do until a request comes.
    Idle,
}

/// How the real times of batches scatter around the table: by a lognormal factor, and a few are slow.
#[derive(Clone, Copy, Debug)]
pub struct Scatter {
    pub sigma: f64,
    pub slow_share: f64,
    pub slow_factor: f64,
}

impl Scatter {
    pub const EXACT: Self = Self { sigma: 0.0, slow_share: 0.0, slow_factor: 1.0 };
    /// As in the unit tests of the backend.
    pub const USUAL: Self = Self { sigma: 0.05, slow_share: 0.01, slow_factor: 1.5 };

    pub fn mean(self) -> f64 {
        (self.sigma * self.sigma / 2.0).exp() * (1.0 + self.slow_share * (self.slow_factor - 1.0))
    }

    /// The share of batches whose factor is above this one.
    pub fn above(self, factor: f64) -> f64 {
        if factor <= 0.0 {
            return 1.0;
        }
        let normal = |factor: f64| {
            if self.sigma == 0.0 {
                return f64::from(factor < 1.0);
            }
            upper_tail(factor.ln() / self.sigma)
        };
        (1.0 - self.slow_share) * normal(factor) + self.slow_share * normal(factor / self.slow_factor)
    }

    fn draw(self, random: &mut fastrand::Rng) -> f64 {
        let (radius, angle) = (1.0 - random.f64(), random.f64() * std::f64::consts::TAU);
        let normal = (-2.0 * radius.ln()).sqrt() * angle.cos();
        let slow = if random.f64() < self.slow_share { self.slow_factor } else { 1.0 };
        (self.sigma * normal).exp() * slow
    }
}

/// The probability that a standard normal variable is above `x`, to 1e-7 (Abramowitz and Stegun, 7.1.26).
fn upper_tail(x: f64) -> f64 {
    const FACTORS: [f64; 5] = [0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429];
    let z = x.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.3275911 * z);
    let polynomial = FACTORS.iter().rev().fold(0.0, |sum, factor| (sum + factor) * t);
    let tail = polynomial * (-z * z).exp() / 2.0;
    if x < 0.0 { 1.0 - tail } else { tail }
}

/// A model on a device, and what is asked of it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The time of a batch of 1, 2, 3, ... rows in ns, before scatter.
    pub times: Vec<f64>,
    /// What such a batch costs: its time, or its energy.
    pub costs: Vec<f64>,
    pub scatter: Scatter,
    /// The latency in ns above which a request is late.
    pub target: f64,
}

impl Machine {
    pub fn max_batch_size(&self) -> usize {
        self.times.len()
    }

    /// Rows in a ns that batches of the full size do.
    pub fn capacity(&self) -> f64 {
        let rows = self.max_batch_size();
        rows as f64 / (self.times[rows - 1] * self.scatter.mean())
    }
}

/// What a simulation came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Of the accepted requests, the share above the target.
    pub late: f64,
    /// Of all requests, the share that was refused.
    pub refused: f64,
    /// Cost of each row that ran.
    pub cost: f64,
    /// Rows of a batch, on the average.
    pub rows: f64,
    /// Rows that ran in a second.
    pub rate: f64,
}

impl Outcome {
    /// Of all requests, the share that was not answered in time.
    pub fn missed(&self) -> f64 {
        self.refused + (1.0 - self.refused) * self.late
    }
}

/// Lets a policy answer all requests of a source. The first `warm_up` requests do not count.
///
/// # Panics
/// The policy waits for a time that is past, or runs none or more than there are.
pub fn simulate(
    machine: &Machine,
    source: &mut dyn Source,
    policy: &mut dyn Policy,
    warm_up: u64,
    seed: u64,
) -> Outcome {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut waiting = std::collections::VecDeque::new();
    let mut running: Option<Running> = None;
    let mut look_again = None;
    let mut id = 0;
    let mut span: Option<(u64, u64)> = None;
    let (mut refused, mut accepted, mut late, mut cost, mut rows_run, mut batches) = (0, 0, 0, 0.0, 0, 0);
    loop {
        let ends = running.as_ref().map(|&(_, end, _)| end);
        let Some(now) = [source.next(), ends, look_again].into_iter().flatten().min() else { break };
        if let Some((start, end, requests)) = running.take_if(|&mut (_, end, _)| end <= now) {
            policy.executed(end, requests.len(), end - start);
            for (id, arrival) in requests {
                late += u64::from(id >= warm_up && (end - arrival) as f64 > machine.target);
                source.answered(end);
            }
        }
        while source.next().is_some_and(|at| at <= now) {
            let arrival = source.take();
            if policy.arrived(arrival, id) {
                accepted += u64::from(id >= warm_up);
                waiting.push_back((id, arrival));
            } else {
                refused += u64::from(id >= warm_up);
                source.refused(now);
            }
            id += 1;
        }
        look_again = None;
        if running.is_some() {
            continue;
        }
        match policy.decide(now) {
            Decision::Run(rows) => {
                assert!((1..=waiting.len()).contains(&rows), "{rows} of {} requests", waiting.len());
                let factor = machine.scatter.draw(&mut random);
                let end = now + (machine.times[rows - 1] * factor).max(1.0) as u64;
                let requests: Vec<_> = waiting.drain(..rows).collect();
                if requests[0].0 >= warm_up {
                    cost += machine.costs[rows - 1] * factor;
                    rows_run += rows;
                    batches += 1;
                    span = Some((span.map_or(now, |(first, _)| first), end));
                }
                running = Some((now, end, requests));
            }
            Decision::LookAgain(at) => {
                assert!(at > now, "look again at {at}, when it is {now}");
                look_again = Some(at);
            }
            Decision::Idle => {}
        }
    }
    let share = |part: u64, all: u64| part as f64 / all.max(1) as f64;
    Outcome {
        late: share(late, accepted),
        refused: share(refused, accepted + refused),
        cost: cost / rows_run.max(1) as f64,
        rows: rows_run as f64 / f64::from(batches.max(1)),
        rate: span.map_or(0.0, |(first, last)| rows_run as f64 * 1e9 / (last - first) as f64),
    }
}
