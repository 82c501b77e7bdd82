//! Texts of `config.pbtxt`.

use std::fmt::Write;

use super::environment::environment;

/// The six latency outputs that every model has where its configuration is completed, in the order in which the tests list
/// them.
pub const LATENCY_OUTPUTS: [&str; 6] = [
    "compute_latency_ns",
    "compute_input_ns",
    "compute_infer_ns",
    "compute_output_ns",
    "executed_batch_size",
    "request_end_ns",
];

/// The latency output that a completed configuration has only where batches are filled up.
pub const PADDED_OUTPUT: &str = "padded_batch_size";

/// The latency outputs that a model may declare where the backend holds the queue.
pub const QUEUE_OUTPUTS: [&str; 2] = ["queue_ns", "request_latency_ns"];

/// The backend under test.
const BACKEND: &str = "tensorflow_latency";

/// A model's configuration under construction; [`ModelConfig::text`] writes it down.
#[derive(Clone)]
pub struct ModelConfig {
    name: String,
    backend: String,
    max_batch_size: u32,
    inputs: Vec<String>,
    outputs: Vec<String>,
    parameters: Vec<String>,
    dynamic_batching: Option<String>,
    says_who_batches: bool,
    rest: String,
}

impl ModelConfig {
    /// A configuration for the backend under test; `max_batch_size` 0 means that the model has no batch
    /// dimension.
    pub fn new(name: &str, max_batch_size: u32) -> Self {
        Self::of_backend(BACKEND, name, max_batch_size)
    }

    /// A configuration for another backend.
    pub fn of_backend(backend: &str, name: &str, max_batch_size: u32) -> Self {
        Self {
            name: name.to_owned(),
            backend: backend.to_owned(),
            max_batch_size,
            inputs: Vec::new(),
            outputs: Vec::new(),
            parameters: Vec::new(),
            dynamic_batching: None,
            says_who_batches: false,
            rest: String::new(),
        }
    }

    /// The same for a model of another name.
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// `datatype` is the protocol's name, such as `FP32`; `dims` go without the batch dimension.
    pub fn input(self, name: &str, datatype: &str, dims: &[i64]) -> Self {
        self.input_with(name, datatype, dims, "")
    }

    /// An input with further fields, such as `optional: true`.
    pub fn input_with(mut self, name: &str, datatype: &str, dims: &[i64], fields: &str) -> Self {
        self.inputs.push(tensor(name, datatype, dims, fields));
        self
    }

    pub fn output(self, name: &str, datatype: &str, dims: &[i64]) -> Self {
        self.output_with(name, datatype, dims, "")
    }

    /// An output with further fields, such as `reshape: { shape: [16] }`.
    pub fn output_with(mut self, name: &str, datatype: &str, dims: &[i64], fields: &str) -> Self {
        self.outputs.push(tensor(name, datatype, dims, fields));
        self
    }

    /// Declares the six latency outputs.
    pub fn latency_outputs(self) -> Self {
        self.measures(&LATENCY_OUTPUTS)
    }

    /// Batches are filled up to these sizes; declares the output that tells to which.
    pub fn buckets(self, sizes: &str) -> Self {
        self.parameter("batch_size_buckets", sizes).measures(&[PADDED_OUTPUT])
    }

    /// Declares those of the queue.
    pub fn queue_outputs(self) -> Self {
        self.measures(&QUEUE_OUTPUTS)
    }

    fn measures(self, names: &[&str]) -> Self {
        names.iter().fold(self, |config, name| config.output(name, "INT64", &[1]))
    }

    /// The backend makes the batches.
    pub fn adaptive(self) -> Self {
        self.parameter("batching", "adaptive")
    }

    pub fn parameter(mut self, key: &str, value: &str) -> Self {
        self.says_who_batches |= key == "batching";
        self.parameters.push(format!("{{ key: {key:?} value: {{ string_value: {value:?} }} }}"));
        self
    }

    /// Turns the dynamic batcher on; requests wait up to `delay` microseconds for others.
    pub fn dynamic_batching(mut self, delay_us: u64) -> Self {
        self.dynamic_batching = Some(format!("max_queue_delay_microseconds: {delay_us}"));
        self
    }

    /// As [`ModelConfig::dynamic_batching`], and a batch that reaches `preferred` leaves at once.
    pub fn dynamic_batching_preferring(mut self, delay_us: u64, preferred: u32) -> Self {
        let fields =
            format!("max_queue_delay_microseconds: {delay_us} preferred_batch_size: [ {preferred} ]");
        self.dynamic_batching = Some(fields);
        self
    }

    pub fn instances(self, count: u32) -> Self {
        self.line(&format!("instance_group [ {{ kind: KIND_CPU count: {count} }} ]"))
    }

    /// Batches of sequences, which the server makes in any case.
    pub fn sequences(self, fields: &str) -> Self {
        Self { says_who_batches: true, ..self }.line(&format!("sequence_batching {{ {fields} }}"))
    }

    /// Appends a line as it stands.
    pub fn line(mut self, line: &str) -> Self {
        self.rest.push_str(line);
        self.rest.push('\n');
        self
    }

    /// The text of `config.pbtxt`. In a run with adaptive batching a model of the backend under test has it,
    /// in place of the server's, unless the model says itself who makes the batches.
    pub fn text(&self) -> String {
        if environment().adaptive_batching && self.backend == BACKEND && !self.says_who_batches {
            return Self { dynamic_batching: None, ..self.clone().adaptive() }.text();
        }
        let mut text = String::new();
        writeln!(text, "name: {:?}", self.name).unwrap();
        writeln!(text, "backend: {:?}", self.backend).unwrap();
        writeln!(text, "max_batch_size: {}", self.max_batch_size).unwrap();
        for (field, tensors) in [("input", &self.inputs), ("output", &self.outputs)] {
            if !tensors.is_empty() {
                writeln!(text, "{field} [ {} ]", tensors.join(", ")).unwrap();
            }
        }
        for parameter in &self.parameters {
            writeln!(text, "parameters {parameter}").unwrap();
        }
        if let Some(fields) = &self.dynamic_batching {
            writeln!(text, "dynamic_batching {{ {fields} }}").unwrap();
        }
        text.push_str(&self.rest);
        text
    }
}

fn tensor(name: &str, datatype: &str, dims: &[i64], fields: &str) -> String {
    // The other names differ by the prefix only.
    let datatype = if datatype == "BYTES" { "STRING" } else { datatype };
    format!("{{ name: {name:?} data_type: TYPE_{datatype} dims: {dims:?} {fields} }}")
}
