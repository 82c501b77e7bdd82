//! What happens in a span of time and in a batch, on a grid of times: the parts of the solver's transitions
//! that do not depend on the policy.

use crate::arrivals::Mmpp;
use crate::simulate::Machine;

/// What is less likely than this is left out.
const NEGLIGIBLE: f64 = 1e-7;
/// A step is divided into so many parts, in each of which a phase is taken to last.
const PARTS: usize = 16;

/// How likely it is that so many requests come in a span, and that it ends in some phase.
#[derive(Clone)]
pub struct Counts {
    phases: usize,
    lowest: usize,
    /// For each count from `lowest` on, each first phase, each last phase.
    shares: Vec<f64>,
}

impl Counts {
    fn nothing(phases: usize) -> Self {
        let shares = (0..phases * phases).map(|index| f64::from(index / phases == index % phases)).collect();
        Self { phases, lowest: 0, shares }
    }

    /// In a span so short that the phase hardly changes.
    fn short(arrivals: &Mmpp, span: f64) -> Self {
        let phases = arrivals.phases();
        let mut shares = Vec::new();
        for count in 0..64 {
            for from in 0..phases {
                let expected = arrivals.rates[from] * span;
                let poisson =
                    (0..count).fold((-expected).exp(), |share, i| share * expected / (i + 1) as f64);
                let left: f64 =
                    (0..phases).filter(|&to| to != from).map(|to| arrivals.changes[from][to] * span).sum();
                for to in 0..phases {
                    let stays = if to == from { 1.0 - left } else { arrivals.changes[from][to] * span };
                    shares.push(poisson * stays);
                }
            }
        }
        Self { phases, lowest: 0, shares }.trimmed()
    }

    /// This span and then another.
    fn then(&self, other: &Self) -> Self {
        let phases = self.phases;
        let square = phases * phases;
        let counts = self.len() + other.len() - 1;
        let mut shares = vec![0.0; counts * square];
        for (a, first) in self.shares.chunks(square).enumerate() {
            for (b, second) in other.shares.chunks(square).enumerate() {
                let sum = &mut shares[(a + b) * square..][..square];
                for from in 0..phases {
                    for via in 0..phases {
                        for to in 0..phases {
                            sum[from * phases + to] += first[from * phases + via] * second[via * phases + to];
                        }
                    }
                }
            }
        }
        Self { phases, lowest: self.lowest + other.lowest, shares }.trimmed()
    }

    fn trimmed(mut self) -> Self {
        let square = self.phases * self.phases;
        let matters = |chunk: &[f64]| chunk.iter().any(|&share| share > NEGLIGIBLE);
        let first = self.shares.chunks(square).position(matters).unwrap_or(0);
        let last = self.shares.chunks(square).rposition(matters).unwrap_or(0);
        self.shares.truncate((last + 1) * square);
        self.shares.drain(..first * square);
        self.lowest += first;
        self
    }

    fn highest(&self) -> usize {
        self.lowest + self.len() - 1
    }

    fn len(&self) -> usize {
        self.shares.len() / (self.phases * self.phases)
    }

    /// Counts and how likely they are, from one phase to another.
    pub fn between(&self, from: usize, to: usize) -> impl Iterator<Item = (usize, f64)> {
        let square = self.phases * self.phases;
        self.shares
            .chunks(square)
            .zip(self.lowest..)
            .map(move |(chunk, count)| (count, chunk[from * self.phases + to]))
    }

    /// How likely it is that none comes, and that the span ends in this phase.
    pub fn none(&self, from: usize, to: usize) -> f64 {
        if self.lowest == 0 { self.shares[from * self.phases + to] } else { 0.0 }
    }
}

/// What comes first in a step: a request, another phase, or its end.
pub struct First {
    pub request: f64,
    /// By phase; 0 for this one.
    pub phases: Vec<f64>,
    pub end: f64,
    /// If one of the former, when on the average, in steps.
    pub within: f64,
}

impl First {
    fn new(arrivals: &Mmpp, phase: usize, step: f64) -> Self {
        let changes =
            (0..arrivals.phases()).map(|to| if to == phase { 0.0 } else { arrivals.changes[phase][to] });
        let changes: Vec<f64> = changes.collect();
        let rate = arrivals.rates[phase] + changes.iter().sum::<f64>();
        let expected = rate * step;
        let any = -(-expected).exp_m1();
        Self {
            request: any * arrivals.rates[phase] / rate,
            phases: changes.iter().map(|change| any * change / rate).collect(),
            end: 1.0 - any,
            within: if expected < 1e-3 { 0.5 } else { 1.0 / expected - 1.0 / expected.exp_m1() },
        }
    }

    /// The time until then, in steps.
    pub fn taken(&self) -> f64 {
        self.end + (1.0 - self.end) * self.within
    }
}

/// The grid, and what happens on it.
pub struct Chain {
    pub phases: usize,
    /// Of time, in ns.
    pub step: f64,
    /// The ages of the oldest request are 0..=ages steps; a greater age is this one.
    pub ages: usize,
    /// So many requests wait at most.
    pub most: usize,
    pub max_batch_size: usize,
    pub costs: Vec<f64>,
    /// Mean times of batches.
    pub times: Vec<f64>,
    /// Of a batch of each size: the steps it may take, and how likely.
    pub durations: Vec<Vec<(usize, f64)>>,
    /// Of 0, 1, 2, ... steps.
    pub counts: Vec<Counts>,
    /// What comes first in a step, in each phase.
    pub first: Vec<First>,
    pub mean_rate: f64,
    late: Vec<Late>,
}

impl Chain {
    pub fn new(machine: &Machine, arrivals: &Mmpp, steps_of_target: usize, most: usize) -> Self {
        let step = machine.target / steps_of_target as f64;
        let mean = machine.scatter.mean();
        let times: Vec<f64> = machine.times.iter().map(|time| time * mean).collect();
        let durations: Vec<_> = machine.times.iter().map(|&time| durations(machine, time / step)).collect();
        let longest = durations.iter().flatten().map(|&(steps, _)| steps).max().unwrap_or(0);
        let part = Counts::short(arrivals, step / PARTS as f64);
        let one = (1..PARTS).fold(part.clone(), |counts, _| counts.then(&part));
        let mut counts = vec![Counts::nothing(arrivals.phases())];
        for steps in 0..longest.max(1) {
            counts.push(counts[steps].then(&one));
        }
        let ages = steps_of_target + steps_of_target / 2;
        Self {
            phases: arrivals.phases(),
            step,
            ages,
            most,
            max_batch_size: machine.max_batch_size(),
            costs: machine.costs.iter().map(|cost| cost * mean).collect(),
            times,
            durations,
            counts,
            first: (0..arrivals.phases()).map(|phase| First::new(arrivals, phase, step)).collect(),
            mean_rate: arrivals.mean_rate(),
            late: (1..=machine.max_batch_size()).map(|rows| Late::new(machine, rows, step, ages)).collect(),
        }
    }

    /// How many of the first `rows` of `waiting` requests are late if they start now, on the average. Only the
    /// age of the oldest is known, in steps, and that of the youngest as a share of it: the others are taken to lie
    /// evenly between them.
    pub fn expected_late(&self, rows: usize, waiting: usize, oldest: usize, youngest: f64) -> f64 {
        let late = &self.late[rows - 1];
        let others = rows as f64 - 1.0;
        let age = oldest as f64;
        // The i-th of the others is so far on from the oldest, on the average.
        let at = |i: f64| age * (1.0 - (1.0 - youngest) * i / waiting as f64);
        let (from, to) = if rows == waiting { (age * youngest, age) } else { (at(others + 0.5), at(0.5)) };
        late.at(oldest) + others * late.mean(from, to)
    }

    /// More requests than this hardly ever come during a batch.
    pub fn most_arrivals(&self) -> usize {
        self.counts.iter().map(Counts::highest).max().unwrap_or(0)
    }
}

/// A short list of durations with the right mean; their scatter is far less than that of the arrivals. Slow batches
/// are kept apart.
fn durations(machine: &Machine, steps: f64) -> Vec<(usize, f64)> {
    let scatter = machine.scatter;
    let usual = steps * scatter.mean() / (1.0 + scatter.slow_share * (scatter.slow_factor - 1.0));
    let mut durations = Vec::new();
    for (steps, share) in
        [(usual, 1.0 - scatter.slow_share), (usual * scatter.slow_factor, scatter.slow_share)]
    {
        let (whole, part) = (steps.floor(), steps.fract());
        durations.push((whole as usize, share * (1.0 - part)));
        durations.push((whole as usize + 1, share * part));
    }
    durations.retain(|&(_, share)| share > 0.0);
    durations
}

/// How likely a request is late in a batch of one size that starts now, by its age in steps.
struct Late {
    shares: Vec<f64>,
    /// The integral of the shares from age 0 on.
    sums: Vec<f64>,
}

impl Late {
    fn new(machine: &Machine, rows: usize, step: f64, ages: usize) -> Self {
        let at = |age: f64| machine.scatter.above((machine.target - age * step) / machine.times[rows - 1]);
        let shares: Vec<f64> = (0..=ages).map(|age| at(age as f64)).collect();
        let mut sums = vec![0.0];
        for pair in shares.windows(2) {
            sums.push(sums[sums.len() - 1] + (pair[0] + pair[1]) / 2.0);
        }
        Self { shares, sums }
    }

    fn at(&self, age: usize) -> f64 {
        self.shares[age]
    }

    fn mean(&self, from: f64, to: f64) -> f64 {
        if to - from < 1e-9 {
            return self.shares[to as usize];
        }
        let sum = |age: f64| {
            let (whole, part) = (age as usize, age.fract());
            self.sums[whole] + part * (self.sums[(whole + 1).min(self.sums.len() - 1)] - self.sums[whole])
        };
        (sum(to) - sum(from)) / (to - from)
    }
}
