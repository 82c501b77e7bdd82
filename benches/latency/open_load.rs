//! Requests that come when they are due, whatever became of those before.

use std::time::{Duration, Instant};

use crate::support::{Random, Refusal, in_parallel};

/// As many can be on their way: a refused request is back at once, and more than these are not let in.
const CLIENTS: usize = 96;

/// What became of a request.
pub struct Sent {
    /// When it was due, from the start of the load.
    pub due: Duration,
    /// From then on to its answer, as its client sees it.
    pub took: Duration,
    /// Its time in the server; None where it was refused.
    pub latency: Option<Duration>,
}

/// Random times (Poisson) of `per_second` requests on the average, from the start of the load.
pub fn poisson(random: &mut Random, per_second: f64, span: std::ops::Range<Duration>) -> Vec<Duration> {
    const STEPS: u64 = 1 << 40;
    let mut due = Vec::new();
    let mut at = span.start;
    loop {
        let share = (random.below(STEPS) + 1) as f64 / STEPS as f64;
        at += Duration::from_secs_f64(-share.ln() / per_second);
        if at >= span.end {
            return due;
        }
        due.push(at);
    }
}

/// Sends a request at each of these times, as many at once as a load may need. `send` gives the time in the server, or why it was refused.
///
/// # Panics
///
/// When a request is refused for another reason than that there are too many.
pub fn send(due: &[Duration], send: impl Fn() -> Result<Duration, Refusal> + Sync) -> Vec<Sent> {
    let start = Instant::now();
    in_parallel(CLIENTS, due.len(), |number| {
        let due = due[number];
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let latency = match send() {
            Ok(latency) => Some(latency),
            Err(refusal) if refusal.status == 503 => None,
            Err(refusal) => panic!("a request failed: {} {}", refusal.status, refusal.message),
        };
        Sent { due, took: start.elapsed().saturating_sub(due), latency }
    })
}

/// Of those that were answered, the share above the target.
pub fn late(sent: &[Sent], target: Duration) -> f64 {
    let answered: Vec<Duration> = sent.iter().filter_map(|sent| sent.latency).collect();
    answered.iter().filter(|latency| **latency > target).count() as f64 / answered.len().max(1) as f64
}

/// Of all, the share that was refused.
pub fn refused(sent: &[Sent]) -> f64 {
    sent.iter().filter(|sent| sent.latency.is_none()).count() as f64 / sent.len().max(1) as f64
}
