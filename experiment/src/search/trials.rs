//! The rates that were tried, and whether they kept the target.

use std::collections::BTreeMap;

use crate::plan::{Load, Search};
use crate::results::Point;
use crate::times;

/// The factor of a 95 % interval of the normal distribution.
const Z_95: f64 = 1.959_964;

/// A rate with all its measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Trial {
    /// In thousandths of a request per second.
    pub milli_rate: u64,
    /// How often it was measured.
    pub times: u32,
    /// Requests that were due.
    pub requests: u64,
    /// Of these: later than the target, failed, or not sent.
    pub late: u64,
    /// The share of late requests that the target allows.
    allowed: f64,
}

impl Trial {
    /// The share of late requests; all, if there were none.
    pub fn late_share(&self) -> f64 {
        if self.requests == 0 { 1.0 } else { self.late as f64 / self.requests as f64 }
    }

    /// Whether the target was kept, by all measurements together.
    pub fn keeps(&self) -> bool {
        self.late_share() <= self.allowed
    }

    /// Whether the target is kept. Open while the interval of the share (Wilson's, 95 %) contains what is allowed, and there
    /// are attempts left.
    pub fn verdict(&self, search: &Search) -> Verdict {
        let (n, share) = (self.requests as f64, self.late_share());
        let z = Z_95 * Z_95;
        let middle = (share + z / (2.0 * n)) / (1.0 + z / n);
        let half = Z_95 / (1.0 + z / n) * (share * (1.0 - share) / n + z / (4.0 * n * n)).sqrt();
        let chance = n > 0.0 && (middle - half..=middle + half).contains(&self.allowed);
        match self.keeps() {
            _ if chance && self.times < search.attempts => Verdict::Open,
            true => Verdict::Held,
            false => Verdict::Missed,
        }
    }
}

/// Whether a rate keeps the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Held,
    /// It does not.
    Missed,
    /// Chance may decide, so it is measured again.
    Open,
}

/// All rates, in ascending order.
#[derive(Debug)]
pub struct Trials(pub Vec<Trial>);

impl Trials {
    /// Of points of one configuration and batch size.
    pub fn of(search: &Search, points: &[&Point]) -> Self {
        let mut trials = BTreeMap::<u64, Trial>::new();
        for point in points {
            let Some(milli_rate) = rate_of(point) else { continue };
            let trial = trials.entry(milli_rate).or_insert(Trial {
                milli_rate,
                allowed: search.allowed_share(),
                ..Trial::default()
            });
            let failed: u64 = point.errors.iter().map(|error| error.count).sum();
            let unsent = point.pacing.as_ref().map_or(0, |pacing| pacing.unsent);
            trial.times += 1;
            trial.requests += point.requests + failed + unsent;
            trial.late += over(point, search.target_ns()) + failed + unsent;
        }
        Self(trials.into_values().collect())
    }

    /// The highest rate that kept the target below all that missed it, and the lowest that missed it.
    ///
    /// Lateness rises with the rate. Where chance has it otherwise, the lower rate that missed is believed.
    pub fn bracket(&self) -> (Option<&Trial>, Option<&Trial>) {
        let missed = self.0.iter().position(|trial| !trial.keeps());
        let held = self.0[..missed.unwrap_or(self.0.len())].last();
        (held, missed.map(|at| &self.0[at]))
    }
}

/// Requests that took longer than the target. A histogram that cannot be read counts as all.
fn over(point: &Point, target_ns: u64) -> u64 {
    let Some(latency) = &point.client_latency else { return 0 };
    match times::decode(&latency.histogram) {
        // Values above the target, but not those of the target's own bucket.
        Ok(histogram) => histogram.len() - histogram.count_between(0, target_ns),
        Err(_) => point.requests,
    }
}

/// The rate of an open loop, in thousandths of a request per second.
pub fn rate_of(point: &Point) -> Option<u64> {
    match point.key.load {
        Load::Rate { milli_requests_per_s, .. } => Some(milli_requests_per_s),
        _ => None,
    }
}
