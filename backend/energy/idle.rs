//! What the device draws with the models loaded and nothing running.
//!
//! It is learnt from ticks in which nothing ran. After load a device cools down and its clocks stay up for a while: what
//! it draws then is more than idle. So ticks count in full from [`SETTLED_NS`] after the last execution on. Before that
//! they can only lower the value, and only where nearly all of them are lower: a device that draws less than what is taken
//! for idle has shown that it is too much, but a meter that scatters shows lower values too, now and then. That is all
//! there is while load never pauses for so long.

/// How long after an execution a device is taken to be idle: clocks and voltages of GPUs fall within a second or two;
/// what a warm chip leaks above a cold one is a few percent.
const SETTLED_NS: u64 = 2_000_000_000;
/// Ticks are put together to samples of at least so long: one of 1 ms is mostly noise.
const SAMPLE_NS: u64 = 100_000_000;
/// The median of so many samples is believed: a model's load in between, of a second, does not move it far.
const SAMPLES: usize = 31;
/// So many of them below what is believed are no chance: with a fair coin it would be one case of 500,000.
const NEARLY_ALL: usize = 28;
/// Of the samples of a device that was never seen settled, the part that is taken for lower than idle.
const QUARTER: usize = 4;

/// The power of the idle device.
#[derive(Debug, Default)]
pub struct Idle {
    settled: Samples,
    unsettled: Samples,
    power_uw: Option<u64>,
    /// Whether `power_uw` comes from ticks of a settled device.
    from_settled: bool,
    /// What is left of a microjoule, in µW ns.
    carried: u64,
}

/// The last samples of a kind, and the one that is being made.
#[derive(Debug, Default)]
struct Samples {
    uj: u128,
    ns: u128,
    /// µW, the oldest overwritten first.
    made: Vec<u64>,
    next: usize,
}

impl Samples {
    /// All of them in order, once a tick has made a new one.
    fn add(&mut self, uj: u64, ns: u64) -> Option<Vec<u64>> {
        self.uj += u128::from(uj);
        self.ns += u128::from(ns);
        if self.ns < u128::from(SAMPLE_NS) {
            return None;
        }
        let power = std::mem::take(&mut self.uj) * 1_000_000_000 / std::mem::take(&mut self.ns);
        let power = u64::try_from(power).unwrap_or(u64::MAX);
        match self.made.get_mut(self.next) {
            Some(oldest) => *oldest = power,
            None => self.made.push(power),
        }
        self.next = (self.next + 1) % SAMPLES;
        let mut sorted = self.made.clone();
        sorted.sort_unstable();
        Some(sorted)
    }
}

impl Idle {
    /// A tick in which nothing ran, and how long before its begin something last did.
    pub fn learn(&mut self, uj: u64, ns: u64, since_last: Option<u64>) {
        // Without an execution so far, there may have been load of others, but nothing else to go by.
        if since_last.is_none_or(|since| since >= SETTLED_NS) {
            if let Some(sorted) = self.settled.add(uj, ns) {
                self.power_uw = Some(sorted[sorted.len() / 2]);
                self.from_settled = true;
            }
        } else if let Some(sorted) = self.unsettled.add(uj, ns) {
            match self.power_uw.filter(|_| self.from_settled) {
                None => self.power_uw = Some(sorted[sorted.len() / QUARTER]),
                Some(power) if sorted.get(NEARLY_ALL - 1).is_some_and(|most| *most < power) => {
                    self.power_uw = Some(sorted[sorted.len() / 2]);
                }
                Some(_) => {}
            }
        }
    }

    /// The power in µW; none before any tick without an execution.
    pub fn power_uw(&self) -> Option<u64> {
        self.power_uw
    }

    /// What of a tick of `uj` and `ns` the idle device would have drawn. Fractions of microjoules are carried over.
    pub fn share(&mut self, uj: u64, ns: u64) -> Option<u64> {
        let exact = u128::from(self.power_uw?) * u128::from(ns) + u128::from(self.carried);
        self.carried = (exact % 1_000_000_000) as u64;
        Some(u64::try_from(exact / 1_000_000_000).unwrap_or(u64::MAX).min(uj))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: u64 = 100_000_000;
    /// Of a tick, since something ran: long ago, or just now.
    const SETTLED: Option<u64> = Some(10_000_000_000);
    const WARM: Option<u64> = Some(500_000_000);

    /// Ticks that scatter around a power, in watts, evenly to both sides by this part of it.
    fn learn(idle: &mut Idle, watts: f64, scatter: f64, since: Option<u64>, ticks: usize) {
        let mut random = fastrand::Rng::with_seed(ticks as u64);
        for _ in 0..ticks {
            let power = watts * (1.0 + scatter * (2.0 * random.f64() - 1.0));
            idle.learn((power * TICK as f64 / 1e3) as u64, TICK, since);
        }
    }

    fn watts(idle: &Idle) -> f64 {
        idle.power_uw().unwrap() as f64 / 1e6
    }

    #[test]
    fn a_meter_that_scatters_does_not_lower_it_bit_by_bit() {
        for scatter in [0.0, 0.1, 0.5, 1.0] {
            let mut idle = Idle::default();
            learn(&mut idle, 50.0, scatter, SETTLED, 100);
            let before = watts(&idle);
            // An hour in which load never pauses for long.
            learn(&mut idle, 50.0, scatter, WARM, 36_000);
            assert!(
                (watts(&idle) / before - 1.0).abs() < 0.02,
                "{scatter}: {before} W, then {} W",
                watts(&idle)
            );
        }
    }

    #[test]
    fn a_device_that_really_draws_less_is_believed() {
        let mut idle = Idle::default();
        learn(&mut idle, 60.0, 0.1, SETTLED, 100);
        learn(&mut idle, 50.0, 0.1, WARM, 40);
        assert!((watts(&idle) / 50.0 - 1.0).abs() < 0.03, "{} W", watts(&idle));
        // A warm one that draws more is not.
        learn(&mut idle, 70.0, 0.1, WARM, 1_000);
        assert!((watts(&idle) / 50.0 - 1.0).abs() < 0.03, "{} W", watts(&idle));
        learn(&mut idle, 70.0, 0.1, SETTLED, 100);
        assert!((watts(&idle) / 70.0 - 1.0).abs() < 0.03, "{} W", watts(&idle));
    }

    #[test]
    fn what_was_never_seen_settled_is_the_lower_part_of_what_was_seen() {
        let mut idle = Idle::default();
        learn(&mut idle, 80.0, 0.0, WARM, 1);
        assert!((watts(&idle) - 80.0).abs() < 0.01);
        learn(&mut idle, 60.0, 0.3, WARM, 3_000);
        assert!((45.0..60.0).contains(&watts(&idle)), "{} W", watts(&idle));
        learn(&mut idle, 55.0, 0.0, SETTLED, 1);
        assert!((watts(&idle) - 55.0).abs() < 0.01);
    }
}
