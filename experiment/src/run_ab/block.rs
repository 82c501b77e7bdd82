//! One block: a short load on one contender.

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::load::{self, Event, Pacing};
use crate::plan::{Load, Plan, duration};
use crate::record::{Window, WindowRule};
use crate::requests::Requests;
use crate::results::{Latency, Metric};
use crate::target::Target;

/// Interval of the checks for interruption and for the server.
const LOOK: Duration = Duration::from_millis(200);

/// How long a block is.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Load before it is measured, in seconds.
    pub lead_s: f64,
    /// The least length of the measured part, in seconds.
    pub block_s: f64,
}

/// Measures a block; its value of the metric. `seed` gives the arrivals of an open loop.
///
/// # Errors
/// A request failed, the metric was not measured, the server is gone, or the run was interrupted.
pub fn measure(
    target: &Target,
    plan: &Plan,
    requests: &Requests,
    metric: Metric,
    length: Length,
    seed: u64,
) -> Result<f64> {
    let rule = WindowRule {
        warm_up_ns: duration(length.lead_s).as_nanos() as u64,
        min_ns: duration(length.block_s).as_nanos() as u64,
        min_requests: plan.window_requests,
        late_ns: (plan.late_ms * 1e6) as u64,
        keep_each: false,
    };
    let running =
        load::start(requests.workload(target, plan, pacing(plan, seed)?, rule, plan.longest_s())?)?;
    let window = loop {
        target.check()?;
        match running.events().recv_timeout(LOOK) {
            Ok(Event::Window(window)) => break window,
            Ok(Event::Ended(_)) | Err(RecvTimeoutError::Disconnected) => bail!("the load ended by itself"),
            Ok(Event::Opened) | Err(RecvTimeoutError::Timeout) => {}
        }
    };
    running.stop();
    running.ended(|| target.check())?;
    if let Some((kind, (count, message))) = window.failures.iter().next() {
        bail!("{count} requests failed with {kind}: {message}");
    }
    value(target, plan, metric, &window).with_context(|| format!("{metric} was not measured"))
}

fn pacing(plan: &Plan, seed: u64) -> Result<Pacing> {
    Ok(match &plan.loads[0] {
        Load::Concurrency { concurrency } => Pacing::Closed { concurrency: *concurrency },
        Load::Rate { milli_requests_per_s, arrivals } => {
            let rate = *milli_requests_per_s as f64 / 1e3;
            Pacing::Open {
                arrivals: plan.spread.arrivals(*arrivals, rate, seed),
                max_connections: plan.max_connections,
            }
        }
        load => bail!("'{load}' cannot be cut into blocks"),
    })
}

/// The metric of a window; none if it was not measured.
fn value(target: &Target, plan: &Plan, metric: Metric, window: &Window) -> Option<f64> {
    let inferences = window.latency.count() as f64 * f64::from(plan.batches[0]);
    let latency = || Latency::of(&window.latency);
    let used = || target.sampler.between(window.start_ns, window.end_ns).ok();
    let value = match metric {
        Metric::InferencesPerS => inferences / window.seconds(),
        Metric::LatencyMeanNs => window.latency.mean()?,
        Metric::LatencyP50Ns => latency()?.p50_ns as f64,
        Metric::LatencyP90Ns => latency()?.p90_ns as f64,
        Metric::LatencyP95Ns => latency()?.p95_ns as f64,
        Metric::LatencyP99Ns => latency()?.p99_ns as f64,
        Metric::LatencyP999Ns => latency()?.p99_9_ns as f64,
        Metric::AveragePowerW => used()?.energy_j? / window.seconds(),
        Metric::JPerInference => used()?.energy_j? / inferences,
        Metric::InferencesPerJ => inferences / used()?.energy_j?,
        Metric::CpuSPerInference => used()?.server_cpu_s? / inferences,
    };
    (value.is_finite() && value > 0.0).then_some(value)
}
