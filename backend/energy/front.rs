//! What a request's path reads of the ledger, and how the energy of an execution is told from it.
//!
//! No lock, no allocation and no system call: some twenty instructions on atomics. The numbers of one class are read one
//! by one, so two of them may be of different ticks. That does no harm: the event that ends an execution carries what was
//! told, so the ledger need not guess it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

/// A correction is at most the 20th part of the share, 5 %.
const MOST_CORRECTION: u64 = 20;
/// An execution takes the 16th part of what is pending for its class, so that a response does not bear alone, up to the
/// limit, what 16 bear together without it being seen.
const PART_OF_POOL: i64 = 16;
/// How often a number is read again that somebody changes meanwhile. Without it the answer is less exact, not wrong.
const TRIES: usize = 8;
/// The most µJ, on either side of 0, that wait in [`Prices`] for executions: far from where the counter ends.
pub const MOST_POOL: i64 = 1 << 61;

/// What executions of a class cost, as the ledger has learnt it: one for each model and batch size.
#[derive(Debug)]
pub struct Prices {
    /// Bits of an f64, µJ for each execution; negative until the first is learnt.
    cost: AtomicU64,
    /// Bits of an f64, µJ for each ns above idle.
    power: AtomicU64,
    /// Bits of an f64: the standard deviation of a booked cost from the estimate, as a part of it.
    spread: AtomicU64,
    tick_ns: AtomicU64,
    /// What was booked for settled executions above what they were told, in µJ: for later ones.
    pool: AtomicI64,
}

/// What the ledger publishes for a class.
#[derive(Clone, Copy, Debug)]
pub struct Learnt {
    /// µJ for each execution, above idle.
    pub cost: Option<f64>,
    /// µJ for each ns of an execution, above idle.
    pub power: f64,
    /// Standard deviation of a cost, as a part of it.
    pub spread: f64,
    /// The mean length of ticks.
    pub tick_ns: u64,
}

impl Default for Prices {
    fn default() -> Self {
        let prices = Self {
            cost: AtomicU64::new(0),
            power: AtomicU64::new(0),
            spread: AtomicU64::new(0),
            tick_ns: AtomicU64::new(0),
            pool: AtomicI64::new(0),
        };
        prices.publish(Learnt { cost: None, power: 0.0, spread: 1.0, tick_ns: 0 });
        prices
    }
}

impl Prices {
    /// What an execution is told at its end. It takes its correction out of what is pending, so call it once for each
    /// execution and hand the result to [`Ledger::ended`](super::ledger::Ledger::ended).
    ///
    /// Told is what is measured, plus the learnt cost scaled to the time that is not, plus the correction. Until a cost
    /// is learnt, power times time stands in its place; until the first tick that is 0. An execution that took no time
    /// is told 0: no tick can hold a part of it.
    pub fn tell(&self, start_ns: u64, end_ns: u64, measured: Measured) -> Told {
        let ns = end_ns.saturating_sub(start_ns);
        let unmeasured_ns = ns.saturating_sub(measured.ns);
        let cost = self.cost();
        let estimate = match (unmeasured_ns, cost) {
            (0, _) => 0.0,
            (_, Some(cost)) => cost * (unmeasured_ns as f64 / ns as f64),
            (_, None) => self.power() * unmeasured_ns as f64,
        };
        // Saturates.
        let estimate_uj = estimate.round() as u64;
        let base = measured.uj.saturating_add(estimate_uj);
        let correction_uj = self.take(base);
        let spread = if cost.is_some() { f64::from_bits(self.spread.load(Ordering::Relaxed)) } else { 1.0 };
        // The first tick holds a part of the execution only, and is shared as if its power had been even. Even chances
        // over a tick's width have a standard deviation of a root of 12th of it.
        let tick =
            if measured.uj > 0 { self.power() * self.tick_ns.load(Ordering::Relaxed) as f64 } else { 0.0 };
        let variance = (estimate * spread).powi(2) + tick.powi(2) / 12.0 + (correction_uj as f64).powi(2);
        Told {
            uj: base.saturating_add_signed(correction_uj),
            measured_uj: measured.uj,
            estimate_uj,
            unmeasured_ns,
            correction_uj,
            error_uj: variance.sqrt() as u64,
        }
    }

    /// What executions of the class cost, in µJ, once it is learnt.
    pub fn cost(&self) -> Option<f64> {
        Some(f64::from_bits(self.cost.load(Ordering::Relaxed))).filter(|cost| *cost >= 0.0)
    }

    fn power(&self) -> f64 {
        f64::from_bits(self.power.load(Ordering::Relaxed))
    }

    /// Takes what one execution bears: what it takes nobody else can.
    fn take(&self, base: u64) -> i64 {
        let limit = i64::try_from(base / MOST_CORRECTION).unwrap_or(i64::MAX);
        for _ in 0..TRIES {
            let pool = self.pool.load(Ordering::Relaxed);
            // Away from 0, so that the last microjoules go too.
            let part = (pool + pool.signum() * (PART_OF_POOL - 1)) / PART_OF_POOL;
            let taken = part.clamp(-limit, limit);
            if taken == 0 {
                return 0;
            }
            let next = pool - taken;
            if self.pool.compare_exchange_weak(pool, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return taken;
            }
        }
        0
    }

    /// For the ledger: what is learnt now.
    pub fn publish(&self, learnt: Learnt) {
        self.cost.store(learnt.cost.unwrap_or(-1.0).to_bits(), Ordering::Relaxed);
        self.power.store(learnt.power.to_bits(), Ordering::Relaxed);
        self.spread.store(learnt.spread.to_bits(), Ordering::Relaxed);
        self.tick_ns.store(learnt.tick_ns, Ordering::Relaxed);
    }

    /// For the ledger: gives so much to later executions, and returns what does not fit. Only the ledger puts in;
    /// executions only move the pool towards 0.
    pub fn give(&self, uj: i128) -> i128 {
        let pool = i128::from(self.pool.load(Ordering::Relaxed));
        let most = i128::from(MOST_POOL);
        let given = uj.clamp((-most - pool).min(0), (most - pool).max(0));
        self.pool.fetch_add(given as i64, Ordering::Relaxed);
        uj - given
    }

    /// What waits for later executions, in µJ.
    #[cfg(test)]
    pub fn pool(&self) -> i64 {
        self.pool.load(Ordering::Relaxed)
    }
}

/// What is measured of an execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// µJ that are booked for it.
    pub uj: u64,
    /// The time of it that they are for.
    pub ns: u64,
}

/// The energy of an execution, as its responses tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// All of it, in µJ.
    pub uj: u64,
    /// The part of it that is measured.
    pub measured_uj: u64,
    /// The part of it that is learnt from others.
    pub estimate_uj: u64,
    /// The time that the estimate is for.
    pub unmeasured_ns: u64,
    /// The part that others were told too little, or too much.
    pub correction_uj: i64,
    /// The standard deviation that is to be expected of `uj`: of the class's costs, the first tick and the correction.
    pub error_uj: u64,
}

impl Told {
    /// How much of the value was measured, 0 to 100.
    pub fn measured_percent(&self) -> f64 {
        let all = self.uj.max(self.measured_uj);
        if all == 0 { 0.0 } else { (self.measured_uj as f64 * 100.0 / all as f64).min(100.0) }
    }

    /// The share of a request that has `rows` of the execution's `all` rows, after `before` rows of other requests.
    /// Rows are equal to the microjoule, and the shares of all requests sum up to the whole exactly.
    pub fn share(&self, before: u64, rows: u64, all: u64) -> u64 {
        let all = all.max(1);
        let up_to = |row: u64| {
            let row = row.min(all);
            match self.uj.checked_mul(row) {
                Some(product) => product / all,
                None => (u128::from(self.uj) * u128::from(row) / u128::from(all)) as u64,
            }
        };
        up_to(before.saturating_add(rows)) - up_to(before)
    }
}

/// How much of a running execution is measured. Each place in which one execution at a time runs has one of them: the
/// ledger writes, the thread that ends the execution reads.
///
/// The three numbers belong together: a version that is odd while they change tells readers so.
#[derive(Debug, Default)]
pub struct Progress {
    version: AtomicU64,
    sequence: AtomicU64,
    uj: AtomicU64,
    ns: AtomicU64,
}

impl Progress {
    /// What is measured of the execution that was started here with this sequence number: nothing, if the ledger has
    /// published nothing of it, or just does.
    pub fn of(&self, sequence: u64) -> Measured {
        for _ in 0..TRIES {
            let version = self.version.load(Ordering::Acquire);
            let of = self.sequence.load(Ordering::Relaxed);
            let measured =
                Measured { uj: self.uj.load(Ordering::Relaxed), ns: self.ns.load(Ordering::Relaxed) };
            // What was read above is not newer than the version read below.
            fence(Ordering::Acquire);
            if version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version {
                return if of == sequence { measured } else { Measured::default() };
            }
        }
        Measured::default()
    }

    /// For the ledger, in one thread at a time.
    pub fn publish(&self, sequence: u64, measured: Measured) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        // Who reads a number that is written below sees the odd version.
        fence(Ordering::Release);
        self.sequence.store(sequence, Ordering::Relaxed);
        self.uj.store(measured.uj, Ordering::Relaxed);
        self.ns.store(measured.ns, Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }
}
