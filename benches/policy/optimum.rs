//! The solver's solution as a policy that knows the real ages, and the least cost for each share of requests that
//! are not answered in time.

use std::collections::VecDeque;

use crate::arrivals::{Mmpp, Open};
use crate::chain::Chain;
use crate::simulate::{Decision, Machine, Outcome, Policy, simulate};
use crate::solver::{Prices, Solution};

/// The target is divided into so many steps.
const STEPS: usize = 120;
/// Within so many steps before the grid says that a batch runs, the real ages decide.
const CLOSE: usize = 3;

/// Acts by a solution. Looks one decision ahead with the real ages of all that wait.
pub struct Optimum<'a> {
    chain: &'a Chain,
    solution: &'a Solution,
    /// For each phase, number waiting and age: for how many steps the grid says to wait.
    quiet: Vec<Vec<Vec<usize>>>,
    waiting: VecDeque<u64>,
    /// When the running batch ends as a rule.
    busy_until: Option<f64>,
    phases: &'a [(u64, usize)],
    phase: usize,
}

impl<'a> Optimum<'a> {
    pub fn new(chain: &'a Chain, solution: &'a Solution, phases: &'a [(u64, usize)]) -> Self {
        let quiet = |phase: usize, waiting: usize| {
            let mut steps = vec![0; chain.ages + 1];
            if waiting >= 1 && waiting < chain.max_batch_size {
                for age in (0..chain.ages).rev() {
                    let wait = solution.wait(chain, &solution.values, phase, waiting, age);
                    if wait < solution.run(chain, phase, waiting, age).1 {
                        steps[age] = steps[age + 1] + 1;
                    }
                }
            }
            steps
        };
        let quiet = (0..chain.phases)
            .map(|phase| (0..chain.max_batch_size).map(|waiting| quiet(phase, waiting)).collect())
            .collect();
        Self { chain, solution, quiet, waiting: VecDeque::new(), busy_until: None, phases, phase: 0 }
    }

    /// For each number waiting: the age, in steps, from which on a batch runs.
    pub fn runs_from(&self, phase: usize) -> Vec<usize> {
        self.quiet[phase].iter().map(|steps| steps[0]).collect()
    }

    /// The number of waiting requests from which on one more is refused, when a batch ends at this age.
    fn refuses(&self, age: f64) -> bool {
        let (values, prices) = (&self.solution.values, self.solution.prices);
        let waiting = self.waiting.len().min(self.chain.most - 1);
        let kept = values.between(self.phase, waiting, age);
        let more = values.between(self.phase, waiting + 1, age);
        prices.may_refuse && more >= kept + prices.refused * (1.0 - 1e-9)
    }

    fn look_up_phase(&mut self, now: u64) {
        while let [_, (since, phase), ..] = self.phases {
            if *since > now {
                break;
            }
            self.phase = *phase;
            self.phases = &self.phases[1..];
        }
    }

    fn age(&self, now: u64, index: usize) -> f64 {
        (now - self.waiting[index]) as f64
    }

    fn late(&self, now: f64, rows: usize) -> f64 {
        let is_late = |&arrival: &u64| self.chain.is_late(rows, now - arrival as f64);
        self.waiting.iter().take(rows).map(is_late).sum()
    }

    /// The best batch to run now, and its value.
    fn run(&self, now: u64) -> (usize, f64) {
        let (chain, solution, waiting) = (self.chain, self.solution, self.waiting.len());
        let all = (waiting <= chain.max_batch_size).then(|| (waiting, solution.cleared(waiting, self.phase)));
        let part = solution.partial.iter().take_while(|(size, _)| *size < waiting).map(|(size, after)| {
            let left = (waiting - size).min(chain.most - size);
            (*size, after.between(self.phase, left, self.age(now, *size) / chain.step))
        });
        all.into_iter()
            .chain(part)
            .map(|(size, after)| (size, solution.batch(chain, size, self.late(now as f64, size)) + after))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .expect("something waits")
    }

    /// The value of waiting. The solution takes the ages to be even; the difference counts as if all ran after a step.
    fn wait(&self, now: u64) -> f64 {
        let (chain, solution, waiting) = (self.chain, self.solution, self.waiting.len());
        let age = (self.age(now, 0) / chain.step).min((chain.ages - 1) as f64);
        let (whole, part) = ((age as usize).min(chain.ages - 2), age.fract());
        let at = |age| {
            let wait = solution.wait(chain, &solution.values, self.phase, waiting, age);
            wait - solution.prices.late * chain.expected_late(waiting, waiting, age + 1)
        };
        let (low, high) = (at(whole), at(whole + 1));
        low + part * (high - low) + solution.prices.late * self.late(now as f64 + chain.step, waiting)
    }
}

impl Policy for Optimum<'_> {
    fn arrived(&mut self, now: u64, _: u64) -> bool {
        self.look_up_phase(now);
        if let Some(ends) = self.busy_until {
            let oldest = self.waiting.front().copied().unwrap_or(now) as f64;
            let age = (ends.max(now as f64) - oldest) / self.chain.step;
            if self.refuses(age) {
                return false;
            }
        }
        self.waiting.push_back(now);
        true
    }

    fn decide(&mut self, now: u64) -> Decision {
        self.look_up_phase(now);
        let waiting = self.waiting.len();
        if waiting == 0 {
            return Decision::Idle;
        }
        let chain = self.chain;
        let age = self.age(now, 0) / chain.step;
        if waiting < chain.max_batch_size && age < (chain.ages - 1) as f64 {
            let quiet = self.quiet[self.phase][waiting][age as usize];
            // The number is for the step's start.
            if quiet > CLOSE + 1 {
                let until = (age as usize + quiet - CLOSE) as f64 * chain.step;
                return Decision::LookAgain(self.waiting[0] + until as u64);
            }
            let (rows, value) = self.run(now);
            if self.wait(now) < value {
                return Decision::LookAgain(now + chain.step as u64);
            }
            return self.start(now, rows);
        }
        let (rows, _) = self.run(now);
        self.start(now, rows)
    }

    fn executed(&mut self, _: u64, _: usize, _: u64) {
        self.busy_until = None;
    }
}

impl Optimum<'_> {
    fn start(&mut self, now: u64, rows: usize) -> Decision {
        self.waiting.drain(..rows);
        self.busy_until = Some(now as f64 + self.chain.times[rows - 1]);
        Decision::Run(rows)
    }
}

/// One price for late requests, and what it leads to.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub price: f64,
    pub outcome: Outcome,
}

/// The least cost at each share of requests that are not answered in time.
pub struct Frontier<'a> {
    chain: Chain,
    machine: &'a Machine,
    arrivals: &'a Open,
    warm_up: u64,
    may_refuse: bool,
    last: Option<Solution>,
    /// By price.
    pub points: Vec<Point>,
    pub sweeps: usize,
}

impl<'a> Frontier<'a> {
    pub fn new(
        machine: &'a Machine,
        process: &Mmpp,
        arrivals: &'a Open,
        warm_up: u64,
        may_refuse: bool,
    ) -> Self {
        let most = 3 * machine.max_batch_size();
        let chain = Chain::new(machine, process, STEPS, most);
        Self { chain, machine, arrivals, warm_up, may_refuse, last: None, points: Vec::new(), sweeps: 0 }
    }

    /// The cost of a row in the largest batch: prices are multiples of it.
    fn unit(&self) -> f64 {
        let rows = self.machine.max_batch_size();
        self.machine.costs[rows - 1] / rows as f64
    }

    fn add(&mut self, price: f64) -> Outcome {
        let late = price * self.unit();
        // Who is refused costs no time: without this, refusing would be cheaper than answering.
        let prices = Prices { late, refused: late + self.unit(), may_refuse: self.may_refuse };
        let solution = Solution::new(&self.chain, prices, self.last.as_ref());
        self.sweeps += solution.sweeps;
        let outcome = {
            let mut policy = Optimum::new(&self.chain, &solution, &self.arrivals.phases);
            simulate(self.machine, &mut self.arrivals.clone(), &mut policy, self.warm_up, 1)
        };
        self.last = Some(solution);
        let at = self.points.partition_point(|point| point.price < price);
        self.points.insert(at, Point { price, outcome });
        outcome
    }

    /// Adds points until the share is between two that are close, or no price leads to one as small.
    pub fn reach(&mut self, missed: f64) {
        const PRICES: [f64; 5] = [0.3, 3.0, 30.0, 300.0, 3_000.0];
        if self.points.is_empty() {
            for price in PRICES {
                if self.add(price).missed() < missed / 4.0 {
                    break;
                }
            }
        }
        for _ in 0..4 {
            let above = self.points.iter().rposition(|point| point.outcome.missed() > missed);
            let Some(above) = above else { return };
            let Some(&[low, high]) = self.points.get(above..above + 2).and_then(|pair| pair.first_chunk())
            else {
                return;
            };
            if high.price < 1.3 * low.price || low.outcome.missed() < 1.15 * high.outcome.missed() {
                return;
            }
            self.add((low.price * high.price).sqrt());
        }
    }

    /// The least cost at this share, between the points on either side; None below all of them.
    pub fn cost(&self, missed: f64) -> Option<f64> {
        let above = self.points.iter().filter(|point| point.outcome.missed() > missed);
        let below = self.points.iter().filter(|point| point.outcome.missed() <= missed);
        // Whatever is cheaper with fewer late replaces what is dearer.
        let right = above.min_by(|a, b| a.outcome.missed().total_cmp(&b.outcome.missed()));
        let left = below.min_by(|a, b| a.outcome.cost.total_cmp(&b.outcome.cost))?;
        let Some(right) = right else { return Some(left.outcome.cost) };
        let (from, to) = (left.outcome.missed(), right.outcome.missed());
        let part = (missed - from) / (to - from);
        let cost = left.outcome.cost + part * (right.outcome.cost - left.outcome.cost);
        Some(cost.min(left.outcome.cost))
    }

    /// The outcome of the cheapest policy with at most this share, or of the one with the smallest share.
    pub fn at_most(&self, missed: f64) -> Outcome {
        let within = self.points.iter().filter(|point| point.outcome.missed() <= missed);
        within
            .min_by(|a, b| a.outcome.cost.total_cmp(&b.outcome.cost))
            .or_else(|| {
                self.points.iter().min_by(|a, b| a.outcome.missed().total_cmp(&b.outcome.missed()))
            })
            .map(|point| point.outcome)
            .unwrap_or_default()
    }

    /// What the last solution does: for each number waiting, the share of the target from which on a batch runs.
    pub fn thresholds(&self) -> Vec<f64> {
        let Some(solution) = &self.last else { return Vec::new() };
        let policy = Optimum::new(&self.chain, solution, &self.arrivals.phases);
        policy.runs_from(0).iter().map(|&age| age as f64 / STEPS as f64).collect()
    }
}
