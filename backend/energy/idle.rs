//! What the device draws with the models loaded and nothing running.
//!
//! It is learnt from ticks in which nothing ran. After load a device cools down and its clocks stay up for a while: what
//! it draws then is more than idle. So ticks count in full from [`SETTLED_NS`] after the last execution on. Before that
//! they count only if they lower the value: a device that never draws less than when it is idle has shown an upper limit
//! of it. That is all there is while load never pauses for so long.

/// How long after an execution a device is taken to be idle: clocks and voltages of GPUs fall within a second or two;
/// what a warm chip leaks above a cold one is a few percent.
const SETTLED_NS: u64 = 2_000_000_000;
/// Ticks are put together to samples of at least so long: one of 1 ms is mostly noise.
const SAMPLE_NS: u64 = 100_000_000;
/// The median of so many samples is believed: a model's load in between, of a second, does not move it far.
const SAMPLES: usize = 31;

/// The power of the idle device.
#[derive(Debug, Default)]
pub struct Idle {
    /// µW, the oldest overwritten first.
    samples: Vec<u64>,
    next: usize,
    settled: Sample,
    unsettled: Sample,
    power_uw: Option<u64>,
    /// Whether `power_uw` comes from ticks of a settled device.
    from_settled: bool,
    /// What is left of a microjoule, in µW ns.
    carried: u64,
}

#[derive(Debug, Default)]
struct Sample {
    uj: u128,
    ns: u128,
}

impl Sample {
    /// The mean power in µW, once there is enough of it.
    fn add(&mut self, uj: u64, ns: u64) -> Option<u64> {
        self.uj += u128::from(uj);
        self.ns += u128::from(ns);
        if self.ns < u128::from(SAMPLE_NS) {
            return None;
        }
        let Sample { uj, ns } = std::mem::take(self);
        Some(u64::try_from(uj * 1_000_000_000 / ns).unwrap_or(u64::MAX))
    }
}

impl Idle {
    /// A tick in which nothing ran, and how long before its begin something last did.
    pub fn learn(&mut self, uj: u64, ns: u64, since_last: Option<u64>) {
        // Without an execution so far, there may have been load of others, but nothing else to go by.
        if since_last.is_none_or(|since| since >= SETTLED_NS) {
            let Some(sample) = self.settled.add(uj, ns) else { return };
            if self.samples.len() < SAMPLES {
                self.samples.push(sample);
            } else {
                self.samples[self.next % SAMPLES] = sample;
            }
            self.next = (self.next + 1) % SAMPLES;
            let mut sorted = self.samples.clone();
            sorted.sort_unstable();
            self.power_uw = Some(sorted[sorted.len() / 2]);
            self.from_settled = true;
        } else if let Some(sample) = self.unsettled.add(uj, ns) {
            match self.power_uw {
                Some(power) if sample >= power => {}
                // One noisy sample does not undo what many of a settled device have shown.
                Some(power) if self.from_settled => self.power_uw = Some(power - (power - sample) / 8),
                _ => self.power_uw = Some(sample),
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
