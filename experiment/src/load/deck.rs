//! The requests of a load: one for all, or several that are sent in turn, with what is expected of their answers.

use std::cell::Cell;
use std::sync::Arc;

use anyhow::{Result, ensure};

use super::request::PreparedRequest;
use crate::answers::{Expected, Output};

/// The requests of a load. They are sent in their order, over and over, whichever worker has the next turn.
pub(super) struct Deck {
    requests: Vec<PreparedRequest>,
    /// Requests of a draw: one for all workers, or one for each.
    of_draw: usize,
    /// None, or one for each draw.
    expected: Arc<[Expected]>,
    /// The next draw.
    next: Cell<usize>,
}

impl Deck {
    /// `requests` are those of the first draw (one for all of the `workers` or one for each), then those of the second, and so
    /// on.
    ///
    /// # Errors
    ///
    /// There are too few for the workers.
    pub fn new(
        requests: Vec<PreparedRequest>,
        draws: usize,
        expected: Arc<[Expected]>,
        workers: usize,
    ) -> Result<Self> {
        let of_draw = requests.len() / draws.max(1);
        ensure!(
            of_draw * draws == requests.len() && of_draw > 0 && (of_draw == 1 || of_draw >= workers),
            "{} prepared requests for up to {workers} in flight: expected one for all or one for each",
            requests.len()
        );
        ensure!(
            expected.is_empty() || expected.len() == draws,
            "{} expected answers for {draws} requests",
            expected.len()
        );
        Ok(Self { requests, of_draw, expected, next: Cell::new(0) })
    }

    /// The request that this worker sends before its first turn tells which.
    pub fn first(&self, worker: usize) -> &PreparedRequest {
        &self.requests[worker % self.of_draw]
    }

    /// Takes the next draw.
    pub fn draw(&self) -> usize {
        let draw = self.next.get();
        self.next.set((draw + 1) % (self.requests.len() / self.of_draw));
        draw
    }

    /// What a worker sends for a draw; none if there is one draw only, which it has already.
    pub fn request(&self, draw: usize, worker: usize) -> Option<&PreparedRequest> {
        (self.requests.len() > self.of_draw)
            .then(|| &self.requests[draw * self.of_draw + worker % self.of_draw])
    }

    /// Whether answers are compared.
    pub fn checks(&self) -> bool {
        !self.expected.is_empty()
    }

    /// What is wrong with the answer to a draw.
    pub fn difference(&self, draw: usize, answer: &Result<Vec<Output>, String>) -> Option<String> {
        match answer {
            Ok(outputs) => self.expected.get(draw)?.difference(outputs),
            Err(error) => Some(error.clone()),
        }
    }
}
