//! What identifies a point of a run.

use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What identifies a point of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct PointKey {
    /// The name of the model's configuration; empty in a sweep.
    pub configuration: String,
    /// Rows in each request; 1 for a model without a batch dimension.
    pub batch: u32,
    /// The load.
    pub load: Load,
    /// From 0.
    pub repeat: u32,
}

/// How requests are offered at a point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Load {
    /// Closed loop: this many concurrent requests, each followed at once by the next.
    Concurrency {
        /// Concurrent requests.
        concurrency: usize,
    },
    /// Closed loop, at the concurrency at which throughput stops growing.
    MaxThroughput,
    /// Open loop: requests are due at times that do not depend on the answers.
    Rate {
        /// Thousandths of a request per second, because a key has to be exact.
        milli_requests_per_s: u64,
        /// The arrival process.
        arrivals: Arrivals,
    },
    /// Open loop: a rate that changes evenly over `max_time_s`, once.
    Ramp {
        /// At the start, thousandths of a request per second.
        from_milli_requests_per_s: u64,
        /// At the end.
        to_milli_requests_per_s: u64,
        /// The arrival process.
        arrivals: Arrivals,
    },
    /// Open loop: the arrival times of a file, replayed once.
    Trace {
        /// The file.
        file: String,
    },
    /// Open loop: a trace of `batching`, scaled to the server's capacity and replayed once.
    Shaped {
        /// Its name in the plan.
        trace: String,
    },
}

/// The arrival process of an open loop.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// Independent arrivals: exponential gaps.
    #[default]
    Poisson,
    /// Equal gaps.
    Constant,
    /// Independent gaps of a gamma distribution, with --variation.
    Gamma,
    /// Bursts: Poisson arrivals that change between two rates at random times (MMPP), with --burst-factor, --burst-share and
    /// --burst-seconds.
    Bursty,
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Poisson => "Poisson",
            Self::Constant => "constant",
            Self::Gamma => "gamma",
            Self::Bursty => "bursty",
        })
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Concurrency { concurrency } => write!(f, "concurrency {concurrency}"),
            Self::MaxThroughput => f.write_str("max throughput"),
            Self::Rate { milli_requests_per_s, arrivals } => {
                write!(f, "{} requests/s, {arrivals}", *milli_requests_per_s as f64 / 1e3)
            }
            Self::Ramp { from_milli_requests_per_s: from, to_milli_requests_per_s: to, arrivals } => {
                write!(f, "{} to {} requests/s, {arrivals}", *from as f64 / 1e3, *to as f64 / 1e3)
            }
            Self::Trace { file } => {
                let name = Path::new(file).file_name().unwrap_or_default();
                write!(f, "trace {}", name.display())
            }
            Self::Shaped { trace } => f.write_str(trace),
        }
    }
}
