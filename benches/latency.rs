//! What the backend costs: the server with this backend against the bare TensorFlow session.
//!
//! Every figure compares things that were measured in turn within this one run, so that a machine whose
//! speed drifts does not favour one of them. Run by `make bench`.
//!
//! 1. Inception-v3, images/s: `Session::run` of the `tensorflow` crate in this process, and the server
//!    (HTTP, system shared memory, concurrency 2), the same SavedModel and the same thread settings.
//! 2. A one-op model, microseconds: what the backend adds to the session run of a request (gathering the
//!    input and writing the outputs, as the responses tell), and what the six latency outputs cost.
//! 3. The heap requests that the backend itself makes for such a request, counted by `heap.c`.

#[allow(dead_code, unused_imports)]
#[path = "../tests/integration/support/mod.rs"]
mod support;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use support::{
    Client, LATENCY_OUTPUTS, Latency, Options, Random, SavedModel, Server, add_one_config, add_one_request,
    environment, in_parallel, inception_config, scratch_folder,
};
use tensorflow::{Graph, SavedModelBundle, SessionOptions, SessionRunArgs, Tensor};

const PICTURE: usize = 299 * 299 * 3;
const CLASSES: usize = 1000;
const CONCURRENCY: usize = 2;
/// Each batch size with the requests of one measurement: two to three seconds on two cores.
const LOADS: [(usize, usize); 4] = [(1, 48), (4, 16), (8, 10), (16, 6)];

fn main() {
    // `--quick` is for trying the program itself, `--one-op` leaves the first part out.
    let quick = std::env::args().any(|argument| argument == "--quick");
    link_tensorflow();
    let server = Server::start(Options::new());
    one_op(&server, if quick { 3 } else { 15 });
    allocations();
    if !std::env::args().any(|argument| argument == "--one-op") {
        inception(&server, if quick { 2 } else { 11 });
    }
}

/// The `tensorflow` crate looks for `libtensorflow.so` in `TENSORFLOW_DIR`, and a program can safely set
/// that only for another one: so this one starts itself again.
fn link_tensorflow() {
    let folder = scratch_folder().join("tensorflow");
    if std::env::var_os("TENSORFLOW_DIR").as_deref() == Some(folder.as_os_str()) {
        return tensorflow::library::load().expect("TensorFlow's library can be opened");
    }
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    for (file, link) in [
        ("libtensorflow_cc.so.2", "libtensorflow.so"),
        ("libtensorflow_framework.so.2", "libtensorflow_framework.so.2"),
    ] {
        std::os::unix::fs::symlink(environment().tensorflow_dir.join(file), folder.join(link))
            .expect("the target folder can be written");
    }
    let program = std::env::current_exe().expect("this program's own path is known");
    let error = Command::new(program).args(std::env::args_os().skip(1)).env("TENSORFLOW_DIR", folder).exec();
    panic!("this program cannot be started again: {error}");
}

/// A bare session with a fixed input.
struct Raw {
    bundle: SavedModelBundle,
    graph: Graph,
    input: (String, i32),
    output: (String, i32),
}

impl Raw {
    fn load(folder: &Path, input: &str, output: &str) -> Self {
        let mut graph = Graph::new();
        let bundle = SavedModelBundle::load(&SessionOptions::new(), ["serve"], &mut graph, folder)
            .expect("the SavedModel loads");
        let signature = bundle.meta_graph_def().get_signature("serving_default").expect("the signature");
        let input = signature.get_input(input).expect("the input").name();
        let output = signature.get_output(output).expect("the output").name();
        let (input, output) = ((input.name.clone(), input.index), (output.name.clone(), output.index));
        Self { bundle, graph, input, output }
    }

    /// Seconds that `runs` runs took, one after the other.
    fn time(&self, tensor: &Tensor<f32>, runs: usize) -> f64 {
        let operation = |name: &str| self.graph.operation_by_name_required(name).expect("the operation");
        let mut args = SessionRunArgs::new();
        args.add_feed(&operation(&self.input.0), self.input.1, tensor);
        let fetch = args.request_fetch(&operation(&self.output.0), self.output.1);
        let start = Instant::now();
        for _ in 0..runs {
            self.bundle.session.run(&mut args).expect("the session runs");
            args.fetch::<f32>(fetch).expect("the output is there");
        }
        start.elapsed().as_secs_f64()
    }
}

// ---- Inception-v3 ----

fn inception(server: &Server, rounds: usize) {
    let raw = Raw::load(&SavedModel::Inception.folder(), "input", "predictions");
    server.load(&inception_config("bench_inception"), SavedModel::Inception);
    let pictures = Random::new(7).floats(16 * PICTURE);

    println!("\nInception-v3 FP32, images/s (median of {rounds} rounds, each raw and server in turn)");
    println!("{:>6}  {:>8}  {:>8}  {:>6}  {:>13}", "batch", "raw", "server", "ratio", "ratio min-max");
    for (batch, requests) in LOADS {
        let pictures = &pictures[..batch * PICTURE];
        let tensor = Tensor::new(&[batch as u64, 299, 299, 3]).with_values(pictures).expect("the pictures");
        let regions: Vec<_> = (0..CONCURRENCY).map(|_| Region::register(server.client(), pictures)).collect();
        let images = (batch * requests) as f64;
        let run_raw = || images / raw.time(&tensor, requests);
        let run_server = || images / time_server(server.client(), &regions, batch, requests);
        // A warm-up of both, then each round in the other order.
        run_raw();
        run_server();
        let pairs: Vec<(f64, f64)> = (0..rounds)
            .map(|round| {
                if round % 2 == 0 {
                    (run_raw(), run_server())
                } else {
                    let server = run_server();
                    (run_raw(), server)
                }
            })
            .collect();
        let mut ratios: Vec<f64> = pairs.iter().map(|(raw, server)| server / raw).collect();
        let ratio = median(&mut ratios);
        println!(
            "{batch:>6}  {:>8.2}  {:>8.2}  {ratio:>6.3}  {:>6.3}-{:.3}",
            median(&mut pairs.iter().map(|pair| pair.0).collect::<Vec<_>>()),
            median(&mut pairs.iter().map(|pair| pair.1).collect::<Vec<_>>()),
            ratios[0],
            ratios[rounds - 1],
        );
    }
}

/// Seconds until all requests, `CONCURRENCY` at a time, are answered.
fn time_server(client: &Client, regions: &[Region], batch: usize, requests: usize) -> f64 {
    let start = Instant::now();
    in_parallel(CONCURRENCY, CONCURRENCY, |worker| {
        let body = regions[worker].request(batch);
        for _ in 0..requests / CONCURRENCY {
            client.infer_body("bench_inception", None, &body).expect("the server answers");
        }
    });
    start.elapsed().as_secs_f64()
}

/// System shared memory that holds a request's pictures and receives its predictions.
struct Region {
    file: PathBuf,
    name: String,
    pictures: usize,
}

impl Region {
    fn register(client: &Client, pictures: &[f32]) -> Self {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
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

// ---- one op ----

fn one_op(server: &Server, rounds: usize) {
    const REQUESTS: usize = 400;
    let raw = Raw::load(&SavedModel::Small("add_one").folder(), "x", "y");
    let tensor = Tensor::new(&[1, 16]).with_values(&[1.5_f32; 16]).expect("16 values");
    // Both tell their times as response parameters, which are set after the request's end is taken and so
    // cost nothing that is measured here.
    let plain = add_one_config("bench_plain", 8).parameter("latency-parameters", "true");
    let timed = add_one_config("bench_timed", 8).parameter("latency-parameters", "true").latency_outputs();
    let adaptive = add_one_config("bench_adaptive", 8)
        .parameter("latency-parameters", "true")
        .parameter("batching", "adaptive");
    for config in [&plain, &timed, &adaptive] {
        server.load(config, SavedModel::Small("add_one"));
    }
    let request = add_one_request(&[1.5; 16]);
    let infer = |model: &str| {
        let answer = server.client().infer(model, &request).expect("the server answers");
        Latency::of_parameters(&answer.parameters)
    };

    for _ in 0..REQUESTS {
        infer("bench_plain");
        infer("bench_timed");
        infer("bench_adaptive");
    }
    raw.time(&tensor, REQUESTS);
    let client_us = |model: &str| {
        let start = Instant::now();
        infer(model);
        start.elapsed().as_secs_f64() * 1e6
    };
    let (mut session, mut plain, mut timed) = (vec![], vec![], vec![]);
    let (mut without, mut with_hand_over) = (vec![], vec![]);
    for _ in 0..rounds {
        session.push(raw.time(&tensor, REQUESTS) / REQUESTS as f64 * 1e6);
        for _ in 0..REQUESTS {
            plain.push(infer("bench_plain"));
            timed.push(infer("bench_timed"));
        }
        for _ in 0..REQUESTS {
            without.push(client_us("bench_plain"));
            with_hand_over.push(client_us("bench_adaptive"));
        }
    }

    let us = |latencies: &[Latency], part: fn(&Latency) -> i64| {
        median(&mut latencies.iter().map(|latency| part(latency) as f64 / 1e3).collect::<Vec<_>>())
    };
    let added = |latencies: &[Latency]| us(latencies, |latency| latency.input + latency.output);
    println!("\nOne op (FP32 [16], x + 1), microseconds (median of {} requests)", rounds * REQUESTS);
    let row = |what: &str, value: f64| println!("  {what:<56} {value:>7.1}");
    row("session run alone, in this process", median(&mut session));
    row("session run in the server (compute_infer)", us(&timed, |latency| latency.infer));
    row("  + gathering the input (compute_input)", us(&timed, |latency| latency.input));
    row("  + writing the outputs (compute_output)", us(&timed, |latency| latency.output));
    row("= added by the backend", added(&timed));
    row("of which the six latency outputs", added(&timed) - added(&plain));
    let (without, with_hand_over) = (median(&mut without), median(&mut with_hand_over));
    row("a client's whole latency, Triton's batching", without);
    row("the same, adaptive batching", with_hand_over);
    row("= the hand-over to a worker", with_hand_over - without);
}

// ---- allocations ----

/// Those of the backend's own code: what TensorFlow and the server allocate in their calls is theirs.
fn allocations() {
    const REQUESTS: u64 = 1000;
    const LIBRARY: &str = "libtriton_tensorflow_latency.so";
    let folder = scratch_folder().join("heap");
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    let (counter, counts) = (folder.join("heap.so"), folder.join("counts"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/heap.c");
    let compiled =
        Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&counter).arg(source).status();
    assert!(compiled.is_ok_and(|status| status.success()), "cc compiles benches/heap.c");
    std::fs::write(&counts, [0; 32]).expect("the target folder can be written");
    let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let options =
        Options::new().environment("LD_PRELOAD", &path(&counter)).environment("HEAP_COUNTS", &path(&counts));
    let server = Server::start(options);

    println!("\nHeap requests of the backend for a request of the one-op model (mean of {REQUESTS})");
    let config = add_one_config("bench_heap", 8);
    for (config, what) in
        [(config.clone(), "y alone"), (config.latency_outputs(), "y and the six latency outputs")]
    {
        server.load(&config, SavedModel::Small("add_one"));
        let request = add_one_request(&[1.5; 16]);
        let infer = || server.client().infer("bench_heap", &request).expect("the server answers");
        infer();
        let (start, end) = place_of_library(&server, LIBRARY);
        let numbers: Vec<u8> = [start, end, 0, 0].into_iter().flat_map(u64::to_ne_bytes).collect();
        // In place: the server has this very file in its memory.
        let write = |bytes: &[u8]| {
            use std::os::unix::fs::FileExt;
            let file = std::fs::OpenOptions::new().write(true).open(&counts).expect("the counts are there");
            file.write_all_at(bytes, 0).expect("the counts can be written");
        };
        write(&numbers);
        (0..REQUESTS).for_each(|_| drop(infer()));
        let found = std::fs::read(&counts).expect("the counts are there");
        write(&[0; 16]);
        let number = |index: usize| {
            u64::from_ne_bytes(found[index * 8..index * 8 + 8].try_into().expect("eight bytes"))
        };
        println!(
            "  {what:<40} {:>6.1} requests, {:>7.0} bytes",
            number(2) as f64 / REQUESTS as f64,
            number(3) as f64 / REQUESTS as f64
        );
    }
}

/// From where to where a library lies in the server's memory.
fn place_of_library(server: &Server, name: &str) -> (u64, u64) {
    let maps = std::fs::read_to_string(server.proc("maps")).expect("the server runs");
    let address = |hex| u64::from_str_radix(hex, 16).expect("an address");
    let places: Vec<(u64, u64)> = maps
        .lines()
        .filter(|line| line.ends_with(name))
        .filter_map(|line| line.split_once(' ')?.0.split_once('-'))
        .map(|(start, end)| (address(start), address(end)))
        .collect();
    let (first, last) = (places.first(), places.last());
    (first.expect("the library is loaded").0, last.expect("the library is loaded").1)
}

/// Sorts, and returns the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
