//! The latency values of an answer.

use serde_json::{Map, Value};

use super::config::{LATENCY_OUTPUTS, QUEUE_OUTPUTS};
use super::http::Answer;

/// The values that one response carried, in nanoseconds except for the batch size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    pub total: i64,
    pub input: i64,
    pub infer: i64,
    pub output: i64,
    pub executed_batch_size: i64,
    pub request_end: i64,
}

impl Latency {
    /// The values in the latency outputs, which must have the shape `[rows, 1]` with equal rows, or `[1]`
    /// when the model has no batch dimension (`rows` is `None`).
    pub fn of_outputs(answer: &Answer, rows: Option<i64>) -> Self {
        let values = LATENCY_OUTPUTS.map(|name| {
            let tensor = answer.output(name);
            let shape = rows.map_or(vec![1], |rows| vec![rows, 1]);
            assert_eq!(tensor.shape, shape, "the shape of '{name}'");
            let values = tensor.as_i64();
            assert_eq!(values.len() as i64, rows.unwrap_or(1), "the values of '{name}'");
            assert!(
                values.iter().all(|value| *value == values[0]),
                "the rows of '{name}' differ: {values:?}"
            );
            values[0]
        });
        Self::of_values(values)
    }

    /// The values in the response parameters.
    pub fn of_parameters(parameters: &Map<String, Value>) -> Self {
        Self::of_values(LATENCY_OUTPUTS.map(|name| {
            parameters
                .get(name)
                .and_then(Value::as_i64)
                .unwrap_or_else(|| panic!("the response has no whole number '{name}' in {parameters:?}"))
        }))
    }

    fn of_values([total, input, infer, output, executed_batch_size, request_end]: [i64; 6]) -> Self {
        let latency = Self { total, input, infer, output, executed_batch_size, request_end };
        assert!(input >= 0 && infer > 0 && output >= 0, "no part can be negative: {latency:?}");
        assert_eq!(input + infer + output, total, "the parts add up to the whole: {latency:?}");
        latency
    }
}

/// The times that a response carried where the backend holds the queue, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueTimes {
    pub queue: i64,
    pub request_latency: i64,
}

impl QueueTimes {
    /// The first row of the outputs `queue_ns` and `request_latency_ns`.
    pub fn of_outputs(answer: &Answer) -> Self {
        let [queue, request_latency] = QUEUE_OUTPUTS.map(|name| answer.output(name).as_i64()[0]);
        Self { queue, request_latency }
    }

    /// The values in the response parameters.
    pub fn of_parameters(parameters: &Map<String, Value>) -> Self {
        let [queue, request_latency] = QUEUE_OUTPUTS.map(|name| {
            let value = parameters.get(name).and_then(Value::as_i64);
            value.unwrap_or_else(|| panic!("the response has no whole number '{name}' in {parameters:?}"))
        });
        Self { queue, request_latency }
    }
}

/// `CLOCK_MONOTONIC` now, in nanoseconds: the clock of the server's stamps.
pub fn monotonic_ns() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}
