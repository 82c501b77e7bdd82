//! What adaptive batching shows of itself: metrics of the server, and lines in its verbose log.

use std::sync::Arc;

use super::scheduler::Seen;
use crate::buckets::doubling;
use crate::triton::Result;
use crate::triton::metrics::{Family, Gauge};

/// The names under which every model's gauges are.
pub struct Families {
    target_size: Arc<Family>,
    rate: Arc<Family>,
    queue: Arc<Family>,
    service_time: Arc<Family>,
}

impl Families {
    /// # Errors
    /// The server has no metrics of backends, or was started without metrics.
    pub fn new() -> Result<Self> {
        Ok(Self {
            target_size: Family::gauges(
                c"tensorflow_latency_target_batch_size",
                c"Rows that adaptive batching is waiting to have in a batch at the present rate",
            )?,
            rate: Family::gauges(
                c"tensorflow_latency_arrival_rate",
                c"Rows that arrive in a second, as adaptive batching estimates it",
            )?,
            queue: Family::gauges(
                c"tensorflow_latency_queue_size",
                c"Rows that wait in the queue of adaptive batching",
            )?,
            service_time: Family::gauges(
                c"tensorflow_latency_service_time_seconds",
                c"Time that a batch of the labelled size takes, as adaptive batching has learnt it",
            )?,
        })
    }
}

/// The gauges of one model.
pub struct Gauges {
    target_size: Gauge,
    rate: Gauge,
    queue: Gauge,
    /// With the batch size.
    service_times: Vec<(usize, Gauge)>,
}

impl Gauges {
    /// The gauges of a model and version, service times for batches of 1, 2, 4 and so on up to the largest.
    ///
    /// # Errors
    /// The server's own.
    pub fn new(families: &Families, model: &str, version: u64, max_batch_size: usize) -> Result<Self> {
        let version = version.to_string();
        let labels = [("model", model), ("version", version.as_str())];
        let service_times = doubling(max_batch_size)
            .map(|size| {
                let text = size.to_string();
                let [model, version] = labels;
                let labels = [model, version, ("batch_size", text.as_str())];
                Ok((size, Gauge::new(&families.service_time, &labels)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            target_size: Gauge::new(&families.target_size, &labels)?,
            rate: Gauge::new(&families.rate, &labels)?,
            queue: Gauge::new(&families.queue, &labels)?,
            service_times,
        })
    }

    /// Shows what is now.
    pub fn set(&self, seen: &Seen, times: &dyn Fn(usize) -> Option<f64>) {
        self.target_size.set(seen.target_size as f64);
        self.rate.set(seen.rate);
        self.queue.set(seen.rows as f64);
        for (size, gauge) in &self.service_times {
            if let Some(ns) = times(*size) {
                gauge.set(ns / 1e9);
            }
        }
    }
}
