//! A test that may be looked at after every round: a confidence sequence for the difference of two contenders.
//!
//! A round measures A B B A or B A A B, whichever a fair coin says, and gives one number: the mean of B's logarithms less
//! that of A's. Had the coin fallen the other way, noise and drift would have given the same number with the other sign.
//! So around the true difference (a constant factor) the number is symmetric, *whatever the noise is*: correlated, drifting,
//! with outliers. Nothing else is assumed.
//!
//! A bet of λ on a number d being above m pays 2 / (1 + exp(−2 λ (d − m))). If m is the true difference, then by that
//! symmetry it pays 1 on average, and so does a product of such bets, as long as each λ is chosen before its round. By
//! Ville's inequality the wealth of such a gambler ever reaches 1 / α with a probability of at most α. What m the gambler
//! has become rich against is refuted; the rest is the interval.

/// Stakes in units of one over the scale of the differences. A difference of c standard deviations is found fastest with a
/// stake of c; wealth is spread evenly over these.
const STAKES: [f64; 4] = [0.2, 0.4, 0.8, 1.6];

/// Each stake by two scales: the root mean square of the differences so far, and their standard deviation. The first serves
/// small differences and is steady, the second narrows the interval around a large one.
const BETS: usize = 2 * STAKES.len();

/// The first rounds only tell the scale.
const UNBET: usize = 2;

/// No scale is smaller: differences of a millionth are none, and equal measurements have none.
const LEAST_SCALE: f64 = 1e-6;

/// The differences of all rounds, and the bets that were made on each.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    differences: Vec<f64>,
    bets: Vec<[f64; BETS]>,
    /// The mean of the differences, and the sum of the squares around it (Welford).
    mean: f64,
    around: f64,
}

/// A side of a bet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Side {
    /// The difference is above.
    Above,
    /// The difference is below.
    Below,
}

impl Sequence {
    /// Adds the difference of a round.
    pub fn add(&mut self, difference: f64) {
        self.bets.push(self.next_bets());
        self.differences.push(difference);
        let before = difference - self.mean;
        self.mean += before / self.rounds() as f64;
        self.around += before * (difference - self.mean);
    }

    /// Rounds so far.
    pub fn rounds(&self) -> usize {
        self.differences.len()
    }

    /// The mean of the differences; none before the first.
    pub fn mean(&self) -> Option<f64> {
        (self.rounds() > 0).then_some(self.mean)
    }

    /// The stakes of the next round, from the rounds so far.
    pub fn next_bets(&self) -> [f64; BETS] {
        let n = self.rounds();
        if n < UNBET {
            return [0.0; BETS];
        }
        let square = self.mean * self.mean + self.around / n as f64;
        let around = self.around / (n as f64 - 1.0);
        let mut bets = [0.0; BETS];
        for (half, scale) in [square.sqrt(), around.sqrt()].into_iter().enumerate() {
            for (at, stake) in STAKES.into_iter().enumerate() {
                bets[half * STAKES.len() + at] = stake / scale.max(LEAST_SCALE);
            }
        }
        bets
    }

    /// The logarithm of the wealth of the gambler who bets that the difference is on that side of `m`.
    pub fn evidence(&self, side: Side, m: f64) -> f64 {
        let mut wealth = Wealth::default();
        for (difference, bets) in self.differences.iter().zip(&self.bets) {
            wealth.bet(side, difference - m, bets);
        }
        wealth.log()
    }

    /// The interval that contains the true difference at all times together with a probability of at least 1 − `alpha`.
    /// Its ends are infinite while nothing is refuted.
    pub fn interval(&self, alpha: f64) -> (f64, f64) {
        let low = self.end(Side::Above, alpha);
        let high = self.end(Side::Below, alpha);
        (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY))
    }

    /// The end of the interval that the gambler of this side has reached. The wealth of one who bets on "above" falls
    /// with m, so the end can be found by halving.
    fn end(&self, side: Side, alpha: f64) -> Option<f64> {
        let wanted = (2.0 / alpha).ln();
        let (least, most) = self
            .differences
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), d| (low.min(*d), high.max(*d)));
        // At one extreme of the differences every bet is lost; beyond the other, all are won.
        let (mut unreached, outward, first) = match side {
            Side::Above => (most, -1.0, least),
            Side::Below => (least, 1.0, most),
        };
        let mut step = (most - least).max(LEAST_SCALE);
        let mut reached = first;
        let mut tries = 0;
        while self.evidence(side, reached) < wanted {
            reached += outward * step;
            step *= 2.0;
            tries += 1;
            if tries > 60 {
                return None;
            }
        }
        for _ in 0..60 {
            let middle = (reached + unreached) / 2.0;
            match self.evidence(side, middle) >= wanted {
                true => reached = middle,
                false => unreached = middle,
            }
        }
        Some(reached)
    }
}

/// The wealth of a gambler, spread over the bets, as logarithms.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wealth([f64; BETS]);

impl Wealth {
    /// Pays the bets on a difference that lies this far above the tested value.
    pub fn bet(&mut self, side: Side, distance: f64, bets: &[f64; BETS]) {
        let sign = if side == Side::Above { 1.0 } else { -1.0 };
        for (log, stake) in self.0.iter_mut().zip(bets) {
            // The logarithm of 2 / (1 + exp(−x)), without overflow.
            let x = sign * 2.0 * stake * distance;
            *log += std::f64::consts::LN_2 + x.min(0.0) - (-x.abs()).exp().ln_1p();
        }
    }

    /// Its logarithm: the mean of the parts.
    pub fn log(&self) -> f64 {
        let most = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + (self.0.iter().map(|log| (log - most).exp()).sum::<f64>() / BETS as f64).ln()
    }
}

/// What is known so far of B against A, where a larger difference means that B is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// B is better.
    Better,
    /// B is worse.
    Worse,
    /// The difference is smaller than the one that was asked for.
    Equivalent,
}

/// Decides as early as the rounds allow.
#[derive(Clone, Debug)]
pub struct Judge {
    alpha: f64,
    /// The logarithm of the ratio that was asked for.
    least: f64,
    sequence: Sequence,
    /// Above 0, below 0, above −`least`, below `least`: wealth, and the most it ever was.
    wealth: [(Wealth, f64); 4],
}

impl Judge {
    /// Errors with a probability of at most `alpha`; `difference` is a fraction, such as 0.02.
    pub fn new(alpha: f64, difference: f64) -> Self {
        let least = difference.ln_1p();
        Self { alpha, least, sequence: Sequence::default(), wealth: [(Wealth::default(), 0.0); 4] }
    }

    /// Adds the difference of a round: the logarithm of how much better B was.
    pub fn add(&mut self, difference: f64) -> Option<Decision> {
        let bets = self.sequence.next_bets();
        let tests =
            [(Side::Above, 0.0), (Side::Below, 0.0), (Side::Above, -self.least), (Side::Below, self.least)];
        for ((wealth, most), (side, m)) in self.wealth.iter_mut().zip(tests) {
            wealth.bet(side, difference - m, &bets);
            *most = most.max(wealth.log());
        }
        self.sequence.add(difference);
        self.decision()
    }

    /// What has been decided.
    pub fn decision(&self) -> Option<Decision> {
        // Two gamblers, one for each side, share the probability of error.
        let wanted = (2.0 / self.alpha).ln();
        let [above, below, not_less, not_more] = self.wealth.map(|(_, most)| most >= wanted);
        match (above, below) {
            _ if not_less && not_more => Some(Decision::Equivalent),
            (true, false) => Some(Decision::Better),
            (false, true) => Some(Decision::Worse),
            // Both only by the error that alpha allows.
            _ => None,
        }
    }

    /// The rounds so far.
    pub fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// The interval of the difference so far.
    pub fn interval(&self) -> (f64, f64) {
        self.sequence.interval(self.alpha)
    }
}

#[cfg(test)]
mod tests;
