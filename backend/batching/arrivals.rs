//! How many rows come in a second, from the times at which requests arrive.
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

/// The rate at which rows come.
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
    rows: f64,
    seconds: f64,
}

impl Arrivals {
    /// A request with so many rows has come, at a time in ns. Times do not go back.
    pub fn observe(&mut self, now: u64, rows: usize) {
        // Nothing is known of the time before the first request: it starts the clock.
        if let Some(last) = self.last {
            let seconds = seconds(last, now);
            self.long.add(rows, seconds, &LONG);
            self.short.add(rows, seconds, &SHORT);
            if self.has_changed(0.0) {
                self.long = self.short;
            }
        }
        self.last = Some(now);
    }

    /// Rows in a second, seen from a time in ns; 0 before the second request.
    pub fn rate(&self, now: u64) -> f64 {
        let silent = self.last.map_or(0.0, |last| seconds(last, now));
        let window = if self.has_changed(silent) { &self.short } else { &self.long };
        per_second(window.rows, window.seconds + silent)
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
    fn add(&mut self, rows: usize, seconds: f64, span: &Span) {
        self.requests += 1.0;
        self.rows += rows as f64;
        self.seconds += seconds;
        let kept = (span.requests / self.requests).max(span.seconds / self.seconds).min(1.0);
        self.requests *= kept;
        self.rows *= kept;
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
mod tests;
