//! Decisions where batches are filled up to a bucket.

use proptest::prelude::*;

use super::super::line::Waiting;
use super::super::policy::{Load, fill_bucket, target_size};
use super::super::service_times::ServiceTimes;
use super::super::services::{Class, Services};
use super::simulation::*;
use crate::buckets::{Buckets, doubling};

/// Rows are what it takes time for.
const ROWS: Model = Model { fixed_ms: 18.0, each_ms: 40.0 };
/// Rows make little difference to it.
const OVERHEAD: Model = Model { fixed_ms: 20.0, each_ms: 0.5 };

fn powers(max_batch_size: usize) -> Buckets {
    Buckets::new(doubling(max_batch_size), max_batch_size)
}

/// Requests of so many rows each, and when they expire.
fn waiting(requests: &[(usize, Option<u64>)]) -> Vec<Waiting> {
    let one = |&(rows, expires)| Waiting { arrival: 0, rows, shape: Default::default(), expires, work: 0.0 };
    requests.iter().map(one).collect()
}

fn filled(model: Model, requests: &[(usize, Option<u64>)]) -> usize {
    let services = Services::new(model.known_in(&powers(16), 16));
    fill_bucket(0, services.of(Class::of(&[])), waiting(requests).iter())
}

#[test]
fn a_full_bucket_runs_first_where_that_takes_no_longer() {
    let rows = |rows: &[usize]| rows.iter().map(|&rows| (rows, None)).collect::<Vec<_>>();
    for (requests, count) in [
        (&[1; 8][..], 8),
        // 338 and 58 ms in place of 658.
        (&[1; 9], 8),
        // 338, 178 and 58 ms.
        (&[1; 13], 8),
        // 338 and 338 ms.
        (&[1; 15], 15),
        (&[1; 16], 16),
        (&[3, 4, 2], 2),
        // No request is split.
        (&[3, 6], 1),
        (&[9], 1),
        (&[1], 1),
        (&[5, 1], 2),
    ] {
        assert_eq!(filled(ROWS, &rows(requests)), count, "{requests:?}");
        assert_eq!(filled(OVERHEAD, &rows(requests)), requests.len(), "one more execution costs more");
    }
}

#[test]
fn who_would_expire_meanwhile_is_not_left_for_the_next_batch() {
    let last_expires = |ms: u64| {
        let mut requests = vec![(1, None); 8];
        requests.push((1, Some(ms * MS)));
        filled(ROWS, &requests)
    };
    assert_eq!(last_expires(300), 9, "eight rows take 338 ms");
    assert_eq!(last_expires(400), 8);
}

#[test]
fn nothing_is_decided_where_nothing_is_known() {
    let services = Services::new(ServiceTimes::in_buckets(16, powers(16)));
    let requests = waiting(&[(1, None); 9]);
    assert_eq!(fill_bucket(0, services.of(Class::of(&[])), requests.iter()), 9);
    let without = Services::new(ROWS.known(16));
    assert_eq!(fill_bucket(0, without.of(Class::of(&[])), requests.iter()), 9);
}

#[test]
fn a_batch_waits_for_a_full_bucket() {
    for model in [ROWS, OVERHEAD] {
        let services = Services::new(model.known_in(&powers(16), 16));
        for rate in 1..60 {
            let rate = f64::from(rate);
            let load = Load { rate, least_rate: rate, request_rate: rate, ..Load::default() };
            let goal = Setup::new(16, 600).goal;
            let size = target_size(&load, 1, services.of(Class::of(&[])), &goal);
            assert!(size.is_power_of_two(), "{size} rows at {rate} rows/s");
        }
    }
}

/// Rows that nine clients in a closed loop get in a minute where the scheduler knows as much as `known`.
fn rows_for_nine(model: Model, known: ServiceTimes) -> usize {
    let buckets = powers(16);
    let mut setup = Setup::new(16, 1_000);
    setup.goal.target = None;
    let clients = Clients { count: 9, think: &mut || 300 * US, until: 60 * SECOND };
    let takes = |_, rows| model.exact(buckets.padded(rows));
    simulate(setup, scheduler(setup, known), &[], Some(clients), takes).requests.len()
}

#[test]
fn a_scheduler_that_knows_the_buckets_gets_more_done() {
    let buckets = powers(16);
    let (aware, unaware) =
        (rows_for_nine(ROWS, ROWS.known_in(&buckets, 16)), rows_for_nine(ROWS, ROWS.known(16)));
    assert!(aware as f64 > 1.3 * unaware as f64, "{aware} against {unaware} rows");
    // Where a batch more costs more than rows that nobody needs, these are computed.
    let (aware, unaware) = (
        rows_for_nine(OVERHEAD, OVERHEAD.known_in(&buckets, 16)),
        rows_for_nine(OVERHEAD, OVERHEAD.known(16)),
    );
    assert!(aware as f64 > 0.98 * unaware as f64, "{aware} against {unaware} rows");
}

proptest! {
    /// What is left for the next batch takes no longer, together with what runs, than all of it at once.
    #[test]
    fn a_batch_is_split_only_where_that_takes_no_longer(
        sizes in prop::collection::btree_set(1..40_usize, 0..6),
        rows in prop::collection::vec(1..=6_usize, 1..20),
        fixed_ms in 0.0..50.0_f64,
        each_ms in 0.0..50.0_f64,
    ) {
        let buckets = Buckets::new(sizes, 40);
        let fitting = rows.iter().scan(0, |sum, rows| { *sum += rows; Some(*sum) }).take_while(|sum| *sum <= 40);
        let rows = &rows[..fitting.count()];
        let requests: Vec<_> = rows.iter().map(|&rows| (rows, None)).collect();
        let services = Services::new(Model { fixed_ms, each_ms }.known_in(&buckets, 40));
        let service = services.of(Class::of(&[]));
        let time = |rows: &[(usize, Option<u64>)]| service.estimate(rows.iter().map(|(rows, _)| rows).sum()).unwrap();
        let (mut left, mut in_parts) = (&requests[..], 0.0);
        while !left.is_empty() {
            let count = fill_bucket(0, service, waiting(left).iter());
            prop_assert!((1..=left.len()).contains(&count));
            in_parts += time(&left[..count]);
            left = &left[count..];
        }
        prop_assert!(in_parts <= time(&requests) * (1.0 + 1e-9), "{} against {}", in_parts, time(&requests));
    }
}
