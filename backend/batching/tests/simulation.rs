//! The scheduler with workers, clients and requests in simulated time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;

use super::super::policy::Goal;
use super::super::scheduler::{Arrival, Next, Running, Scheduler, Took};
use super::super::service_times::ServiceTimes;
use crate::buckets::Buckets;
use crate::config::Target;

pub const US: u64 = 1_000;
pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;

/// A model, its workers and its operator.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub workers: usize,
    pub goal: Goal,
    pub max_queue_size: Option<usize>,
    /// A worker that waits until a time wakes up late, by up to so many ns.
    pub wakes_late: u64,
}

impl Setup {
    /// One worker, and a target for 99 percent.
    pub fn new(max_batch_size: usize, target_ms: u64) -> Self {
        let target = Target { latency_ns: target_ms * MS, percentile: 99.0 };
        let goal = Goal { max_batch_size, target: Some(target), max_wait_ns: u64::MAX };
        Self { workers: 1, goal, max_queue_size: None, wakes_late: 0 }
    }

    /// Without a bound of the queue: so long that nobody is refused.
    pub fn unbounded(self) -> Self {
        Self { max_queue_size: Some(usize::MAX), ..self }
    }
}

/// A request of the simulation.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub arrival: u64,
    pub rows: usize,
    pub timeout: Option<u64>,
    /// Who sent it, in a closed loop.
    pub client: Option<usize>,
}

impl Request {
    pub fn at(arrival: u64) -> Self {
        Self { arrival, rows: 1, timeout: None, client: None }
    }
}

/// Clients that send their next request some time after their last answer.
pub struct Clients<'a> {
    pub count: usize,
    /// From an answer to the next request.
    pub think: &'a mut dyn FnMut() -> u64,
    /// No request is sent from then on.
    pub until: u64,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Waits,
    Refused(u64),
    Expired(u64),
    /// In the batch of that number.
    Ran(usize),
}

/// One batch that ran.
#[derive(Clone, Debug)]
pub struct Batch {
    pub start: u64,
    pub end: u64,
    pub requests: Vec<usize>,
    pub rows: usize,
}

/// What came of a simulation.
#[derive(Default)]
pub struct Outcome {
    /// In the order in which they came.
    pub requests: Vec<Request>,
    pub fates: Vec<Fate>,
    pub batches: Vec<Batch>,
    /// How often a worker asked for something to do.
    pub decisions: usize,
}

impl Outcome {
    /// The arrival of each request that ran, and its time from there to the end of its batch.
    pub fn latencies(&self) -> impl Iterator<Item = (u64, u64)> {
        self.batches.iter().flat_map(|batch| {
            batch.requests.iter().map(|&number| {
                let arrival = self.requests[number].arrival;
                (arrival, batch.end - arrival)
            })
        })
    }

    /// The share of the requests that ran above a latency, of those that came in a span of time.
    pub fn late(&self, latency: u64, span: Range<u64>) -> f64 {
        let (late, all) = self
            .latencies()
            .filter(|(arrival, _)| span.contains(arrival))
            .fold((0, 0), |(late, all), (_, taken)| (late + u32::from(taken > latency), all + 1));
        f64::from(late) / f64::from(all.max(1))
    }

    /// The share of all requests that was refused.
    pub fn refused(&self) -> f64 {
        let refused = self.fates.iter().filter(|fate| matches!(fate, Fate::Refused(_))).count();
        refused as f64 / self.fates.len().max(1) as f64
    }

    /// The time of the workers for each row of the batches that started in a span of time, in ms.
    pub fn cost(&self, span: Range<u64>) -> f64 {
        let (busy, rows) = self
            .batches
            .iter()
            .filter(|batch| span.contains(&batch.start))
            .fold((0, 0), |(busy, rows), batch| (busy + batch.end - batch.start, rows + batch.rows));
        busy as f64 / MS as f64 / rows as f64
    }

    /// The mean latency of those that ran, in ms.
    pub fn mean_ms(&self) -> f64 {
        let (sum, count) =
            self.latencies().fold((0, 0_u64), |(sum, count), (_, taken)| (sum + taken, count + 1));
        sum as f64 / count.max(1) as f64 / MS as f64
    }

    fn send(&mut self, request: Request) -> usize {
        self.requests.push(request);
        self.fates.push(Fate::Waits);
        self.requests.len() - 1
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    // In this order where times are equal.
    End(usize),
    Comes(usize),
    Expires,
    /// It was to be at that time.
    Wakes(u64),
}

/// What makes batches of requests.
pub trait Batcher {
    /// A request comes. Whether it is let in.
    fn arrived(&mut self, now: u64, number: usize, request: &Request) -> bool;
    /// A request that has expired.
    fn expired(&mut self, now: u64) -> Option<usize>;
    /// A worker has nothing to do. Batches that run are named by what is returned with them.
    fn next(&mut self, now: u64) -> Next<usize>;
    /// A batch is over.
    fn executed(&mut self, now: u64, running: Running, took: Took);
    /// A worker that was to wake up at `due` does so now.
    fn woke(&mut self, due: u64, now: u64);
    /// The requests that wait.
    fn waiting(&self) -> usize;
}

impl Batcher for Scheduler<usize> {
    fn arrived(&mut self, now: u64, number: usize, request: &Request) -> bool {
        let Request { arrival: at, rows, timeout, .. } = *request;
        let arrival = Arrival { request: number, at, rows, shape: Default::default(), timeout };
        Scheduler::arrived(self, now, arrival).is_ok()
    }

    fn expired(&mut self, now: u64) -> Option<usize> {
        Scheduler::expired(self, now)
    }

    fn next(&mut self, now: u64) -> Next<usize> {
        Scheduler::next(self, now)
    }

    fn executed(&mut self, now: u64, running: Running, took: Took) {
        Scheduler::executed(self, now, running, Some(took));
    }

    fn woke(&mut self, due: u64, now: u64) {
        Scheduler::woke(self, due, now);
    }

    fn waiting(&self) -> usize {
        Scheduler::waiting(self)
    }
}

/// Triton's dynamic batcher: runs a batch of the preferred size as soon as it is there, and whatever waits once the
/// oldest has waited for the delay.
pub struct Fixed {
    preferred: usize,
    delay: u64,
    /// Takes the requests out; it has no target of its own.
    line: Scheduler<usize>,
    arrivals: VecDeque<u64>,
}

impl Fixed {
    pub fn new(setup: Setup, preferred: usize, delay: u64) -> Self {
        let goal = Goal { max_batch_size: preferred, target: None, ..setup.goal };
        let mut line = Scheduler::new(goal, Some(usize::MAX), ServiceTimes::new(preferred), 0);
        (0..setup.workers).for_each(|_| line.join());
        Self { preferred, delay, line, arrivals: VecDeque::new() }
    }
}

impl Batcher for Fixed {
    fn arrived(&mut self, now: u64, number: usize, request: &Request) -> bool {
        self.arrivals.push_back(request.arrival);
        Batcher::arrived(&mut self.line, now, number, request)
    }

    fn expired(&mut self, _: u64) -> Option<usize> {
        None
    }

    fn next(&mut self, now: u64) -> Next<usize> {
        let Some(&oldest) = self.arrivals.front() else { return Next::Idle };
        if self.arrivals.len() < self.preferred && now < oldest + self.delay {
            return Next::Wait(oldest + self.delay);
        }
        let next = self.line.next(now);
        if let Next::Run(batch) = &next {
            self.arrivals.drain(..batch.requests.len());
        }
        next
    }

    fn executed(&mut self, now: u64, running: Running, took: Took) {
        Batcher::executed(&mut self.line, now, running, took);
    }

    fn woke(&mut self, _: u64, _: u64) {}

    fn waiting(&self) -> usize {
        self.arrivals.len()
    }
}

/// A scheduler with all its workers.
pub fn scheduler(setup: Setup, service: ServiceTimes) -> Scheduler<usize> {
    let mut scheduler = Scheduler::new(setup.goal, setup.max_queue_size, service, 0);
    (0..setup.workers).for_each(|_| scheduler.join());
    scheduler
}

/// Lets requests come and the batcher decide, until all are answered. `arrivals` are ordered by time; `clients` are
/// there beside them. `takes` is the real time of a batch that starts at some time with so many rows.
///
/// # Panics
/// The batcher does what it may not: waits for a time that is past, leaves requests behind, lets one overtake another,
/// makes a batch too large.
pub fn simulate(
    setup: Setup,
    mut batcher: impl Batcher,
    arrivals: &[Request],
    mut clients: Option<Clients<'_>>,
    mut takes: impl FnMut(u64, usize) -> u64,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut events = BinaryHeap::new();
    let mut running: Vec<Option<Running>> = Vec::new();
    for &request in arrivals {
        events.push(Reverse((request.arrival, Event::Comes(outcome.send(request)))));
    }
    if let Some(clients) = &mut clients {
        for client in 0..clients.count {
            let request = Request { client: Some(client), ..Request::at((clients.think)()) };
            events.push(Reverse((request.arrival, Event::Comes(outcome.send(request)))));
        }
    }
    let mut next_to_run = 0;
    let mut random = fastrand::Rng::with_seed(11);
    let mut due = None;
    while let Some(Reverse((now, event))) = events.pop() {
        let mut answered = Vec::new();
        while let Some(number) = batcher.expired(now) {
            outcome.fates[number] = Fate::Expired(now);
            answered.push(number);
        }
        match event {
            Event::End(batch) => {
                let of_batch = running[batch].take().expect("a batch ends once");
                let Batch { start, end, requests, rows } = &outcome.batches[batch];
                batcher.executed(now, of_batch, Took { rows: *rows, ns: end - start, energy_uj: None });
                answered.extend(requests);
            }
            Event::Comes(number) => {
                let request = outcome.requests[number];
                if !batcher.arrived(now, number, &request) {
                    outcome.fates[number] = Fate::Refused(now);
                    answered.push(number);
                } else if let Some(timeout) = request.timeout {
                    events.push(Reverse((request.arrival + timeout, Event::Expires)));
                }
            }
            Event::Expires => {}
            // One that was woken before that slept until another time.
            Event::Wakes(at) if due != Some(at) => continue,
            Event::Wakes(at) => batcher.woke(at, now),
        }
        if let Some(clients) = &mut clients {
            for number in answered {
                let Some(client) = outcome.requests[number].client else { continue };
                // Nobody is at it again in no time, least of all who was refused.
                let at = now + (clients.think)().max(1);
                if at < clients.until {
                    let request = Request { client: Some(client), ..Request::at(at) };
                    events.push(Reverse((at, Event::Comes(outcome.send(request)))));
                }
            }
        }
        // What happens at the same time is known before anything is decided.
        if matches!(events.peek(), Some(Reverse((at, event))) if *at == now && *event <= Event::Expires) {
            continue;
        }
        if let Event::Wakes(at) = event {
            due = due.filter(|due| *due != at);
        }
        while running.iter().flatten().count() < setup.workers {
            outcome.decisions += 1;
            match batcher.next(now) {
                Next::Run(batch) => {
                    let rows = batch.requests.iter().map(|&number| outcome.requests[number].rows).sum();
                    assert!(rows <= setup.goal.max_batch_size || batch.requests.len() == 1, "{rows} rows");
                    for &number in &batch.requests {
                        assert!(number >= next_to_run || clients.is_some(), "{number} was overtaken");
                        next_to_run = number + 1;
                        assert_eq!(outcome.fates[number], Fate::Waits, "{number}");
                        outcome.fates[number] = Fate::Ran(outcome.batches.len());
                    }
                    let end = now + takes(now, rows).max(1);
                    events.push(Reverse((end, Event::End(outcome.batches.len()))));
                    running.push(Some(batch.running));
                    let requests = batch.requests.into_iter().collect();
                    outcome.batches.push(Batch { start: now, end, requests, rows });
                }
                Next::Wait(at) => {
                    assert!(at > now, "wakes up at {at}, when it is {now}");
                    // One wakes up at a time. If it is woken before, it does not do so again.
                    if due != Some(at) {
                        due = Some(at);
                        let late = random.u64(0..=setup.wakes_late);
                        events.push(Reverse((at + late, Event::Wakes(at))));
                    }
                    break;
                }
                Next::Idle => {
                    assert_eq!(batcher.waiting(), 0, "idle while requests wait");
                    break;
                }
            }
        }
    }
    assert!(outcome.fates.iter().all(|fate| *fate != Fate::Waits), "requests are left behind");
    outcome
}

/// Requests of one row each that come independently of one another, so many a second.
pub fn poisson(random: &mut fastrand::Rng, span: Range<u64>, rate: f64) -> Vec<Request> {
    let mut at = span.start as f64;
    std::iter::from_fn(|| {
        at -= (1.0 - random.f64()).ln() / rate * SECOND as f64;
        Some(Request::at(at as u64))
    })
    .take_while(|request| request.arrival < span.end)
    .collect()
}

/// How long batches of a model really take.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    pub fixed_ms: f64,
    pub each_ms: f64,
}

impl Model {
    /// Always the same time for the same size.
    pub fn exact(self, rows: usize) -> u64 {
        ((self.fixed_ms + self.each_ms * rows as f64) * MS as f64) as u64
    }

    /// Scattered by 5 percent, and one batch of a hundred takes half as long again.
    pub fn scattered(self, random: &mut fastrand::Rng, rows: usize) -> u64 {
        let (radius, angle) = (1.0 - random.f64(), random.f64() * std::f64::consts::TAU);
        let normal = (-2.0 * radius.ln()).sqrt() * angle.cos();
        let slow = if random.f64() < 0.01 { 1.5 } else { 1.0 };
        (self.exact(rows) as f64 * (0.05 * normal).exp() * slow) as u64
    }

    /// Rows that batches of a size can do in a second.
    pub fn capacity(self, rows: usize) -> f64 {
        rows as f64 / self.exact(rows) as f64 * SECOND as f64
    }

    /// What one comes to know of this model from batches of all sizes.
    pub fn known(self, max_batch_size: usize) -> ServiceTimes {
        self.known_in(&Buckets::default(), max_batch_size)
    }

    /// The same where batches are filled up to a bucket.
    pub fn known_in(self, buckets: &Buckets, max_batch_size: usize) -> ServiceTimes {
        let mut service = ServiceTimes::in_buckets(max_batch_size, buckets.clone());
        for rows in (1..=max_batch_size).cycle().take(20 * max_batch_size.max(10)) {
            service.observe(rows, self.exact(buckets.padded(rows)));
        }
        service
    }
}
