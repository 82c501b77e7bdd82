//! Workers, a queue and requests in simulated time, to hold a policy against.

use std::collections::VecDeque;
use std::ops::Range;

use super::super::arrivals::Arrivals;
use super::super::policy::{Decision, Goal, View, Waiting, longest_queue};
use super::super::service_times::ServiceTimes;
use crate::config::Target;

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;

/// A model, its workers and its operator.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub workers: usize,
    pub goal: Goal,
    /// Whether requests are refused that come to a queue of [`longest_queue`].
    pub refuses: bool,
}

impl Setup {
    /// One worker, a target for 99 percent, and nobody refused.
    pub fn new(max_batch_size: usize, target_ms: u64) -> Self {
        let target = Target { latency_ns: target_ms * MS, percentile: 99.0 };
        Self { workers: 1, goal: Goal { max_batch_size, target: Some(target) }, refuses: false }
    }
}

/// One batch that ran.
pub struct Batch {
    pub start: u64,
    pub end: u64,
    /// Where its requests are among those that were let in.
    pub requests: Range<usize>,
    pub rows: usize,
}

/// What came of a simulation.
#[derive(Default)]
pub struct Outcome {
    /// The requests that were let in, in the order in which they came; all of them ran.
    pub requests: Vec<Waiting>,
    pub refused: usize,
    pub batches: Vec<Batch>,
    /// How often the policy was asked.
    pub decisions: usize,
}

impl Outcome {
    /// The arrival of each request, and its time from there to the end of its batch.
    pub fn latencies(&self) -> impl Iterator<Item = (u64, u64)> {
        self.batches.iter().flat_map(|batch| {
            let requests = &self.requests[batch.requests.clone()];
            requests.iter().map(|request| (request.arrival, batch.end - request.arrival))
        })
    }

    /// The share of the requests above a latency, of those that came in a span of time.
    pub fn late(&self, latency: u64, span: Range<u64>) -> f64 {
        let (late, all) = self
            .latencies()
            .filter(|(arrival, _)| span.contains(arrival))
            .fold((0, 0), |(late, all), (_, taken)| (late + u32::from(taken > latency), all + 1));
        f64::from(late) / f64::from(all.max(1))
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
}

struct Running {
    start: u64,
    end: u64,
    rows: usize,
}

/// Lets requests come, `arrivals` ordered by time, and a policy decide, until all have run.
///
/// `takes` is the real time of a batch that starts at some time with so many rows; `service` is what the
/// policy knows of it at the start, and learns from.
///
/// # Panics
/// The policy does what no policy may: waits for a time that is past, leaves requests behind, runs none or
/// more than there are.
pub fn simulate(
    setup: Setup,
    arrivals: &[Waiting],
    mut service: ServiceTimes,
    mut takes: impl FnMut(u64, usize) -> u64,
    mut decide: impl FnMut(&View<'_>) -> Decision,
) -> Outcome {
    let Setup { workers, goal, refuses } = setup;
    let mut outcome = Outcome::default();
    let mut rate = Arrivals::default();
    let mut queue = VecDeque::new();
    let mut rows_waiting = 0;
    let mut running: Vec<Running> = Vec::new();
    let mut coming = arrivals.iter().copied().peekable();
    let mut look_again = None;
    loop {
        let arrives = coming.peek().map(|request: &Waiting| request.arrival);
        let ends = running.iter().map(|batch| batch.end).min();
        let Some(now) = [arrives, ends, look_again].into_iter().flatten().min() else { break };
        for ended in running.extract_if(.., |batch| batch.end <= now) {
            service.observe(ended.rows, ended.end - ended.start);
        }
        while let Some(request) = coming.next_if(|request| request.arrival <= now) {
            rate.observe(request.arrival, request.rows);
            let bounded = refuses && rows_waiting > 0;
            let left = |batch: &Running| {
                let time = service.estimate(batch.rows).unwrap_or(0.0) as u64;
                (batch.start + time).saturating_sub(now)
            };
            let busy = running.len() == workers;
            let free_in = if busy { running.iter().map(left).min().unwrap_or(0) } else { 0 };
            let longest =
                bounded.then(|| longest_queue(rate.rate(now), free_in, workers, &service, &goal)).flatten();
            if longest.is_some_and(|longest| rows_waiting + request.rows > longest) {
                outcome.refused += 1;
                continue;
            }
            rows_waiting += request.rows;
            queue.push_back(request);
            outcome.requests.push(request);
        }
        look_again = None;
        while running.len() < workers {
            outcome.decisions += 1;
            let (waiting, rate) = (&*queue.make_contiguous(), rate.rate(now));
            let view = View { now, waiting, complete: false, rate, workers, service: &service, goal: &goal };
            match decide(&view) {
                Decision::Run(count) => {
                    assert!((1..=queue.len()).contains(&count), "{count} of {} requests", queue.len());
                    let first = outcome.requests.len() - queue.len();
                    let rows = queue.drain(..count).map(|request| request.rows).sum();
                    rows_waiting -= rows;
                    let end = now + takes(now, rows);
                    running.push(Running { start: now, end, rows });
                    outcome.batches.push(Batch { start: now, end, requests: first..first + count, rows });
                }
                Decision::LookAgain(at) => {
                    assert!(at > now, "look again at {at}, when it is {now}");
                    look_again = Some(at);
                    break;
                }
                Decision::Idle => {
                    assert!(queue.is_empty(), "idle with {} requests waiting", queue.len());
                    break;
                }
            }
        }
    }
    assert!(queue.is_empty(), "{} requests left behind", queue.len());
    outcome
}

/// Triton's dynamic batcher: runs a batch of the preferred size as soon as it is there, and whatever waits
/// once the oldest has waited for the delay.
pub fn fixed(preferred: usize, delay: u64) -> impl Fn(&View<'_>) -> Decision {
    move |view| {
        let Some(oldest) = view.waiting.first() else { return Decision::Idle };
        let latest = oldest.arrival + delay;
        if view.waiting.len() >= preferred {
            Decision::Run(preferred)
        } else if view.now >= latest {
            Decision::Run(view.waiting.len())
        } else {
            Decision::LookAgain(latest)
        }
    }
}

/// Requests of one row each that come independently of one another, so many a second.
pub fn poisson(random: &mut fastrand::Rng, span: Range<u64>, rate: f64) -> Vec<Waiting> {
    let mut at = span.start as f64;
    std::iter::from_fn(|| {
        at -= (1.0 - random.f64()).ln() / rate * SECOND as f64;
        Some(Waiting { arrival: at as u64, rows: 1 })
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
        let mut service = ServiceTimes::new(max_batch_size);
        for rows in (1..=max_batch_size).cycle().take(20 * max_batch_size.max(10)) {
            service.observe(rows, self.exact(rows));
        }
        service
    }
}
