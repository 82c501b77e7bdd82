//! What holds for every history of requests.

use proptest::prelude::*;

use super::super::policy::*;
use super::super::service_times::ServiceTimes;
use super::simulation::*;
use crate::config::Target;

const INCEPTION: Model = Model { fixed_ms: 18.0, each_ms: 40.0 };
/// Rows make little difference to it.
const OVERHEAD: Model = Model { fixed_ms: 20.0, each_ms: 2.0 };

/// Requests from the gaps between them, in ms.
fn requests(gaps: &[(u64, usize)]) -> Vec<Waiting> {
    let mut arrival = 0;
    let request = |&(gap, rows): &(u64, usize)| {
        arrival += gap * MS;
        Waiting { arrival, rows }
    };
    gaps.iter().map(request).collect()
}

/// Bursts, steady streams and long silences, of requests of up to `rows` rows.
fn histories(rows: usize) -> impl Strategy<Value = Vec<Waiting>> {
    let gap = prop_oneof![4 => 0..20_u64, 4 => 0..150_u64, 1 => 0..3_000_u64];
    prop::collection::vec((gap, 1..=rows), 1..200).prop_map(|gaps| requests(&gaps))
}

fn models() -> impl Strategy<Value = Model> {
    (0.0..50.0_f64, 0.1..50.0_f64).prop_map(|(fixed_ms, each_ms)| Model { fixed_ms, each_ms })
}

fn setups() -> impl Strategy<Value = Setup> {
    (1..=20_usize, prop::option::of(1..=1_000_u64), 1..=3_usize, any::<bool>()).prop_map(
        |(max_batch_size, target_ms, workers, refuses)| {
            let mut setup = Setup { workers, refuses, ..Setup::new(max_batch_size, 1) };
            setup.goal.target = target_ms.map(|ms| Target { latency_ns: ms * MS, percentile: 99.0 });
            setup
        },
    )
}

/// Those of the requests before which not yet `most` came in the same span of time.
fn thinned(requests: Vec<Waiting>, most: usize, span: u64) -> Vec<Waiting> {
    let mut kept: Vec<Waiting> = Vec::new();
    for request in requests {
        let nth_before = kept.len().checked_sub(most).map(|index| kept[index].arrival);
        if nth_before.is_none_or(|arrival| request.arrival - arrival > span) {
            kept.push(request);
        }
    }
    kept
}

/// A view of one worker, for decisions on their own.
fn view<'a>(now_ms: u64, waiting: &'a [Waiting], service: &'a ServiceTimes, goal: &'a Goal) -> View<'a> {
    View { now: now_ms * MS, waiting, complete: false, rate: 10.0, workers: 1, service, goal }
}

fn singles(arrivals_ms: &[u64]) -> Vec<Waiting> {
    arrivals_ms.iter().map(|ms| Waiting { arrival: ms * MS, rows: 1 }).collect()
}

proptest! {
    /// Beside what the simulation itself asserts: nobody is left behind, no waiting for the past.
    #[test]
    fn every_request_runs_once_in_its_turn_and_no_batch_is_too_large(
        setup in setups(),
        arrivals in histories(1),
        model in models(),
        seed: u64,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let max_batch_size = setup.goal.max_batch_size;
        let takes = |_, rows| model.scattered(&mut random, rows);
        let outcome = simulate(setup, &arrivals, ServiceTimes::new(max_batch_size), takes, decide);
        prop_assert_eq!(outcome.requests.len() + outcome.refused, arrivals.len());
        let mut next = 0;
        for batch in &outcome.batches {
            prop_assert_eq!(batch.requests.start, next);
            prop_assert!(batch.rows <= max_batch_size, "{} rows", batch.rows);
            next = batch.requests.end;
        }
        prop_assert_eq!(next, outcome.requests.len());
    }

    #[test]
    fn requests_of_several_rows_stay_whole(
        setup in setups(),
        gaps in prop::collection::vec((0..200_u64, 0.0..1.0_f64), 1..200),
        model in models(),
    ) {
        let max_batch_size = setup.goal.max_batch_size;
        let rows = |part: f64| 1 + (part * max_batch_size as f64) as usize;
        let gaps: Vec<_> = gaps.into_iter().map(|(gap, part)| (gap, rows(part))).collect();
        let known = model.known(max_batch_size);
        let outcome = simulate(setup, &requests(&gaps), known, |_, rows| model.exact(rows), decide);
        for batch in &outcome.batches {
            prop_assert!(batch.rows <= max_batch_size, "{} rows", batch.rows);
            let rows: usize = outcome.requests[batch.requests.clone()].iter().map(|one| one.rows).sum();
            prop_assert_eq!(rows, batch.rows);
        }
    }

    /// A worker asks when a request comes, when a batch ends and when it said it would, and no more.
    #[test]
    fn no_worker_is_kept_busy_with_asking(setup in setups(), arrivals in histories(1), model in models()) {
        let max_batch_size = setup.goal.max_batch_size;
        let takes = |_, rows| model.exact(rows);
        let outcome = simulate(setup, &arrivals, ServiceTimes::new(max_batch_size), takes, decide);
        let events = arrivals.len() + 2 * outcome.batches.len();
        let most = events + outcome.batches.len();
        prop_assert!(outcome.decisions <= most, "{} decisions for {events} events", outcome.decisions);
    }

    /// Where a batch of all that come within the target can follow another such batch in time, nobody is
    /// late: waiting never costs a request its target, however the requests come.
    #[test]
    fn who_can_be_in_time_is_in_time(
        arrivals in histories(1),
        model in models(),
        max_batch_size in 1..=20_usize,
        most in 1..=20_usize,
        slack_ms in 0..300_u64,
        workers in 1..=3_usize,
    ) {
        let known = model.known(max_batch_size);
        let most = most.min(max_batch_size);
        let twice = model.exact(most) as f64 * (1.0 + known.spread(99.0)) * 1.01;
        let target_ms = twice as u64 / MS + 1 + slack_ms;
        let setup = Setup { workers, ..Setup::new(max_batch_size, target_ms) };
        let arrivals = thinned(arrivals, most, target_ms * MS);
        let outcome = simulate(setup, &arrivals, known, |_, rows| model.exact(rows), decide);
        let slowest = outcome.latencies().map(|(_, latency)| latency).max().unwrap_or(0);
        prop_assert!(slowest <= target_ms * MS, "{slowest} ns, the target is {target_ms} ms");
    }

    /// While a worker waits, all who wait are still in time at the end of it.
    #[test]
    fn waiting_ends_before_it_makes_anyone_late(
        ages in prop::collection::vec(0..1_000_u64, 1..20),
        model in models(),
        target_ms in 1..=1_000_u64,
        rate in 0.0..1_000.0_f64,
        workers in 1..=3_usize,
    ) {
        let mut arrivals: Vec<u64> = ages.iter().map(|age| 1_000 - age).collect();
        arrivals.sort_unstable();
        let waiting = singles(&arrivals);
        let known = model.known(20);
        let setup = Setup::new(20, target_ms);
        let view = View { rate, workers, ..view(1_000, &waiting, &known, &setup.goal) };
        if let Decision::LookAgain(at) = decide(&view) {
            prop_assert!(at > view.now);
            let end = at + model.exact(waiting.len());
            prop_assert!(end <= waiting[0].arrival + target_ms * MS, "ends at {end} ns");
        }
    }

    /// No other number of requests to run now leaves fewer of them late. Only before a backlog of more than
    /// four batches the worker takes what it can.
    #[test]
    fn a_backlog_is_cut_so_that_the_fewest_are_late(
        ages in prop::collection::vec(0..1_000_u64, 1..60),
        model in models(),
        max_batch_size in 1..=20_usize,
        target_ms in 1..=1_000_u64,
    ) {
        let mut arrivals: Vec<u64> = ages.iter().map(|age| 1_000 - age).collect();
        arrivals.sort_unstable();
        let waiting = singles(&arrivals);
        let known = model.known(max_batch_size);
        let setup = Setup::new(max_batch_size, target_ms);
        let view = View { complete: true, ..view(1_000, &waiting, &known, &setup.goal) };
        let Decision::Run(count) = decide(&view) else { panic!("it cannot wait") };
        let fit = waiting.len().min(max_batch_size);
        let margin = known.spread(100.0 - (0.5 * fit as f64).max(1.0));
        let late = |first: usize| {
            let (mut late, mut start, mut from, mut size) = (0, 0.0, 0, first);
            while from < waiting.len() {
                let time = known.estimate(size).unwrap();
                let is_late = |one: &&Waiting| {
                    (view.now - one.arrival) as f64 > (target_ms * MS) as f64 - time * margin - start
                };
                late += waiting[from..from + size].iter().filter(is_late).count();
                start += time;
                from += size;
                size = (waiting.len() - from).min(max_batch_size);
            }
            late
        };
        if waiting.len() > 4 * max_batch_size {
            prop_assert_eq!(count, fit);
            return Ok(());
        }
        let fewest = (1..=fit).map(late).min().unwrap();
        prop_assert_eq!(late(count), fewest, "with {} of {}", count, fit);
    }
}

#[test]
fn without_a_target_nobody_waits() {
    let known = INCEPTION.known(16);
    let goal = Goal { max_batch_size: 4, target: None };
    assert_eq!(decide(&view(0, &[], &known, &goal)), Decision::Idle);
    assert_eq!(decide(&view(0, &singles(&[0]), &known, &goal)), Decision::Run(1));
    assert_eq!(decide(&view(0, &singles(&[0; 9]), &known, &goal)), Decision::Run(4));
}

#[test]
fn nobody_waits_for_a_model_that_has_not_run_yet() {
    let unknown = ServiceTimes::new(16);
    assert_eq!(decide(&view(0, &singles(&[0]), &unknown, &Setup::new(16, 600).goal)), Decision::Run(1));
}

#[test]
fn a_batch_waits_for_company_as_long_as_the_oldest_can() {
    let known = INCEPTION.known(16);
    let goal = Setup::new(16, 600).goal;
    let waiting = singles(&[1_000]);
    let Decision::LookAgain(at) = decide(&view(1_000, &waiting, &known, &goal)) else { panic!("runs") };
    // Two rows take 98 ms, and the margin is a few percent of that.
    assert!((1_450 * MS..1_502 * MS).contains(&at), "{at}");
    assert_eq!(decide(&view(1_502, &waiting, &known, &goal)), Decision::Run(1), "it is time");
    let alone = View { rate: 1.0, ..view(1_000, &waiting, &known, &goal) };
    assert_eq!(decide(&alone), Decision::Run(1), "nobody is expected in half a second");
    let complete = View { complete: true, ..view(1_000, &waiting, &known, &goal) };
    assert_eq!(decide(&complete), Decision::Run(1), "nobody can join");
    let many = singles(&[1_000; 12]);
    assert_eq!(decide(&view(1_000, &many, &known, &goal)), Decision::Run(12), "one more is hardly cheaper");
}

#[test]
fn nobody_waits_where_more_rows_are_no_cheaper() {
    let flat = Model { fixed_ms: 0.5, each_ms: 50.0 };
    let known = flat.known(16);
    assert_eq!(decide(&view(0, &singles(&[0]), &known, &Setup::new(16, 600).goal)), Decision::Run(1));
}

#[test]
fn the_target_size_falls_when_the_workers_have_much_to_do() {
    let known = INCEPTION.known(16);
    let goal = Setup::new(16, 600).goal;
    let size = |rate| target_size(rate, 1, &known, &goal);
    assert_eq!(size(0.5), 1, "nobody to wait for");
    assert!((5..=10).contains(&size(5.0)), "{}", size(5.0));
    assert!(size(18.0) < size(10.0), "{} and {}", size(18.0), size(10.0));
    assert_eq!(size(24.0), 1, "no time to lose");
    assert_eq!(target_size(5.0, 1, &known, &Goal { max_batch_size: 16, target: None }), 1);
    // A second worker takes the half of it.
    assert!(target_size(18.0, 2, &known, &goal) > size(18.0));
}

#[test]
fn a_backlog_is_cut_behind_those_that_can_be_in_time() {
    let known = INCEPTION.known(16);
    let goal = Setup::new(16, 250).goal;
    // All six take 258 ms, so that all were late. Three take 138, which the older ones have.
    let waiting = singles(&[900, 900, 900, 1_000, 1_000, 1_000]);
    assert_eq!(decide(&view(1_000, &waiting, &known, &goal)), Decision::Run(3));
    // The first is late in any case. Five take 218 ms, which the four behind it have.
    let waiting = singles(&[600, 1_000, 1_000, 1_000, 1_000, 1_000]);
    assert_eq!(decide(&view(1_000, &waiting, &known, &goal)), Decision::Run(5));
    // All are late: the largest batch is done with them soonest.
    assert_eq!(decide(&view(2_000, &waiting, &known, &goal)), Decision::Run(6));
}

#[test]
fn a_target_below_a_batch_of_one_means_no_waiting_and_no_refusing() {
    let known = INCEPTION.known(16);
    let goal = Setup::new(16, 30).goal;
    assert_eq!(decide(&view(0, &singles(&[0; 3]), &known, &goal)), Decision::Run(3));
    assert_eq!(longest_queue(0.0, 0, 1, &known, &goal), None);
}

#[test]
fn the_longest_queue_is_what_can_still_be_in_time() {
    let inception = INCEPTION.known(16);
    let goal = Setup::new(16, 600).goal;
    // 6 rows take 258 ms, and 6 more can follow in 600; 7 take 298, which leaves no margin. With a free worker, one
    // row more has time.
    let longest = |rate, free_ms| longest_queue(rate, free_ms * MS, 1, &inception, &goal);
    assert_eq!(longest(0.0, 0), Some(13));
    assert_eq!(longest(0.0, 258), Some(7));
    assert_eq!(longest(0.0, 400), Some(4));
    assert_eq!(longest(0.0, 599), Some(1), "one may wait in any case");
    // At full load, as if a batch had just begun.
    let full = INCEPTION.capacity(6);
    assert_eq!(longest(full, 0), Some(6));
    assert_eq!(longest(2.0 * full, 258), Some(6));
    assert_eq!(longest_queue(2.0 * full, 0, 2, &inception, &goal), Some(12));
    // 16 rows take 52 ms: two batches more in 200 ms.
    let overhead = OVERHEAD.known(16);
    let crowd = 2.0 * OVERHEAD.capacity(16);
    assert_eq!(longest_queue(crowd, 0, 1, &overhead, &Setup::new(16, 200).goal), Some(32));
    assert_eq!(longest_queue(0.0, 0, 1, &ServiceTimes::new(16), &goal), None);
}
