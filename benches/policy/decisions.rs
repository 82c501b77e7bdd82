//! What a decision costs, with few and with many requests waiting: real time, not simulated.
//!
//! A step is an arrival at the end of a queue that stays as long as it is, and the worker's decision at its front. Both
//! queues take turns within one run, so that a machine whose speed drifts favours none of them.

use std::hint::black_box;
use std::time::Instant;

use crate::backend::policy::Goal;
use crate::backend::scheduler::{Arrival, Next, Scheduler, Took};
use crate::backend::service_times::ServiceTimes;
use crate::config::Target;

/// Requests that wait.
const LENGTHS: [usize; 2] = [100, 100_000];
const MAX_BATCH_SIZE: usize = 16;
/// What a batch of any size takes.
const BATCH_NS: u64 = 1_000_000;
/// Arrivals in a measurement.
const STEPS: usize = 50_000;
const PAIRS: usize = 25;
/// Nine tenths of a load that the worker can just bear, from many clients.
const GAP_NS: u64 = BATCH_NS / MAX_BATCH_SIZE as u64;
/// So much more a decision may cost with the longer queue, whose front is not in the processor's nearest caches.
const MOST: f64 = 1.3;

/// A queue of a constant length.
struct Queue {
    scheduler: Scheduler<u64>,
    now: u64,
    timeout: Option<u64>,
}

impl Queue {
    fn new(waiting: usize, target: bool, timeout: Option<u64>) -> Self {
        let target = target.then_some(Target { latency_ns: 200_000_000, percentile: 99.0 });
        let goal = Goal { max_batch_size: MAX_BATCH_SIZE, target, max_wait_ns: u64::MAX };
        let service = ServiceTimes::new(MAX_BATCH_SIZE);
        let mut scheduler = Scheduler::new(goal, Some(usize::MAX), service, 0);
        scheduler.join();
        let mut queue = Self { scheduler, now: 0, timeout };
        (0..waiting).for_each(|_| queue.arrive());
        queue
    }

    fn arrive(&mut self) {
        self.now += GAP_NS;
        let arrival = Arrival {
            request: self.now,
            at: self.now,
            rows: 1,
            shape: Default::default(),
            timeout: self.timeout,
        };
        assert!(self.scheduler.arrived(self.now, arrival).is_ok(), "a queue without a bound is full");
    }

    /// As many requests leave as come; the ns that one took.
    fn ns_for_a_request(&mut self) -> f64 {
        let waiting = self.scheduler.waiting();
        let start = Instant::now();
        for _ in 0..STEPS {
            self.arrive();
            while self.scheduler.waiting() > waiting + MAX_BATCH_SIZE {
                let Next::Run(batch) = self.scheduler.next(self.now) else {
                    panic!("with {waiting} waiting, the worker has nothing to do")
                };
                let took = Took { rows: batch.requests.len(), ns: BATCH_NS, energy_uj: None };
                self.scheduler.executed(self.now, batch.running, Some(took));
                black_box(batch.requests);
            }
        }
        start.elapsed().as_nanos() as f64 / STEPS as f64
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub fn measure(aims: &mut Vec<String>) {
    println!("\nWhat a request costs in the scheduler, ns (median of {PAIRS} rounds, in turn)\n");
    println!("| | {} waiting | {} waiting | ratio |", LENGTHS[0], LENGTHS[1]);
    println!("|---|---|---|---|");
    let day = 86_400_000_000_000;
    for (name, target, timeout) in
        [("no target", false, None), ("target", true, None), ("target, each with a timeout", true, Some(day))]
    {
        let mut queues = LENGTHS.map(|waiting| Queue::new(waiting, target, timeout));
        let mut found = [const { Vec::new() }; 2];
        for round in 0..=PAIRS {
            let places = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for place in places {
                let ns = queues[place].ns_for_a_request();
                // The first round fills caches.
                if round > 0 {
                    found[place].push(ns);
                }
            }
        }
        let mut ratios: Vec<f64> = found[1].iter().zip(&found[0]).map(|(many, few)| many / few).collect();
        let ratio = median(&mut ratios);
        let [few, many] = found.map(|mut values| median(&mut values));
        println!("| {name} | {few:.0} | {many:.0} | {ratio:.2} |");
        if ratio > MOST {
            aims.push(format!(
                "{name}: a request costs {ratio:.2} times as much with {} waiting",
                LENGTHS[1]
            ));
        }
    }
}
