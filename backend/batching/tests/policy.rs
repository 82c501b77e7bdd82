//! Decisions on their own.

use proptest::prelude::*;

use super::super::company::Arriving;
use super::super::lateness::Margins;
use super::super::line::{Front, Line, Waiting};
use super::super::policy::*;
use super::super::service_times::ServiceTimes;
use super::super::services::{Class, Services};
use super::simulation::*;
use crate::config::Target;

const INCEPTION: Model = Model { fixed_ms: 18.0, each_ms: 40.0 };
/// Rows make little difference to it.
const OVERHEAD: Model = Model { fixed_ms: 20.0, each_ms: 2.0 };

/// Single rows that came at these times, in ms, and a worker that asks.
struct Case {
    line: Line<()>,
    services: Services,
    goal: Goal,
    load: Load,
    closing: bool,
    workers: usize,
}

impl Case {
    fn new(model: Model, max_batch_size: usize, target_ms: u64, arrivals_ms: &[u64]) -> Self {
        Self::of(model.known(max_batch_size), Setup::new(max_batch_size, target_ms).goal, arrivals_ms)
    }

    fn of(service: ServiceTimes, goal: Goal, arrivals_ms: &[u64]) -> Self {
        let mut line = Line::default();
        for ms in arrivals_ms {
            let waiting =
                Waiting { arrival: ms * MS, rows: 1, shape: Default::default(), expires: None, work: 0.0 };
            line.push(waiting, ());
        }
        let services = Services::new(service);
        Self { line, services, goal, load: at(10.0), closing: false, workers: 1 }
    }

    fn decide(&mut self, now_ms: u64) -> Decision {
        let front: Front = self.line.front(self.goal.max_batch_size);
        let view = View {
            now: now_ms * MS,
            oldest: self.line.oldest().map_or(0, |oldest| oldest.arrival),
            front,
            closing: self.closing,
            start_by: None,
            load: self.load,
            room: 0.0,
            workers: self.workers,
            service: self.services.of(Class::of(&[])),
            goal: &self.goal,
        };
        decide(&view, self.line.waiting())
    }
}

/// An open load.
fn at(rate: f64) -> Load {
    let arriving = Arriving::Open { patience: 1e6 };
    Load {
        rate,
        least_rate: rate,
        request_rate: rate,
        arriving,
        quiet_since: 0,
        margins: Margins { caution: 1.0, ..Margins::default() },
    }
}

fn sorted(ages: &[u64]) -> Vec<u64> {
    let mut arrivals: Vec<u64> = ages.iter().map(|age| 1_000 - age).collect();
    arrivals.sort_unstable();
    arrivals
}

proptest! {
    /// While a worker waits, all who wait are still in time at the end of it.
    #[test]
    fn waiting_ends_before_it_makes_anyone_late(
        ages in prop::collection::vec(0..1_000_u64, 1..20),
        model in (0.0..50.0_f64, 0.1..50.0_f64).prop_map(|(fixed_ms, each_ms)| Model { fixed_ms, each_ms }),
        target_ms in 1..=1_000_u64,
        rate in 0.0..1_000.0_f64,
        workers in 1..=3_usize,
    ) {
        let arrivals = sorted(&ages);
        let mut case = Case { load: at(rate), workers, ..Case::new(model, 20, target_ms, &arrivals) };
        if let Decision::LookAgain(at) = case.decide(1_000) {
            prop_assert!(at > 1_000 * MS);
            let end = at + model.exact(ages.len());
            prop_assert!(end <= (arrivals[0] + target_ms) * MS, "ends at {end} ns");
        }
    }

    /// No other number of requests to run now leaves fewer of them late. Only before a backlog of more than four batches the
    /// worker takes what it can.
    #[test]
    fn a_backlog_is_cut_so_that_the_fewest_are_late(
        ages in prop::collection::vec(0..1_000_u64, 1..60),
        model in (0.0..50.0_f64, 0.1..50.0_f64).prop_map(|(fixed_ms, each_ms)| Model { fixed_ms, each_ms }),
        max_batch_size in 1..=20_usize,
        target_ms in 1..=1_000_u64,
    ) {
        let arrivals = sorted(&ages);
        let known = model.known(max_batch_size);
        let mut case = Case { closing: true, ..Case::new(model, max_batch_size, target_ms, &arrivals) };
        let Decision::Run(count) = case.decide(1_000) else { panic!("it cannot wait") };
        let fit = arrivals.len().min(max_batch_size);
        let margin = known.spread(100.0 - (0.5 * fit as f64).max(1.0));
        let late = |first: usize| {
            let (mut late, mut start, mut from, mut size) = (0, 0.0, 0, first);
            while from < arrivals.len() {
                let time = known.estimate(size).unwrap();
                let is_late = |arrival: &&u64| {
                    ((1_000 - **arrival) * MS) as f64 > (target_ms * MS) as f64 - time * margin - start
                };
                late += arrivals[from..from + size].iter().filter(is_late).count();
                start += time;
                from += size;
                size = (arrivals.len() - from).min(max_batch_size);
            }
            late
        };
        if arrivals.len() > 4 * max_batch_size {
            prop_assert_eq!(count, fit);
            return Ok(());
        }
        let fewest = (1..=fit).map(late).min().unwrap();
        prop_assert_eq!(late(count), fewest, "with {} of {}", count, fit);
    }
}

#[test]
fn without_a_target_nobody_waits() {
    let goal = Goal { max_batch_size: 4, target: None, max_wait_ns: u64::MAX };
    let decide = |arrivals: &[u64]| Case::of(INCEPTION.known(4), goal, arrivals).decide(0);
    assert_eq!(decide(&[]), Decision::Idle);
    assert_eq!(decide(&[0]), Decision::Run(1));
    assert_eq!(decide(&[0; 9]), Decision::Run(4));
}

#[test]
fn nobody_waits_for_a_model_that_has_not_run_yet() {
    assert_eq!(Case::of(ServiceTimes::new(16), Setup::new(16, 600).goal, &[0]).decide(0), Decision::Run(1));
}

#[test]
fn a_batch_waits_for_company_as_long_as_the_oldest_can() {
    let case = |load| Case { load, ..Case::new(INCEPTION, 16, 600, &[1_000]) };
    let Decision::LookAgain(until) = case(at(10.0)).decide(1_000) else { panic!("runs") };
    // Two rows take 98 ms, and the margin is a few percent of that.
    assert!((1_450 * MS..1_502 * MS).contains(&until), "{until}");
    assert_eq!(case(at(10.0)).decide(1_502), Decision::Run(1), "it is time");
    assert_eq!(case(at(1.0)).decide(1_000), Decision::Run(1), "nobody is expected in half a second");
    assert_eq!(Case { closing: true, ..case(at(10.0)) }.decide(1_000), Decision::Run(1));
    let load = Load { arriving: Arriving::Unknown, ..at(10.0) };
    assert_eq!(case(load).decide(1_000), Decision::Run(1), "nobody is known to come while others wait");
    let load = Load { arriving: Arriving::Closed { missing: 0.0, returns_in: 1e5 }, ..at(10.0) };
    assert_eq!(case(load).decide(1_000), Decision::Run(1), "all wait");
    let load = Load {
        arriving: Arriving::Closed { missing: 1.0, returns_in: 1e5 },
        quiet_since: 1_000 * MS,
        ..load
    };
    assert_eq!(case(load).decide(1_000), Decision::LookAgain(1_000 * MS + 200 * US), "one is on its way");
    let mut many = Case::new(INCEPTION, 16, 600, &[1_000; 12]);
    assert_eq!(many.decide(1_000), Decision::Run(12), "one more is hardly cheaper");
}

#[test]
fn nobody_waits_where_more_rows_are_no_cheaper() {
    let flat = Model { fixed_ms: 0.5, each_ms: 50.0 };
    assert_eq!(Case::new(flat, 16, 600, &[0]).decide(0), Decision::Run(1));
}

fn size(rate: f64, workers: usize) -> usize {
    let services = Services::new(INCEPTION.known(16));
    target_size(&at(rate), workers, services.of(Class::of(&[])), &Setup::new(16, 600).goal)
}

#[test]
fn the_target_size_falls_when_the_workers_have_much_to_do() {
    assert_eq!(size(0.5, 1), 1, "nobody to wait for");
    assert!((5..=10).contains(&size(5.0, 1)), "{}", size(5.0, 1));
    assert!(size(18.0, 1) < size(10.0, 1), "{} and {}", size(18.0, 1), size(10.0, 1));
    assert!((2..=4).contains(&size(24.0, 1)), "small, but no single rows: {}", size(24.0, 1));
    // A second worker takes the half of it.
    assert!(size(18.0, 2) > size(18.0, 1));
}

#[test]
fn a_backlog_is_cut_behind_those_that_can_be_in_time() {
    let decide = |arrivals: &[u64], now_ms| Case::new(INCEPTION, 16, 250, arrivals).decide(now_ms);
    // All six take 258 ms, so that all were late. Three take 138, which the older ones have.
    assert_eq!(decide(&[900, 900, 900, 1_000, 1_000, 1_000], 1_000), Decision::Run(3));
    // The first is late in any case. Five take 218 ms, which the four behind it have.
    let arrivals = [600, 1_000, 1_000, 1_000, 1_000, 1_000];
    assert_eq!(decide(&arrivals, 1_000), Decision::Run(5));
    // All are late: the largest batch is done with them soonest.
    assert_eq!(decide(&arrivals, 2_000), Decision::Run(6));
}

fn longest(model: Model, target_ms: u64, rate: f64, free_ms: u64, workers: usize) -> Option<usize> {
    let services = Services::new(model.known(16));
    let goal = Setup::new(16, target_ms).goal;
    longest_queue(&at(rate), free_ms * MS, workers, services.of(Class::of(&[])), &goal)
}

#[test]
fn a_target_below_a_batch_of_one_means_no_waiting_and_no_refusing() {
    assert_eq!(Case::new(INCEPTION, 16, 30, &[0; 3]).decide(0), Decision::Run(3));
    assert_eq!(longest(INCEPTION, 30, 0.0, 0, 1), None);
}

#[test]
fn the_longest_queue_is_what_can_still_be_in_time() {
    // 14 rows take 578 ms, and the margin is a few percent; 8 take 338. 6 take 258, and 6 more can follow in 600.
    let inception = |rate, free_ms| longest(INCEPTION, 600, rate, free_ms, 1);
    assert_eq!(inception(0.0, 0), Some(14));
    assert_eq!(inception(0.0, 258), Some(7));
    assert_eq!(inception(0.0, 400), Some(4));
    assert_eq!(inception(0.0, 599), Some(1), "one may wait in any case");
    // Above full load, as if a batch had just begun.
    let full = INCEPTION.capacity(6);
    assert_eq!(inception(2.0 * full, 0), Some(7));
    assert_eq!(inception(2.0 * full, 258), Some(7));
    assert_eq!(longest(INCEPTION, 600, 2.0 * full, 0, 2), Some(14));
    // 16 rows take 52 ms: two batches more in 200 ms, and a smaller one.
    assert_eq!(longest(OVERHEAD, 200, 2.0 * OVERHEAD.capacity(16), 0, 1), Some(42));
    let nothing = Services::new(ServiceTimes::new(16));
    let goal = Goal { target: Some(Target { latency_ns: MS, percentile: 99.0 }), ..Setup::new(16, 600).goal };
    assert_eq!(longest_queue(&at(0.0), 0, 1, nothing.of(Class::of(&[])), &goal), None);
}

#[test]
fn where_arrivals_follow_answers_the_queue_is_as_long_as_there_is_time() {
    let services = Services::new(INCEPTION.known(16));
    let load =
        Load { arriving: Arriving::Closed { missing: 0.0, returns_in: 1e5 }, ..at(INCEPTION.capacity(6)) };
    let longest = longest_queue(&load, 0, 1, services.of(Class::of(&[])), &Setup::new(16, 600).goal);
    assert_eq!(longest, Some(14));
}

/// In ms. OVERHEAD takes 20 ms and 2 for each row.
#[test]
fn a_row_costs_what_it_does_in_the_largest_batches_that_follow_one_another_in_time() {
    let cost = |target_ms, rate| {
        let case = Case::new(OVERHEAD, 64, target_ms, &[]);
        full_load_cost(&at(rate), 1, case.services.of(Class::of(&[])), &case.goal).map(|ns| ns / 1e6)
    };
    for (target_ms, least, most) in [(100, 3.2, 3.8), (50, 11.5, 22.5), (30, 21.0, 23.0), (1_000, 2.2, 2.5)] {
        let seen = cost(target_ms, 1.0).expect("it is known what batches take");
        assert!((least..most).contains(&seen), "{seen} ms for a target of {target_ms} ms");
        assert_eq!(cost(target_ms, 1_000.0), Some(seen), "whatever the rate");
    }
    let goal = Goal { target: None, ..Setup::new(64, 100).goal };
    let services = Services::new(OVERHEAD.known(64));
    let without = full_load_cost(&at(1.0), 1, services.of(Class::of(&[])), &goal).expect("known");
    assert!((2.2e6..2.5e6).contains(&without), "without a target in the largest: {without} ns");
    let unknown = Services::new(ServiceTimes::new(64));
    assert_eq!(full_load_cost(&at(1.0), 1, unknown.of(Class::of(&[])), &goal), None);
}
