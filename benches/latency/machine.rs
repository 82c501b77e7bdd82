//! What the numbers were measured on.

use std::fs::read_to_string;

use serde_json::{Value, json};

use crate::support::{Options, Server};

/// The extensions of the instruction set that decide how fast a convolution is, FP32 or BF16.
const EXTENSIONS: [&str; 4] = ["avx2", "avx512f", "avx512_bf16", "amx_bf16"];

/// The machine and the software on it.
pub struct Machine {
    cpu: String,
    cores: usize,
    extensions: Vec<&'static str>,
    memory_gb: f64,
    kernel: String,
    server: String,
    tensorflow: String,
}

impl Machine {
    /// Asks the kernel, TensorFlow's library and a server.
    pub fn found() -> Self {
        let cpu = read_to_string("/proc/cpuinfo").expect("the kernel tells of the CPU");
        // `model name : AMD EPYC`, the same for each core.
        let field = |name: &str| {
            let line = cpu.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
            line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
        };
        let flags: Vec<&str> = field("flags").split(' ').collect();
        let memory = read_to_string("/proc/meminfo").expect("the kernel tells of the memory");
        let kib: f64 = memory
            .split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .expect("the first line is the memory's size");
        Self {
            // Some virtual machines give the CPU's name without its model.
            cpu: format!(
                "{} (family {}, model {})",
                field("model name"),
                field("cpu family"),
                field("model")
            ),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            extensions: EXTENSIONS.into_iter().filter(|name| flags.contains(name)).collect(),
            memory_gb: kib * 1024.0 / 1e9,
            kernel: read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            server: version_of_server(),
            tensorflow: tensorflow::version().expect("a version in UTF-8"),
        }
    }

    /// Whether the CPU has an extension of [`EXTENSIONS`].
    pub fn has(&self, extension: &str) -> bool {
        self.extensions.contains(&extension)
    }

    pub fn print(&self) {
        println!("CPU     {}, {} cores, {}", self.cpu, self.cores, self.extensions.join(" "));
        println!("Memory  {:.1} GB", self.memory_gb);
        println!("Linux   {}", self.kernel);
        println!("Triton  {}, TensorFlow {}", self.server, self.tensorflow);
    }

    pub fn as_json(&self) -> Value {
        json!({
            "cpu": self.cpu,
            "cores": self.cores,
            "extensions": self.extensions,
            "memory GB": (self.memory_gb * 10.0).round() / 10.0,
            "kernel": self.kernel,
            "triton": self.server,
            "tensorflow": self.tensorflow,
        })
    }
}

fn version_of_server() -> String {
    let server = Server::start(Options::new());
    let text = server.client().get("/v2").expect("the server answers").1;
    let about: Value = serde_json::from_str(&text).expect("the server tells of itself in JSON");
    about["version"].as_str().expect("a version").to_owned()
}
