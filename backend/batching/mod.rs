//! Adaptive batching: the backend holds the requests itself and chooses the batches, continuously.
//!
//! A request's way: [`queue`] takes it in and the server's thread goes its way; a [`worker`], one for each
//! instance, asks the [`policy`] whether to run what waits now or to look again later, and executes the batch.
//! Only a quick one, of a request that comes [`alone`], runs in the server's thread.
//! The policy is a pure function; it goes by the [`service_times`], primed at load ([`priming`]) and learnt
//! from each execution, and by the rate of [`arrivals`]. [`gauges`] shows what it makes of them.

mod alone;
mod arrivals;
mod gauges;
mod policy;
mod priming;
mod queue;
mod service_times;
mod spread;
mod worker;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod tests;

pub use gauges::Families;
pub use policy::Target;
pub use queue::Queue;
pub use worker::Worker;

use crate::config::Adaptive;
use crate::few::Few;
use crate::model::Model;
use crate::triton::request::Request;
use gauges::Gauges;
use policy::Goal;

/// The queue of a model that is being loaded, which is run a few times for that.
pub fn start(
    model: &Model,
    version: u64,
    adaptive: Adaptive,
    max_batch_size: u32,
    families: Option<&Families>,
) -> Queue {
    let name = &model.name;
    // Without a batch dimension every request is a batch of its own.
    let max_batch_size = max_batch_size.max(1) as usize;
    let gauges = families.and_then(|families| {
        Gauges::new(families, name, version, max_batch_size)
            .inspect_err(|error| log::warn!("model '{name}': its batching is not in the metrics: {error}"))
            .ok()
    });
    let service = priming::prime(model, max_batch_size);
    let goal = Goal { max_batch_size, target: adaptive.target };
    let longest = adaptive.max_queue_size.map(|images| images as usize);
    Queue::new(name.clone(), goal, longest, service, gauges)
}

/// Takes requests into a model's queue.
pub fn accept(model: &Model, queue: &Queue, requests: Few<Request>) {
    if let Some(batch) = queue.accept(model, requests) {
        queue.done_here(batch.running, worker::execute(model, batch.requests));
    }
}
