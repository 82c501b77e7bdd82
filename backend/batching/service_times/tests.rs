//! How soon and how closely the times are known.

use super::super::tests::simulation::{MS, Model};
use super::*;
use crate::buckets::Buckets;

const INCEPTION: Model = Model { fixed_ms: 18.0, each_ms: 40.0 };
/// Batches of all sizes, in no order.
const SIZES: [usize; 8] = [3, 1, 8, 2, 5, 1, 6, 4];

fn seen(batches: usize, seed: u64) -> ServiceTimes {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut service = ServiceTimes::new(16);
    for &rows in SIZES.iter().cycle().take(batches) {
        service.observe(rows, INCEPTION.scattered(&mut random, rows));
    }
    service
}

/// How far an estimate is from `factor` times the model's.
fn off(service: &ServiceTimes, rows: usize, factor: f64) -> f64 {
    (service.estimate(rows).expect("a batch was seen") / (INCEPTION.exact(rows) as f64 * factor) - 1.0).abs()
}

#[test]
fn nothing_is_known_before_the_first_batch() {
    let mut service = ServiceTimes::new(16);
    assert_eq!((service.estimate(1), service.cheap_size()), (None, 1));
    service.observe(4, 100 * MS);
    assert!(service.estimate(4).is_some_and(|ns| (ns / 1e8 - 1.0).abs() < 0.01));
    assert!(service.estimate(1) < service.estimate(4) && service.estimate(4) < service.estimate(16));
    assert!(service.cheap_size() > 4, "larger batches are worth a try");
}

#[test]
fn the_times_are_learned_and_those_of_other_sizes_with_them() {
    for seed in 0..20 {
        let service = seen(60, seed);
        for rows in 1..=8 {
            assert!(off(&service, rows, 1.0) < 0.1, "{rows}: {}", off(&service, rows, 1.0));
        }
        assert!(off(&service, 16, 1.0) < 0.15, "never seen: {}", off(&service, 16, 1.0));
    }
}

#[test]
fn what_is_no_straight_line_is_learned_too() {
    // A device that computes four rows in the time of one.
    let time = |rows: usize| rows.div_ceil(4) as u64 * 10 * MS;
    let mut service = ServiceTimes::new(16);
    for rows in (1..=16).cycle().take(1_000) {
        service.observe(rows, time(rows));
    }
    for rows in 1..=16 {
        let ratio = service.estimate(rows).expect("seen") / time(rows) as f64;
        assert!((0.8..1.2).contains(&ratio), "{rows}: {ratio}");
    }
}

#[test]
fn a_batch_takes_what_its_bucket_takes() {
    let buckets = Buckets::new([2, 5, 33], 100);
    let service = INCEPTION.known_in(&buckets, 100);
    for rows in 1..=100 {
        let padded = buckets.padded(rows);
        assert_eq!(service.estimate(rows), service.estimate(padded), "{rows}");
        assert!(off(&service, padded, 1.0) < 0.1, "{padded}: {}", off(&service, padded, 1.0));
    }
    assert_eq!(service.estimate(0), service.estimate(2));
    assert_eq!(service.estimate(1_000), service.estimate(100));
    assert_eq!(service.estimates.len(), 4, "nothing is kept of other sizes");
    let unlearnt = service.unlearnt();
    assert_eq!((unlearnt.estimate(1), unlearnt.buckets()), (None, &buckets));
}

#[test]
fn the_size_that_is_cheap_enough_is_a_full_bucket() {
    // Up to 8 rows take hardly longer than one; the next bucket doubles that.
    let buckets = Buckets::new([1, 8, 16], 20);
    let mut service = ServiceTimes::in_buckets(20, buckets.clone());
    let time = |rows: usize| buckets.padded(rows).div_ceil(8) as u64 * 10 * MS;
    for rows in (1..=20).cycle().take(1_000) {
        service.observe(rows, time(rows));
    }
    assert!([8, 16].contains(&service.cheap_size()), "{}", service.cheap_size());
    for (fixed_ms, each_ms) in [(0.1, 40.0), (18.0, 40.0), (20.0, 2.0)] {
        let cheap = Model { fixed_ms, each_ms }.known_in(&buckets, 20).cheap_size();
        assert!(buckets.sizes().contains(&cheap), "{cheap}");
    }
}

#[test]
fn more_rows_never_take_less_time() {
    for seed in 0..20 {
        let service = seen(12, seed);
        assert!((1..16).all(|rows| service.estimate(rows) <= service.estimate(rows + 1)));
    }
}

#[test]
fn one_slow_batch_changes_little() {
    for (rows, most) in [(1, 0.1), (4, 0.1), (16, 0.2)] {
        let mut service = seen(100, 1);
        let before: Vec<_> = (1..=16).map(|rows| service.estimate(rows).expect("seen")).collect();
        let spread = service.spread(95.0);
        service.observe(rows, 5 * INCEPTION.exact(rows));
        for (rows, before) in (1..).zip(before) {
            let ratio = service.estimate(rows).expect("seen") / before;
            assert!((ratio - 1.0).abs() < most, "{rows}: {ratio}");
        }
        assert!(service.spread(95.0) < spread + 0.05);
    }
}

#[test]
fn batches_may_scatter_widely_for_as_long_as_they_like() {
    // Of a few microseconds on a busy machine: some go straight through, most are held up.
    let mut random = fastrand::Rng::with_seed(5);
    let mut service = ServiceTimes::new(16);
    for number in 0..200_000 {
        let rows = SIZES[number % SIZES.len()];
        let held_up = [1, 4, 4, 4, 8][random.usize(..5)];
        service.observe(rows, (2_000 + 100 * rows as u64) * held_up);
        if number >= 1_000 {
            let estimate = |rows| service.estimate(rows).expect("seen");
            let ratio = estimate(1) / 2_100.0;
            assert!((0.8..9.0).contains(&ratio), "after {number} batches: {ratio}, 4 on the median");
            let growth = estimate(8) / estimate(1);
            assert!((1.0..3.0).contains(&growth), "after {number} batches: {growth} in place of 1.3");
        }
    }
}

#[test]
fn the_unit_of_the_line_is_nobody_s_concern() {
    let mut random = fastrand::Rng::with_seed(6);
    let mut service = seen(60, 6);
    let estimates = service.estimates.clone();
    for unit in [1e-40, 1e60] {
        service.line.scale(unit);
        service.line.fit();
        let rows = 3;
        service.observe(rows, INCEPTION.scattered(&mut random, rows));
        for (&now, &before) in service.estimates.iter().zip(&estimates) {
            assert!((now / before - 1.0).abs() < 0.1, "{before} became {now}");
        }
    }
}

#[test]
fn the_slow_first_run_of_a_model_is_soon_forgotten() {
    let mut service = ServiceTimes::new(16);
    service.observe(1, 20 * INCEPTION.exact(1));
    for rows in SIZES {
        service.observe(rows, INCEPTION.exact(rows));
    }
    assert!((1..=8).all(|rows| off(&service, rows, 1.0) < 0.1));
}

#[test]
fn a_lasting_change_of_speed_is_followed_in_ten_batches_and_leaves_no_spread() {
    for factor in [2.0, 0.5] {
        let mut random = fastrand::Rng::with_seed(3);
        let mut service = seen(200, 2);
        let spread = service.spread(98.0);
        for &rows in SIZES.iter().cycle().take(10) {
            service.observe(rows, (INCEPTION.scattered(&mut random, rows) as f64 * factor) as u64);
        }
        for rows in [1, 4, 8, 16] {
            assert!(off(&service, rows, factor) < 0.15, "{rows}: {}", off(&service, rows, factor));
        }
        assert!((service.spread(98.0) - spread).abs() < 0.1, "{}", service.spread(98.0));
    }
}

#[test]
fn the_size_that_is_cheap_enough_follows_from_the_fixed_part() {
    let cheap = |fixed_ms, each_ms| Model { fixed_ms, each_ms }.known(16).cheap_size();
    assert_eq!(cheap(0.1, 40.0), 1);
    assert_eq!(cheap(20.0, 2.0), 16);
    assert!((11..=14).contains(&cheap(18.0, 40.0)), "{}", cheap(18.0, 40.0));
}
