//! When requests come: seeded, so that all policies meet the same ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Where requests come from.
pub trait Source {
    /// When the next request comes, in ns, if it is known yet.
    fn next(&self) -> Option<u64>;
    /// Takes that request.
    fn take(&mut self) -> u64;
    /// One of those taken was answered.
    fn answered(&mut self, now: u64);
    /// The last one taken was refused.
    fn refused(&mut self, now: u64);
}

/// A Poisson process whose rate depends on a phase; the phases follow one another as a Markov chain. With one
/// phase it is a Poisson process.
#[derive(Clone, Debug)]
pub struct Mmpp {
    /// Requests in a ns, in each phase.
    pub rates: Vec<f64>,
    /// How often in a ns one phase is left for another; the diagonal has no meaning.
    pub changes: Vec<Vec<f64>>,
}

impl Mmpp {
    pub fn poisson(rate: f64) -> Self {
        Self { rates: vec![rate], changes: vec![vec![0.0]] }
    }

    /// Two phases of equal mean duration, the second with `ratio` times the rate of the first.
    pub fn bursty(mean_rate: f64, ratio: f64, duration: f64) -> Self {
        let low = 2.0 * mean_rate / (1.0 + ratio);
        let change = 1.0 / duration;
        Self { rates: vec![low, low * ratio], changes: vec![vec![0.0, change], vec![change, 0.0]] }
    }

    pub fn phases(&self) -> usize {
        self.rates.len()
    }

    /// Requests in a ns, on the average.
    pub fn mean_rate(&self) -> f64 {
        // The chain's shares of time by iteration: there are a few phases only.
        let phases = self.phases();
        let mut shares = vec![1.0 / phases as f64; phases];
        let fastest: f64 = self.changes.iter().map(|row| row.iter().sum::<f64>()).fold(0.0, f64::max);
        for _ in 0..if fastest > 0.0 { 1_000 } else { 0 } {
            let mut next = shares.clone();
            for from in 0..phases {
                for to in (0..phases).filter(|&to| to != from) {
                    let moved = shares[from] * self.changes[from][to] / (2.0 * fastest);
                    next[from] -= moved;
                    next[to] += moved;
                }
            }
            shares = next;
        }
        shares.iter().zip(&self.rates).map(|(share, rate)| share * rate).sum()
    }

    /// So many requests, and from when on which phase held.
    pub fn draw(&self, requests: usize, seed: u64) -> Open {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut exponential = |rate: f64| -(1.0 - random.f64()).ln() / rate;
        let (mut now, mut phase) = (0.0, 0);
        let mut open = Open { times: Vec::with_capacity(requests), phases: vec![(0, 0)], next: 0 };
        while open.times.len() < requests {
            let rate = self.rates[phase];
            let changes =
                (0..self.phases()).filter(|&to| to != phase).map(|to| (self.changes[phase][to], to));
            let first = changes
                .filter(|&(rate, _)| rate > 0.0)
                .map(|(rate, to)| (exponential(rate), to))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let arrives = exponential(rate);
            match first {
                Some((after, to)) if after < arrives => {
                    (now, phase) = (now + after, to);
                    open.phases.push((now as u64, phase));
                }
                _ => {
                    now += arrives;
                    open.times.push(now as u64);
                }
            }
        }
        open
    }
}

/// Requests that come whatever the answers do.
#[derive(Clone, Debug)]
pub struct Open {
    times: Vec<u64>,
    /// Since when which phase holds.
    pub phases: Vec<(u64, usize)>,
    next: usize,
}

impl Source for Open {
    fn next(&self) -> Option<u64> {
        self.times.get(self.next).copied()
    }

    fn take(&mut self) -> u64 {
        self.next += 1;
        self.times[self.next - 1]
    }

    fn answered(&mut self, _: u64) {}

    fn refused(&mut self, _: u64) {}
}

/// Clients that each send their next request some time after the answer to the last.
#[derive(Clone, Debug)]
pub struct Closed {
    due: BinaryHeap<Reverse<u64>>,
    /// The mean time in ns from the answer to the next request; 0: at once.
    think: f64,
    /// A client that was refused waits for so long at least.
    pause: f64,
    left: usize,
    random: fastrand::Rng,
}

impl Closed {
    pub fn new(clients: usize, think: f64, pause: f64, requests: usize, seed: u64) -> Self {
        let mut closed = Self {
            due: BinaryHeap::new(),
            think,
            pause,
            left: requests,
            random: fastrand::Rng::with_seed(seed),
        };
        for _ in 0..clients {
            // Not all in the same instant, as no clients start.
            let after = closed.random.f64() * (think + pause);
            closed.send(after);
        }
        closed
    }

    fn send(&mut self, at: f64) {
        if self.left > 0 {
            self.left -= 1;
            self.due.push(Reverse(at as u64));
        }
    }

    fn thinks(&mut self) -> f64 {
        -(1.0 - self.random.f64()).ln() * self.think
    }
}

impl Source for Closed {
    fn next(&self) -> Option<u64> {
        self.due.peek().map(|due| due.0)
    }

    fn take(&mut self) -> u64 {
        self.due.pop().map_or(0, |due| due.0)
    }

    fn answered(&mut self, now: u64) {
        let after = self.thinks();
        self.send(now as f64 + after);
    }

    fn refused(&mut self, now: u64) {
        let after = self.thinks().max(self.pause);
        self.send(now as f64 + after);
    }
}
