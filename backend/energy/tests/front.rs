//! What is told, and what is taken from what is pending, from many threads at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::super::front::*;

/// Miri takes its time.
const ROUNDS: u64 = if cfg!(miri) { 50 } else { 5_000 };

fn prices(cost: Option<f64>, power: f64) -> Prices {
    let prices = Prices::default();
    prices.publish(Learnt { cost, power, spread: 0.02, tick_ns: 100 });
    prices
}

#[test]
fn nothing_is_told_before_anything_is_known() {
    let told = Prices::default().tell(5, 1_000, Measured::default());
    assert_eq!((told.uj, told.unmeasured_ns), (0, 995));
    assert_eq!(told.measured_percent(), 0.0);
}

#[test]
fn power_times_time_until_a_cost_is_learnt() {
    let told = prices(None, 2.0).tell(0, 1_000, Measured::default());
    assert_eq!((told.uj, told.error_uj), (2_000, 2_000));
    let told = prices(Some(500.0), 2.0).tell(0, 1_000, Measured::default());
    assert_eq!((told.uj, told.error_uj), (500, 10));
}

#[test]
fn what_is_measured_is_told_and_the_rest_is_scaled() {
    let told = prices(Some(1_000.0), 1.0).tell(0, 1_000, Measured { uj: 700, ns: 600 });
    assert_eq!((told.uj, told.estimate_uj, told.unmeasured_ns), (1_100, 400, 400));
    assert!((told.measured_percent() - 63.6).abs() < 0.1);
    // Booked in full already: nothing is guessed.
    let told = prices(Some(1_000.0), 1.0).tell(0, 1_000, Measured { uj: 700, ns: 1_000 });
    assert_eq!((told.uj, told.measured_percent()), (700, 100.0));
}

#[test]
fn no_time_no_energy_and_clocks_that_go_back_do_no_harm() {
    assert_eq!(prices(Some(1_000.0), 1.0).tell(7, 7, Measured::default()).uj, 0);
    assert_eq!(prices(Some(1_000.0), 1.0).tell(7, 3, Measured::default()).uj, 0);
    let told = prices(Some(f64::MAX), f64::MAX).tell(0, u64::MAX, Measured { uj: u64::MAX, ns: 1 });
    assert_eq!(told.uj, u64::MAX);
}

#[test]
fn a_correction_is_a_20th_at_most_and_a_16th_of_what_is_pending() {
    let prices = prices(Some(1_000.0), 1.0);
    for (pool, correction) in [(160, 10), (-160, -10), (1_000_000, 50), (-1_000_000, -50), (1, 1), (-1, -1)] {
        assert_eq!(prices.give(pool - i128::from(prices.pool())), 0);
        let told = prices.tell(0, 10, Measured::default());
        assert_eq!((told.correction_uj, told.uj), (correction, 1_000_u64.saturating_add_signed(correction)));
        assert_eq!(i128::from(prices.pool()), pool - i128::from(correction));
    }
}

#[test]
fn what_does_not_fit_into_the_pool_is_given_back() {
    let prices = prices(Some(1_000.0), 1.0);
    let all = i128::from(u64::MAX) * 3;
    for sign in [1, -1] {
        let rest = prices.give(sign * all);
        assert_eq!(i128::from(prices.pool()), sign * i128::from(MOST_POOL));
        assert_eq!(prices.give(rest), rest);
        assert_eq!(prices.give(-sign * i128::from(MOST_POOL)), 0);
    }
}

#[test]
fn shares_of_requests_sum_up_and_rows_are_equal() {
    for uj in [0, 1, 6, 7, 1_000_003, u64::MAX] {
        let told = Told { uj, ..Told::default() };
        let rows = [3, 1, 2, 1];
        let mut before = 0;
        let mut sum = 0_u64;
        for count in rows {
            let share = told.share(before, count, 7);
            assert!(share.abs_diff((u128::from(uj) * u128::from(count) / 7) as u64) <= 1);
            sum += share;
            before += count;
        }
        assert_eq!(sum, uj);
    }
    assert_eq!(Told { uj: 9, ..Told::default() }.share(0, 0, 0), 0);
}

#[test]
fn nothing_is_taken_twice() {
    let prices = Arc::new(prices(Some(10_000.0), 1.0));
    let takers: Vec<_> = (0..4)
        .map(|_| {
            let prices = Arc::clone(&prices);
            thread::spawn(move || {
                (0..ROUNDS)
                    .map(|_| i128::from(prices.tell(0, 10, Measured::default()).correction_uj))
                    .sum::<i128>()
            })
        })
        .collect();
    let mut given = 0;
    for round in 0..ROUNDS {
        let uj = i128::from(round % 977) - 300;
        given += uj - prices.give(uj);
    }
    let taken: i128 = takers.into_iter().map(|taker| taker.join().expect("no panic")).sum();
    assert_eq!(taken + i128::from(prices.pool()), given);
}

#[test]
fn progress_is_read_whole_or_not_at_all() {
    let progress = Arc::<Progress>::default();
    let over = Arc::new(AtomicBool::new(false));
    let writer = {
        let (progress, over) = (Arc::clone(&progress), Arc::clone(&over));
        thread::spawn(move || {
            for round in 1..ROUNDS * 10 {
                progress.publish(round % 2, Measured { uj: round, ns: round });
            }
            over.store(true, Ordering::Relaxed);
        })
    };
    while !over.load(Ordering::Relaxed) {
        let Measured { uj, ns } = progress.of(1);
        assert!(uj == ns && (uj % 2 == 1 || uj == 0), "{uj} {ns}");
    }
    writer.join().expect("no panic");
    progress.publish(7, Measured { uj: 3, ns: 4 });
    assert_eq!(progress.of(7), Measured { uj: 3, ns: 4 });
    assert_eq!(progress.of(8), Measured::default());
}
