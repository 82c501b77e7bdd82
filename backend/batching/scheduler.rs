//! The whole queue of a model as a state machine: what happens goes in, what is to be done comes out.
//!
//! It has no clock, no lock, no thread and no server in it: what waits is a type parameter, and the time is passed in, as
//! ns of `CLOCK_MONOTONIC`. So simulations and tests run this very code. Around it, `queue` adds a lock and sleeping threads.
//!
//! In: a request has [arrived](Scheduler::arrived) or was [cancelled](Scheduler::cancelled), a worker
//! [has nothing to do](Scheduler::next), a batch [is over](Scheduler::executed), time [has passed](Scheduler::expired),
//! requests will end [soon](Scheduler::close). Out: run these, refuse these, wake me then.

use super::alone::Alone;
use super::arrivals::Arrivals;
use super::company::Company;
use super::lateness::Lateness;
use super::line::{Id, Line, Shape, Waiting};
use super::policy::{self, Decision, Goal, Load, View};
use super::service_times::ServiceTimes;
use super::services::{Class, Services};
use super::wakeups::Wakeups;
use crate::few::Few;

/// The longest queue where the operator sets none and there is no target, in batches of the largest size. Far
/// more than anyone waits for, and an end to the memory that requests without an answer take.
const LONGEST_QUEUE: usize = 100;
/// Half of the late answers that the percentile allows may be late because a worker woke up late.
const LATE_WAKEUPS: f64 = 0.5;

/// A request that comes.
pub struct Arrival<T> {
    /// What is kept for it.
    pub request: T,
    /// When the server handed it over.
    pub at: u64,
    /// Its rows, 1 or more.
    pub rows: usize,
    /// See [`Shape`].
    pub shape: Shape,
    /// For how long its client lets it wait, in ns.
    pub timeout: Option<u64>,
}

/// A request that finds the queue full.
pub struct Full<T> {
    /// As it came.
    pub arrival: Arrival<T>,
    /// The rows that wait.
    pub rows: usize,
    /// The rows that may wait.
    pub longest: usize,
}

/// Requests to execute together; [`Scheduler::executed`] has to follow.
#[derive(Debug)]
pub struct Batch<T> {
    /// Oldest first.
    pub requests: Few<T>,
    /// What the scheduler goes by meanwhile.
    pub running: Running,
}

/// A batch that is being executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    start: u64,
    rows: usize,
    requests: usize,
    class: Class,
}

/// What is kept of a batch that is being executed.
struct Executing {
    running: Running,
    /// Of each request, oldest first.
    arrivals: Few<u64>,
}

/// A batch that was computed.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// The rows that were computed: those of requests that were given up meanwhile were not.
    pub rows: usize,
    /// From its start to its last answer, in ns.
    pub ns: u64,
    /// What batches of so many rows cost in microjoules, as far as is known by now.
    pub energy_uj: Option<u64>,
}

/// What a worker that has nothing to do is to do.
#[derive(Debug)]
pub enum Next<T> {
    /// Run these now.
    Run(Batch<T>),
    /// Ask again at this time, which is later than now, or when something has changed.
    Wait(u64),
    /// Ask again when something has changed.
    Idle,
}

/// What is seen of the queue from outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Rows that come in a second.
    pub rate: f64,
    /// Rows that a batch waits for.
    pub target_size: usize,
    /// Rows in the queue.
    pub rows: usize,
    /// Ns of a worker's time that a row takes at full load, in batches that can follow one another within the target; nothing
    /// before the first batch.
    pub cost_ns: Option<f64>,
}

/// See the module.
pub struct Scheduler<T> {
    goal: Goal,
    max_queue_size: Option<usize>,
    line: Line<T>,
    arrivals: Arrivals,
    company: Company,
    services: Services,
    wakeups: Wakeups,
    lateness: Lateness,
    alone: Alone,
    workers: usize,
    running: Few<Executing>,
    /// Instances that go.
    closing: usize,
    hurry_until: u64,
    /// When a request last came or was answered, and when one was answered.
    quiet_since: u64,
    answered: u64,
    /// Of the last request.
    class: Class,
    came: u64,
}

impl<T> Scheduler<T> {
    /// An empty queue without workers. `max_queue_size` is in rows; `at_load` is what is known of the model.
    pub fn new(goal: Goal, max_queue_size: Option<usize>, at_load: ServiceTimes, now: u64) -> Self {
        Self {
            goal,
            max_queue_size,
            line: Line::default(),
            arrivals: Arrivals::default(),
            company: Company::default(),
            services: Services::new(at_load),
            wakeups: Wakeups::default(),
            lateness: Lateness::new(1.0 - goal.target.map_or(0.0, |target| target.percentile / 100.0)),
            alone: Alone::new(now),
            workers: 0,
            running: Few::new(),
            closing: 0,
            hurry_until: 0,
            quiet_since: now,
            answered: now,
            class: Class::of(&[]),
            came: 0,
        }
    }

    /// A request comes. Those that have [expired](Self::expired) are to be taken out first: they still have their places.
    ///
    /// # Errors
    /// The queue is full. It takes any request when it is empty, or one of many rows would never be answered.
    pub fn arrived(&mut self, now: u64, arrival: Arrival<T>) -> Result<(), Full<T>> {
        if self.arrivals.observe(arrival.at, arrival.rows, self.answered) {
            self.company.forget();
        }
        self.came += 1;
        self.class = Class::of(&arrival.shape);
        // Those that are refused count as well: they would come only while few are outstanding, otherwise.
        self.company.arrived(now, self.arrivals.request_rate());
        self.admit(now, arrival).inspect_err(|_| {
            self.company.left(now, 1);
            if self.max_queue_size.is_none() {
                self.lateness.refused();
            }
        })
    }

    /// As [`Self::arrived`], for one that found the queue full, now that places may have become free.
    ///
    /// # Errors
    /// It is still full.
    pub fn arrived_again(&mut self, now: u64, arrival: Arrival<T>) -> Result<(), Full<T>> {
        self.admit(now, arrival).inspect(|()| self.company.joined(now))
    }

    fn admit(&mut self, now: u64, arrival: Arrival<T>) -> Result<(), Full<T>> {
        let rows = arrival.rows;
        let service = self.services.of(self.class);
        if !self.line.is_empty() {
            let load = self.load(now);
            let for_target =
                policy::longest_queue(&load, self.free_in(now), self.workers.max(1), service, &self.goal);
            let longest = self
                .max_queue_size
                .or(for_target)
                .unwrap_or(LONGEST_QUEUE.saturating_mul(self.goal.max_batch_size));
            // Rows that take longer than this one's count for more, if the time is what bounds the queue.
            let waiting = match service.work(1) {
                Some(work)
                    if self.services.several() && self.max_queue_size.is_none() && for_target.is_some() =>
                {
                    (self.line.work() / work) as usize
                }
                _ => self.line.rows(),
            };
            if waiting.saturating_add(rows) > longest {
                return Err(Full { arrival, rows: self.line.rows(), longest });
            }
        }
        self.quiet_since = now;
        let Arrival { request, at, rows, shape, timeout } = arrival;
        let work = service.work(rows).unwrap_or(0.0);
        let expires = timeout.map(|timeout| at.saturating_add(timeout));
        self.line.push(Waiting { arrival: at, rows, shape, expires, work }, request);
        Ok(())
    }

    /// A worker has nothing to do.
    pub fn next(&mut self, now: u64) -> Next<T> {
        match self.decide(now) {
            Decision::Run(count) => Next::Run(self.run(now, count)),
            Decision::LookAgain(at) => Next::Wait(at),
            Decision::Idle => Next::Idle,
        }
    }
    /// Whether the request that has just come, and found nobody if it is `alone`, is to be executed by the thread that
    /// brought it: this batch then.
    pub fn next_here(&mut self, now: u64, alone: bool) -> Option<Batch<T>> {
        if !self.alone.may_run(now, alone) {
            return None;
        }
        match self.next(now) {
            Next::Run(batch) => Some(batch),
            Next::Wait(_) | Next::Idle => None,
        }
    }

    /// What [`Self::next`] would say: whether there is a batch to run, or when to ask again.
    pub fn asks_for_worker(&mut self, now: u64) -> Decision {
        self.decide(now)
    }

    /// A batch that was run in the thread that brought it is over.
    pub fn executed_here(&mut self, now: u64) {
        self.alone.ended_here(now);
    }

    /// A batch is over, computed or not.
    pub fn executed(&mut self, now: u64, running: Running, took: Option<Took>) {
        // Of two that are equal it does not matter which.
        let index = self.running.iter().position(|other| other.running == running);
        let arrivals = index.map(|index| self.running.swap_remove(index).arrivals).unwrap_or_default();
        self.company.left(now, running.requests);
        (self.quiet_since, self.answered) = (now, now);
        if let Some(Took { rows, ns, energy_uj }) = took {
            if let Some(target) = self.goal.target {
                let end = running.start + ns;
                let late = arrivals
                    .iter()
                    .filter(|&&arrival| end.saturating_sub(arrival) > target.latency_ns)
                    .count();
                self.lateness.observe(late, arrivals.len());
            }
            self.services.observe(running.class, rows, ns);
            if let Some(uj) = energy_uj {
                self.services.observe_energy(running.class, rows, uj);
            }
            self.alone.observe(ns);
        }
    }

    /// A worker that was to wake up at `due` does so now.
    pub fn woke(&mut self, due: u64, now: u64) {
        self.wakeups.observe(due, now);
    }

    /// A request that has waited for as long as its client allows: it is not run any more.
    pub fn expired(&mut self, now: u64) -> Option<T> {
        let request = self.line.expired(now)?;
        self.company.left(now, 1);
        Some(request)
    }

    /// When the next request expires.
    pub fn next_expiry(&self) -> Option<u64> {
        self.line.next_expiry()
    }

    /// A request was cancelled: it leaves. None if it is not in the queue any more.
    pub fn cancelled(&mut self, now: u64, id: Id) -> Option<T> {
        let request = self.line.remove(id)?;
        self.company.left(now, 1);
        Some(request)
    }

    /// All requests leave.
    pub fn clear(&mut self, now: u64) -> Few<T> {
        let count = self.line.len();
        self.company.left(now, count);
        self.line.take(count)
    }

    /// What is made of up to so many requests from one on, and the first that follows.
    pub fn portion<P>(&self, from: Id, count: usize, each: impl FnMut(Id, &T) -> P) -> (Few<P>, Option<Id>) {
        self.line.portion(from, count, each)
    }

    /// An instance goes: nothing waits for company until its worker has [left](Self::leave).
    pub fn close(&mut self) {
        self.closing += 1;
    }

    /// Nothing waits for company until then.
    pub fn hurry(&mut self, until: u64) {
        self.hurry_until = until;
    }

    /// There is one more worker.
    pub fn join(&mut self) {
        self.workers += 1;
    }

    /// There is one worker less.
    pub fn leave(&mut self) {
        self.workers -= 1;
        self.closing = self.closing.saturating_sub(1);
    }

    /// How many requests have come, refused ones too.
    pub fn came(&self) -> u64 {
        self.came
    }

    /// Whether requests come; not if they have stopped.
    pub fn comes(&self, now: u64) -> bool {
        self.arrivals.least_rate(now, self.answered) > 0.0
    }

    /// The requests that wait.
    pub fn waiting(&self) -> usize {
        self.line.len()
    }

    /// Whether nothing waits and nothing runs.
    pub fn is_idle(&self) -> bool {
        self.line.is_empty() && self.running.is_empty()
    }

    /// What is told of the queue.
    pub fn seen(&self, now: u64) -> Seen {
        let load = self.load(now);
        let service = self.services.of(self.class);
        let target_size = policy::target_size(&load, self.workers.max(1), service, &self.goal);
        let cost_ns = self
            .services
            .mean(|service| policy::full_load_cost(&load, self.workers.max(1), service, &self.goal));
        Seen { rate: load.rate, target_size, rows: self.line.rows(), cost_ns }
    }

    /// What a batch of so many rows takes, in ns, if it is of the last request's class.
    pub fn service_time(&self, rows: usize) -> Option<f64> {
        self.services.of(self.class).estimate(rows)
    }

    fn run(&mut self, now: u64, count: usize) -> Batch<T> {
        let class = self.line.oldest().map_or(self.class, |oldest| Class::of(&oldest.shape));
        let rows_before = self.line.rows();
        // Without a target nothing is late.
        let judged = if self.goal.target.is_some() { count } else { 0 };
        let arrivals = self.line.waiting().take(judged).map(|waiting| waiting.arrival).collect();
        let requests = self.line.take(count);
        let rows = rows_before - self.line.rows();
        let running = Running { start: now, rows, requests: requests.len(), class };
        self.running.push(Executing { running, arrivals });
        Batch { requests, running }
    }

    fn decide(&mut self, now: u64) -> Decision {
        match self.decide_for_target(now) {
            Decision::Run(count) if count > 1 && !self.services.buckets().is_empty() => {
                let shape = self.line.oldest().map(|oldest| &oldest.shape[..]).unwrap_or_default();
                let service = self.services.of(Class::of(shape));
                Decision::Run(policy::fill_bucket(now, service, self.line.waiting().take(count)))
            }
            decision => decision,
        }
    }

    fn decide_for_target(&mut self, now: u64) -> Decision {
        // Batches also run in threads that bring requests, but no more at a time than there are workers.
        if self.running.len() >= self.workers {
            return Decision::Idle;
        }
        let front = self.line.front(self.goal.max_batch_size);
        let Some(oldest) = self.line.oldest() else { return Decision::Idle };
        let Some(target) = self.goal.target else { return Decision::Run(front.count) };
        let late = 100.0 - target.percentile;
        let room = self.wakeups.room(100.0 - late * LATE_WAKEUPS);
        let view = View {
            now,
            oldest: oldest.arrival,
            front,
            closing: self.closing > 0 || now < self.hurry_until,
            // The oldest has nobody in front of it who would suffer.
            start_by: self.line.next_expiry_of_more(room as u64).into_iter().chain(oldest.expires).min(),
            load: self.load(now),
            room,
            workers: self.workers.max(1),
            service: self.services.of(Class::of(&oldest.shape)),
            goal: &self.goal,
        };
        policy::decide(&view, self.line.waiting().take_while(|waiting| waiting.shape == oldest.shape))
    }

    fn load(&self, now: u64) -> Load {
        Load {
            rate: self.arrivals.rate(now, self.answered),
            least_rate: self.arrivals.least_rate(now, self.answered),
            request_rate: self.arrivals.request_rate(),
            arriving: self.company.arriving(now),
            quiet_since: self.quiet_since,
            margins: self.lateness.margins(),
        }
    }

    /// In how many ns the next worker is free, as batches usually take.
    fn free_in(&self, now: u64) -> u64 {
        if self.running.len() < self.workers {
            return 0;
        }
        let left = |Executing { running: batch, .. }: &Executing| {
            let time = self.services.of(batch.class).estimate(batch.rows).unwrap_or(0.0) as u64;
            (batch.start + time).saturating_sub(now)
        };
        self.running.iter().map(left).min().unwrap_or(0)
    }
}
