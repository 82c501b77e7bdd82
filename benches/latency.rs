//! What the backend costs: the server with this backend against the bare TensorFlow session.
//!
//! Every figure compares things that were measured in turn within this one run, so that a machine whose
//! speed drifts does not favour one of them. Run by `make bench`.
//!
//! 1. Inception-v3, images/s: `Session::run` of the `tensorflow` crate in this process, variables and all, and
//!    the server (HTTP, system shared memory, concurrency 2), the same SavedModel and the same thread settings;
//!    and what the machine's own rate of FP32 matrix multiplication would allow.
//! 2. A one-op model, microseconds: what the backend adds to the session run of a request (gathering the
//!    input and writing the outputs, as the responses tell), and what the six latency outputs cost.
//! 3. The heap requests that the backend itself makes for such a request, counted by `heap.c`.
//!
//! The numbers go to `target/bench/latency.json` too. It ends with exit code 1 when one misses its aim.

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
use tensorflow::{
    DataType, Graph, Operation, SavedModelBundle, Session, SessionOptions, SessionRunArgs, Tensor,
};

const PICTURE: usize = 299 * 299 * 3;
const CLASSES: usize = 1000;
const CONCURRENCY: usize = 2;
/// Each batch size with the requests of one measurement, two to three seconds on two cores, and the least ratio of the
/// server to the bare session.
const LOADS: [(usize, usize, f64); 4] = [(1, 48, 1.06), (4, 16, 1.06), (8, 10, 1.1), (16, 6, 1.1)];
/// The least share of the machine's limit, with the largest batches.
const LEAST_SHARE: f64 = 0.88;
/// The most that the hand-over to a worker may add to a request, in microseconds.
const MOST_HAND_OVER: f64 = 15.0;
/// Multiplications and additions of Inception-v3 for an image, in 10^9.
const GFLOP_OF_IMAGE: f64 = 11.4;

fn main() {
    // `--quick` is for trying the program itself, `--one-op` leaves the first part out.
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    let quick = given("--quick");
    link_tensorflow();
    let server = Server::start(Options::new());
    let mut results = Results::default();
    one_op(&server, if quick { 3 } else { 15 }, &mut results);
    allocations();
    if !given("--one-op") {
        inception(&server, if quick { 2 } else { 11 }, &mut results);
    }
    drop(server);
    results.end();
}

/// The numbers to keep, and which of them miss their aims.
#[derive(Default)]
struct Results {
    numbers: serde_json::Map<String, Value>,
    missed: Vec<String>,
}

impl Results {
    fn keep(&mut self, name: &str, value: f64) {
        self.numbers.insert(name.into(), json!((value * 1e4).round() / 1e4));
    }

    /// Keeps a number that is to be at least `aim`.
    fn at_least(&mut self, aim: f64, name: &str, value: f64) {
        self.keep(name, value);
        if value < aim {
            self.missed.push(format!("{name}: {value:.3}, the aim is {aim} or more"));
        }
    }

    /// Keeps a number that is to be at most `aim`.
    fn at_most(&mut self, aim: f64, name: &str, value: f64) {
        self.keep(name, value);
        if value > aim {
            self.missed.push(format!("{name}: {value:.1}, the aim is {aim} or less"));
        }
    }

    fn end(self) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/latency.json");
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("the target folder can be written");
        let text = serde_json::to_string_pretty(&self.numbers).expect("numbers");
        std::fs::write(&file, text + "\n").expect("the target folder can be written");
        println!("\nThe numbers: target/bench/latency.json");
        if !self.missed.is_empty() {
            println!("Missed: {}", self.missed.join("; "));
            std::process::exit(1);
        }
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

fn inception(server: &Server, rounds: usize, results: &mut Results) {
    let raw = Raw::load(&SavedModel::Inception.folder(), "input", "predictions");
    let limit = MatrixProduct::new();
    server.load(&inception_config("bench_inception"), SavedModel::Inception);
    let pictures = Random::new(7).floats(16 * PICTURE);

    println!("\nInception-v3 FP32, images/s (median of {rounds} rounds; raw, server and limit in turn)");
    println!(
        "{:>6}  {:>8}  {:>8}  {:>6}  {:>13}  {:>8}  {:>8}",
        "batch", "raw", "server", "ratio", "ratio min-max", "limit", "of limit"
    );
    for (batch, requests, aim) in LOADS {
        let pictures = &pictures[..batch * PICTURE];
        let tensor = Tensor::new(&[batch as u64, 299, 299, 3]).with_values(pictures).expect("the pictures");
        let regions: Vec<_> = (0..CONCURRENCY).map(|_| Region::register(server.client(), pictures)).collect();
        let images = (batch * requests) as f64;
        let run_raw = || images / raw.time(&tensor, requests);
        let run_server = || images / time_server(server.client(), &regions, batch, requests);
        // A warm-up of all, then each round in the other order.
        run_raw();
        run_server();
        limit.images();
        let mut found: [Vec<f64>; 5] = Default::default();
        for round in 0..rounds {
            let (raw, server) = if round % 2 == 0 {
                (run_raw(), run_server())
            } else {
                let server = run_server();
                (run_raw(), server)
            };
            let limit = limit.images();
            let row = [raw, server, server / raw, limit, server / limit];
            found.iter_mut().zip(row).for_each(|(values, value)| values.push(value));
        }
        let [raw, server, ratio, limit, share] = found.each_mut().map(|values| median(values));
        // The median has sorted them.
        let (least, most) = (found[2][0], found[2][rounds - 1]);
        println!(
            "{batch:>6}  {raw:>8.2}  {server:>8.2}  {ratio:>6.3}  {least:>6.3}-{most:.3}  {limit:>9.2}  \
             {share:>8.3}"
        );
        let name = |what: &str| format!("inception_v3 batch {batch}, {what}");
        results.keep(&name("raw images/s"), raw);
        results.keep(&name("server images/s"), server);
        results.at_least(aim, &name("server to raw"), ratio);
        let least_share = if batch == 16 { LEAST_SHARE } else { 0.0 };
        results.at_least(least_share, &name("server to the limit of FP32 matrix multiplication"), share);
    }
}

/// The product of two large matrices, which the machine computes as fast as anything.
struct MatrixProduct {
    session: Session,
    product: Operation,
    factors: [(Operation, Tensor<f32>); 2],
}

impl MatrixProduct {
    const SIZE: u64 = 2048;
    const RUNS: usize = 4;

    fn new() -> Self {
        let mut graph = Graph::new();
        let values = Random::new(3).floats((Self::SIZE * Self::SIZE) as usize);
        let factors = ["a", "b"].map(|name| {
            let mut factor = graph.new_operation("Placeholder", name).expect("a placeholder");
            factor.set_attr_type("dtype", DataType::Float).expect("its type");
            let tensor = Tensor::new(&[Self::SIZE; 2]).with_values(&values).expect("a matrix");
            (factor.finish().expect("a placeholder"), tensor)
        });
        let mut product = graph.new_operation("MatMul", "product").expect("a product");
        factors.iter().for_each(|(factor, _)| product.add_input(factor.output(0)));
        let product = product.finish().expect("a product");
        let session = Session::new(&SessionOptions::new(), &graph).expect("a session");
        Self { session, product, factors }
    }

    /// The images in a second that this rate of multiplication would allow.
    fn images(&self) -> f64 {
        let mut args = SessionRunArgs::new();
        for (factor, tensor) in &self.factors {
            args.add_feed(factor, 0, tensor);
        }
        let fetch = args.request_fetch(&self.product, 0);
        let start = Instant::now();
        for _ in 0..Self::RUNS {
            self.session.run(&mut args).expect("the session runs");
            args.fetch::<f32>(fetch).expect("the product is there");
        }
        let gflop = 2.0 * (Self::SIZE as f64).powi(3) * Self::RUNS as f64 / 1e9;
        gflop / start.elapsed().as_secs_f64() / GFLOP_OF_IMAGE
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

fn one_op(server: &Server, rounds: usize, results: &mut Results) {
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
    results.keep("one op, compute_infer, us", us(&timed, |latency| latency.infer));
    results.keep("one op, added by the backend, us", added(&timed));
    results.at_most(MOST_HAND_OVER, "one op, hand-over of adaptive batching, us", with_hand_over - without);
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
