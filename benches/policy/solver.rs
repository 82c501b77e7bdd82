//! The least cost of a queue that is served in batches: a semi-Markov decision process, solved by value
//! iteration.
//!
//! The state at a decision is the phase of the arrivals, how many requests wait, and the age of the oldest on a
//! grid. The worker waits (for the next step of the grid or the next request) or runs the first k. What is
//! minimised is the cost of the batches in the long run, plus a price for each late request and, where requests may
//! be refused, a price for each of those.
//!
//! What is approximate: the other requests are taken to lie evenly between the oldest and now, which is exact for
//! Poisson arrivals as long as batches take all that waits; requests are refused when the batch ends during which
//! they came, not when they come. Neither distorts what the comparison says, as the solution is only used
//! as a policy in the simulation: there it knows all ages, and looks one decision ahead with them.
//!
//! One sweep is one batch: the values after a batch come from the last sweep, those of waiting from this one, from
//! the highest age and the longest queue down. So as many sweeps are needed as batches until the queue has forgotten
//! where it began.

use crate::chain::Chain;

/// Partial batches are tried in all sizes up to this one, and then in so many larger ones.
const ALL_SIZES: usize = 8;
const LARGER_SIZES: usize = 8;
/// The values of partial batches change little from sweep to sweep, and are found anew every so many.
const REFRESHED: usize = 4;
const MOST_SWEEPS: usize = 600;
/// The values are known when a sweep changes them by less than so much of the cost of a row.
const EXACT: f64 = 2e-3;

/// What a late and a refused request costs.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    pub late: f64,
    pub refused: f64,
    pub may_refuse: bool,
}

/// A value for each phase, number waiting and age.
#[derive(Clone)]
pub struct Values {
    lengths: usize,
    ages: usize,
    values: Vec<f64>,
}

impl Values {
    fn new(chain: &Chain) -> Self {
        let (lengths, ages) = (chain.most + 1, chain.ages + 1);
        Self { lengths, ages, values: vec![0.0; chain.phases * lengths * ages] }
    }

    pub fn get(&self, phase: usize, waiting: usize, age: usize) -> f64 {
        self.values[(phase * self.lengths + waiting) * self.ages + age]
    }

    fn set(&mut self, phase: usize, waiting: usize, age: usize, value: f64) {
        self.values[(phase * self.lengths + waiting) * self.ages + age] = value;
    }

    fn row(&self, phase: usize, waiting: usize) -> &[f64] {
        &self.values[(phase * self.lengths + waiting) * self.ages..][..self.ages]
    }

    fn row_mut(&mut self, phase: usize, waiting: usize) -> &mut [f64] {
        &mut self.values[(phase * self.lengths + waiting) * self.ages..][..self.ages]
    }

    /// Between two ages of the grid.
    pub fn between(&self, phase: usize, waiting: usize, age: f64) -> f64 {
        let age = age.clamp(0.0, (self.ages - 1) as f64);
        let (whole, part) = (age as usize, age.fract());
        let row = self.row(phase, waiting);
        row[whole] + part * (row[(whole + 1).min(self.ages - 1)] - row[whole])
    }

    fn shift(&mut self, by: f64) {
        self.values.iter_mut().for_each(|value| *value += by);
    }
}

/// The best policy for some prices, as values.
pub struct Solution {
    pub prices: Prices,
    /// What is paid in a ns in the long run.
    pub gain: f64,
    pub values: Values,
    /// For each batch size and phase: the value of having run all that waited.
    clear: Vec<Vec<f64>>,
    /// The sizes of batches that leave some waiting, and the value of having run one: by the phase at its start, what
    /// it leaves, and the age of the oldest of those at its start.
    pub partial: Vec<(usize, Values)>,
    pub sweeps: usize,
}

impl Solution {
    pub fn new(chain: &Chain, prices: Prices, start: Option<&Solution>) -> Self {
        let mut solution = match start {
            Some(start) => Self {
                prices,
                gain: start.gain,
                values: start.values.clone(),
                clear: start.clear.clone(),
                partial: start.partial.clone(),
                sweeps: 0,
            },
            None => Self {
                prices,
                gain: chain.mean_rate * chain.costs[chain.max_batch_size - 1] / chain.max_batch_size as f64,
                values: Values::new(chain),
                clear: Vec::new(),
                partial: sizes(chain.max_batch_size).map(|size| (size, Values::new(chain))).collect(),
                sweeps: 0,
            },
        };
        let exact = EXACT * chain.costs[0];
        while solution.sweeps < MOST_SWEEPS {
            let refreshes = solution.sweeps.is_multiple_of(REFRESHED);
            let change = solution.sweep(chain, refreshes);
            solution.sweeps += 1;
            if refreshes && change < exact {
                break;
            }
        }
        solution
    }

    /// One batch further. Returns by how much the values changed at most.
    fn sweep(&mut self, chain: &Chain, refreshes: bool) -> f64 {
        self.clear = self.after_clearing(chain);
        for (size, after) in &mut self.partial {
            if refreshes || *size == chain.max_batch_size {
                after_partial(chain, self.prices, &self.values, *size, after);
            }
        }
        let mut next = self.values.clone();
        for waiting in (1..=chain.most).rev() {
            for age in (0..=chain.ages).rev() {
                for phase in 0..chain.phases {
                    let mut best = self.run(chain, phase, waiting, age).1;
                    if waiting < chain.max_batch_size && age < chain.ages {
                        best = best.min(self.wait(chain, &next, phase, waiting, age));
                    }
                    next.set(phase, waiting, age, best);
                }
            }
        }
        self.set_empty(chain, &mut next);
        if self.prices.may_refuse {
            refuse(chain, self.prices.refused, &mut next);
        }
        let drift = next.get(0, 1, 0);
        next.shift(-drift);
        self.partial.iter_mut().for_each(|(_, after)| after.shift(-drift));
        // A batch takes max_batch_size rows at most, so that this never goes too far.
        self.gain += drift * chain.mean_rate / chain.max_batch_size as f64;
        let old = &self.values.values;
        let change = old.iter().zip(&next.values).map(|(old, new)| (old - new).abs()).fold(0.0, f64::max);
        self.values = next;
        change.max(drift.abs())
    }

    /// The best batch to run now, and its value.
    pub fn run(&self, chain: &Chain, phase: usize, waiting: usize, age: usize) -> (usize, f64) {
        let mut best = (0, f64::INFINITY);
        if waiting <= chain.max_batch_size {
            let late = chain.expected_late(waiting, waiting, age);
            best = (waiting, self.batch(chain, waiting, late) + self.cleared(waiting, phase));
        }
        for (size, after) in self.partial.iter().take_while(|(size, _)| *size < waiting) {
            let late = chain.expected_late(*size, waiting, age);
            let (left, all) = ((waiting - size) as f64, waiting as f64);
            // The mean age of the oldest that is left, and its standard deviation: a beta distribution.
            let mean = age as f64 * left / all;
            let deviation = age as f64 * (left * *size as f64 / (all + 1.0)).sqrt() / all;
            let value = |age: f64| after.between(phase, waiting - size, age);
            let value = (value(mean - deviation) + value((mean + deviation).min(age as f64))) / 2.0;
            let value = self.batch(chain, *size, late) + value;
            if value < best.1 {
                best = (*size, value);
            }
        }
        best
    }

    /// What a batch itself costs, compared with the long run.
    pub fn batch(&self, chain: &Chain, rows: usize, late: f64) -> f64 {
        chain.costs[rows - 1] + self.prices.late * late - self.gain * chain.times[rows - 1]
    }

    /// The value of having run all that waited.
    pub fn cleared(&self, rows: usize, phase: usize) -> f64 {
        self.clear[rows - 1][phase]
    }

    /// The value of waiting, from those of the states it leads to.
    pub fn wait(&self, chain: &Chain, values: &Values, phase: usize, waiting: usize, age: usize) -> f64 {
        let (mut none, mut value) = (0.0, 0.0);
        for to in 0..chain.phases {
            let share = chain.counts[1].none(phase, to);
            none += share;
            value += share * values.get(to, waiting, age + 1);
        }
        let within = chain.within[phase];
        let (now, later) = (values.get(phase, waiting + 1, age), values.get(phase, waiting + 1, age + 1));
        let taken = none + (1.0 - none) * within;
        value + (1.0 - none) * (now + within * (later - now)) - self.gain * taken * chain.step
    }

    fn set_empty(&self, chain: &Chain, values: &mut Values) {
        // Phases lead to one another: a few rounds find what the equations say.
        for _ in 0..if chain.phases > 1 { 200 } else { 1 } {
            for phase in 0..chain.phases {
                // In one step: as `wait`, with a request that is new when it comes.
                let stays = chain.counts[1].none(phase, phase);
                let mut others = 0.0;
                let mut value = 0.0;
                for to in (0..chain.phases).filter(|&to| to != phase) {
                    let share = chain.counts[1].none(phase, to);
                    others += share;
                    value += share * values.get(to, 0, 0);
                }
                let comes = 1.0 - stays - others;
                value += comes * values.get(phase, 1, 0);
                let taken = stays + others + comes * chain.within[phase];
                value = (value - self.gain * taken * chain.step) / (1.0 - stays);
                values.row_mut(phase, 0).fill(value);
            }
        }
    }

    /// For each batch size and first phase, the value of what is found after it when it took all.
    fn after_clearing(&self, chain: &Chain) -> Vec<Vec<f64>> {
        let longest = chain.counts.len() - 1;
        let phases = chain.phases;
        // The first request comes in a step after which so many remain, in some phase.
        let comes: Vec<f64> = (0..longest * phases)
            .map(|index| self.first_comes(chain, index % phases, index / phases))
            .collect();
        let after = |phase: usize, steps: usize| {
            let mut value = 0.0;
            for to in 0..phases {
                value += chain.counts[steps].none(phase, to) * self.values.get(to, 0, 0);
                for left in 0..steps {
                    value += chain.counts[steps - 1 - left].none(phase, to) * comes[left * phases + to];
                }
            }
            value
        };
        let all: Vec<Vec<f64>> =
            (0..=longest).map(|steps| (0..phases).map(|phase| after(phase, steps)).collect()).collect();
        let mean = |durations: &Vec<(usize, f64)>, phase: usize| {
            durations.iter().map(|&(steps, share)| share * all[steps][phase]).sum()
        };
        chain
            .durations
            .iter()
            .map(|durations| (0..phases).map(|phase| mean(durations, phase)).collect())
            .collect()
    }

    /// What is found at the end, times its likelihood, if nothing waits and the first request comes in a step
    /// that begins in this phase and has so many steps after it.
    fn first_comes(&self, chain: &Chain, phase: usize, left: usize) -> f64 {
        let mut sum = 0.0;
        for via in 0..chain.phases {
            for (first, share) in chain.counts[1].from_to(phase, via).filter(|&(first, _)| first > 0) {
                // The oldest of so many in a step is so far from its end, on the average.
                let part = first as f64 / (first + 1) as f64;
                for to in 0..chain.phases {
                    for (more, chance) in chain.counts[left].from_to(via, to) {
                        let waiting = first + more;
                        let kept = waiting.min(chain.most);
                        let (age, older) = (left.min(chain.ages), (left + 1).min(chain.ages));
                        let (low, high) = (self.values.get(to, kept, age), self.values.get(to, kept, older));
                        let lost = (waiting - kept) as f64 * self.prices.refused;
                        sum += share * chance * (low + part * (high - low) + lost);
                    }
                }
            }
        }
        sum
    }
}

/// The sizes of batches that may leave some waiting.
fn sizes(largest: usize) -> impl Iterator<Item = usize> {
    let apart = largest.saturating_sub(ALL_SIZES).div_ceil(LARGER_SIZES).max(1);
    let larger = (ALL_SIZES..largest).skip(apart).step_by(apart);
    (1..=ALL_SIZES.min(largest - 1)).chain(larger).chain([largest])
}

/// Sets the values of having run a batch of this size that leaves some waiting.
fn after_partial(chain: &Chain, prices: Prices, values: &Values, size: usize, after: &mut Values) {
    after.values.fill(0.0);
    let row_length = chain.ages + 1;
    for &(steps, share) in &chain.durations[size - 1] {
        let steps_kept = steps.min(chain.ages);
        for from in 0..chain.phases {
            for to in 0..chain.phases {
                for (count, chance) in chain.counts[steps].from_to(from, to) {
                    let weight = share * chance;
                    for left in 1..=chain.most - size {
                        let kept = (left + count).min(chain.most);
                        let lost = (left + count - kept) as f64 * prices.refused;
                        let found = values.row(to, kept);
                        let row = after.row_mut(from, left);
                        let (inner, outer) = row.split_at_mut(row_length - steps_kept);
                        for (sum, value) in inner.iter_mut().zip(&found[steps_kept..]) {
                            *sum += weight * (value + lost);
                        }
                        for sum in outer {
                            *sum += weight * (found[chain.ages] + lost);
                        }
                    }
                }
            }
        }
    }
}

/// The newest may be refused wherever that is better.
fn refuse(chain: &Chain, price: f64, values: &mut Values) {
    for phase in 0..chain.phases {
        for waiting in 1..=chain.most {
            for age in 0..=chain.ages {
                let fewer = values.get(phase, waiting - 1, age) + price;
                if fewer < values.get(phase, waiting, age) {
                    values.set(phase, waiting, age, fewer);
                }
            }
        }
    }
}
