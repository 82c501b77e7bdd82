//! A distribution of times.

use anyhow::{Context, Result};
use base64::prelude::{BASE64_STANDARD, Engine};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

/// Times of requests: a histogram for percentiles, and a sum for the exact mean.
#[derive(Clone, Debug)]
pub struct Times {
    /// Three significant digits; grows as needed, so values are not capped.
    pub histogram: Histogram<u64>,
    /// Exact.
    pub sum_ns: u128,
    /// Exact.
    pub min_ns: u64,
    /// Exact.
    pub max_ns: u64,
}

impl Default for Times {
    fn default() -> Self {
        let histogram = Histogram::new(3).expect("three significant digits are allowed");
        Self { histogram, sum_ns: 0, min_ns: u64::MAX, max_ns: 0 }
    }
}

impl Times {
    /// Adds a value.
    pub fn record(&mut self, ns: u64) {
        self.histogram.record(ns).expect("the histogram grows as needed");
        self.sum_ns += u128::from(ns);
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds all values of another distribution.
    pub fn add(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("the histogram grows as needed");
        self.sum_ns += other.sum_ns;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// The histogram in HdrHistogram's V2 compressed format, base64.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.histogram, &mut bytes)
            .expect("writing to a vector does not fail");
        BASE64_STANDARD.encode(bytes)
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Exact mean in ns; none without values.
    pub fn mean(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.sum_ns as f64 / self.count() as f64)
    }
}

/// Reads what [`Times::encode`] wrote.
///
/// # Errors
/// It is no HdrHistogram in the V2 compressed format, in base64.
pub fn decode(text: &str) -> Result<Histogram<u64>> {
    let bytes = BASE64_STANDARD.decode(text).context("expected base64")?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .context("expected an HdrHistogram in the V2 compressed format")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_no_upper_bound() {
        let mut times = Times::default();
        times.record(1);
        // An hour, and three years.
        times.record(3_600_000_000_000);
        times.record(94_608_000_000_000_000);
        assert_eq!((times.min_ns, times.max_ns, times.count()), (1, 94_608_000_000_000_000, 3));
        let median = times.histogram.value_at_quantile(0.5);
        assert!((median as f64 / 3.6e12 - 1.0).abs() < 1e-3, "{median}");
    }
}
