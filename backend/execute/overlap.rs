//! On a GPU the inputs of a batch are gathered while the batch before is computed.
//!
//! An instance executes one batch after the other, and the server hands over the next one when the call with the last one
//! has returned. A call that leaves the computing to a thread returns early; but then the server makes the next batch early
//! as well, of fewer requests than it could. So this is done only where a batch could not have become larger: it is full, or
//! nobody makes batches. And only where the gathering takes time.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::apart::apart;
use super::pipeline::{Executor, Gathering};
use crate::few::Few;
use crate::triton::clock::now_ns;
use crate::triton::request::Request;
use crate::triton::{Error, Result, guard};

/// Bytes of input from which on a batch is handed to the thread: less is gathered in the time that this takes.
const WORTH_A_THREAD: usize = 1 << 20;

/// What decides whether a batch is computed while the next one is gathered.
#[derive(Clone, Copy, Debug)]
pub struct OverlapRule {
    /// The server puts requests into batches.
    pub batches: bool,
    /// Bytes of input from which on it is worth it.
    pub least_bytes: usize,
}

impl OverlapRule {
    /// For a server that puts requests into batches, or does not.
    pub fn new(batches: bool) -> Self {
        Self { batches, least_bytes: WORTH_A_THREAD }
    }

    /// Whether a batch of so many rows and bytes, of at most `max_rows`, is left to the thread.
    fn applies(self, rows: usize, max_rows: usize, bytes: usize) -> bool {
        let cannot_grow = !self.batches || rows >= max_rows;
        cannot_grow && bytes >= self.least_bytes
    }
}

/// How an instance of a model on a GPU executes.
pub struct Overlap {
    executor: Arc<Executor>,
    rule: OverlapRule,
    /// Held while a batch is computed; until when the last one was.
    computing: Arc<Mutex<u64>>,
    /// To the thread, which takes a batch when it has finished the one before. None once it is to end.
    sender: Option<SyncSender<Gathering>>,
    thread: Option<JoinHandle<()>>,
}

impl Overlap {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(executor: Arc<Executor>, rule: OverlapRule) -> Result<Self> {
        let (sender, receiver) = sync_channel::<Gathering>(0);
        let computing = Arc::new(Mutex::new(0));
        let of_thread = (Arc::clone(&executor), Arc::clone(&computing));
        let spawned = thread::Builder::new().name("computes".into()).spawn(move || {
            let (executor, computing) = of_thread;
            for gathering in receiver {
                // A panic was logged by the hook, and the requests' drop has told the clients.
                drop(guard(|| {
                    compute(&executor, &computing, gathering);
                    Ok(())
                }));
            }
        });
        let thread = spawned
            .map_err(|e| Error::internal(format!("the system starts no thread for an instance: {e}")))?;
        Ok(Self { executor, rule, computing, sender: Some(sender), thread: Some(thread) })
    }

    /// Executes requests that the server handed over together. Returns before they are answered where the next ones can be
    /// gathered meanwhile.
    pub fn execute(&self, requests: Few<Request>) {
        let model = &self.executor.model;
        if requests.len() > 1 && (!model.batching || model.sets_apart) {
            return apart(model, requests).into_iter().for_each(|requests| self.execute_batch(requests));
        }
        self.execute_batch(requests);
    }

    fn execute_batch(&self, requests: Few<Request>) {
        let model = &self.executor.model;
        let Some(gathering) = self.executor.gather(requests) else { return };
        if self.rule.applies(gathering.rows(), model.max_batch_size, gathering.bytes())
            && let Some(sender) = &self.sender
        {
            // It waits until the batch before has been computed. The thread ends only after `self`.
            if let Err(unsent) = sender.send(gathering) {
                compute(&self.executor, &self.computing, unsent.0);
            }
            return;
        }
        compute(&self.executor, &self.computing, gathering);
    }
}

fn compute(executor: &Executor, computing: &Mutex<u64>, mut gathering: Gathering) {
    let mut until = computing.lock().unwrap_or_else(PoisonError::into_inner);
    gathering.busy_after(*until);
    executor.compute(gathering);
    *until = now_ns();
}

impl Drop for Overlap {
    fn drop(&mut self) {
        self.sender = None;
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(_)) = ended {
            log::error!("the thread of an instance ended in a panic");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_grow_and_takes_time_is_left_to_the_thread() {
        let (served, alone) = (OverlapRule::new(true), OverlapRule::new(false));
        for (rows, bytes, by_batches, by_none) in [
            (64, 68 << 20, true, true),
            (63, 67 << 20, false, true),
            (64, WORTH_A_THREAD, true, true),
            (64, WORTH_A_THREAD - 1, false, false),
            (1, 0, false, false),
        ] {
            assert_eq!(served.applies(rows, 64, bytes), by_batches, "{rows} rows, {bytes} bytes");
            assert_eq!(alone.applies(rows, 64, bytes), by_none, "{rows} rows, {bytes} bytes");
        }
    }
}
