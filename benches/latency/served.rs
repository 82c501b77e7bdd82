//! Inception-v3 on a server, asked over HTTP with the pictures in system shared memory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{
    Client, LATENCY_OUTPUTS, Options, Random, SavedModel, Server, in_parallel, inception_config,
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
        let server = Server::start(options);
        server.load(&inception_config(MODEL), SavedModel::Inception);
        Self { server }
    }

    /// Requests that each carry `pictures`.
    pub fn requests(&self, pictures: &[f32]) -> Requests<'_> {
        let client = self.server.client();
        let regions = (0..CONCURRENCY).map(|_| Region::register(client, pictures)).collect();
        Requests { client, regions, batch: pictures.len() / PICTURE }
    }
}

/// What is asked, again and again, by as many clients at once as there are regions.
pub struct Requests<'a> {
    client: &'a Client,
    regions: Vec<Region>,
    batch: usize,
}

impl Requests<'_> {
    /// Images in a second, from `count` requests.
    pub fn images_per_second(&self, count: usize) -> f64 {
        let clients = self.regions.len();
        let start = Instant::now();
        in_parallel(clients, clients, |number| {
            let body = self.regions[number].request(self.batch);
            for _ in 0..count / clients {
                self.client.infer_body(MODEL, None, &body).expect("the server answers");
            }
        });
        (count / clients * clients * self.batch) as f64 / start.elapsed().as_secs_f64()
    }
}

/// System shared memory that holds a request's pictures and receives its predictions.
struct Region {
    file: PathBuf,
    name: String,
    pictures: usize,
}

impl Region {
    fn register(client: &Client, pictures: &[f32]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tensorflow_latency_bench_{}_{number}", std::process::id());
        let file = Path::new("/dev/shm").join(&name);
        let mut bytes: Vec<u8> = pictures.iter().flat_map(|value| value.to_ne_bytes()).collect();
        let pictures = bytes.len();
        bytes.resize(pictures + pictures / PICTURE * CLASSES, 0);
        std::fs::write(&file, &bytes).expect("shared memory can be written");
        let body = json!({ "key": format!("/{name}"), "offset": 0, "byte_size": bytes.len() });
        let (status, text) = client.post(&format!("/v2/systemsharedmemory/region/{name}/register"), &body);
        assert_eq!(status, 200, "the region cannot be registered: {text}");
        Self { file, name, pictures }
    }

    fn request(&self, batch: usize) -> Vec<u8> {
        let memory = |offset: usize, size: usize| {
            json!({
                "shared_memory_region": self.name,
                "shared_memory_offset": offset,
                "shared_memory_byte_size": size,
            })
        };
        let mut outputs: Vec<Value> = LATENCY_OUTPUTS
            .iter()
            .map(|name| json!({ "name": name, "parameters": { "binary_data": true } }))
            .collect();
        outputs.push(json!({
            "name": "predictions",
            "parameters": memory(self.pictures, batch * CLASSES * size_of::<f32>()),
        }));
        json!({
            "inputs": [{
                "name": "input",
                "datatype": "FP32",
                "shape": [batch, 299, 299, 3],
                "parameters": memory(0, self.pictures),
            }],
            "outputs": outputs,
        })
        .to_string()
        .into_bytes()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}
