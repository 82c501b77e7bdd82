//! Whether a batch runs in the server's thread that brought the request, which saves handing it to a worker.
//!
//! While that thread executes, further requests wait in the server's queue, where the backend does not see
//! them: their time in the queue would be told short. So only quick executions run there, and only as long as
//! requests come one at a time.

/// An execution that takes no longer is over sooner than another thread has taken it up.
const QUICK_NS: u64 = 100_000;
/// The largest share of the last executions that may have taken longer.
const NOT_QUICK: f64 = 0.1;
/// A new execution's weight in that share.
const WEIGHT: f64 = 1.0 / 32.0;
/// A request that comes so soon after an execution in the server's thread has waited for its end.
const HEELS_NS: u64 = 50_000;
/// Requests come one at a time when for so long none has come while another was there.
const ALONE_NS: u64 = 1_000_000_000;

/// What is known of the last requests and executions. Times are ns of `CLOCK_MONOTONIC`.
#[derive(Debug)]
pub struct Alone {
    not_quick: f64,
    /// When the last execution in a server's thread ended.
    here_until: u64,
    /// When a request last came while another was there.
    together_at: u64,
}

impl Alone {
    /// Nothing is known at `now`.
    pub fn new(now: u64) -> Self {
        Self { not_quick: 1.0, here_until: 0, together_at: now }
    }

    /// A request came while no other was there if it was `alone`. Whether its batch may run in the thread
    /// that brought it.
    pub fn may_run(&mut self, now: u64, alone: bool) -> bool {
        if !alone || now <= self.here_until + HEELS_NS {
            self.together_at = now;
        }
        self.not_quick < NOT_QUICK && now > self.together_at + ALONE_NS
    }

    /// An execution took so long, in any thread.
    pub fn observe(&mut self, ns: u64) {
        self.not_quick += WEIGHT * (f64::from(u8::from(ns > QUICK_NS)) - self.not_quick);
    }

    /// An execution in a server's thread has ended.
    pub fn ended_here(&mut self, now: u64) {
        self.here_until = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn quick() -> Alone {
        let mut known = Alone::new(0);
        (0..200).for_each(|_| known.observe(QUICK_NS));
        known
    }

    #[test]
    fn quick_executions_of_requests_that_come_alone_run_there() {
        let mut known = quick();
        assert!(!known.may_run(SECOND, true), "not known for long enough");
        assert!(known.may_run(SECOND + 1, true));
        assert!(!Alone::new(0).may_run(2 * SECOND, true), "nothing is known");
    }

    #[test]
    fn one_in_ten_may_take_longer_and_no_more() {
        let with_every = |slow: usize| {
            let mut known = quick();
            (1..=400).for_each(|number| known.observe(if number % slow == 0 { 2 * QUICK_NS } else { 1 }));
            known.may_run(2 * SECOND, true)
        };
        assert!(with_every(20));
        assert!(!with_every(5));
    }

    #[test]
    fn company_ends_it_for_a_while() {
        let mut known = quick();
        assert!(!known.may_run(2 * SECOND, false));
        assert!(!known.may_run(3 * SECOND, true));
        assert!(known.may_run(3 * SECOND + 1, true));
    }

    #[test]
    fn what_comes_on_the_heels_of_an_execution_there_has_waited_for_it() {
        let mut known = quick();
        known.ended_here(2 * SECOND);
        assert!(!known.may_run(2 * SECOND + HEELS_NS, true));
        assert!(!known.may_run(3 * SECOND, true));
        assert!(known.may_run(3 * SECOND + HEELS_NS + 1, true));
    }
}
