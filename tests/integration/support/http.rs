//! A small client of the inference protocol over HTTP, with JSON and with binary tensors.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::tensor::Tensor;

/// The header that says how many bytes of a body are JSON; binary tensors follow those.
pub const JSON_LENGTH_HEADER: &str = "Inference-Header-Content-Length";

/// One request for inference.
#[derive(Clone, Default)]
pub struct InferRequest {
    pub id: Option<String>,
    pub inputs: Vec<Tensor>,
    /// The outputs asked for; `None` leaves the choice to the server, which then answers all.
    pub outputs: Option<Vec<OutputRequest>>,
    /// How long it may wait in a queue, in microseconds.
    pub timeout_us: Option<u64>,
    /// The sequence that it belongs to.
    pub sequence: Option<Sequence>,
}

/// A place in a sequence.
#[derive(Clone)]
pub struct Sequence {
    /// A number or a text.
    pub id: Value,
    pub start: bool,
    pub end: bool,
}

/// One output that a request asks for.
#[derive(Clone)]
pub struct OutputRequest {
    pub name: String,
    /// A registered shared memory region and the bytes of it that the output may use.
    pub shared_memory: Option<(String, usize)>,
}

impl InferRequest {
    pub fn new(inputs: Vec<Tensor>) -> Self {
        Self { inputs, ..Self::default() }
    }

    /// The same request asking for these outputs only.
    pub fn asking_for(mut self, names: &[&str]) -> Self {
        let outputs =
            names.iter().map(|name| OutputRequest { name: (*name).to_owned(), shared_memory: None });
        self.outputs = Some(outputs.collect());
        self
    }

    pub fn with_id(mut self, id: &str) -> Self {
        self.id = Some(id.to_owned());
        self
    }

    /// The same request, which may wait in a queue for so many microseconds.
    pub fn with_timeout_us(mut self, timeout_us: u64) -> Self {
        self.timeout_us = Some(timeout_us);
        self
    }

    /// The same request as one of a sequence.
    pub fn of_sequence(mut self, id: Value, start: bool, end: bool) -> Self {
        self.sequence = Some(Sequence { id, start, end });
        self
    }

    /// The body with binary tensors, and how many of its bytes are JSON.
    pub fn binary_body(&self) -> (usize, Vec<u8>) {
        let inputs: Vec<Value> = self
            .inputs
            .iter()
            .map(|tensor| {
                json!({
                    "name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape,
                    "parameters": { "binary_data_size": tensor.bytes.len() },
                })
            })
            .collect();
        let mut head = json!({ "inputs": inputs, "parameters": { "binary_data_output": true } });
        if let Some(id) = &self.id {
            head["id"] = json!(id);
        }
        if let Some(timeout_us) = self.timeout_us {
            head["parameters"]["timeout"] = json!(timeout_us);
        }
        if let Some(Sequence { id, start, end }) = &self.sequence {
            head["parameters"]["sequence_id"] = id.clone();
            head["parameters"]["sequence_start"] = json!(start);
            head["parameters"]["sequence_end"] = json!(end);
        }
        if let Some(outputs) = &self.outputs {
            head["outputs"] = outputs.iter().map(output_json).collect();
        }
        let mut body = head.to_string().into_bytes();
        let json_length = body.len();
        for tensor in &self.inputs {
            body.extend_from_slice(&tensor.bytes);
        }
        (json_length, body)
    }
}

fn output_json(output: &OutputRequest) -> Value {
    match &output.shared_memory {
        Some((region, size)) => json!({
            "name": output.name,
            "parameters": { "shared_memory_region": region, "shared_memory_byte_size": size },
        }),
        None => json!({ "name": output.name, "parameters": { "binary_data": true } }),
    }
}

/// A successful answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub parameters: Map<String, Value>,
    pub outputs: Vec<Tensor>,
}

impl Answer {
    /// The output called `name`.
    pub fn output(&self, name: &str) -> &Tensor {
        self.outputs
            .iter()
            .find(|tensor| tensor.name == name)
            .unwrap_or_else(|| panic!("the answer has no output '{name}', only {:?}", self.names()))
    }

    /// The names of the outputs, in alphabetical order.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.outputs.iter().map(|tensor| tensor.name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

/// A request that the server answered with an error.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    pub message: String,
}

/// A client of one server. Connections are kept open and may be used by many threads.
pub struct Client {
    agent: ureq::Agent,
    base: String,
}

impl Client {
    pub fn new(port: u16) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A proxy of the environment must not come between the test and the server on this machine.
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(180)))
            .max_idle_connections_per_host(64)
            .max_idle_connections(64)
            .build()
            .into();
        Self { agent, base: format!("http://127.0.0.1:{port}") }
    }

    /// Sends an inference request with binary tensors.
    pub fn infer(&self, model: &str, request: &InferRequest) -> Result<Answer, Refusal> {
        self.try_infer(model, request)
            .unwrap_or_else(|error| panic!("no answer for the model '{model}': {error}"))
    }

    /// As [`Client::infer`], for a server that may be gone: the outer error is the connection's.
    pub fn try_infer(
        &self,
        model: &str,
        request: &InferRequest,
    ) -> Result<Result<Answer, Refusal>, ureq::Error> {
        let (json_length, body) = request.binary_body();
        self.try_infer_body(model, Some(json_length), &body)
    }

    /// Sends a body as it stands, with the header that says how much of it is JSON when there is one.
    pub fn infer_body(
        &self,
        model: &str,
        json_length: Option<usize>,
        body: &[u8],
    ) -> Result<Answer, Refusal> {
        self.try_infer_body(model, json_length, body)
            .unwrap_or_else(|error| panic!("no answer for the model '{model}': {error}"))
    }

    fn try_infer_body(
        &self,
        model: &str,
        json_length: Option<usize>,
        body: &[u8],
    ) -> Result<Result<Answer, Refusal>, ureq::Error> {
        let mut request = self.agent.post(format!("{}/v2/models/{model}/infer", self.base));
        if let Some(length) = json_length {
            request = request.header(JSON_LENGTH_HEADER, length.to_string());
        }
        let mut response = request.send(body)?;
        let status = response.status().as_u16();
        let json_length = response.headers().get(JSON_LENGTH_HEADER).map(|value| {
            value.to_str().expect("a header of digits").parse::<usize>().expect("a header of digits")
        });
        let bytes = response.body_mut().with_config().limit(1 << 30).read_to_vec()?;
        if status != 200 {
            return Ok(Err(Refusal { status, message: error_message(&bytes) }));
        }
        Ok(Ok(parse_answer(&bytes, json_length)))
    }

    /// Sends JSON (or nothing) to a path of the server; the status and the answer's text.
    pub fn post(&self, path: &str, body: &Value) -> (u16, String) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut response = self
            .agent
            .post(format!("{}{path}", self.base))
            .send(body.as_bytes())
            .unwrap_or_else(|error| panic!("no answer from {path}: {error}"));
        let text = response.body_mut().read_to_string().expect("the answer is text");
        (response.status().as_u16(), text)
    }

    /// Asks a path of the server; the status and the answer's text, or the connection's error.
    pub fn get(&self, path: &str) -> Result<(u16, String), ureq::Error> {
        let mut response = self.agent.get(format!("{}{path}", self.base)).call()?;
        let text = response.body_mut().read_to_string()?;
        Ok((response.status().as_u16(), text))
    }

    /// Loads a model of the repository; the server's message when it cannot.
    pub fn load(&self, model: &str) -> Result<(), String> {
        let (status, text) = self.post(&format!("/v2/repository/models/{model}/load"), &Value::Null);
        if status == 200 { Ok(()) } else { Err(error_message(text.as_bytes())) }
    }

    /// Asks the server to unload a model, which it does once the requests at work are answered.
    pub fn unload(&self, model: &str) {
        let (status, text) = self.post(&format!("/v2/repository/models/{model}/unload"), &Value::Null);
        assert_eq!(status, 200, "unloading '{model}': {text}");
    }

    /// The model's statistics as the server has them now.
    pub fn statistics(&self, model: &str) -> Statistics {
        let (status, text) = self.get(&format!("/v2/models/{model}/stats")).expect("the server answers");
        assert_eq!(status, 200, "the statistics of '{model}': {text}");
        Statistics::parse(&serde_json::from_str(&text).expect("statistics are JSON"))
    }

    /// The model's statistics once they count `requests` answered ones: the server adds a request after its
    /// response has left, so a client may be faster.
    pub fn statistics_of(&self, model: &str, requests: u64) -> Statistics {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let statistics = self.statistics(model);
            if statistics.success.count + statistics.fail.count >= requests {
                return statistics;
            }
            assert!(
                Instant::now() < deadline,
                "the statistics of '{model}' count {} successes and {} failures, {requests} requests were answered",
                statistics.success.count,
                statistics.fail.count
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn error_message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str::<Value>(&text) {
        Ok(value) => value["error"].as_str().map_or_else(|| text.to_string(), str::to_owned),
        Err(_) => text.to_string(),
    }
}

fn parse_answer(body: &[u8], json_length: Option<usize>) -> Answer {
    let json_length = json_length.unwrap_or(body.len());
    let head: Value = serde_json::from_slice(&body[..json_length]).expect("the answer's head is JSON");
    let mut rest = &body[json_length..];
    let mut outputs = Vec::new();
    for output in head["outputs"].as_array().map_or(&[][..], Vec::as_slice) {
        let name = output["name"].as_str().expect("an output has a name");
        let datatype = output["datatype"].as_str().expect("an output has a type");
        let shape: Vec<i64> = output["shape"]
            .as_array()
            .expect("a shape")
            .iter()
            .map(|d| d.as_i64().expect("a size"))
            .collect();
        let bytes = match output["parameters"]["binary_data_size"].as_u64() {
            Some(size) => {
                let (bytes, others) = rest.split_at(size as usize);
                rest = others;
                bytes.to_vec()
            }
            // The output went to shared memory.
            None => Vec::new(),
        };
        outputs.push(Tensor::new(name, datatype, &shape, bytes));
    }
    assert!(rest.is_empty(), "{} bytes follow the last output", rest.len());
    Answer { parameters: head["parameters"].as_object().cloned().unwrap_or_default(), outputs }
}

/// A count of events and the nanoseconds they took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CountAndTime {
    pub count: u64,
    pub ns: u64,
}

/// What the statistics endpoint tells about a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Images (rows) of all successful requests.
    pub inference_count: u64,
    /// Executions.
    pub execution_count: u64,
    pub success: CountAndTime,
    pub fail: CountAndTime,
    /// From the server's own queue to the start of the execution.
    pub queue: CountAndTime,
    pub compute_input: CountAndTime,
    pub compute_infer: CountAndTime,
    pub compute_output: CountAndTime,
    /// Executions for each batch size.
    pub executions_by_batch: BTreeMap<u64, u64>,
}

impl Statistics {
    fn parse(value: &Value) -> Self {
        let model = &value["model_stats"][0];
        let part = |name: &str| {
            let entry = &model["inference_stats"][name];
            CountAndTime { count: number(&entry["count"]), ns: number(&entry["ns"]) }
        };
        let batches = model["batch_stats"].as_array().map_or(&[][..], Vec::as_slice);
        Self {
            inference_count: number(&model["inference_count"]),
            execution_count: number(&model["execution_count"]),
            success: part("success"),
            fail: part("fail"),
            queue: part("queue"),
            compute_input: part("compute_input"),
            compute_infer: part("compute_infer"),
            compute_output: part("compute_output"),
            executions_by_batch: batches
                .iter()
                .map(|batch| (number(&batch["batch_size"]), number(&batch["compute_infer"]["count"])))
                .collect(),
        }
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("the statistics hold {value} where a count belongs"))
}
