//! Inception-v3 on a server, asked over HTTP with the pictures in system shared memory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{
    Client, LATENCY_OUTPUTS, ModelConfig, Options, Random, SavedModel, Server, in_parallel, inception_config,
};

pub const PICTURE: usize = 299 * 299 * 3;
const CLASSES: usize = 1000;
const CONCURRENCY: usize = 2;
const MODEL: &str = "bench_inception";

/// The same pictures for everybody: `batch` of them.
pub fn pictures(batch: usize) -> Vec<f32> {
    Random::new(7).floats(batch * PICTURE)
}

/// A server of its own with the model loaded.
pub struct Served {
    server: Server,
}

impl Served {
    pub fn start(options: Options) -> Self {
        Self::start_with(options, &[inception_config(MODEL)])
    }

    /// With Inception-v3 in each of these configurations.
    pub fn start_with(options: Options, configs: &[ModelConfig]) -> Self {
        let server = Server::start(options);
        configs.iter().for_each(|config| server.load(config, SavedModel::Inception));
        Self { server }
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Requests that each carry `pictures`.
    pub fn requests(&self, pictures: &[f32]) -> Requests<'_> {
        self.requests_to(MODEL, CONCURRENCY, pictures)
    }

    /// Requests to one of the models, from so many clients.
    pub fn requests_to<'a>(&'a self, model: &'a str, clients: usize, pictures: &[f32]) -> Requests<'a> {
        let client = self.server.client();
        let answer = pictures.len() / PICTURE * CLASSES * size_of::<f32>();
        let regions = (0..clients).map(|_| Region::register(client, pictures, answer)).collect();
        Requests { client, model, regions, batch: pictures.len() / PICTURE }
    }
}

/// What a number of requests came to.
pub struct Load {
    pub images_per_second: f64,
    /// Of each request, in seconds.
    pub latencies: Vec<f64>,
}

/// What is asked, again and again, by as many clients at once as there are regions.
pub struct Requests<'a> {
    client: &'a Client,
    model: &'a str,
    regions: Vec<Region>,
    batch: usize,
}

impl Requests<'_> {
    /// Images in a second, from `count` requests.
    pub fn images_per_second(&self, count: usize) -> f64 {
        self.load(count).images_per_second
    }

    /// `count` requests, each client's one after the other.
    pub fn load(&self, count: usize) -> Load {
        let clients = self.regions.len();
        let start = Instant::now();
        let latencies: Vec<f64> = in_parallel(clients, clients, |number| {
            let body = self.regions[number].pictures_request(self.batch);
            let latency = |_| {
                let start = Instant::now();
                self.client.infer_body(self.model, None, &body).expect("the server answers");
                start.elapsed().as_secs_f64()
            };
            (0..count / clients).map(latency).collect::<Vec<_>>()
        })
        .concat();
        let images = (latencies.len() * self.batch) as f64;
        Load { images_per_second: images / start.elapsed().as_secs_f64(), latencies }
    }
}

/// System shared memory that holds a request's input, at its start, and behind it receives its output.
pub struct Region {
    file: PathBuf,
    name: String,
    input: usize,
    output: usize,
}

impl Region {
    /// With room for `output` bytes.
    pub fn register(client: &Client, input: &[f32], output: usize) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tensorflow_latency_bench_{}_{number}", std::process::id());
        let file = Path::new("/dev/shm").join(&name);
        let mut bytes: Vec<u8> = input.iter().flat_map(|value| value.to_ne_bytes()).collect();
        let input = bytes.len();
        bytes.resize(input + output, 0);
        std::fs::write(&file, &bytes).expect("shared memory can be written");
        let body = json!({ "key": format!("/{name}"), "offset": 0, "byte_size": bytes.len() });
        let (status, text) = client.post(&format!("/v2/systemsharedmemory/region/{name}/register"), &body);
        assert_eq!(status, 200, "the region cannot be registered: {text}");
        Self { file, name, input, output }
    }

    fn pictures_request(&self, batch: usize) -> Vec<u8> {
        self.request(("input", &[batch, 299, 299, 3]), "predictions")
    }

    /// A request with this input, a name and a shape, for this output and the latency outputs.
    pub fn request(&self, input: (&str, &[usize]), output: &str) -> Vec<u8> {
        self.request_with(input, output, &LATENCY_OUTPUTS)
    }

    /// The same with other measured values.
    pub fn request_with(&self, (input, shape): (&str, &[usize]), output: &str, values: &[&str]) -> Vec<u8> {
        let memory = |offset: usize, size: usize| {
            json!({
                "shared_memory_region": self.name,
                "shared_memory_offset": offset,
                "shared_memory_byte_size": size,
            })
        };
        let mut outputs: Vec<Value> = values
            .iter()
            .map(|name| json!({ "name": name, "parameters": { "binary_data": true } }))
            .collect();
        outputs.push(json!({ "name": output, "parameters": memory(self.input, self.output) }));
        json!({
            "inputs": [{
                "name": input,
                "datatype": "FP32",
                "shape": shape,
                "parameters": memory(0, self.input),
            }],
            "outputs": outputs,
        })
        .to_string()
        .into_bytes()
    }

    /// What the output's place holds now.
    pub fn output(&self) -> Vec<u8> {
        let bytes = std::fs::read(&self.file).expect("shared memory can be read");
        bytes[self.input..].to_vec()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}
