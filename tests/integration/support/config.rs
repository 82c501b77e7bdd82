//! Texts of `config.pbtxt`.

use std::fmt::Write;

/// The six latency outputs that every model may declare, in the order in which the tests list them.
pub const LATENCY_OUTPUTS: [&str; 6] = [
    "compute_latency_ns",
    "compute_input_ns",
    "compute_infer_ns",
    "compute_output_ns",
    "executed_batch_size",
    "request_end_ns",
];

/// A model's configuration under construction; [`ModelConfig::text`] writes it down.
#[derive(Clone)]
pub struct ModelConfig {
    name: String,
    backend: String,
    max_batch_size: u32,
    inputs: Vec<String>,
    outputs: Vec<String>,
    parameters: Vec<String>,
    rest: String,
}

impl ModelConfig {
    /// A configuration for the backend under test; `max_batch_size` 0 means that the model has no batch
    /// dimension.
    pub fn new(name: &str, max_batch_size: u32) -> Self {
        Self::of_backend("tensorflow_latency", name, max_batch_size)
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
            rest: String::new(),
        }
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

    /// Declares all latency outputs as the design has them.
    pub fn latency_outputs(mut self) -> Self {
        for name in LATENCY_OUTPUTS {
            self = self.output(name, "INT64", &[1]);
        }
        self
    }

    pub fn parameter(mut self, key: &str, value: &str) -> Self {
        self.parameters.push(format!("{{ key: {key:?} value: {{ string_value: {value:?} }} }}"));
        self
    }

    /// Turns the dynamic batcher on; requests wait up to `delay` microseconds for others.
    pub fn dynamic_batching(self, delay_us: u64) -> Self {
        self.line(&format!("dynamic_batching {{ max_queue_delay_microseconds: {delay_us} }}"))
    }

    /// As [`ModelConfig::dynamic_batching`], and a batch that reaches `preferred` leaves at once.
    pub fn dynamic_batching_preferring(self, delay_us: u64, preferred: u32) -> Self {
        self.line(&format!(
            "dynamic_batching {{ max_queue_delay_microseconds: {delay_us} preferred_batch_size: [ {preferred} ] }}"
        ))
    }

    pub fn instances(self, count: u32) -> Self {
        self.line(&format!("instance_group [ {{ kind: KIND_CPU count: {count} }} ]"))
    }

    /// Appends a line as it stands.
    pub fn line(mut self, line: &str) -> Self {
        self.rest.push_str(line);
        self.rest.push('\n');
        self
    }

    /// The text of `config.pbtxt`.
    pub fn text(&self) -> String {
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
        text.push_str(&self.rest);
        text
    }
}

fn tensor(name: &str, datatype: &str, dims: &[i64], fields: &str) -> String {
    // The configuration says STRING where the protocol says BYTES; the other names differ by the prefix only.
    format!("{{ name: {name:?} data_type: TYPE_{datatype} dims: {dims:?} {fields} }}")
}
