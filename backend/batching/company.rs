//! Whether further requests come while others are waiting for their answers.
//!
//! Clients that are many, or that send whatever the answers, come at the same rate however many requests are outstanding.
//! Clients that send their next request after their last answer do not: once all of them wait, nobody comes. So it is
//! counted, for each number of outstanding requests, how many arrivals were to be expected while there were as many, since
//! the last one that really came then. From independent clients twelve are expected in vain once in 160,000 times.

/// So many arrivals in vain are no chance.
const NO_CHANCE: f64 = 12.0;
/// And so many in a row are kept as evidence: where the rate falls, a few are expected in vain before that is noticed.
const AT_ONCE: f64 = 6.0;
/// Whenever there are as many outstanding again, a part of those in vain is forgotten, so that it is tried again for a
/// moment: an arrival would show that somebody comes after all.
const FORGOTTEN: f64 = 5e-4;
/// And with every so many arrivals most of it is: there may never be as many outstanding again.
const REMEMBERED_IN_VAIN: f64 = 2_000.0;
/// Requests over which the mean of the outstanding ones is taken.
const REMEMBERED: f64 = 64.0;
/// So many arrivals say something.
const ENOUGH: u64 = 5;
/// Of more clients it is not told whether they wait for answers.
const MOST_CLIENTS: usize = 128;

/// Who comes while others wait.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Arriving {
    /// Too little was seen to tell.
    #[default]
    Unknown,
    /// As many as always, until so many more were expected in vain.
    Open {
        /// In arrivals.
        patience: f64,
    },
    /// Arrivals follow answers.
    Closed {
        /// The clients that have none outstanding; 0 or less where all wait.
        missing: f64,
        /// From an answer to the client's next request, in ns.
        returns_in: f64,
    },
}

/// What was seen of arrivals and of the time between them. Times are ns of `CLOCK_MONOTONIC`.
#[derive(Debug)]
pub struct Company {
    /// Requests that wait or run.
    outstanding: usize,
    /// Since when it is that number.
    since: u64,
    /// Arrivals in a second, as they were last.
    rate: f64,
    arrivals: u64,
    /// Seconds, and their product with the outstanding requests.
    seconds: f64,
    outstanding_seconds: f64,
    /// By the number of outstanding requests, the arrivals that were to be expected while there were as many, since the last
    /// one that came then.
    vain: Box<[Vain]>,
}

/// Arrivals that were to be expected.
#[derive(Clone, Copy, Debug, Default)]
struct Vain {
    expected: f64,
    /// How many had come then.
    arrivals: u64,
}

impl Default for Company {
    fn default() -> Self {
        Self {
            outstanding: 0,
            since: 0,
            rate: 0.0,
            arrivals: 0,
            seconds: 0.0,
            outstanding_seconds: 0.0,
            vain: vec![Vain::default(); MOST_CLIENTS + 1].into(),
        }
    }
}

impl Company {
    /// A request has come, of which so many now come in a second.
    pub fn arrived(&mut self, now: u64, rate: f64) {
        if self.arrivals == 0 {
            // Nothing is known of the time before the first.
            self.since = now;
        }
        self.advance(now);
        self.seconds *= 1.0 - 1.0 / REMEMBERED;
        self.outstanding_seconds *= 1.0 - 1.0 / REMEMBERED;
        self.arrivals += 1;
        self.rate = rate;
        if let Some(vain) = self.vain.get_mut(self.outstanding) {
            *vain = Vain::default();
        }
        self.change(self.outstanding + 1);
    }

    /// A request that has left at once is there after all.
    pub fn joined(&mut self, now: u64) {
        self.advance(now);
        self.change(self.outstanding + 1);
    }

    /// So many requests have left, answered or not.
    pub fn left(&mut self, now: u64, count: usize) {
        self.advance(now);
        self.change(self.outstanding.saturating_sub(count));
    }

    /// Forgets how arrivals were; what is outstanding stays so.
    pub fn forget(&mut self) {
        *self = Self { outstanding: self.outstanding, ..Self::default() };
    }

    /// Who comes, seen from now.
    pub fn arriving(&self, now: u64) -> Arriving {
        if self.arrivals < ENOUGH {
            return Arriving::Unknown;
        }
        let silent = seconds(self.since, now);
        // With none outstanding nobody waits for anything.
        let clients = (1..=MOST_CLIENTS).find(|&clients| self.expected_in_vain(clients, silent) >= NO_CHANCE);
        let Some(clients) = clients else {
            return Arriving::Open { patience: NO_CHANCE - self.expected_in_vain(self.outstanding, silent) };
        };
        let mean = (self.outstanding_seconds + silent * self.outstanding as f64) / (self.seconds + silent);
        let clients = clients as f64;
        Arriving::Closed {
            missing: clients - self.outstanding as f64,
            // As many come as are missing on the average, after that time.
            returns_in: (clients - mean).max(0.0) / self.rate * 1e9,
        }
    }

    /// The arrivals in vain while so many requests were outstanding.
    fn expected_in_vain(&self, outstanding: usize, silent: f64) -> f64 {
        let now = if outstanding == self.outstanding { silent * self.rate } else { 0.0 };
        let before = match self.vain.get(outstanding) {
            Some(vain) if vain.expected > 0.0 => {
                let since = (self.arrivals - vain.arrivals) as f64;
                vain.expected * (-since / REMEMBERED_IN_VAIN).exp()
            }
            _ => 0.0,
        };
        before + now
    }

    fn change(&mut self, outstanding: usize) {
        self.outstanding = outstanding;
        self.note(self.expected_in_vain(outstanding, 0.0) * (1.0 - FORGOTTEN));
    }

    fn advance(&mut self, now: u64) {
        let passed = seconds(self.since, now);
        self.seconds += passed;
        self.outstanding_seconds += passed * self.outstanding as f64;
        let counted = if self.rate > 0.0 { passed.min(AT_ONCE / self.rate) } else { 0.0 };
        self.note(self.expected_in_vain(self.outstanding, counted));
        self.since = self.since.max(now);
    }

    fn note(&mut self, expected: f64) {
        if let Some(vain) = self.vain.get_mut(self.outstanding) {
            *vain = Vain { expected, arrivals: self.arrivals };
        }
    }
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;
    const MS: u64 = 1_000_000;

    fn missing(company: &Company, now: u64) -> f64 {
        match company.arriving(now) {
            Arriving::Closed { missing, .. } => missing,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_client_that_waits_for_its_answers_has_no_company() {
        let mut company = Company::default();
        let mut now = 1_000 * MS;
        for _ in 0..60 {
            company.arrived(now, 1_000.0);
            company.left(now + 300 * US, 1);
            now += 1_000 * US;
        }
        assert_eq!(missing(&company, now), 1.0);
        company.arrived(now, 1_000.0);
        assert_eq!(missing(&company, now), 0.0);
        let Arriving::Closed { returns_in, .. } = company.arriving(now) else { panic!("closed") };
        assert!((0.6..0.8).contains(&(returns_in / 1e6)), "{returns_in}");
    }

    #[test]
    fn an_open_load_is_none() {
        let mut random = fastrand::Rng::with_seed(3);
        for service_ms in [1, 5, 8] {
            let (mut company, mut now, mut busy_until, mut closed) = (Company::default(), 0, 0, 0);
            let mut ends = Vec::new();
            for _ in 0..20_000 {
                now += (-(1.0 - random.f64()).ln() * 10e6) as u64;
                ends.retain(|&end| {
                    if end <= now {
                        company.left(end, 1);
                    }
                    end > now
                });
                busy_until = now.max(busy_until) + service_ms * MS;
                ends.push(busy_until);
                company.arrived(now, 100.0);
                closed += u32::from(matches!(company.arriving(now), Arriving::Closed { .. }));
            }
            assert!(closed < 400, "{service_ms} ms: {closed} of 20000");
        }
    }

    #[test]
    fn when_all_clients_wait_nobody_comes() {
        for clients in [2, 4, 16, 100] {
            let mut company = Company::default();
            let mut now = 0;
            // All are answered together, and send again one after the other.
            for _ in 0..40 {
                for _ in 0..clients {
                    now += 20 * US;
                    company.arrived(now, f64::from(clients) / (20e-3 + f64::from(clients) * 20e-6));
                }
                if let Arriving::Closed { missing, .. } = company.arriving(now) {
                    assert_eq!(missing, 0.0, "{clients}");
                }
                now += 20 * MS;
                company.left(now, clients as usize);
            }
            assert_eq!(missing(&company, now), f64::from(clients));
            let Arriving::Closed { returns_in, .. } = company.arriving(now) else { panic!("closed") };
            assert!(
                (0.1..1.5).contains(&(returns_in / f64::from(clients) / 20e3)),
                "{clients}: {returns_in}"
            );
        }
    }
}
