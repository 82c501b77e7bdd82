//! How many answers were late, and how much earlier than planned everything is to be because of that.
//!
//! What is planned goes by what is known of single batches. Where that is not all, because slow batches come together, threads
//! wake up late or the machine is stopped for a moment, it shows in the answers.

/// Targets are shortened by so much of the share above the one that is noticed,
const GAIN: f64 = 40.0;
/// and by no more than this part.
const MOST: f64 = 0.3;

/// A share of requests, over so many of them.
#[derive(Debug)]
struct Run {
    share: f64,
    requests: f64,
    /// From such a share on, something is to be done.
    noticed: f64,
}

impl Run {
    fn observe(&mut self, late: usize, of: usize) {
        let kept = (1.0 - 1.0 / self.requests).powi(of.min(1 << 20) as i32);
        let share = self.share * kept + (1.0 - kept) * late as f64 / of.max(1) as f64;
        // More would have no other effect than that it lasts longer.
        self.share = share.min(self.noticed + MOST / GAIN);
    }

    fn margin(&self) -> f64 {
        (GAIN * (self.share - self.noticed)).clamp(0.0, MOST)
    }
}

/// The shares of late answers.
#[derive(Debug)]
pub struct Lateness {
    /// Of the answers.
    short: Run,
    /// Of all requests; those that were refused count as late.
    long: Run,
}

/// The parts of the target by which to plan for an earlier end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Margins {
    /// For who is let in, in view of the last answers: a queue that is too long makes all late at once.
    pub admission: f64,
    /// For how long those may wait who wait for company, in view of the long run: a few late answers are no reason for small
    /// batches, but where one in a hundred is late or refused, the worker was waiting when it should have worked.
    pub waiting: f64,
    /// From 0 to 1, how much of the reserve that is kept for bursts is needed: less where hardly any request is late or refused.
    pub caution: f64,
}

impl Lateness {
    /// Such a share of the answers may be late.
    pub fn new(allowed: f64) -> Self {
        Self {
            short: Run { share: 0.0, requests: 800.0, noticed: 0.2 * allowed },
            // What is not known may be as bad as that.
            long: Run { share: 0.6 * allowed, requests: 4_000.0, noticed: 0.6 * allowed },
        }
    }

    /// So many of so many answers were late.
    pub fn observe(&mut self, late: usize, of: usize) {
        self.short.observe(late, of);
        self.long.observe(late, of);
    }

    /// A request was refused, since it would have been late.
    pub fn refused(&mut self) {
        self.long.observe(1, 1);
    }

    /// How much earlier.
    pub fn margins(&self) -> Margins {
        let caution =
            if self.long.noticed > 0.0 { (self.long.share / self.long.noticed).min(1.0) } else { 1.0 };
        Margins { admission: self.short.margin(), waiting: self.long.margin(), caution }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_grows_with_the_late_and_goes_with_them() {
        let mut lateness = Lateness::new(0.01);
        let margin = |lateness: &Lateness| lateness.margins().admission;
        assert_eq!(margin(&lateness), 0.0);
        (0..20).for_each(|_| lateness.observe(1, 200));
        let usual = margin(&lateness);
        assert!((0.1..MOST).contains(&usual), "{usual}");
        lateness.observe(16, 16);
        assert!(margin(&lateness) > usual);
        lateness.observe(100_000, 100_000);
        assert_eq!(margin(&lateness), MOST);
        (0..24).for_each(|_| lateness.observe(0, 100));
        assert_eq!(margin(&lateness), 0.0);
    }

    #[test]
    fn who_is_refused_counts_in_the_long_run_only() {
        let mut lateness = Lateness::new(0.01);
        (0..4_000)
            .for_each(|number| if number % 50 == 0 { lateness.refused() } else { lateness.observe(0, 1) });
        let Margins { admission, waiting, .. } = lateness.margins();
        assert_eq!(admission, 0.0);
        assert!((0.1..MOST).contains(&waiting), "{waiting}");
        // However long there was too much, it is soon forgotten.
        (0..100_000).for_each(|_| lateness.refused());
        assert_eq!(lateness.margins().waiting, MOST);
        (0..40).for_each(|_| lateness.observe(0, 100));
        assert_eq!(lateness.margins().waiting, 0.0);
    }
}
