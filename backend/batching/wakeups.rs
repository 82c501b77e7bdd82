//! How late a thread wakes up that sleeps until a time: room for it has to be left before a deadline.

use super::spread::Spread;

/// What a lateness is measured in: the smallest one that is told from none is a fiftieth of it.
const UNIT_NS: f64 = 100_000.0;

/// What is assumed of one wake-up in thirty at first.
const ASSUMED_NS: f64 = 1_000_000.0;

/// What is known of wake-ups.
pub struct Wakeups(Spread);

impl Default for Wakeups {
    fn default() -> Self {
        Self(Spread::assuming(1.0 + ASSUMED_NS / UNIT_NS))
    }
}

impl Wakeups {
    /// A thread that was to wake at `due` did so at `now`.
    pub fn observe(&mut self, due: u64, now: u64) {
        self.0.observe(1.0 + now.saturating_sub(due) as f64 / UNIT_NS);
    }

    /// The lateness in ns that `percentile` percent of the wake-ups stay below.
    pub fn room(&self, percentile: f64) -> f64 {
        (self.0.quantile(percentile) - 1.0) * UNIT_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_what_was_needed() {
        let mut wakeups = Wakeups::default();
        assert!((1e6..1.1e6).contains(&wakeups.room(99.0)), "assumed: {}", wakeups.room(99.0));
        (0..2_000).for_each(|number| wakeups.observe(0, if number % 20 == 0 { 5_000_000 } else { 60_000 }));
        assert!((5.0e6..5.3e6).contains(&wakeups.room(99.0)), "{}", wakeups.room(99.0));
        assert!((60e3..70e3).contains(&wakeups.room(90.0)), "{}", wakeups.room(90.0));
    }
}
