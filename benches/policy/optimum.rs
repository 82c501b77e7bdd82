//! The solver's solution as a policy that knows the real ages, and the least cost for each share of requests that
//! are not answered in time.

use std::collections::VecDeque;

use crate::arrivals::{Mmpp, Open};
use crate::chain::Chain;
use crate::simulate::{Decision, Machine, Outcome, Policy, simulate};
use crate::solver::{Prices, Solution};

/// The target is divided into so many steps.
const STEPS: usize = 96;

/// Acts by a solution.
pub struct Optimum<'a> {
    chain: &'a Chain,
    solution: &'a Solution,
    /// For each phase, number waiting and age: for how many steps the grid says to wait.
    quiet: Vec<Vec<Vec<usize>>>,
    waiting: VecDeque<u64>,
    /// When the running batch ends as a rule.
    busy_until: Option<f64>,
    /// Whether the last request that came was refused.
    refused: bool,
    phases: &'a [(u64, usize)],
    phase: usize,
}

impl<'a> Optimum<'a> {
    pub fn new(chain: &'a Chain, solution: &'a Solution, phases: &'a [(u64, usize)]) -> Self {
        let quiet = |phase: usize, waiting: usize| {
            let mut steps = vec![0; chain.ages + 1];
            if waiting >= 1 && waiting < chain.max_batch_size {
                for age in (0..chain.ages).rev() {
                    let wait = solution.wait(chain, &solution.values, phase, 0.0, waiting, age);
                    if wait < solution.run(chain, phase, 0.0, waiting, age).1 {
                        steps[age] = steps[age + 1] + 1;
                    }
                }
            }
            steps
        };
        let quiet = (0..chain.phases)
            .map(|phase| (0..chain.max_batch_size).map(|waiting| quiet(phase, waiting)).collect())
            .collect();
        Self {
            chain,
            solution,
            quiet,
            waiting: VecDeque::new(),
            busy_until: None,
            refused: false,
            phases,
            phase: 0,
        }
    }

    /// Whether a request that comes during a batch is refused: whether the queue at the batch's end is worth more
    /// without it, if none after it is accepted.
    fn refuses(&self, now: u64, ends: f64) -> bool {
        let (values, prices) = (&self.solution.values, self.solution.prices);
        if !prices.may_refuse || self.waiting.len() >= self.chain.most {
            return prices.may_refuse;
        }
        let ends = ends.max(now as f64);
        let age = |arrival: u64| ends - arrival as f64;
        let oldest = age(self.waiting.front().copied().unwrap_or(now));
        let value = |waiting: usize, youngest: u64| {
            values.between(self.phase, age(youngest) / oldest.max(1.0), waiting, oldest / self.chain.step)
        };
        let waiting = self.waiting.len();
        let without = value(waiting, self.waiting.back().copied().unwrap_or(now));
        value(waiting + 1, now) > without + prices.refused
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

    /// The youngest's age as a share of the oldest's, where the last ones were refused.
    fn youngest(&self, now: u64) -> f64 {
        if !self.refused {
            return 0.0;
        }
        self.age(now, self.waiting.len() - 1) / self.age(now, 0).max(1.0)
    }
}

impl Policy for Optimum<'_> {
    fn arrived(&mut self, now: u64, _: u64) -> bool {
        self.look_up_phase(now);
        self.refused = self.busy_until.is_some_and(|ends| self.refuses(now, ends));
        if self.refused {
            return false;
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
        let (chain, solution) = (self.chain, self.solution);
        let age = self.age(now, 0) / chain.step;
        let youngest = self.youngest(now);
        if waiting < chain.max_batch_size && age < chain.ages as f64 && youngest == 0.0 {
            // The number is for the step's start.
            let quiet = self.quiet[self.phase][waiting][age as usize];
            if quiet > 0 {
                let until = (age as usize + quiet) as f64 * chain.step;
                return Decision::LookAgain((self.waiting[0] + until as u64).max(now + 1));
            }
        }
        let age = (age.round() as usize).min(chain.ages);
        let (rows, _) = solution.run(chain, self.phase, youngest, waiting.min(chain.most), age);
        self.waiting.drain(..rows);
        self.busy_until = Some(now as f64 + chain.times[rows - 1]);
        Decision::Run(rows)
    }

    fn executed(&mut self, _: u64, _: usize, _: u64) {
        self.busy_until = None;
    }
}

/// One price for late requests, and what it leads to.
pub struct Point {
    /// In costs of a row in the largest batch.
    pub price: f64,
    pub outcome: Outcome,
    pub solution: Solution,
}

/// The least cost at each share of requests that are not answered in time.
pub struct Frontier<'a> {
    pub chain: Chain,
    machine: &'a Machine,
    arrivals: &'a Open,
    warm_up: u64,
    may_refuse: bool,
    /// By price.
    pub points: Vec<Point>,
}

impl<'a> Frontier<'a> {
    pub fn new(
        machine: &'a Machine,
        process: &Mmpp,
        arrivals: &'a Open,
        warm_up: u64,
        may_refuse: bool,
    ) -> Self {
        // With refusals, the queue is as long as what can be answered in time.
        let most = if may_refuse { 2 } else { 3 } * machine.max_batch_size();
        let chain = Chain::new(machine, process, STEPS, most);
        Self { chain, machine, arrivals, warm_up, may_refuse, points: Vec::new() }
    }

    /// The cost of a row in the largest batch: prices are multiples of it.
    fn unit(&self) -> f64 {
        let rows = self.machine.max_batch_size();
        self.machine.costs[rows - 1] / rows as f64
    }

    fn nearest(&self, price: f64) -> Option<&Point> {
        let far = |point: &Point| (point.price / price).ln().abs();
        self.points.iter().min_by(|a, b| far(a).total_cmp(&far(b)))
    }

    fn add(&mut self, price: f64) -> Outcome {
        let unit = self.unit();
        // Who is refused costs no time: without this, refusing would be cheaper than answering.
        let prices =
            Prices { late: price * unit, refused: (price + 1.0) * unit, may_refuse: self.may_refuse };
        let largest = self.machine.max_batch_size() as f64;
        let near = self.nearest(price);
        let rows = near.map_or(largest, |near| (1.2 * near.outcome.rows).min(largest));
        let start = near.map(|near| {
            let dearer = (price - near.price) * unit * near.outcome.missed();
            (near.solution.gain + self.chain.mean_rate * dearer, &near.solution)
        });
        let solution = Solution::new(&self.chain, prices, rows, start);
        let mut policy = Optimum::new(&self.chain, &solution, &self.arrivals.phases);
        let outcome = simulate(self.machine, &mut self.arrivals.clone(), &mut policy, self.warm_up, 1);
        let at = self.points.partition_point(|point| point.price < price);
        self.points.insert(at, Point { price, outcome, solution });
        outcome
    }

    /// Adds points until this share is between two that are close, or no price leads to one as small.
    pub fn reach(&mut self, missed: f64) {
        const FIRST: f64 = 0.5;
        const APART: f64 = 3.0;
        const LOWEST: f64 = 0.01;
        const HIGHEST: f64 = 300.0;
        if self.points.is_empty() {
            self.add(FIRST);
        }
        while self.points[0].outcome.missed() <= missed && self.points[0].price > LOWEST {
            self.add(self.points[0].price / APART);
        }
        let last =
            |points: &[Point]| points.last().map_or((0.0, 0.0), |last| (last.price, last.outcome.missed()));
        loop {
            let (price, least) = last(&self.points);
            // Beyond some price, fewer are not to be had.
            if least <= missed || price > HIGHEST || self.add(price * APART).missed() > 0.97 * least {
                break;
            }
        }
        for _ in 0..4 {
            let above = self.points.iter().rposition(|point| point.outcome.missed() > missed);
            let Some([low, high]) = above.and_then(|above| self.points.get(above..above + 2)) else { return };
            let close = low.outcome.missed() < 1.2 * high.outcome.missed()
                || low.outcome.cost > 0.997 * high.outcome.cost;
            if close || high.price < 1.1 * low.price {
                return;
            }
            self.add((low.price * high.price).sqrt());
        }
    }

    /// For each number waiting below the largest batch: the share of the target that the oldest waits at most.
    pub fn thresholds(&self, solution: &Solution) -> Vec<f64> {
        let policy = Optimum::new(&self.chain, solution, &self.arrivals.phases);
        policy.quiet[0].iter().map(|steps| steps[0] as f64 / STEPS as f64).collect()
    }
}

/// The least cost at this share, between the points on either side; None below all of them.
pub fn cost(points: &[&Point], missed: f64) -> Option<f64> {
    let outcomes = || points.iter().map(|point| point.outcome);
    let within = outcomes().filter(|outcome| outcome.missed() <= missed);
    let left = within.min_by(|a, b| a.cost.total_cmp(&b.cost))?;
    // Of two policies in turn, each for some of the time, the outcome is between the two.
    let between = outcomes().filter(|outcome| outcome.missed() > missed).map(|right| {
        let part = (missed - left.missed()) / (right.missed() - left.missed());
        left.cost + part * (right.cost - left.cost)
    });
    Some(between.fold(left.cost, f64::min))
}

/// The cheapest point with at most this share, or the one with the smallest share.
///
/// # Panics
/// There are no points.
pub fn at_most<'a>(points: &[&'a Point], missed: f64) -> &'a Point {
    let within = points.iter().filter(|point| point.outcome.missed() <= missed);
    let fewest = || points.iter().min_by(|a, b| a.outcome.missed().total_cmp(&b.outcome.missed()));
    within.min_by(|a, b| a.outcome.cost.total_cmp(&b.outcome.cost)).or_else(fewest).expect("points")
}
