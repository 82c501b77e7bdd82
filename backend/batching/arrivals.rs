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
/// Requests have stopped when a gap is so many times as long as any of the last ones,
const LONGER: f64 = 2.0;
/// and so many were expected in it.
const MISSED: f64 = 9.0;
/// How much of the longest gap is left with each further request, so that it is one of the last some 64.
const GAP_KEPT: f64 = 1.0 - 1.0 / 64.0;

/// The rate at which rows come.
#[derive(Default)]
pub struct Arrivals {
    long: Window,
    short: Window,
    last: Option<u64>,
    /// The longest of the last gaps between requests, in seconds.
    longest_gap: f64,
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
    /// A request with so many rows has come, at a time in ns; the last answer left at another. Returns whether requests
    /// had stopped before it, so that nothing of what was before counts any more.
    pub fn observe(&mut self, now: u64, rows: usize, answered: u64) -> bool {
        // Nothing is known of the time before the first request: it starts the clock.
        let mut stopped = false;
        if let Some(last) = self.last {
            let seconds = seconds_between(last, now);
            stopped = self.has_stopped(self.silent(now).min(seconds_between(answered, now)));
            if stopped {
                // Of the pause nothing is known either: as one of the gaps, it would make the rate look low for long.
                (self.long, self.short, self.longest_gap) = Default::default();
            } else {
                self.long.add(rows, seconds, &LONG);
                self.short.add(rows, seconds, &SHORT);
                if self.has_changed(0.0) {
                    self.long = self.short;
                }
            }
            self.longest_gap = seconds.max(self.longest_gap * GAP_KEPT);
        }
        self.last = Some(self.last.map_or(now, |last| last.max(now)));
        stopped
    }

    /// Rows in a second, seen from a time in ns; 0 before the second request. After so long a silence that requests have
    /// stopped it is one request in that time; while none was answered they may only be waiting for that.
    pub fn rate(&self, now: u64, answered: u64) -> f64 {
        let silent = self.silent(now);
        if self.has_stopped(silent.min(seconds_between(answered, now))) {
            return per_second(self.rows_of_a_request(), silent);
        }
        let window = self.window(silent);
        per_second(window.rows, window.seconds + silent)
    }

    /// Requests in a second, as they came last.
    pub fn request_rate(&self) -> f64 {
        let window = self.window(0.0);
        per_second(window.requests, window.seconds)
    }

    /// The rate that there is at least, as far as so few requests tell. It is 0 before the third request.
    pub fn least_rate(&self, now: u64, answered: u64) -> f64 {
        let silent = self.silent(now);
        if self.has_stopped(silent.min(seconds_between(answered, now))) {
            return 0.0;
        }
        let window = self.window(silent);
        let sure = 1.0 - 1.0 / window.requests.max(1.0).sqrt();
        sure * per_second(window.rows, window.seconds + silent)
    }

    fn silent(&self, now: u64) -> f64 {
        self.last.map_or(0.0, |last| seconds_between(last, now))
    }

    fn window(&self, silent: f64) -> &Window {
        if self.has_changed(silent) { &self.short } else { &self.long }
    }

    fn rows_of_a_request(&self) -> f64 {
        if self.long.requests > 0.0 { self.long.rows / self.long.requests } else { 0.0 }
    }

    /// Whether a silence of so many seconds is the end of what was, rather than one of its gaps.
    fn has_stopped(&self, silent: f64) -> bool {
        let missed = |window: &Window| silent * window.requests > MISSED * window.seconds;
        silent > LONGER * self.longest_gap && missed(&self.long) && missed(&self.short)
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

fn seconds_between(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}

fn per_second(count: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { count / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests;
