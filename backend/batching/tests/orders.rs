//! The queue with its threads, in all orders of what they do, up to a bound of preemptions (`LOOM_MAX_PREEMPTIONS`).
//!
//! loom knows no time. So it is a number that the model's main thread sets; whoever sleeps until a time is woken then, as
//! by a timer. Closing is an event of the main thread, too. A thread that sleeps for ever is found as a deadlock.

use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::super::queue::{Host, Queue, Refusal};
use super::super::scheduler::{Arrival, Next, Scheduler, Seen, Took};
use super::super::service_times::ServiceTimes;
use super::simulation::{MS, Model, Setup};
use crate::few::Few;

/// The world around the queue: a clock, and what came of each request.
struct World {
    now: AtomicU64,
    cancelled: AtomicUsize,
    answers: Mutex<Vec<Answer>>,
    answered: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Ran(usize),
    Refused(usize, Refusal),
}

const NOBODY: usize = usize::MAX;

impl World {
    fn at(now: u64) -> Self {
        Self {
            now: AtomicU64::new(now),
            cancelled: AtomicUsize::new(NOBODY),
            answers: Mutex::new(Vec::new()),
            answered: Condvar::new(),
        }
    }

    fn answer(&self, answer: Answer) {
        self.answers.lock().unwrap().push(answer);
        self.answered.notify_all();
    }

    /// Waits until so many are answered.
    fn answers(&self, count: usize) -> Vec<Answer> {
        let mut answers = self.answers.lock().unwrap();
        while answers.len() < count {
            answers = self.answered.wait(answers).unwrap();
        }
        answers.clone()
    }
}

impl Host for World {
    type Request = usize;
    type Probe = usize;

    fn now(&self) -> u64 {
        self.now.load(SeqCst)
    }

    fn knows_cancelled(&self) -> bool {
        true
    }

    fn probe(&self, request: &usize) -> usize {
        *request
    }

    fn is_cancelled(&self, probe: &usize) -> bool {
        self.cancelled.load(SeqCst) == *probe
    }

    fn refuse(&self, request: usize, why: Refusal) {
        self.answer(Answer::Refused(request, why));
    }

    fn is_told(&self) -> bool {
        false
    }

    fn tell(&self, _: &Seen, _: &dyn Fn(usize) -> Option<f64>) {}
}

type TestQueue = Arc<Queue<World>>;

fn arrival(request: usize, at: u64) -> Arrival<usize> {
    Arrival { request, at, rows: 1, shape: Default::default(), timeout: None }
}

fn send(queue: &TestQueue, arrival: Arrival<usize>) {
    if let Some(batch) = queue.accept(Few::from_iter([arrival])) {
        batch.requests.iter().for_each(|&request| queue.host.answer(Answer::Ran(request)));
        queue.done_here(batch.running, None);
    }
}

/// A worker, and what ends it.
fn work(queue: &TestQueue) -> impl FnOnce() {
    let stop = Arc::new(AtomicUsize::new(0));
    queue.join();
    let (of_thread, stopped) = (Arc::clone(queue), Arc::clone(&stop));
    let thread = thread::spawn(move || {
        while let Some(batch) = of_thread.next(|| stopped.load(SeqCst) > 0) {
            let rows = batch.requests.len();
            batch.requests.iter().for_each(|&request| of_thread.host.answer(Answer::Ran(request)));
            of_thread.done(batch.running, Some(Took { rows, ns: MS, energy_uj: None }));
        }
    });
    let queue = Arc::clone(queue);
    move || {
        queue.close();
        queue.leave(|| stop.store(1, SeqCst));
        thread.join().unwrap();
    }
}

/// A scheduler that knows its model, and that requests come every 10 ms whatever is answered. Returns the time.
fn learnt(setup: Setup) -> (Scheduler<usize>, u64) {
    let model = Model { fixed_ms: 1.0, each_ms: 0.01 };
    let mut scheduler = Scheduler::new(setup.goal, setup.max_queue_size, model.known(4), 0);
    scheduler.join();
    let mut now = 0;
    for number in 0..40 {
        now = number * 10 * MS;
        let _ = scheduler.arrived(now, arrival(0, now));
        if let Next::Run(batch) = scheduler.next(now) {
            scheduler.executed(now, batch.running, None);
        }
    }
    let _ = scheduler.clear(now);
    scheduler.leave();
    (scheduler, now + MS)
}

fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.max_branches = 20_000;
    builder.check(test);
}

#[test]
fn two_workers_run_what_two_producers_bring() {
    model(|| {
        let scheduler = Scheduler::new(Setup::new(1, 1).goal, None, ServiceTimes::new(1), 0);
        let queue = Arc::new(Queue::new(World::at(1), scheduler));
        let ends = [work(&queue), work(&queue)];
        let producers = [0, 1].map(|request| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || send(&queue, arrival(request, 1)))
        });
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        let mut answers = queue.host.answers(2);
        answers.sort_by_key(|answer| format!("{answer:?}"));
        assert_eq!(answers, [Answer::Ran(0), Answer::Ran(1)]);
        ends.into_iter().for_each(|end| end());
    });
}

#[test]
fn who_waits_for_company_is_run_when_it_is_time() {
    model(|| {
        let (scheduler, now) = learnt(Setup::new(4, 200));
        let queue = Arc::new(Queue::new(World::at(now), scheduler));
        let ends = [work(&queue), work(&queue)];
        let producer = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || send(&queue, arrival(1, now)))
        };
        queue.host.now.store(now + 300 * MS, SeqCst);
        queue.time_passes();
        producer.join().unwrap();
        assert_eq!(queue.host.answers(1), [Answer::Ran(1)]);
        ends.into_iter().for_each(|end| end());
    });
}

#[test]
fn an_instance_that_goes_lets_nobody_wait() {
    model(|| {
        let (scheduler, now) = learnt(Setup::new(4, 200));
        let queue = Arc::new(Queue::new(World::at(now), scheduler));
        let end = work(&queue);
        let producer = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || send(&queue, arrival(1, now)))
        };
        // No time passes.
        queue.close();
        producer.join().unwrap();
        assert_eq!(queue.host.answers(1), [Answer::Ran(1)]);
        end();
    });
}

#[test]
fn timeouts_and_cancellations_take_effect_while_no_worker_is_free() {
    model(|| {
        let scheduler = Scheduler::new(Setup::new(1, 1).goal, Some(2), ServiceTimes::new(1), 0);
        let queue = Arc::new(Queue::new(World::at(1), scheduler));
        let keeper = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.keep_time())
        };
        let producers = [1, 2].map(|request| {
            let queue = Arc::clone(&queue);
            let timeout = (request == 1).then_some(5 * MS);
            thread::spawn(move || send(&queue, Arrival { timeout, ..arrival(request, 1) }))
        });
        queue.host.cancelled.store(2, SeqCst);
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        queue.host.now.store(30 * MS, SeqCst);
        queue.time_passes();
        let mut answers = queue.host.answers(2);
        answers.sort_by_key(|answer| format!("{answer:?}"));
        assert_eq!(answers, [Answer::Refused(1, Refusal::Expired), Answer::Refused(2, Refusal::Cancelled)]);
        queue.end_time();
        keeper.join().unwrap();
    });
}

#[test]
fn who_finds_a_place_that_a_cancelled_one_has_left_is_let_in() {
    model(|| {
        let scheduler = Scheduler::new(Setup::new(1, 1).goal, Some(1), ServiceTimes::new(1), 0);
        let queue = Arc::new(Queue::new(World::at(1), scheduler));
        send(&queue, arrival(1, 1));
        queue.host.cancelled.store(1, SeqCst);
        let producer = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || send(&queue, arrival(2, 1)))
        };
        let end = work(&queue);
        producer.join().unwrap();
        let answers = queue.host.answers(2);
        // A worker may have run the other one before anybody asked.
        assert!(answers.contains(&Answer::Ran(2)), "{answers:?}");
        end();
    });
}
