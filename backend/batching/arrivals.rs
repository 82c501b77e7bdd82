//! How many images come in a second, from the times at which requests arrive.
//!
//! Two windows look back: a long one, whose rate is steady, and a short one, that notices a change. While
//! they agree within what chance explains, the long one's rate holds; once they do not, the long one forgets
//! what was before and goes on from the short one.

/// What the long window looks back over. Its rate scatters by 1 / sqrt(2 x requests), 9 percent, or less
/// where the seconds make it longer.
const LONG: Span = Span { requests: 64.0, seconds: 4.0 };
/// What the short window looks back over: 25 percent, which is enough to tell a half from a whole.
const SHORT: Span = Span { requests: 8.0, seconds: 0.5 };
/// By so many standard deviations the windows have to differ.
const SURE: f64 = 3.0;

/// The rate at which images come.
#[derive(Default)]
pub struct Arrivals {
    long: Window,
    short: Window,
    last: Option<u64>,
}

/// So many requests or so many seconds, whichever takes longer. The seconds keep requests that come
/// together from looking like a rate.
struct Span {
    requests: f64,
    seconds: f64,
}

/// What was seen, with less weight the longer it is ago.
#[derive(Clone, Copy, Default)]
struct Window {
    requests: f64,
    images: f64,
    seconds: f64,
}

impl Arrivals {
    /// A request with so many images has come, at a time in ns. Times do not go back.
    pub fn observe(&mut self, now: u64, images: usize) {
        // Nothing is known of the time before the first request: it starts the clock.
        if let Some(last) = self.last {
            let seconds = seconds(last, now);
            self.long.add(images, seconds, &LONG);
            self.short.add(images, seconds, &SHORT);
            if self.has_changed(0.0) {
                self.long = self.short;
            }
        }
        self.last = Some(now);
    }

    /// Images in a second, seen from a time in ns; 0 before the second request.
    pub fn rate(&self, now: u64) -> f64 {
        let silent = self.last.map_or(0.0, |last| seconds(last, now));
        let window = if self.has_changed(silent) { &self.short } else { &self.long };
        per_second(window.images, window.seconds + silent)
    }

    /// Whether the short window has other requests than the long one makes expect, beyond what chance
    /// explains, when none has come for the last `silent` seconds.
    fn has_changed(&self, silent: f64) -> bool {
        let usual = per_second(self.long.requests, self.long.seconds + silent);
        let expected = usual * (self.short.seconds + silent);
        // The weights fall with age, which halves the variance of a count.
        let deviation = (expected.max(1.0) / 2.0).sqrt();
        (self.short.requests - expected).abs() > SURE * deviation
    }
}

impl Window {
    fn add(&mut self, images: usize, seconds: f64, span: &Span) {
        self.requests += 1.0;
        self.images += images as f64;
        self.seconds += seconds;
        let kept = (span.requests / self.requests).max(span.seconds / self.seconds).min(1.0);
        self.requests *= kept;
        self.images *= kept;
        self.seconds *= kept;
    }
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}

fn per_second(count: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { count / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{MS, SECOND, poisson};
    use super::*;

    fn random(seed: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(seed)
    }

    /// The share of the times of arrival at which the rate is off by more than `most`.
    fn off(rate: f64, seconds: u64, most: f64) -> f64 {
        let mut arrivals = Arrivals::default();
        let rates: Vec<f64> = poisson(&mut random(1), 0..seconds * SECOND, rate)
            .into_iter()
            .map(|request| {
                arrivals.observe(request.arrival, request.images);
                arrivals.rate(request.arrival)
            })
            .skip(100)
            .collect();
        let off = rates.iter().filter(|&&seen| (seen / rate - 1.0).abs() > most).count();
        off as f64 / rates.len() as f64
    }

    #[test]
    fn a_steady_rate_is_told_within_a_few_percent() {
        for (rate, seconds) in [(0.5, 20_000), (5.0, 4_000), (20.0, 1_000), (2_000.0, 10)] {
            assert!(off(rate, seconds, 0.3) < 0.02, "at {rate}/s: {}", off(rate, seconds, 0.3));
            assert!(off(rate, seconds, 0.15) < 0.2, "at {rate}/s: {}", off(rate, seconds, 0.15));
        }
    }

    /// The median over many histories of the seconds until the rate is within a quarter of the new one.
    fn follows_in(from: f64, to: f64) -> f64 {
        let mut times: Vec<f64> = (0..51)
            .map(|seed| {
                let mut random = random(seed);
                let mut arrivals = Arrivals::default();
                let change = 40 * SECOND;
                for request in poisson(&mut random, 0..change, from) {
                    arrivals.observe(request.arrival, 1);
                }
                let followed =
                    poisson(&mut random, change..change + 30 * SECOND, to).into_iter().find(|request| {
                        arrivals.observe(request.arrival, 1);
                        (arrivals.rate(request.arrival) / to - 1.0).abs() < 0.25
                    });
                seconds(change, followed.expect("it never follows").arrival)
            })
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        times[times.len() / 2]
    }

    #[test]
    fn a_change_is_followed_within_seconds() {
        for (from, to, most) in
            [(5.0, 20.0, 2.0), (20.0, 5.0, 3.0), (500.0, 2_000.0, 1.0), (2_000.0, 500.0, 2.0)]
        {
            let seconds = follows_in(from, to);
            assert!(seconds < most, "{seconds} s from {from} to {to}/s");
        }
    }

    #[test]
    fn the_rate_falls_when_nothing_comes() {
        let mut arrivals = Arrivals::default();
        for number in 0..200 {
            arrivals.observe(number * 50 * MS, 1);
        }
        let last = 199 * 50 * MS;
        assert!((arrivals.rate(last) - 20.0).abs() < 0.1, "{}", arrivals.rate(last));
        assert!(arrivals.rate(last + 2 * SECOND) < 5.0, "{}", arrivals.rate(last + 2 * SECOND));
        assert!(arrivals.rate(last + 60 * SECOND) < 0.2, "{}", arrivals.rate(last + 60 * SECOND));
        assert!(arrivals.rate(last + 3_600 * SECOND) < 0.01);
    }

    #[test]
    fn requests_that_come_together_are_no_high_rate() {
        let mut arrivals = Arrivals::default();
        for number in 0..400 {
            // Ten at once, twice a second.
            arrivals.observe(number / 10 * 500 * MS, 1);
            if number > 100 {
                let rate = arrivals.rate(number / 10 * 500 * MS);
                assert!((10.0..45.0).contains(&rate), "{rate}");
            }
        }
    }

    #[test]
    fn images_are_counted_and_not_requests() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.rate(5 * SECOND), 0.0);
        for number in 0..100 {
            arrivals.observe(number * 100 * MS, 3);
        }
        let rate = arrivals.rate(99 * 100 * MS);
        assert!((rate - 30.0).abs() < 0.1, "{rate}");
    }
}
