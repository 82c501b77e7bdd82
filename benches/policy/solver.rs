//! The least cost of a queue that is served in batches: a semi-Markov decision process, solved by value
//! iteration.
//!
//! The state at a decision is the phase of the arrivals, how many requests wait, and the age of the oldest on a
//! grid. The worker waits (for the next step of the grid or the next request) or runs the first k. What is
//! minimised is the cost of the batches in the long run, plus a price for each late request and, where requests may
//! be refused, a price for each of those.
//!
//! What is approximate: the other requests are taken to lie evenly between the oldest and now, or the youngest if the
//! last ones were refused. That is exact for Poisson arrivals as long as batches take all that waits. And how
//! many of those that come during a batch are refused is decided at its end. Both make the solver's own gain a
//! little too good; so a solution is used as a policy in the simulation, and that is what counts.
//!
//! One sweep is one batch: the values after a batch come from the last sweep, those of waiting from this one, from
//! the highest age and the longest queue down. So as many sweeps are needed as batches until the queue has forgotten
//! where it began.

use crate::chain::Chain;
use crate::values::{LAYERS, Values};

/// Partial batches are tried in all sizes up to this one, and beyond it in this many sizes in all.
const ALL_SIZES: usize = 16;
const SIZES: usize = 8;
/// The values of partial batches change little from sweep to sweep, and are found anew every so many.
const REFRESHED: usize = 4;
const MOST_SWEEPS: usize = 300;
/// The policy is found when so many sweeps
const STEADY: usize = 12;
/// changed the gain by less than so much of it. Values of hopeless states, which nobody sees, go on changing for long.
const EXACT: f64 = 1e-4;
/// What is less likely than this does not count after a partial batch.
const NEGLIGIBLE: f64 = 1e-6;
/// Of [`Solution::choices`]: no partial batch.
const NONE: u8 = u8::MAX;

/// What a late and a refused request costs.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    pub late: f64,
    pub refused: f64,
    pub may_refuse: bool,
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
    partial: Vec<(usize, Values)>,
    /// For each state the best of `partial` when it was last looked for.
    choices: Vec<u8>,
    pub sweeps: usize,
}

impl Solution {
    /// `rows` is about how many a batch will have. It need not be right, but half of what it turns out to be at least.
    /// `start`: a solution for other prices, and a guess of the gain with these.
    pub fn new(chain: &Chain, prices: Prices, rows: f64, start: Option<(f64, &Solution)>) -> Self {
        let layers = if prices.may_refuse { LAYERS } else { 1 };
        let values = start.map_or_else(|| Values::new(chain, layers), |(_, start)| start.values.clone());
        let partial = || sizes(chain.max_batch_size).map(|size| (size, Values::new(chain, 1))).collect();
        let cheapest = chain.costs[chain.max_batch_size - 1] / chain.max_batch_size as f64;
        let mut solution = Self {
            prices,
            gain: start.map_or(chain.mean_rate * cheapest, |(gain, _)| gain),
            clear: Vec::new(),
            partial: start.map_or_else(partial, |(_, start)| start.partial.clone()),
            choices: vec![NONE; values.values.len()],
            values,
            sweeps: 0,
        };
        let mut gains = vec![solution.gain];
        while solution.sweeps < MOST_SWEEPS {
            let refreshes = solution.sweeps.is_multiple_of(REFRESHED);
            solution.sweep(chain, rows, refreshes);
            solution.sweeps += 1;
            let last = &gains[gains.len().saturating_sub(STEADY)..];
            let change = last.iter().map(|gain| (gain - solution.gain).abs()).fold(0.0, f64::max);
            if last.len() == STEADY && change < EXACT * solution.gain.abs() {
                break;
            }
            gains.push(solution.gain);
        }
        solution
    }

    /// One batch further.
    fn sweep(&mut self, chain: &Chain, rows: f64, refreshes: bool) {
        self.clear = self.after_clearing(chain);
        for (size, after) in &mut self.partial {
            if refreshes || *size == chain.max_batch_size {
                after_partial(chain, self.prices, &self.values, *size, after);
            }
        }
        let mut next = self.values.clone();
        for phase in 0..chain.phases {
            for waiting in (1..=chain.most).rev() {
                for age in (0..=chain.ages).rev() {
                    for layer in 0..next.layers() {
                        let youngest = layer as f64 / LAYERS as f64;
                        let index = next.index(phase, layer, waiting, age);
                        if refreshes {
                            self.choices[index] = self.best_partial(chain, phase, youngest, waiting, age);
                        }
                        let mut best = self.run_all(chain, phase, youngest, waiting, age);
                        if let Some((size, after)) = self.partial.get(usize::from(self.choices[index])) {
                            best =
                                best.min(self.run_part(chain, phase, youngest, waiting, age, *size, after));
                        }
                        if waiting < chain.max_batch_size && age < chain.ages {
                            best = best.min(self.wait(chain, &next, phase, youngest, waiting, age));
                        }
                        next.values[index] = best;
                    }
                }
            }
        }
        self.set_empty(chain, &mut next);
        let drift = next.get(0, 1, 0);
        next.shift(-drift);
        self.partial.iter_mut().for_each(|(_, after)| after.shift(-drift));
        // What a batch pays too much or too little, over the time until the next one. Only half of it: the values lag
        // behind the gain, and the two would swing.
        self.gain += drift * chain.mean_rate / (2.0 * rows);
        self.values = next;
    }

    /// The best batch to run now, and its value.
    pub fn run(
        &self,
        chain: &Chain,
        phase: usize,
        youngest: f64,
        waiting: usize,
        age: usize,
    ) -> (usize, f64) {
        let all = (waiting, self.run_all(chain, phase, youngest, waiting, age));
        let choice = self.best_partial(chain, phase, youngest, waiting, age);
        let Some((size, after)) = self.partial.get(usize::from(choice)) else { return all };
        let part = self.run_part(chain, phase, youngest, waiting, age, *size, after);
        if part < all.1 { (*size, part) } else { all }
    }

    fn run_all(&self, chain: &Chain, phase: usize, youngest: f64, waiting: usize, age: usize) -> f64 {
        if waiting > chain.max_batch_size {
            return f64::INFINITY;
        }
        let late = chain.expected_late(waiting, waiting, age, youngest);
        self.batch(chain, waiting, late) + self.clear[waiting - 1][phase]
    }

    fn best_partial(&self, chain: &Chain, phase: usize, youngest: f64, waiting: usize, age: usize) -> u8 {
        let fitting = self.partial.iter().take_while(|(size, _)| *size < waiting).zip(0..);
        fitting
            .map(|((size, after), index)| {
                (index, self.run_part(chain, phase, youngest, waiting, age, *size, after))
            })
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(NONE, |(index, _)| index)
    }

    #[allow(clippy::too_many_arguments)]
    fn run_part(
        &self,
        chain: &Chain,
        phase: usize,
        youngest: f64,
        waiting: usize,
        age: usize,
        size: usize,
        after: &Values,
    ) -> f64 {
        let late = chain.expected_late(size, waiting, age, youngest);
        let (left, all) = ((waiting - size) as f64, waiting as f64);
        // The mean age of the oldest that is left, and its standard deviation: a beta distribution.
        let span = age as f64 * (1.0 - youngest);
        let mean = age as f64 - span * size as f64 / all;
        let deviation = span * (left * size as f64 / (all + 1.0)).sqrt() / all;
        let value = |age: f64| after.between(phase, 0.0, waiting - size, age);
        let value = (value(mean - deviation) + value((mean + deviation).min(age as f64))) / 2.0;
        self.batch(chain, size, late) + value
    }

    /// What a batch itself costs, compared with the long run.
    fn batch(&self, chain: &Chain, rows: usize, late: f64) -> f64 {
        chain.costs[rows - 1] + self.prices.late * late - self.gain * chain.times[rows - 1]
    }

    /// The value of waiting, from those of the states it leads to.
    pub fn wait(
        &self,
        chain: &Chain,
        values: &Values,
        phase: usize,
        youngest: f64,
        waiting: usize,
        age: usize,
    ) -> f64 {
        let older = if youngest > 0.0 { (youngest * age as f64 + 1.0) / (age as f64 + 1.0) } else { 0.0 };
        let first = &chain.first[phase];
        let (now, later) = (values.get(phase, waiting + 1, age), values.get(phase, waiting + 1, age + 1));
        let mut value = first.request * (now + first.within * (later - now));
        value += first.end * values.at(phase, older, waiting, age + 1);
        // Phases last far longer than a step: what is left of one makes the ages a little too high, no more.
        for (to, share) in first.phases.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            value += share * values.at(to, older, waiting, age + 1);
        }
        value - self.gain * first.taken() * chain.step
    }

    fn set_empty(&self, chain: &Chain, values: &mut Values) {
        // Phases lead to one another: a few rounds find what the equations say.
        for _ in 0..if chain.phases > 1 { 200 } else { 1 } {
            for phase in 0..chain.phases {
                let first = &chain.first[phase];
                let mut value = first.request * values.get(phase, 1, 0);
                for (to, share) in first.phases.iter().enumerate() {
                    value += share * values.get(to, 0, 0);
                }
                value = (value - self.gain * first.taken() * chain.step) / (1.0 - first.end);
                (0..values.layers()).for_each(|layer| values.row_mut(phase, layer, 0).fill(value));
            }
        }
    }

    /// For each batch size and first phase, the value of what is found after it when it took all.
    fn after_clearing(&self, chain: &Chain) -> Vec<Vec<f64>> {
        let longest = chain.counts.len() - 1;
        let phases = chain.phases;
        let accepted = Accepted::new(chain, self.prices, &self.values);
        // The first request comes in a step after which so many remain, in some phase.
        let comes: Vec<f64> = (0..longest * phases)
            .map(|index| first_comes(chain, &accepted, index % phases, index / phases))
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
}

/// The sizes of batches that may leave some waiting.
fn sizes(largest: usize) -> impl Iterator<Item = usize> {
    let apart = if largest <= ALL_SIZES { 1 } else { largest / SIZES };
    (1..largest).filter(move |size| size.is_multiple_of(apart)).chain([largest])
}

/// What is found when requests came to an empty queue, by their number and the age of the first, and as many of
/// them were refused as is best.
struct Accepted {
    counts: usize,
    ages: usize,
    values: Vec<f64>,
}

impl Accepted {
    fn new(chain: &Chain, prices: Prices, values: &Values) -> Self {
        let (counts, ages) = (chain.most_arrivals() + 1, chain.ages + 1);
        let mut all = Vec::with_capacity(chain.phases * counts * ages);
        for phase in 0..chain.phases {
            let mut best = vec![0; ages];
            for came in 0..counts {
                for (age, best) in best.iter_mut().enumerate() {
                    let value = |kept: usize| {
                        let refused = (came - kept) as f64;
                        // They lie evenly: without the last ones, the youngest is so old.
                        let youngest = if prices.may_refuse { refused / came.max(1) as f64 } else { 0.0 };
                        values.at(phase, youngest, kept, age) + refused * prices.refused
                    };
                    let most = came.min(chain.most);
                    let range = if prices.may_refuse { *best..=(*best + 1).min(most) } else { most..=most };
                    let kept = range.min_by(|&a, &b| value(a).total_cmp(&value(b))).unwrap_or(most);
                    *best = kept;
                    all.push(value(kept));
                }
            }
        }
        Self { counts, ages, values: all }
    }

    fn get(&self, phase: usize, came: usize, age: usize) -> f64 {
        self.values[(phase * self.counts + came) * self.ages + age.min(self.ages - 1)]
    }
}

/// What is found at the end, times its likelihood, if nothing waits and the first request comes in a step
/// that begins in this phase and has so many steps after it.
fn first_comes(chain: &Chain, accepted: &Accepted, phase: usize, left: usize) -> f64 {
    let mut sum = 0.0;
    for via in 0..chain.phases {
        for (first, share) in chain.counts[1].between(phase, via).filter(|&(first, _)| first > 0) {
            // The oldest of so many in a step is so far from its end, on the average.
            let part = first as f64 / (first + 1) as f64;
            for to in 0..chain.phases {
                for (more, chance) in chain.counts[left].between(via, to) {
                    let came = (first + more).min(accepted.counts - 1);
                    let (low, high) = (accepted.get(to, came, left), accepted.get(to, came, left + 1));
                    sum += share * chance * (low + part * (high - low));
                }
            }
        }
    }
    sum
}

/// Sets the values of having run a batch of this size that leaves some waiting.
fn after_partial(chain: &Chain, prices: Prices, values: &Values, size: usize, after: &mut Values) {
    after.values.fill(0.0);
    for &(steps, share) in &chain.durations[size - 1] {
        for left in 1..=chain.most - size {
            for to in 0..chain.phases {
                let limits = limits(chain, prices, values, to, left, steps);
                for from in 0..chain.phases {
                    for (came, chance) in chain.counts[steps].between(from, to) {
                        let weight = share * chance;
                        if weight < NEGLIGIBLE {
                            continue;
                        }
                        let sums = after.row_mut(from, 0, left);
                        if limits.is_empty() || limits.iter().all(|&limit| came <= limit) {
                            let kept = (left + came).min(chain.most);
                            let lost = (left + came - kept) as f64 * prices.refused;
                            let found = values.row(to, 0, kept);
                            let inner = chain.ages + 1 - steps.min(chain.ages);
                            for (sum, value) in sums.iter_mut().zip(&found[chain.ages + 1 - inner..]) {
                                *sum += weight * (value + lost);
                            }
                            sums[inner..]
                                .iter_mut()
                                .for_each(|sum| *sum += weight * (found[chain.ages] + lost));
                            continue;
                        }
                        for (age, sum) in sums.iter_mut().enumerate() {
                            let kept = came.min(limits[age]);
                            *sum += weight * refused_value(prices, values, to, left, steps, age, came, kept);
                        }
                    }
                }
            }
        }
    }
}

/// When a batch of so many steps leaves some requests: how many of those that come meanwhile are accepted at most, by
/// the age of the oldest at its start. Nothing if none may be refused.
fn limits(
    chain: &Chain,
    prices: Prices,
    values: &Values,
    phase: usize,
    left: usize,
    steps: usize,
) -> Vec<usize> {
    if !prices.may_refuse {
        return Vec::new();
    }
    let expected = chain.mean_rate * chain.step * steps as f64;
    let mut limit = 0;
    // The older, the fewer.
    let mut limits = vec![0; chain.ages + 1];
    for age in (0..=chain.ages).rev() {
        let better = |kept: usize| {
            let came = (kept + 1).max(expected.ceil() as usize);
            let value = |kept: usize| refused_value(prices, values, phase, left, steps, age, came, kept);
            left + kept < chain.most && value(kept + 1) < value(kept)
        };
        while better(limit) {
            limit += 1;
        }
        while limit > 0 && !better(limit - 1) {
            limit -= 1;
        }
        limits[age] = limit;
    }
    limits
}

/// What is found when a batch of so many steps left some, more came and some of these were kept.
#[allow(clippy::too_many_arguments)]
fn refused_value(
    prices: Prices,
    values: &Values,
    phase: usize,
    left: usize,
    steps: usize,
    age: usize,
    came: usize,
    kept: usize,
) -> f64 {
    let oldest = (age + steps).min(values.ages - 1);
    let refused = (came - kept) as f64;
    let youngest = steps as f64 * if kept == 0 { 1.0 } else { refused / (came + 1) as f64 };
    let youngest = (youngest / oldest as f64).min(1.0);
    values.at(phase, youngest, left + kept, oldest) + refused * prices.refused
}
