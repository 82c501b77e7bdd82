//! How the arrivals of an open loop are spread.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::key::Arrivals;
use crate::arrivals::{Bursts, bursty, constant, gamma, poisson, ramp};

/// What some arrival processes have besides their rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Of gamma arrivals: the standard deviation of the gaps over their mean.
    pub variation: f64,
    /// Of bursty arrivals: the rate in a burst, as a multiple of the mean rate.
    pub burst_factor: f64,
    /// Of bursty arrivals: the part of the time that is in bursts.
    pub burst_share: f64,
    /// Of bursty arrivals: the mean length of a burst, seconds.
    pub burst_s: f64,
}

impl Default for Spread {
    fn default() -> Self {
        Self { variation: 2.0, burst_factor: 3.0, burst_share: 0.2, burst_s: 1.0 }
    }
}

impl Spread {
    /// # Errors
    /// The first invalid setting, and what is allowed.
    pub fn check(&self) -> Result<()> {
        let Self { variation, burst_factor, burst_share, burst_s } = *self;
        ensure!((0.01..=100.0).contains(&variation), "--variation: expected 0.01 to 100, found {variation}");
        ensure!(
            (0.001..=0.999).contains(&burst_share),
            "--burst-share: expected 0.001 to 0.999, found {burst_share}"
        );
        let most = 1.0 / burst_share;
        ensure!(
            (1.0..=most * (1.0 + 1e-9)).contains(&burst_factor),
            "--burst-factor: with bursts in {burst_share} of the time expected 1 to {most}, found {burst_factor}"
        );
        ensure!((0.001..=1e6).contains(&burst_s), "--burst-seconds: expected 0.001 to 1e6, found {burst_s}");
        Ok(())
    }

    /// Endless arrivals of this kind and mean rate. The same seed gives the same times.
    pub fn arrivals(
        &self,
        kind: Arrivals,
        rate_per_s: f64,
        seed: u64,
    ) -> Box<dyn Iterator<Item = Duration> + Send> {
        let factor = self.burst_factor.min(1.0 / self.burst_share);
        let bursts = Bursts { factor, share: self.burst_share, mean_s: self.burst_s };
        match kind {
            Arrivals::Poisson => Box::new(poisson(rate_per_s, seed)),
            Arrivals::Constant => Box::new(constant(rate_per_s)),
            Arrivals::Gamma => Box::new(gamma(rate_per_s, self.variation, seed)),
            Arrivals::Bursty => Box::new(bursty(rate_per_s, bursts, seed)),
        }
    }

    /// Arrivals whose rate changes evenly in so many seconds. (Bursts have a length in seconds, which such a change would
    /// stretch: the plan refuses them.)
    pub fn ramp(&self, kind: Arrivals, (from, to): (f64, f64), seconds: f64, seed: u64) -> Vec<Duration> {
        ramp(self.arrivals(kind, 1.0, seed), from, to, seconds).collect()
    }
}
