//! The backend's scheduler as it is: with the rate and the service times that it has learned.

use crate::backend::policy::Goal;
use crate::backend::scheduler::{Arrival, Next, Running, Scheduler, Took};
use crate::backend::service_times::ServiceTimes;
use crate::config::Target;
use crate::simulate::{Decision, Machine, Policy};

pub struct Online {
    scheduler: Scheduler<u64>,
    running: Option<Running>,
    waits_until: Option<u64>,
}

impl Online {
    pub fn new(machine: &Machine, percentile: f64) -> Self {
        let target = Target { latency_ns: machine.target as u64, percentile };
        let max_batch_size = machine.max_batch_size();
        let goal = Goal { max_batch_size, target: Some(target), max_wait_ns: u64::MAX };
        let mut scheduler = Scheduler::new(goal, None, ServiceTimes::new(max_batch_size), 0);
        scheduler.join();
        Self { scheduler, running: None, waits_until: None }
    }
}

impl Policy for Online {
    fn arrived(&mut self, now: u64, id: u64) -> bool {
        let arrival = Arrival { request: id, at: now, rows: 1, shape: Default::default(), timeout: None };
        self.scheduler.arrived(now, arrival).is_ok()
    }

    fn decide(&mut self, now: u64) -> Decision {
        if let Some(due) = self.waits_until.take().filter(|due| *due <= now) {
            self.scheduler.woke(due, now);
        }
        match self.scheduler.next(now) {
            Next::Run(batch) => {
                self.running = Some(batch.running);
                Decision::Run(batch.requests.len())
            }
            Next::Wait(at) => {
                self.waits_until = Some(at);
                Decision::LookAgain(at)
            }
            Next::Idle => Decision::Idle,
        }
    }

    fn executed(&mut self, now: u64, rows: usize, took_ns: u64) {
        if let Some(running) = self.running.take() {
            self.scheduler.executed(now, running, Some(Took { rows, ns: took_ns, energy_uj: None }));
        }
    }
}
