//! The queue of a model: a lock around the [`scheduler`](super::scheduler), and threads that sleep until it has something
//! for them to do.
//!
//! Requests come in from the server's threads. Workers take batches out; one of those that are idle watches the clock if a
//! batch waits for company, the others sleep for good. One more thread keeps the time of what does not concern workers:
//! timeouts and cancellations take effect while all of them run. It sleeps for good while nothing waits.
//! Answering, asking for cancellations and telling what is seen happen outside of the lock.

use super::line::Id;
use super::policy::Decision;
use super::scheduler::{Arrival, Batch, Full, Next, Running, Scheduler, Seen, Took};
use super::sync::{Condvar, Mutex, MutexGuard, lock, sleep};
use crate::few::Few;

/// How often those who wait are asked whether they were cancelled: twice as often as they are promised to be.
const ASK_NS: u64 = 20_000_000;
/// So many are asked before the lock is taken again.
const ASKED_AT_ONCE: usize = 64;
/// Before requests are refused for a full queue, those who wait are asked as well, if that takes no more of the time than
/// one part in so many.
const ASKING_SHARE: u64 = 10;
/// How often is told what is seen, while requests come and while none does.
const TELL_NS: u64 = 100_000_000;
const TELL_SELDOM_NS: u64 = 1_000_000_000;

/// What the queue needs of the server's world.
pub trait Host {
    /// What waits.
    type Request;
    /// What tells whether a request was cancelled, also when it is being answered meanwhile.
    type Probe;

    /// Ns of `CLOCK_MONOTONIC`.
    fn now(&self) -> u64;

    /// Whether anybody knows of cancellations.
    fn knows_cancelled(&self) -> bool;

    /// What is to be asked whether the request was cancelled.
    fn probe(&self, request: &Self::Request) -> Self::Probe;

    /// Whether it was cancelled.
    fn is_cancelled(&self, probe: &Self::Probe) -> bool;

    /// Answers a request that is not run.
    fn refuse(&self, request: Self::Request, why: Refusal);

    /// Whether [`Self::tell`] does something.
    fn is_told(&self) -> bool;

    /// What is seen of the queue, and what batches of a size take in ns. From time to time while requests come.
    fn tell(&self, seen: &Seen, times: &dyn Fn(usize) -> Option<f64>);
}

/// Why a request is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// So many rows of so many possible ones wait.
    Full {
        /// The rows that wait.
        rows: usize,
        /// The rows that may wait.
        longest: usize,
    },
    /// It has waited for as long as its client allows.
    Expired,
    /// Its client has cancelled it.
    Cancelled,
}

/// The queue.
pub struct Queue<H: Host> {
    pub(super) host: H,
    state: Mutex<State<H::Request>>,
    /// Something to do for a worker that sleeps for good.
    idle: Condvar,
    /// Something to do for the worker that watches the clock.
    watch: Condvar,
    /// Something to do for the thread that keeps the time.
    time: Condvar,
}

struct State<R> {
    scheduler: Scheduler<R>,
    /// Workers that sleep for good.
    idle: usize,
    /// Until when a worker sleeps that watches the clock.
    watching: Option<u64>,
    /// When the thread that keeps the time wakes up next; in no time (`u64::MAX`) if nothing waits.
    keeper_wakes: u64,
    keeper_ends: bool,
    /// Not before then those who wait are asked for cancellations because the queue is full.
    ask_from: u64,
}

type Guard<'a, H> = MutexGuard<'a, State<<H as Host>::Request>>;

impl<H: Host> Queue<H> {
    /// A queue that nobody takes from yet.
    pub fn new(host: H, scheduler: Scheduler<H::Request>) -> Self {
        Self {
            host,
            state: Mutex::new(State {
                scheduler,
                idle: 0,
                watching: None,
                keeper_wakes: u64::MAX,
                keeper_ends: false,
                ask_from: 0,
            }),
            idle: Condvar::new(),
            watch: Condvar::new(),
            time: Condvar::new(),
        }
    }

    /// Takes requests in; those that find the queue full are refused at once. What is returned is for the calling
    /// thread to execute; [`Self::done_here`] has to follow.
    #[must_use]
    pub fn accept(&self, arrivals: Few<Arrival<H::Request>>) -> Option<Batch<H::Request>> {
        let mut state = lock(&self.state);
        let now = self.host.now();
        let alone = arrivals.len() == 1 && state.scheduler.is_idle();
        let expired = state.take_expired(now);
        let mut full = Few::new();
        for arrival in arrivals {
            full.extend(state.scheduler.arrived(now, arrival).err());
        }
        let here = state.scheduler.next_here(now, alone);
        self.wake(state, now);
        self.refuse_all(expired, Refusal::Expired);
        if !full.is_empty() {
            self.refuse_unless_places_are_free(full);
        }
        here
    }

    /// Waits until there is a batch to execute; none when `stop` says so. [`Self::done`] has to follow.
    pub fn next(&self, stop: impl Fn() -> bool) -> Option<Batch<H::Request>> {
        let mut state = lock(&self.state);
        while !stop() {
            let now = self.host.now();
            let expired = state.take_expired(now);
            if !expired.is_empty() {
                drop(state);
                self.refuse_all(expired, Refusal::Expired);
                state = lock(&self.state);
                continue;
            }
            state = match state.scheduler.next(now) {
                Next::Run(batch) => {
                    self.wake(state, now);
                    return Some(batch);
                }
                Next::Wait(until) => self.watch(state, now, until),
                Next::Idle => self.rest(state, now),
            };
        }
        None
    }

    /// As [`Self::done`], of a batch that [`Self::accept`] returned.
    pub fn done_here(&self, running: Running, took: Option<Took>) {
        lock(&self.state).scheduler.executed_here(self.host.now());
        self.done(running, took);
    }

    /// A batch is over, computed or not.
    pub fn done(&self, running: Running, took: Option<Took>) {
        let mut state = lock(&self.state);
        let now = self.host.now();
        state.scheduler.executed(now, running, took);
        self.wake(state, now);
    }

    /// A worker starts.
    pub fn join(&self) {
        lock(&self.state).scheduler.join();
    }

    /// A worker ends; `stop`, which makes [`Self::next`] return, is called in between.
    pub fn leave(&self, stop: impl FnOnce()) {
        let mut state = lock(&self.state);
        state.scheduler.leave();
        stop();
        self.wake_all(state);
    }

    /// An instance gets no further requests: nothing waits for company until its worker has left.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.scheduler.close();
        self.wake_all(state);
    }

    /// Nothing waits for company until then.
    pub fn hurry(&self, until: u64) {
        let mut state = lock(&self.state);
        state.scheduler.hurry(until);
        self.wake_all(state);
    }

    /// Gives up what waits: each request is dropped.
    pub fn give_up(&self) {
        let requests = lock(&self.state).scheduler.clear(self.host.now());
        drop(requests);
    }

    /// Refuses what has expired or was cancelled, and tells what is seen, until [`Self::end_time`] is called.
    pub fn keep_time(&self) {
        let (mut came, mut ask_at, mut telling) = (0, 0, Telling::default());
        let mut state = lock(&self.state);
        while !state.keeper_ends {
            let now = self.host.now();
            let expired = state.take_expired(now);
            let ask = state.scheduler.waiting() > 0 && now >= ask_at;
            let tell = self.host.is_told() && telling.is_due(now, state.scheduler.came());
            if !expired.is_empty() || ask || tell {
                let seen = tell.then(|| telling.told(now, &state.scheduler));
                self.wake(state, now);
                self.refuse_all(expired, Refusal::Expired);
                if ask {
                    self.refuse_cancelled();
                    ask_at = now + ASK_NS;
                }
                if let Some(seen) = seen {
                    self.tell(seen);
                }
                state = lock(&self.state);
                continue;
            }
            // While requests come one after the other it is cheaper to look than to be woken for each of them.
            let busy = state.scheduler.waiting() > 0 || state.scheduler.came() > came;
            came = state.scheduler.came();
            state.keeper_wakes = match telling.next {
                _ if busy => (now + ASK_NS).min(state.scheduler.next_expiry().unwrap_or(u64::MAX)),
                Some(next) => next,
                None => u64::MAX,
            };
            let until = state.keeper_wakes;
            state = sleep(&self.time, state, now, (until < u64::MAX).then_some(until));
        }
    }

    /// Makes [`Self::keep_time`] return.
    pub fn end_time(&self) {
        lock(&self.state).keeper_ends = true;
        self.time.notify_all();
    }

    /// Time has passed, which sleeping threads do not notice by themselves in loom's models.
    #[cfg(all(loom, test))]
    pub fn time_passes(&self) {
        self.wake_all(lock(&self.state));
        self.time.notify_all();
    }

    /// Wakes whom what has changed concerns.
    fn wake(&self, mut state: Guard<'_, H>, now: u64) {
        let (sleeps, watching) = (state.idle > 0, state.watching);
        let worker = match watching {
            None if !sleeps => None,
            _ => match (state.scheduler.asks_for_worker(now), watching) {
                (Decision::Idle, _) => None,
                // The one who watches wakes up in time.
                (Decision::LookAgain(at), Some(until)) if until <= at => None,
                (_, Some(_)) => Some(&self.watch),
                (_, None) => Some(&self.idle),
            },
        };
        let mut keeper = false;
        if state.scheduler.waiting() > 0 {
            let wanted = (now + ASK_NS).min(state.scheduler.next_expiry().unwrap_or(u64::MAX));
            keeper = wanted < state.keeper_wakes;
            state.keeper_wakes = state.keeper_wakes.min(wanted);
        }
        drop(state);
        if let Some(worker) = worker {
            worker.notify_one();
        }
        if keeper {
            self.time.notify_one();
        }
    }

    fn wake_all(&self, state: Guard<'_, H>) {
        drop(state);
        self.idle.notify_all();
        self.watch.notify_all();
    }

    fn watch<'q>(&'q self, mut state: Guard<'q, H>, now: u64, until: u64) -> Guard<'q, H> {
        match state.watching {
            Some(other) => {
                if until < other {
                    self.watch.notify_one();
                }
                self.rest(state, now)
            }
            None => {
                state.watching = Some(until);
                let mut state = sleep(&self.watch, state, now, Some(until));
                state.watching = None;
                let now = self.host.now();
                if now >= until {
                    state.scheduler.woke(until, now);
                }
                state
            }
        }
    }

    fn rest<'q>(&'q self, mut state: Guard<'q, H>, now: u64) -> Guard<'q, H> {
        state.idle += 1;
        let mut state = sleep(&self.idle, state, now, None);
        state.idle -= 1;
        state
    }

    fn refuse_all(&self, requests: Few<H::Request>, why: Refusal) {
        requests.into_iter().for_each(|request| self.host.refuse(request, why));
    }

    fn refuse_unless_places_are_free(&self, full: Few<Full<H::Request>>) {
        let from = self.host.now();
        let ask = from >= lock(&self.state).ask_from;
        if ask {
            self.refuse_cancelled();
            let to = self.host.now();
            lock(&self.state).ask_from = to + (to - from) * ASKING_SHARE;
        }
        for Full { arrival, rows, longest } in full {
            let again = if ask {
                let mut state = lock(&self.state);
                let now = self.host.now();
                let again = state.scheduler.arrived_again(now, arrival);
                self.wake(state, now);
                again
            } else {
                Err(Full { arrival, rows, longest })
            };
            if let Err(Full { arrival, rows, longest }) = again {
                self.host.refuse(arrival.request, Refusal::Full { rows, longest });
            }
        }
    }

    /// Asks all who wait whether they were cancelled.
    fn refuse_cancelled(&self) {
        let mut from = self.host.knows_cancelled().then_some(Id::FIRST);
        while let Some(first) = from {
            let state = lock(&self.state);
            let probe = |id, request: &H::Request| (id, self.host.probe(request));
            let (probes, next) = state.scheduler.portion(first, ASKED_AT_ONCE, probe);
            drop(state);
            let is_cancelled = |(id, probe): (Id, H::Probe)| self.host.is_cancelled(&probe).then_some(id);
            let cancelled: Few<Id> = probes.into_iter().filter_map(is_cancelled).collect();
            if !cancelled.is_empty() {
                let mut state = lock(&self.state);
                let now = self.host.now();
                let requests =
                    cancelled.into_iter().filter_map(|id| state.scheduler.cancelled(now, id)).collect();
                self.wake(state, now);
                self.refuse_all(requests, Refusal::Cancelled);
            }
            from = next;
        }
    }

    fn tell(&self, seen: Seen) {
        let time = |rows| lock(&self.state).scheduler.service_time(rows);
        self.host.tell(&seen, &time);
    }
}

/// When it is told what is seen: often while requests come, seldom while none does, and no more once it was told that they
/// have stopped.
#[derive(Default)]
struct Telling {
    next: Option<u64>,
    /// The requests that had come when it was told last.
    came: u64,
    stopped: bool,
}

impl Telling {
    fn is_due(&self, now: u64, came: u64) -> bool {
        self.next.map_or(came > self.came, |next| now >= next)
    }

    fn told<R>(&mut self, now: u64, scheduler: &Scheduler<R>) -> Seen {
        let seen = scheduler.seen(now);
        let quiet = std::mem::replace(&mut self.came, scheduler.came()) == scheduler.came();
        let stopped = quiet && !scheduler.comes(now);
        if stopped && self.stopped {
            *self = Self { came: self.came, ..Self::default() };
            return Seen { rate: 0.0, ..seen };
        }
        self.stopped = stopped;
        self.next = Some(now + if quiet { TELL_SELDOM_NS } else { TELL_NS });
        seen
    }
}

impl<R> State<R> {
    fn take_expired(&mut self, now: u64) -> Few<R> {
        std::iter::from_fn(|| self.scheduler.expired(now)).collect()
    }
}
