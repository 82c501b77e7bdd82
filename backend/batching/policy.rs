//! When a free worker runs how many of the requests that wait.
//!
//! Without a target, whatever waits runs at once. With one, a batch waits for more rows as long as they are likely to come,
//! make it cheaper and the target allows it, and a backlog is cut into batches so that the fewest requests are late.
//! Requests never overtake one another.

use super::company::Arriving;
use super::lateness::Margins;
use super::line::{Front, Next, Waiting};
use super::services::Estimates;
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
/// A larger reserve costs more, in small batches, than it saves.
const MOST_RESERVE: f64 = 5.0;
/// The part of the reserve that is kept where hardly any request is late or refused.
const LEAST_CAUTION: f64 = 0.5;
/// Where a division by zero is near.
const FULL_LOAD: f64 = 0.99;
/// The load from which the queue is bounded more tightly than by when a worker is free, and the one from which as if all had
/// just begun with others. Where every request is let in at the edge, all are late as soon as anything goes otherwise.
const CROWDED: f64 = 1.0;
const OVERLOADED: f64 = 1.15;
/// The same where there are several workers: when the first of them is free says less of when the others are.
const SEVERAL_CROWDED: f64 = 0.9;
const SEVERAL_OVERLOADED: f64 = 1.0;
/// A backlog of more batches is not cut with care: the fewest are late if it is worked off fast.
const CUT_BATCHES: usize = 4;

/// A backlog of more requests is not cut either: it would take longer than it is worth.
const CUT_REQUESTS: usize = 256;
/// Waiting for clients who come again when they are answered ends after a silence of so many times what they take to.
const CLOSED_PATIENCE: f64 = 2.0;
/// Of the clients somebody is missing.
const SOMEBODY: f64 = 0.5;
/// They come again soon, if that takes no more than such a part of the batch's time.
const SOON: f64 = 0.25;
/// So much of what those who are missing save may those who wait lose.
const FAIR: f64 = 0.5;
/// The least that is waited: timers tell no less apart.
const SHORTEST_WAIT_NS: u64 = 20_000;

/// What the operator asked for.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// In rows, 1 at least.
    pub max_batch_size: usize,
    /// None: no request waits for others to come.
    pub target: Option<Target>,
    /// No request waits for others any longer, in ns.
    pub max_wait_ns: u64,
}

/// The load as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Rows that come in a second.
    pub rate: f64,
    /// Rows that come in a second at least.
    pub least_rate: f64,
    /// Requests that come in a second.
    pub request_rate: f64,
    /// Who comes while others wait.
    pub arriving: Arriving,
    /// When a request last came or was answered.
    pub quiet_since: u64,
    /// By how much to be early, in view of the answers that were late.
    pub margins: Margins,
}

/// The queue as a worker sees it that has nothing to do.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// In ns of `CLOCK_MONOTONIC`; not before any arrival.
    pub now: u64,
    /// When the oldest request came.
    pub oldest: u64,
    /// The requests at the front that fit into a batch.
    pub front: Front,
    /// Whether nothing is to be waited for: the model or an instance goes.
    pub closing: bool,
    /// When a batch has to start, or a request expires that would not need to.
    pub start_by: Option<u64>,
    /// What comes.
    pub load: Load,
    /// How late a worker may wake up that waits, in ns.
    pub room: f64,
    /// The workers that take from this queue, busy ones too; 1 at least.
    pub workers: usize,
    /// What is known of the time that a batch takes.
    pub service: Estimates<'a>,
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

/// What the free worker does now. `alike` are the requests that can share batches with the oldest one, oldest first.
pub fn decide<'w>(view: &View<'_>, alike: impl Iterator<Item = &'w Waiting> + Clone) -> Decision {
    let Front { count, rows, next } = view.front;
    if count == 0 {
        return Decision::Idle;
    }
    let Some(pace) = Pace::new(&view.load, view.workers, view.service, view.goal, count) else {
        return Decision::Run(count);
    };
    if next == Next::Nobody && !view.closing && rows < pace.target_size() {
        let at = wait_until(view, &pace);
        if at > view.now + SHORTEST_WAIT_NS {
            return Decision::LookAgain(at);
        }
    }
    let mut members = alike.map(Member::of);
    let mut count = count;
    if next != Next::Alike {
        // The other workers take their part of what waits, unless it is little.
        let share = pace.sustained_size().max(rows.div_ceil(view.workers));
        let part = if rows <= share { (count, rows) } else { fill(members.clone(), share) };
        if age(view.now, view.oldest) <= pace.latest_start(part.1) {
            return Decision::Run(part.0);
        }
        count = part.0;
    }
    let backlog: Vec<Member> = members.by_ref().take(CUT_REQUESTS).collect();
    let whole = members.next().is_none();
    Decision::Run(if whole { fewest_late(view, &pace, &backlog, count) } else { count })
}

/// How many of these requests, one at least, to run as one batch where batches are filled up to a bucket: all of them; or as
/// many as fit into the next smaller bucket, if these and then the others take no longer than all of them in the larger
/// one. Nobody has to be answered later then, and more may join the others.
pub fn fill_bucket<'w>(
    now: u64,
    service: Estimates<'_>,
    requests: impl Iterator<Item = &'w Waiting> + Clone,
) -> usize {
    let members: Vec<Member> = requests.clone().map(Member::of).collect();
    let (count, ns) = split(service, &members);
    // What may not start so late starts now.
    let end = now.saturating_add(ns as u64);
    let in_time = requests.skip(count).all(|other| other.expires.is_none_or(|expires| expires > end));
    if in_time { count } else { members.len() }
}

/// The first of the batches that these requests take the least time in, and the time of all of them, in ns.
fn split(service: Estimates<'_>, requests: &[Member]) -> (usize, f64) {
    let (all, rows) = fill(requests.iter().copied(), usize::MAX);
    let buckets = service.buckets();
    let time = |rows| service.estimate(rows).unwrap_or(f64::NAN);
    let at_once = (all, time(rows));
    let Some(bucket) = buckets.below(rows).filter(|_| buckets.padded(rows) > rows) else { return at_once };
    let (count, first) = fill(requests.iter().copied(), bucket);
    if count == all {
        return at_once;
    }
    let in_parts = time(first) + split(service, &requests[count..]).1;
    if in_parts <= at_once.1 { (count, in_parts) } else { at_once }
}

/// Until when the requests at the front wait for company, unless it comes; now or before if they do not.
fn wait_until(view: &View<'_>, pace: &Pace<'_>) -> u64 {
    let rows = view.front.rows;
    let allowed = pace.latest_start(rows + 1) - view.room - pace.latency * view.load.margins.waiting;
    let latest = (view.oldest + (allowed.max(0.0) as u64).min(view.goal.max_wait_ns))
        .min(view.start_by.map_or(u64::MAX, |start_by| start_by.saturating_sub(view.room as u64)));
    let (from, gap, patience) = match view.load.arriving {
        Arriving::Unknown => return view.now,
        // Clients who come again only when they are answered are not to be slowed down: those who wait are answered later, and
        // those who are missing sooner by what would be left of the batch.
        Arriving::Closed { missing, returns_in } => {
            let time = pace.time(rows);
            let fair = view.front.count as f64 * returns_in <= FAIR * missing * time;
            if missing < SOMEBODY || !fair || returns_in > SOON * time {
                return view.now;
            }
            (view.load.quiet_since, returns_in, CLOSED_PATIENCE)
        }
        // More likely than not, another request comes in time.
        Arriving::Open { patience } => {
            if allowed * view.load.least_rate < std::f64::consts::LN_2 * 1e9 {
                return view.now;
            }
            (view.now, 1e9 / view.load.request_rate, patience)
        }
    };
    latest.min(from.saturating_add((patience * gap) as u64))
}

/// The rows that a batch is to have at this rate: as many as make it cheap, as come in time, and as leave
/// room for those that come while it runs. Without a target or before the first batch it is 1: nothing is
/// waited for.
pub fn target_size(load: &Load, workers: usize, service: Estimates<'_>, goal: &Goal) -> usize {
    Pace::new(load, workers, service, goal, 1).map_or(1, |pace| pace.target_size())
}

/// What a row takes of a worker's time, in ns, when as many come as can be answered in time: in batches of the size that a backlog
/// is worked off with, or without a target in the largest. None before the first batch.
pub fn full_load_cost(load: &Load, workers: usize, service: Estimates<'_>, goal: &Goal) -> Option<f64> {
    let size = match Pace::new(load, workers, service, goal, A_FEW) {
        Some(pace) => pace.sustained_size(),
        None => goal.max_batch_size,
    };
    service.estimate(size).map(|ns| ns / size as f64)
}

/// How many rows may wait so that the last of them can still be in time, when rows come at this rate and the
/// next worker is free in so many ns. A longer queue makes all requests late under overload, as none overtakes.
///
/// None without a target, before the first batch, and if a batch of one row takes longer than the target:
/// no queue is short enough then, and refusing would help nobody. A single request may have more rows
/// than this: one that finds the queue empty has to be let in.
pub fn longest_queue(
    load: &Load,
    free_in: u64,
    workers: usize,
    service: Estimates<'_>,
    goal: &Goal,
) -> Option<usize> {
    let pace = Pace::new(load, workers, service, goal, A_FEW)?;
    if pace.latest_start(1) < 0.0 {
        return None;
    }
    let size = pace.sustained_size();
    let slow = |rows: usize| pace.latency - pace.latest_start(rows);
    // Where arrivals follow answers there are no more of them than clients.
    let busy = if pace.closed { 0.0 } else { pace.load() };
    let (from, to) = if workers == 1 { (CROWDED, OVERLOADED) } else { (SEVERAL_CROWDED, SEVERAL_OVERLOADED) };
    let crowded = ((busy - from) / (to - from)).clamp(0.0, 1.0);
    let left = pace.latency * (1.0 - load.margins.admission)
        - (free_in as f64 * pace.margin).max(crowded * pace.time(size));
    let batches = (left / slow(size)).max(0.0).floor();
    let rest = left - batches * slow(size);
    let in_several = batches as usize * size + largest(size, |rows| slow(rows) <= rest);
    // Several workers are not free at the same time for it.
    let in_one = if workers == 1 { largest(pace.max_batch_size, |rows| slow(rows) <= left) } else { 0 };
    let rows = in_several.max(in_one);
    Some(rows.max(1) * workers)
}

/// What the cut of a backlog goes by.
#[derive(Clone, Copy)]
struct Member {
    arrival: u64,
    rows: usize,
}

impl Member {
    fn of(waiting: &Waiting) -> Self {
        Self { arrival: waiting.arrival, rows: waiting.rows }
    }
}

/// The first requests that fit into a batch, and their rows. One request always does: the server hands over none that is
/// larger than a batch.
fn fill(members: impl IntoIterator<Item = Member>, most: usize) -> (usize, usize) {
    let (mut count, mut rows) = (0, 0);
    for member in members {
        if count > 0 && rows + member.rows > most {
            break;
        }
        count += 1;
        rows += member.rows;
    }
    (count, rows)
}

fn age(now: u64, arrival: u64) -> f64 {
    now.saturating_sub(arrival) as f64
}

/// How many of the first `count` requests to run so that the fewest of all that wait are late; of equally
/// good numbers the largest, which is the cheapest for each row.
///
/// What remains is taken to run in batches as large as they may be. A request that is late in any case counts
/// the same wherever it runs, so that those behind it decide.
fn fewest_late(view: &View<'_>, pace: &Pace<'_>, waiting: &[Member], count: usize) -> usize {
    let max_batch_size = view.goal.max_batch_size;
    let late = |requests: &[Member], start: f64, rows: usize| {
        let latest = pace.latest_start(rows) - start;
        requests.partition_point(|request| age(view.now, request.arrival) > latest)
    };
    let mut seen = 0;
    for _ in 0..CUT_BATCHES {
        seen += fill(waiting[seen..].iter().copied(), max_batch_size).0;
    }
    if seen < waiting.len() {
        return count;
    }
    let hopeless = late(waiting, 0.0, 1);
    let mut rows: usize = waiting[..count].iter().map(|request| request.rows).sum();
    let mut best = (usize::MAX, count);
    for first in (1..=count).rev() {
        let mut all_late = late(&waiting[..first], 0.0, rows);
        let mut start = pace.until_next(rows);
        let mut rest = &waiting[first..];
        while !rest.is_empty() {
            let (next, rows) = fill(rest.iter().copied(), max_batch_size);
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
        rows -= waiting[first - 1].rows;
    }
    best.1
}

/// Times and rates in view of a target, in ns.
struct Pace<'a> {
    service: Estimates<'a>,
    max_batch_size: usize,
    latency: f64,
    max_wait: f64,
    /// See [`Margins`].
    caution: f64,
    /// The factor from a batch's usual time to the one that is reckoned with.
    margin: f64,
    /// Rows that come in a ns.
    rate: f64,
    /// Whether arrivals follow answers.
    closed: bool,
    workers: f64,
}

impl<'a> Pace<'a> {
    /// For a batch of so many requests. None without a target, and before the first batch.
    fn new(
        load: &Load,
        workers: usize,
        service: Estimates<'a>,
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
            max_wait: goal.max_wait_ns as f64,
            caution: load.margins.caution,
            margin: service.spread(100.0 - late),
            rate: load.rate / 1e9,
            closed: matches!(load.arriving, Arriving::Closed { .. }),
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
        let most = self.service.cheap_size().min(self.max_batch_size);
        if self.closed {
            // While those run that wait now, only the others can come, and they are known to have had room.
            return most.min(self.sustained_size());
        }
        // More likely than not, a second request comes while the first can wait.
        if self.rate * self.latest_start(2).min(self.max_wait) < std::f64::consts::LN_2 {
            return 1;
        }
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
        let all = (RESERVE / (1.0 - self.load().min(FULL_LOAD))).min(MOST_RESERVE);
        all * (LEAST_CAUTION + (1.0 - LEAST_CAUTION) * self.caution) / self.workers
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
