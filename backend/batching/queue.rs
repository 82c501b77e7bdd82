//! The queue of a model: requests come in from the server's threads, the workers take batches out.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::alone::Alone;
use super::arrivals::Arrivals;
use super::gauges::{Families, Gauges, Seen};
use super::policy::{self, Decision, Goal, View, Waiting};
use super::service_times::ServiceTimes;
use crate::config::Adaptive;
use crate::execute::Executed;
use crate::few::{Dims, Few};
use crate::model::Model;
use crate::triton::clock::now_ns;
use crate::triton::request::Request;
use crate::triton::{Code, Error};

/// The longest queue where the operator sets none and there is no target, in batches of the largest size. Far
/// more than anyone waits for, and an end to the memory that requests without an answer take.
const LONGEST_QUEUE: usize = 100;
/// How often the gauges are set while requests come.
const SHOW_NS: u64 = 100_000_000;
/// How often they are set when none comes, until the rate has fallen to nothing.
const SHOW_IDLE: Duration = Duration::from_secs(1);

/// The requests that wait, and what the policy goes by.
pub struct Queue {
    /// The model's, for messages.
    name: String,
    goal: Goal,
    max_queue_size: Option<usize>,
    state: Mutex<State>,
    /// Something has changed for a worker that waits.
    changed: Condvar,
    gauges: Option<Gauges>,
}

struct State {
    /// What the policy is told of each request in `requests`.
    waiting: Vec<Waiting>,
    requests: VecDeque<Accepted>,
    /// Rows of all of them.
    rows: usize,
    arrivals: Arrivals,
    service: ServiceTimes,
    workers: usize,
    /// Workers that wait for something to do.
    idle: usize,
    /// Batches that are being executed; no more than there are workers, whatever thread they run in.
    running: Few<Running>,
    alone: Alone,
    /// Instances that get no further requests.
    finishing: usize,
    shown_at: u64,
    target_size: usize,
}

/// Requests to execute together; [`Queue::done`] has to follow.
pub struct Batch {
    /// Oldest first.
    pub requests: Few<Request>,
    /// What the queue goes by meanwhile.
    pub running: Running,
}

/// A batch that is being executed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// In ns of `CLOCK_MONOTONIC`.
    start: u64,
    rows: usize,
}

struct Accepted {
    request: Request,
    shape: Shape,
}

/// The sizes, behind the batch dimension, of a request's inputs; empty where the model has no sizes open.
type Shape = Dims<i64>;

impl Queue {
    /// The empty queue of a model whose service times are known as far as `service` knows them.
    pub fn new(
        model: &Model,
        version: u64,
        adaptive: Adaptive,
        service: ServiceTimes,
        families: Option<&Families>,
    ) -> Self {
        let (name, max_batch_size) = (model.name.clone(), model.max_batch_size);
        let gauges = families.and_then(|families| {
            Gauges::new(families, &name, version, max_batch_size)
                .inspect_err(|e| log::warn!("model '{name}': no metrics of its adaptive batching: {e}"))
                .ok()
        });
        Self {
            name,
            goal: Goal { max_batch_size, target: adaptive.target },
            max_queue_size: adaptive.max_queue_size.map(|rows| rows as usize),
            state: Mutex::new(State {
                waiting: Vec::new(),
                requests: VecDeque::new(),
                rows: 0,
                arrivals: Arrivals::default(),
                service,
                workers: 0,
                idle: 0,
                running: Few::new(),
                alone: Alone::new(now_ns()),
                finishing: 0,
                shown_at: 0,
                target_size: 0,
            }),
            changed: Condvar::new(),
            gauges,
        }
    }

    /// Takes requests in; those that find the queue full are refused at once. What is returned is for the
    /// calling thread to execute; [`Self::done_here`] has to follow.
    #[must_use]
    pub fn accept(&self, model: &Model, requests: Few<Request>) -> Option<Batch> {
        let alone = requests.len() == 1;
        let described: Few<_> = requests
            .into_iter()
            .map(|request| {
                let (rows, shape) = describe(model, &request);
                let waiting = Waiting { arrival: self.arrival(&request), rows };
                (waiting, Accepted { request, shape })
            })
            .collect();
        let mut refused = Few::new();
        let mut state = self.lock();
        let now = now_ns();
        let alone = alone && state.running.is_empty() && state.requests.is_empty();
        for (waiting, accepted) in described {
            state.arrivals.observe(waiting.arrival, waiting.rows);
            let longest = self.longest(&mut state, now);
            // An empty queue takes any request, or one of many rows would never be answered.
            if state.rows > 0 && state.rows + waiting.rows > longest {
                refused.push((accepted, state.rows, longest));
            } else {
                state.push(waiting, accepted);
            }
        }
        let here = state.alone.may_run(now, alone).then(|| state.next(&self.goal, now).ok()).flatten();
        self.wake(state);
        for (accepted, rows, longest) in refused {
            let text = format!("model '{}': queue full ({rows} of {longest} rows); retry later", self.name);
            accepted.request.fail(Error::new(Code::Unavailable, text));
        }
        here
    }

    /// When the policy is to take a request as come. A client that waits for less than the target has an
    /// earlier deadline, and so it counts as come earlier.
    fn arrival(&self, request: &Request) -> u64 {
        let arrival = request.arrival();
        match (&self.goal.target, request.timeout()) {
            (Some(target), Some(timeout)) => {
                arrival.saturating_sub(target.latency_ns.saturating_sub(timeout))
            }
            _ => arrival,
        }
    }

    fn longest(&self, state: &mut State, now: u64) -> usize {
        let for_target = |state: &mut State| {
            let (rate, free_in) = (state.arrivals.rate(now), state.free_in(now));
            policy::longest_queue(rate, free_in, state.workers, &state.service, &self.goal)
        };
        self.max_queue_size.or_else(|| for_target(state)).unwrap_or(LONGEST_QUEUE * self.goal.max_batch_size)
    }

    /// Waits until there is a batch to execute, nothing when `stop` says so. [`Self::done`] has to follow.
    pub fn next(&self, stop: impl Fn() -> bool) -> Option<Batch> {
        let mut state = self.lock();
        while !stop() {
            let now = now_ns();
            match state.next(&self.goal, now) {
                Ok(batch) => {
                    self.wake(state);
                    return Some(batch);
                }
                Err(wait) => {
                    state = self.show(state, now);
                    state = self.wait(state, wait);
                }
            }
        }
        None
    }

    /// Wakes a worker if there is something for it to decide.
    fn wake(&self, state: MutexGuard<'_, State>) {
        let wake = state.idle > 0 && state.running.len() < state.workers && !state.waiting.is_empty();
        drop(state);
        if wake {
            self.changed.notify_one();
        }
    }

    fn wait<'q>(&'q self, mut state: MutexGuard<'q, State>, wait: Option<Duration>) -> MutexGuard<'q, State> {
        let wait = wait.or_else(|| (self.gauges.is_some() && state.shown_at > 0).then_some(SHOW_IDLE));
        state.idle += 1;
        let mut state = match wait {
            Some(time) => self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0,
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
        state.idle -= 1;
        state
    }

    /// As [`Self::done`], of a batch that [`Self::accept`] returned.
    pub fn done_here(&self, running: Running, executed: Option<Executed>) {
        self.lock().alone.ended_here(now_ns());
        self.done(running, executed);
    }

    /// A batch is over; the queue learns from it if it was computed.
    pub fn done(&self, running: Running, executed: Option<Executed>) {
        let mut state = self.lock();
        // Of two that are equal it does not matter which.
        if let Some(index) = state.running.iter().position(|other| *other == running) {
            state.running.swap_remove(index);
        }
        if let Some(Executed { rows, ns }) = executed {
            state.service.observe(rows, ns);
            state.alone.observe(ns);
        }
        let state = self.show(state, now_ns());
        self.wake(state);
    }

    /// Sets the gauges and tells the log, from time to time.
    fn show<'q>(&'q self, mut state: MutexGuard<'q, State>, now: u64) -> MutexGuard<'q, State> {
        if now < state.shown_at + SHOW_NS {
            return state;
        }
        let rate = state.arrivals.rate(now);
        let target_size = policy::target_size(rate, state.workers, &state.service, &self.goal);
        // 0: nothing more to tell until requests come.
        state.shown_at = if rate < 0.01 && state.rows == 0 { 0 } else { now };
        let changed = std::mem::replace(&mut state.target_size, target_size) != target_size;
        let seen = Seen { rate, target_size, rows: state.rows };
        if changed {
            log::debug!("model '{}': {}", self.name, describe_change(&seen, &state.service));
        }
        if let Some(gauges) = &self.gauges {
            gauges.set(&seen, &state.service);
        }
        state
    }

    /// A worker starts.
    pub fn join(&self) {
        self.lock().workers += 1;
    }

    /// A worker could not be started after all.
    pub fn missing(&self) {
        self.lock().workers -= 1;
    }

    /// A worker ends whose instance has finished; `stop`, which makes [`Self::next`] return, is called in
    /// between.
    pub fn leave(&self, stop: impl FnOnce()) {
        let mut state = self.lock();
        state.workers -= 1;
        state.finishing = state.finishing.saturating_sub(1);
        stop();
        drop(state);
        self.changed.notify_all();
    }

    /// An instance gets no further requests: nothing waits for others any more until it has left.
    pub fn finish(&self) {
        self.lock().finishing += 1;
        self.changed.notify_all();
    }

    /// Gives up what waits: each request is answered with the error of one that was dropped.
    pub fn give_up(&self) {
        let mut state = self.lock();
        let count = state.requests.len();
        let requests = state.take(count);
        drop(state);
        drop(requests);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("name", &self.name).field("goal", &self.goal).finish_non_exhaustive()
    }
}

impl State {
    fn push(&mut self, waiting: Waiting, accepted: Accepted) {
        // Nobody overtakes: those before an urgent request are as urgent as it is.
        for earlier in self.waiting.iter_mut().rev() {
            if earlier.arrival <= waiting.arrival {
                break;
            }
            earlier.arrival = waiting.arrival;
        }
        self.rows += waiting.rows;
        self.waiting.push(waiting);
        self.requests.push_back(accepted);
    }

    /// A batch to execute now, or how long nothing is to be done unless something changes.
    fn next(&mut self, goal: &Goal, now: u64) -> Result<Batch, Option<Duration>> {
        if self.running.len() >= self.workers {
            return Err(None);
        }
        match self.decide(goal, now) {
            Decision::Run(count) => {
                let rows = self.waiting[..count].iter().map(|waiting| waiting.rows).sum();
                let running = Running { start: now, rows };
                self.running.push(running);
                Ok(Batch { requests: self.take(count), running })
            }
            Decision::LookAgain(at) => Err(Some(Duration::from_nanos(at.saturating_sub(now)))),
            Decision::Idle => Err(None),
        }
    }

    /// In how many ns the next worker is free, as batches usually take.
    fn free_in(&self, now: u64) -> u64 {
        if self.running.len() < self.workers {
            return 0;
        }
        let left = |batch: &Running| {
            let time = self.service.estimate(batch.rows).unwrap_or(0.0) as u64;
            (batch.start + time).saturating_sub(now)
        };
        self.running.iter().map(left).min().unwrap_or(0)
    }

    fn decide(&mut self, goal: &Goal, now: u64) -> Decision {
        let alike = match self.requests.front() {
            Some(first) => self.requests.iter().take_while(|next| next.shape == first.shape).count(),
            None => 0,
        };
        policy::decide(&View {
            now,
            waiting: &self.waiting[..alike],
            complete: self.finishing > 0 || alike < self.waiting.len(),
            rate: self.arrivals.rate(now),
            workers: self.workers,
            service: &self.service,
            goal,
        })
    }

    fn take(&mut self, count: usize) -> Few<Request> {
        self.rows -= self.waiting.drain(..count).map(|waiting| waiting.rows).sum::<usize>();
        self.requests.drain(..count).map(|accepted| accepted.request).collect()
    }
}

fn describe_change(seen: &Seen, service: &ServiceTimes) -> String {
    let Seen { rate, target_size, rows } = seen;
    let time = service
        .estimate(*target_size)
        .map_or_else(|| "of unknown time".into(), |ns| format!("of {:.3} ms", ns / 1e6));
    format!("batches of up to {target_size} rows {time}, at {rate:.1} rows/s, with {rows} waiting")
}

/// A request's rows and shape. What is wrong with a request is found, and answered, when it is executed.
fn describe(model: &Model, request: &Request) -> (usize, Shape) {
    let mut rows = 1;
    let mut shape = Shape::new();
    if model.batching {
        for (index, spec) in model.inputs.iter().enumerate() {
            let open = spec.dims.contains(&-1);
            if index > 0 && !open {
                continue;
            }
            let Ok(input) = request.input(&spec.c_name) else { continue };
            if index == 0 {
                rows = input.shape.first().map_or(1, |&rows| rows.max(1) as usize);
            }
            if open {
                shape.extend(input.shape.iter().skip(1).copied());
            }
        }
    }
    (rows, shape)
}
