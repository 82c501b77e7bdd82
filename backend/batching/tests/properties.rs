//! What holds for every history of events.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::line::Id;
use super::super::policy::Goal;
use super::super::scheduler::{Arrival, Next, Running, Scheduler, Took};
use super::super::service_times::ServiceTimes;
use super::simulation::*;
use crate::buckets::Buckets;
use crate::config::Target;

/// Something that happens, after some time.
#[derive(Clone, Debug)]
enum Event {
    Comes {
        rows: usize,
        shape: Option<i64>,
        timeout_ms: Option<u64>,
    },
    /// A worker asks for something to do.
    Asks,
    /// The oldest of the batches that run is over, computed or not.
    Ends {
        computed: bool,
    },
    /// The nth of those that wait was cancelled.
    Cancelled(usize),
    Joins,
    Leaves,
    Hurries(u64),
    /// The worker that waits until a time wakes up.
    Wakes,
    GivesUp,
}

fn event() -> impl Strategy<Value = Event> {
    let comes = (1..=6_usize, prop::option::of(1..4_i64), prop::option::weighted(0.2, 0..400_u64))
        .prop_map(|(rows, shape, timeout_ms)| Event::Comes { rows, shape, timeout_ms });
    let single = Just(Event::Comes { rows: 1, shape: None, timeout_ms: None });
    prop_oneof![
        6 => single,
        3 => comes,
        6 => Just(Event::Asks),
        5 => any::<bool>().prop_map(|computed| Event::Ends { computed }),
        1 => (0..8_usize).prop_map(Event::Cancelled),
        1 => Just(Event::Joins),
        1 => Just(Event::Leaves),
        1 => (0..2_000_u64).prop_map(Event::Hurries),
        3 => Just(Event::Wakes),
        1 => Just(Event::GivesUp),
    ]
}

fn gap_us() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 4 => 0..2_000_u64, 4 => 0..50_000_u64, 1 => 0..5_000_000_u64]
}

fn goals() -> impl Strategy<Value = (Goal, Option<usize>)> {
    (
        1..=20_usize,
        prop::option::of((1..=1_000_u64, 50.0..99.9_f64)),
        1..=2_000_u64,
        prop::option::of(1..40_usize),
    )
        .prop_map(|(max_batch_size, target, max_wait_ms, max_queue_size)| {
            let target = target.map(|(ms, percentile)| Target { latency_ns: ms * MS, percentile });
            (Goal { max_batch_size, target, max_wait_ns: max_wait_ms * MS }, max_queue_size)
        })
}

fn models() -> impl Strategy<Value = Model> {
    (0.0..50.0_f64, 0.1..50.0_f64).prop_map(|(fixed_ms, each_ms)| Model { fixed_ms, each_ms })
}

/// The scheduler, with what has to be true of it.
struct Checked {
    scheduler: Scheduler<usize>,
    goal: Goal,
    max_queue_size: Option<usize>,
    now: u64,
    /// Those who wait, oldest first, with their rows, shapes, and when they expire.
    waiting: BTreeMap<usize, (usize, Option<i64>, Option<u64>)>,
    running: Vec<(Running, usize)>,
    workers: usize,
    came: usize,
    answered: usize,
    wakes: Option<u64>,
}

impl Checked {
    fn new(goal: Goal, max_queue_size: Option<usize>, service: ServiceTimes) -> Self {
        let start = 3_000 * SECOND;
        let mut scheduler = Scheduler::new(goal, max_queue_size, service, start);
        scheduler.join();
        Self {
            scheduler,
            goal,
            max_queue_size,
            now: start,
            waiting: BTreeMap::new(),
            running: Vec::new(),
            workers: 1,
            came: 0,
            answered: 0,
            wakes: None,
        }
    }

    fn happens(&mut self, event: &Event, model: Model) {
        let now = self.now;
        while let Some(number) = self.scheduler.expired(now) {
            let (_, _, expires) = self.waiting.remove(&number).expect("it waited");
            assert!(expires.is_some_and(|expires| expires <= now), "{number} has not expired");
            self.answered += 1;
        }
        assert!(self.scheduler.next_expiry().is_none_or(|next| next > now));
        match *event {
            Event::Comes { rows, shape, timeout_ms } => {
                let (number, rows) = (self.came, rows.min(self.goal.max_batch_size));
                self.came += 1;
                let timeout = timeout_ms.map(|ms| ms * MS);
                let arrival =
                    Arrival { request: number, at: now, rows, shape: shape.into_iter().collect(), timeout };
                match self.scheduler.arrived(now, arrival) {
                    Ok(()) => {
                        self.waiting.insert(number, (rows, shape, timeout.map(|timeout| now + timeout)));
                        assert!(
                            self.max_queue_size
                                .is_none_or(|most| self.rows() <= most || self.waiting.len() == 1)
                        );
                    }
                    Err(full) => {
                        assert!(!self.waiting.is_empty(), "an empty queue takes any request");
                        assert_eq!((full.arrival.request, full.rows), (number, self.rows()));
                        assert!(
                            self.max_queue_size
                                .is_none_or(|most| full.rows + rows > most && full.longest == most)
                        );
                        self.answered += 1;
                    }
                }
            }
            Event::Asks => self.asks(),
            Event::Wakes => {
                if let Some(at) = self.wakes.take() {
                    self.now = self.now.max(at);
                    self.scheduler.woke(at, self.now);
                    self.happens(&Event::Asks, model);
                }
            }
            Event::Ends { computed } => {
                if !self.running.is_empty() {
                    let (running, rows) = self.running.remove(0);
                    let took = computed.then(|| Took { rows, ns: model.exact(rows), energy_uj: None });
                    self.scheduler.executed(now, running, took);
                }
            }
            Event::Cancelled(nth) => {
                let (ids, _) = self.scheduler.portion(Id::FIRST, nth + 1, |id, &number| (id, number));
                if let Some(&(id, number)) = ids.get(nth) {
                    assert_eq!(self.waiting.keys().nth(nth), Some(&number));
                    assert_eq!(self.scheduler.cancelled(now, id), Some(number));
                    assert_eq!(self.scheduler.cancelled(now, id), None);
                    self.waiting.remove(&number);
                    self.answered += 1;
                }
            }
            Event::Joins => {
                self.scheduler.join();
                self.workers += 1;
            }
            Event::Leaves => {
                if self.workers > 1 {
                    self.scheduler.close();
                    self.scheduler.leave();
                    self.workers -= 1;
                }
            }
            Event::Hurries(ms) => self.scheduler.hurry(now + ms * MS),
            Event::GivesUp => {
                let left: Vec<usize> = self.scheduler.clear(now).to_vec();
                assert_eq!(left, self.waiting.keys().copied().collect::<Vec<_>>());
                self.answered += left.len();
                self.waiting.clear();
            }
        }
        assert_eq!(self.scheduler.waiting(), self.waiting.len());
        assert_eq!(self.scheduler.seen(self.now).rows, self.rows());
        let next = self.waiting.values().filter_map(|(_, _, expires)| *expires).min();
        assert_eq!(self.scheduler.next_expiry(), next);
    }

    fn asks(&mut self) {
        let now = self.now;
        match self.scheduler.next(now) {
            Next::Run(batch) => {
                assert!(self.running.len() < self.workers, "more batches than workers");
                let mut rows = 0;
                let mut shapes = Vec::new();
                for &number in &batch.requests {
                    // The oldest first, and nobody in between is passed over.
                    let (first, (of_request, shape, _)) = self.waiting.pop_first().expect("it waited");
                    assert_eq!(first, number);
                    rows += of_request;
                    shapes.push(shape);
                }
                assert!(!shapes.is_empty() && shapes.iter().all(|shape| *shape == shapes[0]), "{shapes:?}");
                assert!(rows <= self.goal.max_batch_size, "{rows} rows");
                self.answered += shapes.len();
                self.running.push((batch.running, rows));
            }
            Next::Wait(at) => {
                assert!(at > now && self.running.len() < self.workers);
                let target = self.goal.target.expect("nobody waits without a target");
                let oldest = self.waiting.values().next().expect("somebody waits");
                assert!(oldest.2.is_none_or(|expires| at <= expires.max(now + 1)), "it would expire");
                assert!(at <= now + target.latency_ns.min(self.goal.max_wait_ns));
                self.wakes = Some(at);
            }
            Next::Idle => assert!(self.waiting.is_empty() || self.running.len() >= self.workers),
        }
    }

    fn rows(&self) -> usize {
        self.waiting.values().map(|(rows, _, _)| rows).sum()
    }
}

/// Bursts, steady streams and long silences, of requests of up to `rows` rows.
fn histories(rows: usize) -> impl Strategy<Value = Vec<Request>> {
    let gap = prop_oneof![4 => 0..20_u64, 4 => 0..150_u64, 1 => 0..3_000_u64];
    prop::collection::vec((gap, 1..=rows), 1..200).prop_map(|gaps| {
        let mut arrival = 0;
        let request = |(gap, rows)| {
            arrival += gap * MS;
            Request { rows, ..Request::at(arrival) }
        };
        gaps.into_iter().map(request).collect()
    })
}

/// Those of the requests before which not yet `most` came in the same span of time.
fn thinned(requests: Vec<Request>, most: usize, span: u64) -> Vec<Request> {
    let mut kept: Vec<Request> = Vec::new();
    for request in requests {
        let nth_before = kept.len().checked_sub(most).map(|index| kept[index].arrival);
        if nth_before.is_none_or(|arrival| request.arrival - arrival > span) {
            kept.push(request);
        }
    }
    kept
}

proptest! {
    /// `make check-deep` tries a million histories.
    #[test]
    fn each_request_leaves_once_in_its_turn_whatever_happens(
        (goal, max_queue_size) in goals(),
        events in prop::collection::vec((gap_us(), event()), 1..80),
        model in models(),
        known: bool,
    ) {
        let most = goal.max_batch_size;
        let mut service = ServiceTimes::new(most);
        if known {
            [1, most].into_iter().cycle().take(16).for_each(|rows| service.observe(rows, model.exact(rows)));
        }
        let mut checked = Checked::new(goal, max_queue_size, service);
        for (gap_us, event) in &events {
            checked.now += gap_us * US;
            checked.happens(event, model);
        }
        // Whoever is left is answered as soon as there are workers for it, and nobody waits for ever.
        let mut asked = 0;
        while !checked.waiting.is_empty() || !checked.running.is_empty() {
            checked.happens(&Event::Ends { computed: true }, model);
            checked.happens(&Event::Asks, model);
            checked.happens(&Event::Wakes, model);
            asked += 1;
            prop_assert!(asked <= 4 * events.len() + 8, "{} are left", checked.waiting.len());
        }
        prop_assert_eq!(checked.answered, checked.came);
    }

    /// A worker asks when a request comes, when a batch ends and when it said it would, and no more.
    #[test]
    fn no_worker_is_kept_busy_with_asking(arrivals in histories(1), model in models(), target_ms in 1..=1_000_u64) {
        let setup = Setup::new(20, target_ms);
        let outcome = simulate(setup, scheduler(setup, ServiceTimes::new(20)), &arrivals, None, |_, rows| model.exact(rows));
        let most = 2 * arrivals.len() + 4 * outcome.batches.len();
        prop_assert!(outcome.decisions <= most, "{} decisions, {most} events", outcome.decisions);
    }

    /// Where a batch of all that come within the target can follow another such batch in time, nobody is late: waiting never
    /// costs a request its target, however the requests come.
    #[test]
    fn who_can_be_in_time_is_in_time(
        arrivals in histories(1),
        model in models(),
        max_batch_size in 1..=20_usize,
        // In half of the cases batches are filled up.
        sizes in prop_oneof![Just(Default::default()), prop::collection::btree_set(1..=20_usize, 1..6)],
        most in 1..=20_usize,
        slack_ms in 0..300_u64,
        workers in 1..=3_usize,
    ) {
        let buckets = if sizes.is_empty() { Buckets::default() } else { Buckets::new(sizes, max_batch_size) };
        let known = model.known_in(&buckets, max_batch_size);
        let most = most.min(max_batch_size);
        let takes = |_, rows| model.exact(buckets.padded(rows));
        let twice = takes(0, most) as f64 * (1.0 + known.spread(99.0)) * 1.01;
        let target_ms = twice as u64 / MS + 1 + slack_ms;
        let setup = Setup { workers, ..Setup::new(max_batch_size, target_ms) }.unbounded();
        let arrivals = thinned(arrivals, most, target_ms * MS);
        let outcome = simulate(setup, scheduler(setup, known), &arrivals, None, takes);
        let slowest = outcome.latencies().map(|(_, latency)| latency).max().unwrap_or(0);
        prop_assert!(slowest <= target_ms * MS, "{slowest} ns, the target is {target_ms} ms");
    }
}
