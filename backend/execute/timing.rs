//! Takes a request's end and puts its latency values into the response.
//!
//! The same stamps go to the server's statistics ([`Response::send`]), so the sums over the
//! responses equal the growth of the statistics to the nanosecond.

use smallvec::SmallVec;

use crate::model::Measure;
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
    pub executed_batch_size: usize,
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
}

/// Takes the request's end and attaches its times to the response, whose other outputs are written.
///
/// `outputs` and `parameters` name them. `rows` is the request's own batch size: each row gets the same value, shape
/// `[rows, 1]`. A model without a batch dimension has no rows, shape `[1]`. Every buffer is obtained before the end is
/// taken, so that afterwards only storing the values and sending remain.
///
/// # Errors
/// The server or the client has no room for an output, or only where it cannot be copied to.
pub fn attach(
    times: &BatchTimes,
    response: &Response,
    rows: Option<usize>,
    outputs: &[Measure],
    parameters: &[Measure],
) -> Result<Stamps> {
    let datatype = DataType::Int64;
    let batched = [rows.unwrap_or(1) as i64, 1];
    let shape = if rows.is_some() { &batched[..] } else { &batched[1..] };
    let byte_size = rows.unwrap_or(1) * datatype.byte_size();
    let mut buffers = SmallVec::<[_; Measure::ALL.len()]>::new();
    for measure in outputs {
        let buffer = response.output(measure.name(), datatype.raw(), shape, byte_size);
        buffers.push(buffer.map_err(|error| at_output(measure, error))?);
    }

    let stamps = times.end(response.arrival());

    for (measure, buffer) in outputs.iter().zip(buffers) {
        let value = measure.of(&stamps, times.executed_batch_size).to_ne_bytes();
        buffer.repeat(&value).map_err(|error| at_output(measure, error))?;
    }
    for measure in parameters {
        let value = measure.of(&stamps, times.executed_batch_size);
        response.set_int_parameter(measure.name(), value)?;
    }
    Ok(stamps)
}

#[cold]
#[inline(never)]
fn at_output(measure: &Measure, error: Error) -> Error {
    error.context(format!("output '{}'", measure.name().to_string_lossy()))
}
