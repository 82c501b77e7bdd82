//! When a free worker runs how many of the requests that wait.

use super::service_times::ServiceTimes;

/// What the policy is told of a request in the queue.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// When it came, in ns of CLOCK_MONOTONIC.
    pub arrival: u64,
    /// Its rows.
    pub images: usize,
}

/// What the operator asked for.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// In images.
    pub max_batch_size: usize,
    /// None: a batch never waits.
    pub target: Option<Target>,
}

/// The latency, from arrival to the end of the execution, that `percentile` percent of the requests keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    pub latency_ns: u64,
    /// From 0 to 100.
    pub percentile: f64,
}

/// The queue as a free worker sees it.
pub struct View<'a> {
    /// In ns.
    pub now: u64,
    /// Requests of one shape, oldest first.
    pub waiting: &'a [Waiting],
    /// Waiting cannot add to the batch.
    pub complete: bool,
    /// Images per second.
    pub rate: f64,
    /// Workers that take from this queue, busy or not.
    pub workers: usize,
    pub service: &'a ServiceTimes,
    pub goal: &'a Goal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The first so many requests.
    Run(usize),
    /// At this time in ns, unless a request comes before.
    LookAgain(u64),
    /// Nothing waits.
    Idle,
}

/// Times with their margins, for one target.
struct Times<'a> {
    service: &'a ServiceTimes,
    target: Target,
    margin: f64,
    /// Images that come in a ns.
    rate: f64,
    workers: f64,
    reserve: f64,
}

impl Times<'_> {
    fn usual(&self, images: usize) -> f64 {
        if images == 0 { 0.0 } else { self.service.estimate(images).unwrap_or(0.0) }
    }
    fn safe(&self, images: usize) -> f64 {
        self.usual(images) * self.margin
    }
    /// Largest batch after which those that came meanwhile are still in time.
    fn bound(&self, max: usize) -> usize {
        let target = self.target.latency_ns as f64;
        let keeps = |b: usize| {
            let s = self.usual(b);
            let mean = s * self.rate / self.workers;
            let meanwhile = ((mean + knobs().z * mean.sqrt() + self.reserve).ceil() as usize).clamp(1, max);
            s / self.workers + self.safe(meanwhile) <= target
        };
        (1..=max).take_while(|&b| keeps(b)).last().unwrap_or(1)
    }
}

pub fn decide(view: &View<'_>) -> Decision {
    let max = view.goal.max_batch_size;
    let Some(oldest) = view.waiting.first() else { return Decision::Idle };
    let (mut count, mut images) = (0, 0);
    for w in view.waiting {
        if count > 0 && images + w.images > max {
            break;
        }
        count += 1;
        images += w.images;
    }
    let Some(target) = view.goal.target else { return Decision::Run(count) };
    if view.service.estimate(1).is_none() {
        return Decision::Run(count);
    }
    let knobs = knobs();
    let share = (100.0 - target.percentile) * (1.0f64).max(count as f64 * knobs.relax);
    let times = Times {
        service: view.service,
        target,
        margin: view.service.spread(100.0 - share.min(50.0)),
        rate: view.rate / 1e9,
        workers: view.workers as f64,
        reserve: 0.0,
    };
    let mut times = times;
    {
        let b0 = (1..=max)
            .take_while(|&b| times.usual(b) + times.safe(b) <= target.latency_ns as f64)
            .last()
            .unwrap_or(1);
        let rho = (times.rate * times.usual(b0) / b0 as f64 / times.workers).min(0.99);
        times.reserve = knobs.kappa / (1.0 - rho).powf(knobs.power);
    }
    let t = target.latency_ns as f64;
    let age = |w: &Waiting| (view.now - w.arrival) as f64;
    let bound = times.bound(max);
    let useful = view.service.cheap_size();
    let stop = bound.min(useful).max(1);
    // waiting?
    let full = view.complete || count < view.waiting.len() || images >= max;
    if !full && images < stop {
        let latest = t * knobs.alpha - times.safe((images + 1).min(max));
        let left = latest - age(oldest);
        if left >= 1.0 && times.rate * (t - times.safe(2)) >= knobs.expect {
            return Decision::LookAgain(view.now + left as u64);
        }
    }
    // which prefix
    let mut best = (usize::MAX, 0usize);
    let mut sum = 0;
    let ahead: usize = view.waiting.iter().take(2 * max).map(|w| w.images).sum();
    for k in 1..=count {
        sum += view.waiting[k - 1].images;
        let end = times.safe(sum);
        let missed = view.waiting[..k].partition_point(|w| age(w) + end > t);
        // second
        let rest_images = (ahead - sum).min(max);
        let mut misses2 = 0;
        if rest_images > 0 {
            let end2 = times.usual(sum) / times.workers + times.safe(rest_images);
            misses2 = view.waiting[k..].partition_point(|w| age(w) + end2 > t);
        }
        let total = missed + misses2;
        let better = total < best.0 || (total == best.0 && (knobs.tie == 1.0 || sum <= bound || k == 1));
        if better {
            best = (total, k);
        }
    }
    Decision::Run(best.1)
}

pub struct Knobs {
    pub relax: f64,
    pub expect: f64,
    pub z: f64,
    pub kappa: f64,
    pub power: f64,
    pub alpha: f64,
    pub tie: f64,
}
pub fn knobs() -> Knobs {
    let get = |n: &str, d: f64| std::env::var(n).ok().and_then(|v| v.parse().ok()).unwrap_or(d);
    Knobs {
        relax: get("RELAX", 0.5),
        expect: get("EXPECT", 1.0),
        z: get("Z", 0.0),
        kappa: get("KAPPA", 0.0),
        power: get("POWER", 1.0),
        alpha: get("ALPHA", 1.0),
        tie: get("TIE", 1.0),
    }
}

pub fn target_size(_rate: f64, _service: &ServiceTimes, goal: &Goal, _workers: usize) -> usize {
    goal.max_batch_size
}
pub fn longest_queue(_service: &ServiceTimes, goal: &Goal, _workers: usize) -> Option<usize> {
    goal.target.map(|_| 1000)
}
