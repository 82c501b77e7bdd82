//! The backend's policy as it is: with the rate and the service times that it has learned.

use std::collections::VecDeque;

use crate::backend::arrivals::Arrivals;
use crate::backend::policy::{self, Goal, View, Waiting, longest_queue};
use crate::backend::service_times::ServiceTimes;
use crate::config::Target;
use crate::simulate::{Decision, Machine, Policy};

pub struct Online {
    goal: Goal,
    rate: Arrivals,
    service: ServiceTimes,
    waiting: VecDeque<Waiting>,
    /// When the running batch began, and its rows.
    running: Option<(u64, usize)>,
}

impl Online {
    pub fn new(machine: &Machine, percentile: f64) -> Self {
        let target = Target { latency_ns: machine.target as u64, percentile };
        let max_batch_size = machine.max_batch_size();
        Self {
            goal: Goal { max_batch_size, target: Some(target) },
            rate: Arrivals::default(),
            service: ServiceTimes::new(max_batch_size),
            waiting: VecDeque::new(),
            running: None,
        }
    }

    fn longest(&self, now: u64) -> Option<usize> {
        let free_in = self.running.map_or(0, |(start, rows)| {
            let time = self.service.estimate(rows).unwrap_or(0.0) as u64;
            (start + time).saturating_sub(now)
        });
        longest_queue(self.rate.rate(now), free_in, 1, &self.service, &self.goal)
    }
}

impl Policy for Online {
    fn arrived(&mut self, now: u64, _: u64) -> bool {
        self.rate.observe(now, 1);
        let bounded = !self.waiting.is_empty();
        if bounded && self.longest(now).is_some_and(|longest| self.waiting.len() >= longest) {
            return false;
        }
        self.waiting.push_back(Waiting { arrival: now, rows: 1 });
        true
    }

    fn decide(&mut self, now: u64) -> Decision {
        let view = View {
            now,
            waiting: self.waiting.make_contiguous(),
            complete: false,
            rate: self.rate.rate(now),
            workers: 1,
            service: &self.service,
            goal: &self.goal,
        };
        match policy::decide(&view) {
            policy::Decision::Run(count) => {
                self.waiting.drain(..count);
                self.running = Some((now, count));
                Decision::Run(count)
            }
            policy::Decision::LookAgain(at) => Decision::LookAgain(at),
            policy::Decision::Idle => Decision::Idle,
        }
    }

    fn executed(&mut self, _: u64, rows: usize, took_ns: u64) {
        self.running = None;
        self.service.observe(rows, took_ns);
    }
}
