//! Traces: request rates as a percentage of capacity, so that a slow machine and a fast one get a comparable load.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::key::Arrivals;
use super::spread::Spread;

/// A change of rate by this factor or more, from one part of a trace to the next, is a step. What follows a step shows
/// how fast a configuration adapts.
const STEP: f64 = 1.5;

/// Request rates over time, as a percentage of capacity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// For tables and plots.
    pub name: String,
    /// The arrival process.
    pub arrivals: Arrivals,
    /// Its length.
    pub seconds: f64,
    /// The rate in consecutive parts of equal length, as a percentage of capacity.
    pub percent: Vec<f64>,
}

/// A stretch of a trace with one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// When it begins and ends, in seconds since the trace's start.
    pub from_s: f64,
    /// See `from_s`.
    pub to_s: f64,
    /// Its rate as a percentage of capacity.
    pub percent: f64,
}

impl Trace {
    /// # Errors
    /// What is invalid, with the name of the trace.
    pub fn check(&self) -> Result<()> {
        let Self { name, seconds, percent, .. } = self;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        ensure!(
            !name.is_empty() && name.chars().all(plain),
            "trace '{name}': expected a name of letters, digits, - _ and ., because it becomes part of file names"
        );
        ensure!(
            matches!(self.arrivals, Arrivals::Poisson | Arrivals::Constant),
            "trace '{name}': expected poisson or constant arrivals, found {}",
            self.arrivals
        );
        ensure!(
            seconds.is_finite() && (0.1..=1e6).contains(seconds),
            "trace '{name}': expected a length of 0.1 to 1e6 seconds, found {seconds}"
        );
        ensure!(
            percent.iter().all(|percent| percent.is_finite() && (0.0..=1e4).contains(percent))
                && percent.iter().any(|percent| *percent > 0.0),
            "trace '{name}': expected rates of 0 to 10000 percent, and one above 0, found {percent:?}"
        );
        Ok(())
    }

    /// Its parts, with neighbours of equal rate merged.
    pub fn stretches(&self) -> Vec<Stretch> {
        let part_s = self.seconds / self.percent.len() as f64;
        let mut stretches: Vec<Stretch> = Vec::new();
        for (number, &percent) in self.percent.iter().enumerate() {
            let to_s = part_s * (number + 1) as f64;
            match stretches.last_mut() {
                Some(last) if last.percent == percent => last.to_s = to_s,
                last => {
                    let from_s = last.map_or(0.0, |last| last.to_s);
                    stretches.push(Stretch { from_s, to_s, percent });
                }
            }
        }
        stretches
    }

    /// The stretch after each step of the rate, up to the next step or the end. Empty for a trace whose rate is constant
    /// or changes gradually.
    pub fn after_steps(&self) -> Vec<Stretch> {
        let stretches = self.stretches();
        let mut after: Vec<Stretch> = Vec::new();
        for pair in stretches.windows(2) {
            let (low, high) = (pair[0].percent.min(pair[1].percent), pair[0].percent.max(pair[1].percent));
            match after.last_mut() {
                _ if high >= low * STEP => after.push(pair[1]),
                Some(last) => last.to_s = pair[1].to_s,
                None => {}
            }
        }
        after
    }

    /// The due times of its requests, where `capacity_per_s` is 100 percent. The same seed gives the same times.
    ///
    /// # Panics
    /// Unless the capacity is above zero and finite.
    pub fn due(&self, capacity_per_s: f64, seed: u64) -> Vec<Duration> {
        assert!(
            capacity_per_s > 0.0 && capacity_per_s.is_finite(),
            "a capacity of {capacity_per_s} per second"
        );
        // Arrivals at rate 1, on a scale of expected requests; each is mapped to the time at which that many are due.
        let units = Spread::default().arrivals(self.arrivals, 1.0, seed);
        let mut stretches = self.stretches().into_iter();
        let mut stretch = stretches.next();
        // Requests due before the stretch.
        let mut before = 0.0;
        let mut times = Vec::new();
        for unit in units {
            let wanted = unit.as_secs_f64();
            loop {
                let Some(Stretch { from_s, to_s, percent }) = stretch else { return times };
                let rate = capacity_per_s * percent / 100.0;
                let due_s = from_s + (wanted - before) / rate;
                if due_s < to_s {
                    times.push(Duration::from_secs_f64(due_s));
                    break;
                }
                before += rate * (to_s - from_s);
                stretch = stretches.next();
            }
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(arrivals: Arrivals, seconds: f64, percent: &[f64]) -> Trace {
        Trace { name: "t".to_owned(), arrivals, seconds, percent: percent.to_vec() }
    }

    /// Arrivals in `from..to` seconds.
    fn between(times: &[Duration], from: f64, to: f64) -> usize {
        times.iter().filter(|due| (from..to).contains(&due.as_secs_f64())).count()
    }

    #[test]
    fn each_part_has_its_rate() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let times = trace(arrivals, 300.0, &[20.0, 80.0, 0.0]).due(1000.0, 3);
            assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
            let (low, high) = (between(&times, 0.0, 100.0), between(&times, 100.0, 200.0));
            // Five standard deviations of the Poisson counts.
            assert!(low.abs_diff(20_000) < 710, "{arrivals:?}: {low}");
            assert!(high.abs_diff(80_000) < 1420, "{arrivals:?}: {high}");
            assert_eq!(between(&times, 200.0, f64::INFINITY), 0, "{arrivals:?}");
        }
    }

    #[test]
    fn constant_arrivals_keep_their_distance_across_parts() {
        let times = trace(Arrivals::Constant, 2.0, &[100.0, 200.0]).due(4.0, 1);
        let seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
        assert_eq!(seconds, [0.25, 0.5, 0.75, 1.0, 1.125, 1.25, 1.375, 1.5, 1.625, 1.75, 1.875]);
    }

    #[test]
    fn a_seed_gives_the_same_arrivals_at_twice_the_rate_in_half_the_time() {
        let slow = trace(Arrivals::Poisson, 20.0, &[50.0]);
        let first = slow.due(10.0, 5);
        assert_eq!(first, slow.due(10.0, 5));
        assert_ne!(first, slow.due(10.0, 6));
        let fast = trace(Arrivals::Poisson, 10.0, &[50.0]).due(20.0, 5);
        assert_eq!(first.len(), fast.len());
        assert!(
            first.iter().zip(&fast).all(|(slow, fast)| slow.abs_diff(*fast * 2) < Duration::from_nanos(9))
        );
    }

    #[test]
    fn equal_parts_are_one_stretch_and_small_changes_no_step() {
        let of = |from_s, to_s, percent| Stretch { from_s, to_s, percent };
        let overload = trace(Arrivals::Poisson, 8.0, &[20.0, 150.0, 20.0, 20.0]);
        assert_eq!(overload.stretches(), [of(0.0, 2.0, 20.0), of(2.0, 4.0, 150.0), of(4.0, 8.0, 20.0)]);
        assert_eq!(overload.after_steps(), overload.stretches()[1..]);
        assert_eq!(trace(Arrivals::Poisson, 9.0, &[50.0]).after_steps(), []);
        assert_eq!(trace(Arrivals::Poisson, 9.0, &[20.0, 25.0, 33.0]).after_steps(), []);
        let slope = trace(Arrivals::Poisson, 4.0, &[20.0, 40.0, 50.0, 60.0]);
        assert_eq!(slope.after_steps(), [of(1.0, 4.0, 40.0)], "it lasts until the next step or the end");
    }

    #[test]
    fn invalid_settings_are_named() {
        for (seconds, percent, part) in [
            (0.0, &[50.0][..], "length of 0.1"),
            (f64::NAN, &[50.0], "length of 0.1"),
            (5.0, &[], "one above 0, found []"),
            (5.0, &[0.0], "one above 0"),
            (5.0, &[-1.0, 5.0], "0 to 10000"),
            (5.0, &[f64::INFINITY], "0 to 10000"),
        ] {
            let error = trace(Arrivals::Poisson, seconds, percent).check().unwrap_err().to_string();
            assert!(error.contains("trace 't'") && error.contains(part), "{error}");
        }
        trace(Arrivals::Constant, 0.1, &[0.0, 50.0]).check().unwrap();
    }
}
