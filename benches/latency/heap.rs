//! The heap requests that the backend's own code makes for a request, counted by `heap.c`: what TensorFlow and
//! the server allocate in their calls is theirs.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use crate::results::Results;
use crate::support::{
    ModelConfig, Options, SavedModel, Server, add_one_config, add_one_request, scratch_folder,
};

const REQUESTS: u64 = 1000;
const LIBRARY: &str = "libtriton_tensorflow_latency.so";

pub fn measure(results: &mut Results) {
    println!("\nHeap requests of the backend for a request of the one-op model (mean of {REQUESTS})");
    let config = add_one_config("bench_heap", 8);
    for (config, what) in
        [(config.clone(), "y alone"), (config.latency_outputs(), "y and the six latency outputs")]
    {
        let [requests, bytes] = for_a_request(Options::new(), &config);
        println!("  {what:<40} {requests:>6.1} requests, {bytes:>7.0} bytes");
        results.keep(&format!("one op, heap requests for {what}"), requests);
    }
}

/// The heap requests of the backend for a request of the one-op model, and their bytes, in a server of its own.
pub fn for_a_request(options: Options, config: &ModelConfig) -> [f64; 2] {
    let folder = scratch_folder().join("heap");
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    let (counter, counts) = (folder.join("heap.so"), folder.join("counts"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/latency/heap.c");
    let compiled =
        Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&counter).arg(source).status();
    assert!(compiled.is_ok_and(|status| status.success()), "cc compiles heap.c");
    std::fs::write(&counts, [0; 32]).expect("the target folder can be written");
    let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let options =
        options.environment("LD_PRELOAD", &path(&counter)).environment("HEAP_COUNTS", &path(&counts));
    let server = Server::start(options);
    server.load(config, SavedModel::Small("add_one"));
    let request = add_one_request(&[1.5; 16]);
    let infer = || server.client().infer(config.name(), &request).expect("the server answers");
    infer();
    let (start, end) = place_of_library(&server);
    let numbers: Vec<u8> = [start, end, 0, 0].into_iter().flat_map(u64::to_ne_bytes).collect();
    // In place: the server has this very file in its memory.
    let write = |bytes: &[u8]| {
        let file = std::fs::OpenOptions::new().write(true).open(&counts).expect("the counts are there");
        file.write_all_at(bytes, 0).expect("the counts can be written");
    };
    write(&numbers);
    (0..REQUESTS).for_each(|_| drop(infer()));
    let found = std::fs::read(&counts).expect("the counts are there");
    write(&[0; 16]);
    [2, 3].map(|index| {
        let bytes = found[index * 8..index * 8 + 8].try_into().expect("eight bytes");
        u64::from_ne_bytes(bytes) as f64 / REQUESTS as f64
    })
}

/// From where to where the backend lies in the server's memory.
fn place_of_library(server: &Server) -> (u64, u64) {
    let maps = std::fs::read_to_string(server.proc("maps")).expect("the server runs");
    let address = |hex| u64::from_str_radix(hex, 16).expect("an address");
    let places: Vec<(u64, u64)> = maps
        .lines()
        .filter(|line| line.ends_with(LIBRARY))
        .filter_map(|line| line.split_once(' ')?.0.split_once('-'))
        .map(|(start, end)| (address(start), address(end)))
        .collect();
    let (first, last) = (places.first(), places.last());
    (first.expect("the library is loaded").0, last.expect("the library is loaded").1)
}
