//! Takes a request's end and puts its latency values into the response.
//!
//! The same stamps go to the server's statistics ([`Response::send`]), so the sums over the
//! responses equal the growth of the statistics to the nanosecond.

use std::ops::Range;

use smallvec::SmallVec;

use crate::energy::Energy;
use crate::model::{BatchSize, Measure, Shared};
use crate::triton::clock::now_ns;
use crate::triton::response::Response;
use crate::triton::{DataType, Error, Result, Stamps};

/// The times that the requests of a batch have in common.
#[derive(Clone, Copy, Debug)]
pub struct BatchTimes {
    /// The batch starts.
    pub exec_start: u64,
    /// The session is about to run.
    pub compute_start: u64,
    /// The session has returned.
    pub compute_end: u64,
    /// Rows in the batch.
    pub size: BatchSize,
    /// The energy of the execution, where it is told.
    pub energy: Option<Energy>,
}

impl BatchTimes {
    /// The stamps of a request of this batch that ends now.
    pub fn end(&self, arrival: u64) -> Stamps {
        Stamps {
            arrival,
            exec_start: self.exec_start,
            compute_start: self.compute_start,
            compute_end: self.compute_end,
            request_end: now_ns(),
        }
    }

    /// What a request with these rows of the batch has of the execution.
    fn shared(&self, rows: &Range<usize>) -> Shared {
        let share = |energy: &Energy| energy.share(rows);
        Shared { size: self.size, energy_uj: self.energy.as_ref().map_or(0, share) }
    }
}

/// Takes the request's end and attaches its times to the response, whose other outputs are written.
///
/// `outputs` and `parameters` name them. `rows` are those of the execution that are the request's: each gets the same value, shape
/// `[rows, 1]`; where the model has no batch dimension, shape `[1]`. Every buffer is obtained before the end is
/// taken, so that afterwards only storing the values and sending remain.
///
/// # Errors
/// The server or the client has no room for an output, or only where it cannot be copied to.
pub fn attach(
    times: &BatchTimes,
    response: &Response,
    (rows, batching): (Range<usize>, bool),
    outputs: &[Measure],
    parameters: &[Measure],
) -> Result<Stamps> {
    let datatype = DataType::Int64;
    let batched = [rows.len() as i64, 1];
    let shape = if batching { &batched[..] } else { &batched[1..] };
    let byte_size = rows.len() * datatype.byte_size();
    let shared = times.shared(&rows);
    let mut buffers = SmallVec::<[_; Measure::ALL.len()]>::new();
    for measure in outputs {
        let buffer = response.output(measure.name(), datatype.raw(), shape, byte_size);
        buffers.push(buffer.map_err(|error| at_output(measure, error))?);
    }

    let stamps = times.end(response.arrival());

    for (measure, buffer) in outputs.iter().zip(buffers) {
        let value = measure.of(&stamps, shared).to_ne_bytes();
        buffer.repeat(&value).map_err(|error| at_output(measure, error))?;
    }
    for measure in parameters {
        response.set_int_parameter(measure.name(), measure.of(&stamps, shared))?;
    }
    if let Some(energy) = times.energy.filter(|_| !parameters.is_empty()) {
        response.set_int_parameter(Measure::Energy.name(), Measure::Energy.of(&stamps, shared))?;
        response.set_int_parameter(c"energy_measured_percent", energy.measured_percent() as i64)?;
    }
    Ok(stamps)
}

#[cold]
#[inline(never)]
fn at_output(measure: &Measure, error: Error) -> Error {
    error.context(format!("output '{}'", measure.name().to_string_lossy()))
}
