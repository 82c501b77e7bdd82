//! How many images come in a second, from the times at which requests arrive.
//!
//! Two windows look back: a long one, whose rate is steady, and a short one, that notices a change. While
//! they agree within what chance explains, the long one's rate holds; once they do not, the long one forgets
//! what was before and goes on from the short one.

/// The requests that the windows span, however long these took to come, ...
const LONG: Window = Window { requests: 64.0, seconds: 4.0, ..Window::EMPTY };
/// ... and the seconds that they span at least, or a burst would look like a rate.
const SHORT: Window = Window { requests: 8.0, seconds: 0.5, ..Window::EMPTY };
/// By so many standard deviations of the short window's rate it has to differ.
const SURE: f64 = 3.0;

/// The rate at which images come.
pub struct Arrivals {
    long: Window,
    short: Window,
    last: Option<u64>,
}

/// Arrivals, weighted down exponentially with their age.
#[derive(Clone, Copy)]
struct Window {
    requests: f64,
    seconds: f64,
    seen: Seen,
}

#[derive(Clone, Copy)]
struct Seen {
    requests: f64,
    images: f64,
    seconds: f64,
}

impl Arrivals {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Self { long: LONG, short: SHORT, last: None }
    }

    /// A request with so many images has come, at a time in ns. Times never go back.
    pub fn observe(&mut self, now: u64, images: usize) {
        let Some(last) = self.last.replace(now) else {
            // Nothing is known of the time before the first one: it starts the clock.
            return;
        };
        let seconds = now.saturating_sub(last) as f64 / 1e9;
        for window in [&mut self.long, &mut self.short] {
            window.seen.seconds += seconds;
            window.seen.requests += 1.0;
            window.seen.images += images as f64;
            window.forget();
        }
        if self.has_changed(0.0) {
            self.long.seen = self.short.seen;
        }
    }

    /// Images per second; 0 before the second request.
    pub fn rate(&self, now: u64) -> f64 {
        let Some(last) = self.last else { return 0.0 };
        let silent = now.saturating_sub(last) as f64 / 1e9;
        let window = if self.has_changed(silent) { &self.short } else { &self.long };
        window.rate(silent)
    }

    /// Whether the short window's rate differs from the long one's by more than chance, after so many
    /// seconds without a request.
    fn has_changed(&self, silent: f64) -> bool {
        // Requests that the long window's rate makes expect in the short window, as in Poisson's counting.
        let expected = self.long.requests_rate(silent) * (self.short.seen.seconds + silent);
        let seen = self.short.seen.requests;
        // Weighted exponentially, a window's count varies as if it held half of it... twice the count.
        (seen - expected).abs() > SURE * (expected.max(1.0) / 2.0).sqrt()
    }
}

impl Window {
    const EMPTY: Self =
        Self { requests: 0.0, seconds: 0.0, seen: Seen { requests: 0.0, images: 0.0, seconds: 0.0 } };

    /// What is older than the window loses weight.
    fn forget(&mut self) {
        let kept = (self.requests / self.seen.requests).max(self.seconds / self.seen.seconds).min(1.0);
        self.seen.requests *= kept;
        self.seen.images *= kept;
        self.seen.seconds *= kept;
    }

    fn requests_rate(&self, silent: f64) -> f64 {
        per_second(self.seen.requests, self.seen.seconds + silent)
    }

    fn rate(&self, silent: f64) -> f64 {
        per_second(self.seen.images, self.seen.seconds + silent)
    }
}

fn per_second(count: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { count / seconds } else { 0.0 }
}
