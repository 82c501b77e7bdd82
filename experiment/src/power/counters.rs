//! Sums over devices, shared by the power sources.

use anyhow::{Result, ensure};

use crate::clock;

/// Energy counters of several devices, in joules.
#[derive(Debug)]
pub(super) struct Counters {
    last: Vec<f64>,
}

impl Counters {
    /// Starts with the first values.
    pub fn new(first: Vec<f64>) -> Self {
        Self { last: first }
    }

    /// The sum of new values, and whether any of them has moved. `names` are the devices, in the same order.
    ///
    /// # Errors
    /// A counter has decreased, so the energy in between is unknown. It stays an error until the counter is back at its
    /// old value, because a sum that restarted would look complete.
    pub fn sum(&mut self, names: &[String], now: Vec<f64>) -> Result<(f64, bool)> {
        for ((name, last), now) in names.iter().zip(&self.last).zip(&now) {
            ensure!(
                now >= last,
                "the energy counter of {name} fell from {last} J to {now} J: the server or the driver has \
                 restarted; repeat the measurement"
            );
        }
        let moved = now != self.last;
        self.last = now;
        Ok((self.last.iter().sum(), moved))
    }
}

/// Power readings, integrated with the trapezoidal rule.
#[derive(Debug, Default)]
pub(super) struct Trapezoid {
    last: Option<(u64, f64)>,
    joules: f64,
}

impl Trapezoid {
    /// Joules since the first reading, after another one.
    pub fn add(&mut self, ns: u64, watts: f64) -> f64 {
        if let Some((last_ns, last_watts)) = self.last {
            self.joules += (last_watts + watts) / 2.0 * clock::seconds(ns.saturating_sub(last_ns));
        }
        self.last = Some((ns, watts));
        self.joules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_added_up_and_must_not_fall() {
        let names = ["a".to_owned(), "b".to_owned()];
        let mut counters = Counters::new(vec![1.0, 10.0]);
        assert_eq!(counters.sum(&names, vec![1.0, 10.0]).unwrap(), (11.0, false));
        assert_eq!(counters.sum(&names, vec![1.0, 12.0]).unwrap(), (13.0, true));
        for _ in 0..2 {
            let error = counters.sum(&names, vec![2.0, 0.5]).unwrap_err().to_string();
            assert!(error.contains("of b fell from 12 J to 0.5 J"), "{error}");
        }
        assert_eq!(counters.sum(&names, vec![2.0, 12.0]).unwrap(), (14.0, true));
    }

    #[test]
    fn a_ramp_of_power_is_integrated_exactly() {
        let mut energy = Trapezoid::default();
        assert_eq!(energy.add(5_000_000_000, 100.0), 0.0);
        assert_eq!(energy.add(7_000_000_000, 200.0), 300.0);
        assert_eq!(energy.add(7_500_000_000, 200.0), 400.0);
    }
}
