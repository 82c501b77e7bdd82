//! A worker: the thread that executes batches, one for each instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::queue::Queue;
use crate::execute::{Executed, execute_batch};
use crate::few::Few;
use crate::model::Model;
use crate::triton::clock::now_ns;
use crate::triton::request::Request;
use crate::triton::{Code, Error, Result, guard};

/// The thread of an instance; dropping ends it.
pub struct Worker {
    queue: Arc<Queue>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread, which takes batches of `model` from `queue`.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(model: Arc<Model>, queue: Arc<Queue>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let of_thread = (Arc::clone(&queue), Arc::clone(&stop));
        queue.join();
        let spawned = thread::Builder::new().name("batches".into()).spawn(move || {
            let (queue, stop) = of_thread;
            // A panic outside of an execution is a fault in the queue or the policy. What waits would wait
            // forever: it is answered with an error, and the worker begins anew.
            while guard(|| work(&model, &queue, &stop)).is_err() {
                queue.give_up();
            }
        });
        let thread = spawned
            .inspect_err(|_| queue.missing())
            .map_err(|e| Error::internal(format!("the system starts no thread for an instance: {e}")))?;
        Ok(Self { queue, stop, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.queue.leave(|| self.stop.store(true, Ordering::Relaxed));
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(_)) = ended {
            log::error!("the thread of an instance ended in a panic");
        }
    }
}

fn work(model: &Model, queue: &Queue, stop: &AtomicBool) -> Result<()> {
    while let Some(batch) = queue.next(|| stop.load(Ordering::Relaxed)) {
        queue.done(batch.running, execute(model, batch.requests));
    }
    Ok(())
}

/// Executes a batch out of the queue.
pub fn execute(model: &Model, batch: Few<Request>) -> Option<Executed> {
    // A panic here was logged by the hook and told to the clients as their requests were dropped.
    guard(|| Ok(execute_batch(model, still_wanted(model, batch)))).ok().flatten()
}

/// Answers the requests that their clients wait for no more, and keeps the others.
fn still_wanted(model: &Model, requests: Few<Request>) -> Few<Request> {
    let now = now_ns();
    let unwanted = |request: &Request| {
        if request.is_cancelled() {
            let text = format!("model '{}': the request was cancelled before it ran", model.name);
            return Some(Error::new(Code::Cancelled, text));
        }
        let waited = now.saturating_sub(request.arrival());
        let timeout = request.timeout().filter(|&timeout| waited > timeout)?;
        let text = format!(
            "model '{}': the request was not run, because its timeout of {} us ended after {} us in the queue",
            model.name,
            timeout / 1000,
            waited / 1000
        );
        Some(Error::new(Code::Unavailable, text))
    };
    let wanted = |mut request: Request| match unwanted(&request) {
        Some(error) => {
            request.fail(error);
            None
        }
        None => Some(request),
    };
    requests.into_iter().filter_map(wanted).collect()
}
