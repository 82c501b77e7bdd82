//! The values that a response can carry about its own request: the latency outputs and response parameters.

use std::ffi::CStr;

use crate::triton::{Error, Result, Stamps};

/// A value that a response can carry about its own request. INT64; nanoseconds unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// From the start of the batch to the request's end: the sum of the next three.
    ComputeLatency,
    /// Gathering the inputs.
    ComputeInput,
    /// The session's run.
    ComputeInfer,
    /// Writing the outputs.
    ComputeOutput,
    /// Rows in the batch that ran; a count.
    ExecutedBatchSize,
    /// Rows that TensorFlow computed for it: those, and copies of the last one up to the next bucket; a count.
    PaddedBatchSize,
    /// The stamp of the end itself, on `CLOCK_MONOTONIC`.
    RequestEnd,
    /// From the request's arrival to the start of the batch.
    Queue,
    /// From the request's arrival to its end: the queue and the compute latency.
    RequestLatency,
    /// The request's share of the energy of its execution, in microjoules.
    Energy,
}

/// What an execution has beside the stamps of its requests.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// Its rows.
    pub size: BatchSize,
    /// The request's part of its energy, in microjoules; 0 where nothing is known.
    pub energy_uj: u64,
}

/// The rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSize {
    /// Those of its requests.
    pub executed: usize,
    /// Those that TensorFlow computes: with copies of the last one, where batches are filled up to a bucket.
    pub padded: usize,
}

impl BatchSize {
    /// Whether there are copies.
    pub fn is_padded(self) -> bool {
        self.padded > self.executed
    }
}

impl Measure {
    /// All of them. The first is known only where there is a meter, and the second told unasked only where batches are filled up;
    /// the last two are known only where the backend holds the queue itself.
    pub const ALL: [Self; 10] = [
        Self::Energy,
        Self::PaddedBatchSize,
        Self::ComputeLatency,
        Self::ComputeInput,
        Self::ComputeInfer,
        Self::ComputeOutput,
        Self::ExecutedBatchSize,
        Self::RequestEnd,
        Self::Queue,
        Self::RequestLatency,
    ];

    /// Those that a model can declare: all with adaptive batching; with Triton's batching not the times in its queue,
    /// which a backend does not see.
    pub fn available(adaptive: bool) -> &'static [Self] {
        const WITHOUT_QUEUE: usize = 8;
        if adaptive { &Self::ALL } else { &Self::ALL[..WITHOUT_QUEUE] }
    }

    /// Those of them that a response has where nobody chooses: in its parameters, and in a completed configuration.
    pub fn unasked(adaptive: bool, in_buckets: bool) -> &'static [Self] {
        let available = Self::available(adaptive);
        if in_buckets { &available[1..] } else { &available[2..] }
    }

    /// The name of the output and of the response parameter.
    pub fn name(self) -> &'static CStr {
        match self {
            Self::ComputeLatency => c"compute_latency_ns",
            Self::ComputeInput => c"compute_input_ns",
            Self::ComputeInfer => c"compute_infer_ns",
            Self::ComputeOutput => c"compute_output_ns",
            Self::ExecutedBatchSize => c"executed_batch_size",
            Self::PaddedBatchSize => c"padded_batch_size",
            Self::RequestEnd => c"request_end_ns",
            Self::Queue => c"queue_ns",
            Self::RequestLatency => c"request_latency_ns",
            Self::Energy => c"energy_uj",
        }
    }

    /// The measure that an output is named after.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|measure| measure.name().to_bytes() == name.as_bytes())
    }

    /// Its value for a request with these stamps, out of such an execution.
    pub fn of(self, stamps: &Stamps, of: Shared) -> i64 {
        let value = match self {
            Self::ComputeLatency => stamps.request_end - stamps.exec_start,
            Self::ComputeInput => stamps.compute_start - stamps.exec_start,
            Self::ComputeInfer => stamps.compute_end - stamps.compute_start,
            Self::ComputeOutput => stamps.request_end - stamps.compute_end,
            Self::ExecutedBatchSize => of.size.executed as u64,
            Self::PaddedBatchSize => of.size.padded as u64,
            Self::RequestEnd => stamps.request_end,
            Self::Queue => stamps.exec_start - stamps.arrival,
            Self::RequestLatency => stamps.request_end - stamps.arrival,
            Self::Energy => of.energy_uj,
        };
        // 2^63 ns are 292 years: the monotonic clock does not get there. Nor does energy: 2^63 microjoules are those of a GPU
        // in 400 years.
        value as i64
    }
}

/// Whether config.pbtxt declares a latency output as it has to be.
///
/// # Errors
/// Another type than INT64, or other dims than `[1]`.
pub fn check_declaration(name: &str, datatype: &str, dims: &[i64]) -> Result<()> {
    if datatype == "TYPE_INT64" && dims == [1] {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "output '{name}' is a latency output: expected data_type TYPE_INT64 and dims [ 1 ] in \
         config.pbtxt, found {datatype} and {dims:?}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up() {
        let stamps = Stamps {
            arrival: 999_000_000,
            exec_start: 1_000_000_007,
            compute_start: 1_000_000_107,
            compute_end: 301_500_000_107,
            request_end: 301_500_000_118,
        };
        let shared = Shared { size: BatchSize { executed: 5, padded: 8 }, energy_uj: 77 };
        let of = |measure: Measure| measure.of(&stamps, shared);
        assert_eq!(of(Measure::Energy), 77);
        let parts = of(Measure::ComputeInput) + of(Measure::ComputeInfer) + of(Measure::ComputeOutput);
        assert_eq!(of(Measure::ComputeLatency), parts);
        assert_eq!(of(Measure::ComputeInfer), 300_500_000_000, "five minutes are not capped");
        assert_eq!(of(Measure::RequestEnd), 301_500_000_118);
        assert_eq!(of(Measure::ExecutedBatchSize), 5);
        assert_eq!(of(Measure::PaddedBatchSize), 8);
        assert_eq!(of(Measure::Queue), 1_000_007);
        assert_eq!(of(Measure::RequestLatency), of(Measure::Queue) + of(Measure::ComputeLatency));
    }

    #[test]
    fn names_lead_back_to_their_measure() {
        for measure in Measure::ALL {
            assert_eq!(Measure::from_name(measure.name().to_str().unwrap()), Some(measure));
        }
        assert_eq!(Measure::from_name("predictions"), None);
        let without: Vec<_> =
            Measure::ALL.iter().filter(|m| !Measure::available(false).contains(m)).collect();
        assert_eq!(without, [&Measure::Queue, &Measure::RequestLatency]);
        assert_eq!(Measure::available(true), Measure::ALL);
    }

    #[test]
    fn the_padded_size_is_told_unasked_only_where_batches_are_filled_up() {
        for adaptive in [false, true] {
            let available = Measure::available(adaptive);
            assert!(available.contains(&Measure::PaddedBatchSize));
            // Energy needs a meter, so it is in neither.
            let in_buckets = Measure::unasked(adaptive, true);
            assert_eq!(in_buckets, &available[1..]);
            assert!(!in_buckets.contains(&Measure::Energy));
            let unasked = Measure::unasked(adaptive, false);
            assert_eq!(unasked, &in_buckets[1..]);
            assert!(!unasked.contains(&Measure::PaddedBatchSize));
        }
    }
}
