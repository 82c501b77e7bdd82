//! How many answers were late, and how much earlier than planned everything is to be because of that.
//!
//! What is planned goes by what is known of single batches. Where that is not all, because slow batches come together, threads
//! wake up late or the machine is stopped for a moment, it shows in the answers.

/// Answers over which the share is taken.
const REMEMBERED: f64 = 400.0;
/// From such a part of the share that may be late on,
const NOTICED: f64 = 0.35;
/// targets are shortened, by so much of what there is more,
const GAIN: f64 = 40.0;
/// and by no more than this part.
const MOST: f64 = 0.3;

/// The share of late answers.
#[derive(Debug, Default)]
pub struct Lateness(f64);

impl Lateness {
    /// So many of so many answers were late.
    pub fn observe(&mut self, late: usize, of: usize) {
        let kept = (1.0 - 1.0 / REMEMBERED).powi(of.min(1 << 20) as i32);
        self.0 = self.0 * kept + (1.0 - kept) * late as f64 / of.max(1) as f64;
    }

    /// The part of the target by which to plan for an earlier end, if such a share may be late.
    pub fn margin(&self, allowed: f64) -> f64 {
        (GAIN * (self.0 - NOTICED * allowed)).clamp(0.0, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_grows_with_the_late_and_goes_with_them() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.margin(0.01), 0.0);
        (0..40).for_each(|_| lateness.observe(1, 100));
        let usual = lateness.margin(0.01);
        assert!((0.15..MOST).contains(&usual), "{usual}");
        lateness.observe(16, 16);
        assert!(lateness.margin(0.01) > usual);
        lateness.observe(100_000, 100_000);
        assert_eq!(lateness.margin(0.01), MOST);
        (0..30).for_each(|_| lateness.observe(0, 100));
        assert_eq!(lateness.margin(0.01), 0.0);
    }
}
