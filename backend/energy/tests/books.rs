//! Single entries of the books.

use std::sync::Arc;

use super::super::front::{Measured, Prices, Progress, Told};
use super::super::ledger::{Ledger, MOST_WAITING};
use super::super::records::Class;

const MS: u64 = 1_000_000;
const A: Class = Class(1);
const B: Class = Class(2);

fn told(uj: u64, ns: u64) -> Told {
    Told { uj, estimate_uj: uj, unmeasured_ns: ns, ..Told::default() }
}

/// A ledger that has seen the device idle, at 10 W, for a second; it is 1 s.
fn idle_seen() -> (Ledger, Arc<Prices>) {
    let mut ledger = Ledger::default();
    let prices = Arc::<Prices>::default();
    ledger.open(A, Arc::clone(&prices));
    for tick in 0..=10 {
        ledger.tick(tick * 100 * MS, tick * 1_000_000);
    }
    assert_eq!(ledger.idle_power_uw(), Some(10_000_000));
    (ledger, prices)
}

#[test]
fn a_tick_is_idle_and_what_ran_in_it() {
    let (mut ledger, prices) = idle_seen();
    ledger.ended(0, A, 1_010 * MS, 1_020 * MS, told(0, 10 * MS));
    ledger.tick(1_100 * MS, 13_000_000);
    let books = ledger.books();
    assert_eq!((books.idle, books.attributed, books.unattributed), (11_000_000, 2_000_000, 0));
    // Told nothing: later ones will be.
    assert_eq!((books.pending, prices.pool()), (2_000_000, 2_000_000));
    assert_eq!(ledger.cost(A), Some(2_000_000.0));
    assert_eq!(prices.tell(0, 10, Measured::default()).uj, 2_100_000);
}

#[test]
fn what_nobody_can_explain_is_unattributed() {
    let (mut ledger, _) = idle_seen();
    ledger.tick(1_100 * MS, 10_000_000 + 5_000_000);
    let books = ledger.books();
    assert_eq!((books.idle, books.attributed, books.unattributed), (11_000_000, 0, 4_000_000));
}

#[test]
fn a_warm_device_does_not_look_idle() {
    let (mut ledger, _) = idle_seen();
    ledger.ended(0, A, 1_000 * MS, 1_100 * MS, told(0, 100 * MS));
    ledger.tick(1_100 * MS, 20_000_000);
    // For a second after load it draws 15 W.
    for tick in 1..=10 {
        ledger.tick((1_100 + tick * 100) * MS, 20_000_000 + tick * 1_500_000);
    }
    assert_eq!(ledger.idle_power_uw(), Some(10_000_000));
    assert_eq!(ledger.books().unattributed, 5_000_000);
    // A model that is loaded and draws 2 W more is idle, in the end.
    for tick in 1..=100 {
        ledger.tick((2_100 + tick * 100) * MS, 35_000_000 + tick * 1_200_000);
    }
    assert_eq!(ledger.idle_power_uw(), Some(12_000_000));
}

#[test]
fn where_idle_was_never_seen_all_is_attributed() {
    let mut ledger = Ledger::default();
    ledger.open(A, Arc::default());
    ledger.started(0, A, 0, 1);
    ledger.tick(5, 100);
    ledger.tick(10, 107);
    let books = ledger.books();
    assert_eq!((books.total, books.attributed, books.idle, books.running), (7, 7, 0, 7));
}

#[test]
fn a_long_execution_learns_what_is_measured_of_it() {
    let (mut ledger, prices) = idle_seen();
    let progress = Arc::<Progress>::default();
    ledger.attach(3, Arc::clone(&progress));
    ledger.started(3, A, 1_050 * MS, 77);
    ledger.tick(1_100 * MS, 13_000_000);
    ledger.tick(1_200 * MS, 18_000_000);
    assert_eq!(progress.of(77), Measured { uj: 6_000_000, ns: 150 * MS });
    assert_eq!(progress.of(76), Measured::default());
    let told = prices.tell(1_050 * MS, 1_200 * MS, progress.of(77));
    assert_eq!((told.uj, told.measured_percent()), (6_000_000, 100.0));
    ledger.ended(3, A, 1_050 * MS, 1_200 * MS, told);
    assert_eq!((ledger.books().pending, ledger.books().running, ledger.kept()), (0, 0, 0));
}

#[test]
fn time_without_a_meter_is_written_off() {
    let (mut ledger, prices) = idle_seen();
    ledger.ended(0, A, 1_000 * MS, 1_200 * MS, told(1_000, 200 * MS));
    ledger.tick(1_100 * MS, 11_000_500);
    ledger.gap(1_100 * MS, 1_300 * MS);
    let books = ledger.books();
    // Half of what was told was for a time that is not known; the other half was right.
    assert_eq!((books.attributed, books.lost, books.pending, prices.pool()), (500, 500, 0, 0));
    // The counter begins anew, and so do the books.
    ledger.tick(1_400 * MS, 5);
    ledger.tick(1_500 * MS, 1_000_005);
    assert_eq!(ledger.books().total, 12_000_500);
}

#[test]
fn a_total_that_falls_is_a_gap() {
    let (mut ledger, _) = idle_seen();
    ledger.started(0, A, 1_000 * MS, 1);
    ledger.tick(1_100 * MS, 3);
    ledger.tick(1_200 * MS, 1_000_003);
    assert_eq!(ledger.books().total, 11_000_000);
}

#[test]
fn executions_of_a_failed_batch_and_of_lost_places_are_borne_by_later_ones() {
    let (mut ledger, prices) = idle_seen();
    ledger.started(0, A, 1_000 * MS, 1);
    ledger.tick(1_100 * MS, 11_000_600);
    ledger.attach(0, Arc::default());
    assert_eq!((ledger.books().pending, prices.pool(), ledger.kept()), (600, 600, 0));
    ledger.failed(0, A, 1_100 * MS, 1_150 * MS);
    ledger.tick(1_200 * MS, 12_001_000);
    assert_eq!(prices.pool(), 1_000);
}

#[test]
fn a_retired_class_keeps_what_is_pending() {
    let (mut ledger, _) = idle_seen();
    ledger.ended(0, A, 1_000 * MS, 1_100 * MS, told(900, 100 * MS));
    ledger.retire(A);
    assert_eq!(ledger.of_class(A), None);
    assert_eq!(ledger.retired().pending(), -900);
    ledger.tick(1_100 * MS, 11_001_000);
    assert_eq!((ledger.retired().pending(), ledger.books().pending), (100, 100));
}

#[test]
fn classes_that_overlap_are_told_apart() {
    // A draws 3 W, B 1 W; they overlap in changing proportions and are never alone.
    let (mut ledger, _) = idle_seen();
    ledger.open(B, Arc::default());
    let mut rng = fastrand::Rng::with_seed(4);
    let mut total = 10_000_000;
    for tick in 10..60 {
        let start = tick * 100 * MS;
        let (a, b) = (rng.u64(10..100), rng.u64(10..100));
        ledger.ended(0, A, start, start + a * MS, told(0, a * MS));
        ledger.ended(1, B, start, start + b * MS, told(0, b * MS));
        total += 1_000_000 + a * 3_000 + b * 1_000;
        let before = (ledger.of_class(A).unwrap_or_default(), ledger.of_class(B).unwrap_or_default());
        ledger.tick(start + 100 * MS, total);
        if tick > 15 {
            let booked = ledger.of_class(A).unwrap_or_default().attributed - before.0.attributed;
            assert!((booked as f64 / (a as f64 * 3_000.0) - 1.0).abs() < 0.05, "{tick}: {booked}");
        }
    }
}

#[test]
fn a_silent_meter_does_not_fill_the_memory() {
    let (mut ledger, _) = idle_seen();
    ledger.open(B, Arc::default());
    let count = 3 * MOST_WAITING as u64;
    for n in 0..count {
        let class = if n % 3 == 0 { B } else { A };
        ledger.ended(0, class, 1_000 * MS + n * 10, 1_000 * MS + n * 10 + 9, told(7, 9));
        assert!(ledger.kept() <= MOST_WAITING);
    }
    let end = 1_000 * MS + count * 10;
    ledger.tick(1_000 * MS + count * 5, 20_000_000);
    ledger.tick(end, 31_000_000);
    let books = ledger.books();
    assert_eq!(books.total, books.idle + books.attributed + books.unattributed);
    assert_eq!((books.told, books.lost, ledger.kept()), (u128::from(count) * 7, 0, 0));
    let by_class = [A, B].map(|class| ledger.of_class(class).map_or(0, |books| books.attributed));
    assert_eq!(by_class.iter().sum::<u128>(), books.attributed);
    let part = by_class[0] as f64 / books.attributed as f64;
    assert!((part - 2.0 / 3.0).abs() < 0.01, "{part}");
}
