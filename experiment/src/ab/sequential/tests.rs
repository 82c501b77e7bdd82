//! Simulated comparisons: how often the test errs, and how soon it finds a difference.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::ab::order::{Contender, Order};

const ALPHA: f64 = 0.05;
const DIFFERENCE: f64 = 0.02;

/// Noise of blocks, as logarithms.
#[derive(Clone, Copy)]
struct Noise {
    /// Standard deviation of a block.
    deviation: f64,
    /// Correlation from one block to the next.
    memory: f64,
    /// Drift over one hundred blocks.
    drift: f64,
    /// The probability that a block takes a fifth longer.
    outliers: f64,
}

const QUIET: Noise = Noise { deviation: 0.01, memory: 0.0, drift: 0.0, outliers: 0.0 };

struct Machine {
    noise: Noise,
    random: ChaCha8Rng,
    state: f64,
    blocks: f64,
}

impl Machine {
    fn new(noise: Noise, seed: u64) -> Self {
        Self { noise, random: ChaCha8Rng::seed_from_u64(seed), state: 0.0, blocks: 0.0 }
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.random.random::<f64>()).sum::<f64>() - 6.0
    }

    fn block(&mut self) -> f64 {
        let Noise { deviation, memory, drift, outliers } = self.noise;
        self.state = memory * self.state + (1.0 - memory * memory).sqrt() * self.normal();
        self.blocks += 1.0;
        let outlier = if self.random.random::<f64>() < outliers { 0.18 } else { 0.0 };
        deviation * self.state + drift * self.blocks / 100.0 + outlier
    }

    /// The difference of a round in which B is better by the logarithm `effect`.
    fn round(&mut self, order: &mut Order, effect: f64) -> f64 {
        let difference = order.next_round().map(|contender| match contender {
            Contender::A => -self.block(),
            Contender::B => self.block() + effect,
        });
        difference.iter().sum::<f64>() / 2.0
    }
}

/// The decision within `rounds`, and after how many.
fn compare(noise: Noise, effect: f64, rounds: usize, seed: u64) -> (Option<Decision>, usize) {
    let mut machine = Machine::new(noise, seed);
    let mut order = Order::new(seed ^ 0x5eed);
    let mut judge = Judge::new(ALPHA, DIFFERENCE);
    for round in 1..=rounds {
        if let Some(decision) = judge.add(machine.round(&mut order, effect)) {
            return (Some(decision), round);
        }
    }
    (None, rounds)
}

fn count(decision: Option<Decision>, noise: Noise, effect: f64, rounds: usize, of: u64) -> usize {
    (0..of).filter(|seed| compare(noise, effect, rounds, *seed).0 == decision).count()
}

/// 10,000 comparisons of a configuration with itself for each kind of noise, looked at after every round.
#[test]
fn a_configuration_is_called_different_from_itself_in_at_most_5_percent() {
    let kinds = [
        ("white", QUIET),
        ("correlated", Noise { deviation: 0.03, memory: 0.9, ..QUIET }),
        ("nearly a random walk", Noise { deviation: 0.1, memory: 0.99, ..QUIET }),
        ("drifting", Noise { drift: 0.2, ..QUIET }),
        ("drifting and correlated", Noise { deviation: 0.03, memory: 0.8, drift: -0.5, outliers: 0.0 }),
        ("with outliers", Noise { outliers: 0.1, ..QUIET }),
        ("with rare outliers", Noise { deviation: 0.003, outliers: 0.01, ..QUIET }),
    ];
    for (name, noise) in kinds {
        let mut different = 0;
        for seed in 0..10_000 {
            let (decision, _) = compare(noise, 0.0, 60, seed);
            different += usize::from(matches!(decision, Some(Decision::Better | Decision::Worse)));
        }
        println!("{name}: {different} of 10,000");
        // The bound, and three standard deviations of the count.
        assert!(different <= 565, "{name}: {different} of 10,000");
    }
}

/// Even where "equivalent" never ends the comparison early.
#[test]
fn looking_for_ever_does_not_find_a_difference_that_is_not_there() {
    let noise = Noise { deviation: 0.02, memory: 0.5, ..QUIET };
    let mut different = 0;
    for seed in 0..500 {
        let (mut machine, mut order) = (Machine::new(noise, seed), Order::new(seed));
        let mut judge = Judge::new(ALPHA, 0.0);
        different += usize::from((0..1000).any(|_| judge.add(machine.round(&mut order, 0.0)).is_some()));
    }
    // The bound, and three standard deviations of the count.
    assert!(different <= 40, "{different} of 500");
}

#[test]
fn a_difference_of_2_percent_is_found_within_the_rounds_of_five_minutes() {
    // With blocks of 1 s and what is around them, 5 minutes have 60 rounds.
    for (name, noise) in [
        ("white", Noise { deviation: 0.02, ..QUIET }),
        ("correlated", Noise { deviation: 0.03, memory: 0.8, ..QUIET }),
        ("drifting", Noise { deviation: 0.01, drift: 0.3, ..QUIET }),
        ("with outliers", Noise { deviation: 0.01, outliers: 0.02, ..QUIET }),
    ] {
        for (effect, decision) in [(0.02, Decision::Better), (-0.02, Decision::Worse)] {
            let found = count(Some(decision), noise, effect, 60, 200);
            println!("{name}, {effect}: {found} of 200");
            assert!(found >= 180, "{name}, {effect}: {found} of 200");
        }
    }
}

#[test]
fn large_differences_are_found_at_once_and_small_noise_makes_equivalent() {
    let (decision, rounds) = compare(QUIET, 0.5, 60, 1);
    assert_eq!(decision, Some(Decision::Better));
    assert!(rounds <= 10, "{rounds}");
    let equivalent = count(Some(Decision::Equivalent), Noise { deviation: 0.01, ..QUIET }, 0.0, 60, 200);
    assert!(equivalent >= 180, "{equivalent} of 200");
}

#[test]
fn noise_that_hides_everything_leaves_it_undecided() {
    let noise = Noise { deviation: 0.5, ..QUIET };
    let undecided = count(None, noise, 0.0, 60, 200);
    assert!(undecided >= 185, "{undecided} of 200");
}

#[test]
fn the_interval_contains_the_difference_and_narrows() {
    let noise = Noise { deviation: 0.02, memory: 0.6, drift: 0.1, outliers: 0.02 };
    for effect in [0.0, 0.05, -0.4] {
        let mut missed = 0;
        let mut widths = Vec::new();
        for seed in 0..200 {
            let (mut machine, mut order) = (Machine::new(noise, seed), Order::new(seed));
            let mut sequence = Sequence::default();
            let mut ever = false;
            for round in 1..=80 {
                sequence.add(machine.round(&mut order, effect));
                if round % 10 == 0 {
                    let (low, high) = sequence.interval(ALPHA);
                    ever |= !(low..=high).contains(&effect);
                }
            }
            let (low, high) = sequence.interval(ALPHA);
            widths.push(high - low);
            missed += usize::from(ever);
        }
        assert!(missed <= 20, "{effect}: {missed} of 200");
        let widest = widths.into_iter().fold(0.0, f64::max);
        assert!(widest < 0.06, "{effect}: {widest}");
    }
}

#[test]
fn the_judge_sees_what_the_interval_says() {
    let noise = Noise { deviation: 0.015, ..QUIET };
    for seed in 0..50 {
        let (mut machine, mut order) = (Machine::new(noise, seed), Order::new(seed));
        let mut judge = Judge::new(ALPHA, DIFFERENCE);
        while judge.sequence().rounds() < 60 && judge.add(machine.round(&mut order, 0.02)).is_none() {}
        let (low, high) = judge.interval();
        match judge.decision() {
            Some(Decision::Better) => assert!(low >= 0.0, "{low}"),
            Some(Decision::Worse) => assert!(high <= 0.0, "{high}"),
            Some(Decision::Equivalent) => assert!(low >= -0.0199 && high <= 0.0199, "{low} to {high}"),
            None => assert!(low <= 0.0 && high >= 0.0),
        }
    }
}

#[test]
fn equal_measurements_are_equivalent_and_odd_ones_break_nothing() {
    let mut judge = Judge::new(ALPHA, DIFFERENCE);
    for _ in 0..20 {
        judge.add(0.0);
    }
    assert_eq!(judge.decision(), Some(Decision::Equivalent));
    let mut sequence = Sequence::default();
    assert_eq!(sequence.interval(ALPHA), (f64::NEG_INFINITY, f64::INFINITY));
    assert_eq!(sequence.mean(), None);
    for difference in [1e300, -1e300, 0.0, 1e-300, 5.0, 5.0] {
        sequence.add(difference);
        assert!(sequence.evidence(Side::Above, 0.0).is_finite());
    }
}
