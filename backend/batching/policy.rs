//! When a free worker runs how many of the requests that wait.
//!
//! Without a target, whatever waits runs at once. With one, a batch waits for more rows as long as they
//! make it cheaper and the target allows it, and a backlog is cut into batches so that the fewest requests
//! are late. Requests never overtake one another.

use super::service_times::ServiceTimes;
use crate::config::Target;

/// Of the late batches that the percentile allows, a batch of n requests may take so much times n: when a
/// batch takes too long, it is mostly its oldest request alone that is late.
const LATE_AT_ONCE: f64 = 0.5;
/// Of so many requests the batches are with whose margin the queue is bounded: more would make the margin
/// small, and it has to do for several batches in a row.
const A_FEW: usize = 4;
/// How many rows are kept room for, at a load near 0. The queue of a worker with random arrivals grows
/// with 1/(1 - load), and so does the reserve. The factor is tuned with the simulation: less makes cheaper
/// batches and more late requests.
const RESERVE: f64 = 1.5;
/// The load from which the reserve grows no further.
const FULL_LOAD: f64 = 0.99;
/// The load from which the queue is bounded more tightly than by when a worker is free, and at 1 as if all had just
/// begun with others. Where every request is let in at the edge, all are late as soon as anything goes otherwise.
const CROWDED: f64 = 0.9;
/// A backlog of more batches is not cut with care: the fewest are late if it is worked off fast.
const CUT_BATCHES: usize = 4;

/// What the policy is told of a request in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// When it came, in ns of `CLOCK_MONOTONIC`.
    pub arrival: u64,
    /// Its rows: the rows of its inputs.
    pub rows: usize,
}

/// What the operator asked for.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// In rows, 1 at least.
    pub max_batch_size: usize,
    /// None: no request waits for others to come.
    pub target: Option<Target>,
}

/// The queue as a worker sees it that has nothing to do.
pub struct View<'a> {
    /// In ns of `CLOCK_MONOTONIC`; not before any arrival.
    pub now: u64,
    /// Requests that may share a batch, oldest first.
    pub waiting: &'a [Waiting],
    /// Whether nothing that comes can join them: the next request has another shape, or the model is
    /// being unloaded.
    pub complete: bool,
    /// Rows that come in a second.
    pub rate: f64,
    /// The workers that take from this queue, busy ones too; 1 at least.
    pub workers: usize,
    /// What is known of the time that a batch takes.
    pub service: &'a ServiceTimes,
    /// What is asked for.
    pub goal: &'a Goal,
}

/// What the worker is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Run the first so many requests.
    Run(usize),
    /// Ask again at this time, which is later than now, or when a request comes.
    LookAgain(u64),
    /// Nothing waits: ask again when a request comes.
    Idle,
}

/// What the free worker does now.
pub fn decide(view: &View<'_>) -> Decision {
    let Some(oldest) = view.waiting.first() else { return Decision::Idle };
    let max_batch_size = view.goal.max_batch_size;
    let (count, rows) = fill(view.waiting, max_batch_size);
    let Some(pace) = Pace::new(view.rate, view.workers, view.service, view.goal, count) else {
        return Decision::Run(count);
    };
    let age = age(view.now, oldest);
    let can_grow = !view.complete && count == view.waiting.len() && rows < pace.target_size();
    if can_grow {
        let wait = pace.latest_start(rows + 1) - age;
        // A ns is the least that a clock can tell.
        if wait >= 1.0 {
            return Decision::LookAgain(view.now + wait as u64);
        }
    }
    if count < view.waiting.len() {
        return Decision::Run(fewest_late(view, &pace, count));
    }
    // The other workers take their part of what waits, unless it is little.
    let share = pace.sustained_size().max(rows.div_ceil(view.workers));
    let (count, rows) = fill(view.waiting, share);
    let in_time = age <= pace.latest_start(rows);
    Decision::Run(if in_time { count } else { fewest_late(view, &pace, count) })
}

/// The rows that a batch is to have at this rate: as many as make it cheap, as come in time, and as leave
/// room for those that come while it runs. Without a target or before the first batch it is 1: nothing is
/// waited for.
pub fn target_size(rate: f64, workers: usize, service: &ServiceTimes, goal: &Goal) -> usize {
    Pace::new(rate, workers, service, goal, 1).map_or(1, |pace| pace.target_size())
}

/// How many rows may wait so that the last of them can still be in time, when rows come at this rate and the
/// next worker is free in so many ns. A longer queue makes all requests late under overload, as none overtakes.
///
/// None without a target, before the first batch, and if a batch of one row takes longer than the target:
/// no queue is short enough then, and refusing would help nobody. A single request may have more rows
/// than this: one that finds the queue empty has to be let in.
pub fn longest_queue(
    rate: f64,
    free_in: u64,
    workers: usize,
    service: &ServiceTimes,
    goal: &Goal,
) -> Option<usize> {
    let pace = Pace::new(rate, workers, service, goal, A_FEW)?;
    if pace.latest_start(1) < 0.0 {
        return None;
    }
    let size = pace.sustained_size();
    let slow = |rows: usize| pace.latency - pace.latest_start(rows);
    let crowded = ((pace.load() - CROWDED) / (1.0 - CROWDED)).clamp(0.0, 1.0);
    let left = pace.latency - (free_in as f64 * pace.margin).max(crowded * pace.time(size));
    let batches = (left / slow(size)).max(0.0).floor();
    let rest = (left - batches * slow(size)) * (1.0 - crowded);
    let rows = batches as usize * size + largest(size, |rows| slow(rows) <= rest);
    Some(rows.max(1) * workers)
}

/// The requests from the front that fit into a batch, and their rows. One request always does: the server
/// hands over none that is larger than a batch.
fn fill(waiting: &[Waiting], max_batch_size: usize) -> (usize, usize) {
    let (mut count, mut rows) = (0, 0);
    for request in waiting {
        if count > 0 && rows + request.rows > max_batch_size {
            break;
        }
        count += 1;
        rows += request.rows;
    }
    (count, rows)
}

fn age(now: u64, request: &Waiting) -> f64 {
    now.saturating_sub(request.arrival) as f64
}

/// How many of the first `count` requests to run so that the fewest of all that wait are late; of equally
/// good numbers the largest, which is the cheapest for each row.
///
/// What remains is taken to run in batches as large as they may be. A request that is late in any case counts
/// the same wherever it runs, so that those behind it decide.
fn fewest_late(view: &View<'_>, pace: &Pace<'_>, count: usize) -> usize {
    let max_batch_size = view.goal.max_batch_size;
    let late = |requests: &[Waiting], start: f64, rows: usize| {
        let latest = pace.latest_start(rows) - start;
        requests.partition_point(|request| age(view.now, request) > latest)
    };
    let mut seen = 0;
    for _ in 0..CUT_BATCHES {
        seen += fill(&view.waiting[seen..], max_batch_size).0;
    }
    if seen < view.waiting.len() {
        return count;
    }
    let hopeless = late(view.waiting, 0.0, 1);
    let mut rows: usize = view.waiting[..count].iter().map(|request| request.rows).sum();
    let mut best = (usize::MAX, count);
    for first in (1..=count).rev() {
        let mut all_late = late(&view.waiting[..first], 0.0, rows);
        let mut start = pace.until_next(rows);
        let mut rest = &view.waiting[first..];
        while !rest.is_empty() {
            let (next, rows) = fill(rest, max_batch_size);
            all_late += late(&rest[..next], start, rows);
            start += pace.until_next(rows);
            rest = &rest[next..];
        }
        if all_late < best.0 {
            best = (all_late, first);
        }
        if all_late <= hopeless {
            break;
        }
        rows -= view.waiting[first - 1].rows;
    }
    best.1
}

/// Times and rates in view of a target, in ns.
struct Pace<'a> {
    service: &'a ServiceTimes,
    max_batch_size: usize,
    latency: f64,
    /// The factor from a batch's usual time to the one that is reckoned with.
    margin: f64,
    /// Rows that come in a ns.
    rate: f64,
    workers: f64,
}

impl<'a> Pace<'a> {
    /// For a batch of so many requests. None without a target, and before the first batch.
    fn new(
        rate: f64,
        workers: usize,
        service: &'a ServiceTimes,
        goal: &Goal,
        requests: usize,
    ) -> Option<Self> {
        let target = goal.target?;
        service.estimate(1)?;
        let late = (100.0 - target.percentile) * (LATE_AT_ONCE * requests as f64).max(1.0);
        Some(Self {
            service,
            max_batch_size: goal.max_batch_size,
            latency: target.latency_ns as f64,
            margin: service.spread(100.0 - late),
            rate: rate / 1e9,
            workers: workers as f64,
        })
    }

    fn time(&self, rows: usize) -> f64 {
        self.service.estimate(rows).unwrap_or(0.0)
    }

    /// The age of a request at which a batch with it has to start. Negative if it cannot be in time.
    fn latest_start(&self, rows: usize) -> f64 {
        self.latency - self.time(rows.min(self.max_batch_size)) * self.margin
    }

    /// From the start of a batch to when a worker is free for the next one.
    fn until_next(&self, rows: usize) -> f64 {
        self.time(rows) / self.workers
    }

    fn target_size(&self) -> usize {
        // More likely than not, a second request comes while the first can wait.
        let company = self.rate * self.latest_start(2) >= std::f64::consts::LN_2;
        if !company {
            return 1;
        }
        let most = self.service.cheap_size().min(self.max_batch_size);
        let reserve = self.reserve();
        largest(most, |rows| self.leaves_room(rows, reserve)).max(1)
    }

    /// The largest batch that can follow one of the same size in time, or 1 if there is none: what a backlog
    /// is worked off with.
    fn sustained_size(&self) -> usize {
        largest(self.max_batch_size, |rows| self.time(rows) <= self.latest_start(rows)).max(1)
    }

    /// Whether those that come while such a batch runs, and a reserve, can be in time in the next one.
    fn leaves_room(&self, rows: usize, reserve: f64) -> bool {
        let until_next = self.until_next(rows);
        let meanwhile = (until_next * self.rate + reserve).ceil() as usize;
        until_next <= self.latest_start(meanwhile)
    }

    /// Rows to be ready for beyond those that come on the average.
    fn reserve(&self) -> f64 {
        RESERVE / (1.0 - self.load().min(FULL_LOAD)) / self.workers
    }

    /// The share of the workers' time that batches of the sustained size take, at this rate.
    fn load(&self) -> f64 {
        let size = self.sustained_size();
        self.rate * self.until_next(size) / size as f64
    }
}

/// The largest of 1..=most that holds, where it holds up to one and not beyond; 0 if it never does.
fn largest(most: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if holds(middle) { low = middle } else { high = middle - 1 }
    }
    low
}
