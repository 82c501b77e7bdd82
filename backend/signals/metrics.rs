//! The server's side: the metrics of each model.

use std::sync::Arc;

use super::durations::{BOUNDS, BUCKETS, Grown};
use super::tally::{About, Growth, Reason};
use crate::triton::Result;
use crate::triton::metrics::{Counter, Family, Gauge, Histogram};

/// The names under which every model's metrics are.
pub struct Families {
    busy: Arc<Family>,
    instances: Arc<Family>,
    arrived: Arc<Family>,
    cost: Arc<Family>,
    refused: Arc<Family>,
    late: Arc<Family>,
    target: Arc<Family>,
    durations: OfDurations,
}

/// Histograms, or where the server has none, counters with the names and labels of one, so that the same queries are right.
enum OfDurations {
    Histograms(Arc<Family>),
    Counters { buckets: Arc<Family>, sum: Arc<Family>, count: Arc<Family> },
}

impl Families {
    /// # Errors
    /// The server has no metrics of backends, or was started without metrics.
    pub fn new() -> Result<Self> {
        Ok(Self {
            busy: Family::counters(
                c"tensorflow_latency_busy_seconds_total",
                c"Time in which instances of a model executed batches; for each instance at most a second in a second",
            )?,
            instances: Family::gauges(c"tensorflow_latency_instances", c"Instances of a model")?,
            arrived: Family::counters(
                c"tensorflow_latency_arrived_inferences_total",
                c"Rows of the requests that came to a model, refused ones too",
            )?,
            cost: Family::gauges(
                c"tensorflow_latency_inference_cost_seconds",
                c"Time of an instance that a row takes in the best batch that keeps the latency target; 0 until it is known",
            )?,
            refused: Family::counters(
                c"tensorflow_latency_refused_requests_total",
                c"Requests that came to a model and were not run",
            )?,
            late: Family::counters(
                c"tensorflow_latency_late_requests_total",
                c"Requests that were answered after the latency target of the model",
            )?,
            target: Family::gauges(
                c"tensorflow_latency_target_seconds",
                c"The latency target of a model: from a request's arrival to its response",
            )?,
            durations: OfDurations::new()?,
        })
    }
}

impl OfDurations {
    fn new() -> Result<Self> {
        let help = c"Time from the arrival of a request at the backend to its response, of requests without an error";
        let histograms = Family::histograms(c"tensorflow_latency_request_duration_seconds", help);
        match histograms {
            Ok(family) => Ok(Self::Histograms(family)),
            Err(reason) => {
                log::debug!("the times of requests are in counters: {reason}");
                Ok(Self::Counters {
                    buckets: Family::counters(c"tensorflow_latency_request_duration_seconds_bucket", help)?,
                    sum: Family::counters(c"tensorflow_latency_request_duration_seconds_sum", help)?,
                    count: Family::counters(c"tensorflow_latency_request_duration_seconds_count", help)?,
                })
            }
        }
    }
}

/// The metrics of one model.
pub struct Shown {
    busy: Counter,
    instances: Gauge,
    arrived: Counter,
    cost: Gauge,
    refused: [Counter; Reason::ALL.len()],
    /// Where there is a target.
    late: Option<Counter>,
    _target: Option<Gauge>,
    durations: Durations,
}

enum Durations {
    Histogram(Histogram),
    Counters { buckets: Vec<Counter>, sum: Counter, count: Counter },
}

impl Shown {
    /// # Errors
    /// The server's own.
    pub fn new(families: &Families, about: &About) -> Result<Self> {
        let version = about.version.to_string();
        let (model, version) = (("model", &*about.model), ("version", &*version));
        let labels = [model, version];
        let refused =
            |reason: Reason| Counter::new(&families.refused, &[model, version, ("reason", reason.name())]);
        let [queue_full, timeout, cancelled] = Reason::ALL.map(refused);
        let (late, target) = match about.target_ns {
            Some(ns) => {
                let target = Gauge::new(&families.target, &labels)?;
                target.set(ns as f64 / 1e9);
                (Some(Counter::new(&families.late, &labels)?), Some(target))
            }
            None => (None, None),
        };
        Ok(Self {
            busy: Counter::new(&families.busy, &[model, version, ("device", about.device)])?,
            instances: Gauge::new(&families.instances, &labels)?,
            arrived: Counter::new(&families.arrived, &labels)?,
            cost: Gauge::new(&families.cost, &labels)?,
            refused: [queue_full?, timeout?, cancelled?],
            late,
            _target: target,
            durations: Durations::new(&families.durations, &labels)?,
        })
    }

    /// Shows what is new. Gauges are set each time: a model that is loaded again shares them with the one that it replaces.
    pub fn show(&self, growth: &Growth, instances: usize, cost_s: Option<f64>) {
        self.instances.set(instances as f64);
        if let Some(cost) = cost_s {
            self.cost.set(cost);
        }
        add(&self.busy, growth.busy_s);
        add(&self.arrived, growth.arrived as f64);
        for (counter, count) in self.refused.iter().zip(growth.refused) {
            add(counter, count as f64);
        }
        if let Some(late) = &self.late {
            add(late, growth.late as f64);
        }
        if let Some(grown) = &growth.durations {
            self.durations.show(grown);
        }
    }
}

fn add(counter: &Counter, value: f64) {
    if value > 0.0 {
        counter.add(value);
    }
}

impl Durations {
    fn new(families: &OfDurations, labels: &[(&str, &str); 2]) -> Result<Self> {
        match families {
            OfDurations::Histograms(family) => Histogram::new(family, labels, &BOUNDS).map(Self::Histogram),
            OfDurations::Counters { buckets, sum, count } => {
                let [model, version] = *labels;
                let bounds = BOUNDS.iter().map(f64::to_string).chain(["+Inf".into()]);
                let of_bound = |bound: String| Counter::new(buckets, &[model, version, ("le", &bound)]);
                Ok(Self::Counters {
                    buckets: bounds.map(of_bound).collect::<Result<_>>()?,
                    sum: Counter::new(sum, labels)?,
                    count: Counter::new(count, labels)?,
                })
            }
        }
    }

    fn show(&self, grown: &[Grown; BUCKETS]) {
        match self {
            Self::Histogram(histogram) => {
                for (bucket, grown) in grown.iter().enumerate() {
                    histogram.observe(grown.typical(bucket), grown.count);
                }
            }
            Self::Counters { buckets, sum, count } => {
                let mut so_far = 0;
                for (counter, grown) in buckets.iter().zip(grown) {
                    // A bucket of a histogram counts all that are shorter, too.
                    so_far += grown.count;
                    add(counter, so_far as f64);
                }
                add(sum, grown.iter().map(|grown| grown.seconds).sum());
                add(count, so_far as f64);
            }
        }
    }
}
