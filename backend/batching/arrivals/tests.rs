//! How soon and how closely the rate is known.

use super::super::tests::simulation::{MS, SECOND, poisson};
use super::*;

fn random(seed: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed)
}

/// The share of the times of arrival at which the rate is off by more than `most`.
fn off(rate: f64, seconds: u64, most: f64) -> f64 {
    let mut arrivals = Arrivals::default();
    let rates: Vec<f64> = poisson(&mut random(1), 0..seconds * SECOND, rate)
        .into_iter()
        .map(|request| {
            arrivals.observe(request.arrival, request.rows, 0);
            arrivals.rate(request.arrival, 0)
        })
        .skip(100)
        .collect();
    let off = rates.iter().filter(|&&seen| (seen / rate - 1.0).abs() > most).count();
    off as f64 / rates.len() as f64
}

#[test]
fn a_steady_rate_is_told_within_a_few_percent() {
    for (rate, seconds) in [(0.5, 20_000), (5.0, 4_000), (20.0, 1_000), (2_000.0, 10)] {
        assert!(off(rate, seconds, 0.3) < 0.02, "at {rate}/s: {}", off(rate, seconds, 0.3));
        assert!(off(rate, seconds, 0.15) < 0.2, "at {rate}/s: {}", off(rate, seconds, 0.15));
    }
}

/// The median over many histories of the seconds until the rate is within a quarter of the new one.
fn follows_in(from: f64, to: f64) -> f64 {
    let mut times: Vec<f64> = (0..51)
        .map(|seed| {
            let mut random = random(seed);
            let mut arrivals = Arrivals::default();
            let change = 40 * SECOND;
            for request in poisson(&mut random, 0..change, from) {
                arrivals.observe(request.arrival, 1, 0);
            }
            let followed =
                poisson(&mut random, change..change + 30 * SECOND, to).into_iter().find(|request| {
                    arrivals.observe(request.arrival, 1, 0);
                    (arrivals.rate(request.arrival, 0) / to - 1.0).abs() < 0.25
                });
            seconds_between(change, followed.expect("it never follows").arrival)
        })
        .collect();
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

#[test]
fn a_change_is_followed_within_seconds() {
    for (from, to, most) in [(5.0, 20.0, 2.0), (20.0, 5.0, 3.0), (500.0, 2_000.0, 1.0), (2_000.0, 500.0, 2.0)]
    {
        let seconds = follows_in(from, to);
        assert!(seconds < most, "{seconds} s from {from} to {to}/s");
    }
}

#[test]
fn the_rate_falls_when_nothing_comes() {
    let mut arrivals = Arrivals::default();
    for number in 0..200 {
        arrivals.observe(number * 50 * MS, 1, 0);
    }
    let last = 199 * 50 * MS;
    assert!((arrivals.rate(last, 0) - 20.0).abs() < 0.1, "{}", arrivals.rate(last, 0));
    assert!(arrivals.rate(last + 2 * SECOND, 0) < 5.0, "{}", arrivals.rate(last + 2 * SECOND, 0));
    assert!(arrivals.rate(last + 60 * SECOND, 0) < 0.2, "{}", arrivals.rate(last + 60 * SECOND, 0));
    assert!(arrivals.rate(last + 3_600 * SECOND, 0) < 0.01);
}

#[test]
fn requests_that_come_together_are_no_high_rate() {
    let mut arrivals = Arrivals::default();
    for number in 0..400 {
        // Ten at once, twice a second.
        arrivals.observe(number / 10 * 500 * MS, 1, 0);
        if number > 100 {
            let rate = arrivals.rate(number / 10 * 500 * MS, 0);
            assert!((10.0..45.0).contains(&rate), "{rate}");
        }
    }
}

#[test]
fn after_a_pause_the_rate_is_soon_what_it_was() {
    let mut arrivals = Arrivals::default();
    let (mut last, mut now) = (0, 0);
    for _ in 0..20 {
        for number in 0..500 {
            // All have been answered when the next one comes.
            arrivals.observe(now, 1, last);
            if number > 10 {
                let rate = arrivals.rate(now, last);
                assert!((rate / 1_000.0 - 1.0).abs() < 0.2, "{rate} after {number} requests");
            }
            (last, now) = (now, now + MS);
        }
        now += 300 * MS;
    }
}

#[test]
fn rows_are_counted_and_not_requests() {
    let mut arrivals = Arrivals::default();
    assert_eq!(arrivals.rate(5 * SECOND, 0), 0.0);
    for number in 0..100 {
        arrivals.observe(number * 100 * MS, 3, 0);
    }
    let rate = arrivals.rate(99 * 100 * MS, 0);
    assert!((rate - 30.0).abs() < 0.1, "{rate}");
}
