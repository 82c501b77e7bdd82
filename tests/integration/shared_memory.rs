//! Inputs in system shared memory. The backend may hand them to TensorFlow where they lie, but only as long as nobody
//! sees a difference: the memory is the client's, who writes to it again once the answer is there.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::*;

/// A region of system shared memory, registered with the server under its own name.
struct Region<'a> {
    server: &'a Server,
    name: String,
    file: PathBuf,
}

impl<'a> Region<'a> {
    fn new(server: &'a Server, bytes: usize) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tensorflow_latency_{}_input_{number}", std::process::id());
        let file = PathBuf::from("/dev/shm").join(&name);
        std::fs::write(&file, vec![0u8; bytes]).expect("shared memory can be made");
        let (status, text) = server.client().post(
            &format!("/v2/systemsharedmemory/region/{name}/register"),
            &json!({ "key": format!("/{name}"), "offset": 0, "byte_size": bytes }),
        );
        assert_eq!(status, 200, "{text}");
        Self { server, name, file }
    }

    /// Writes in place: the server has this very file in its memory.
    fn write(&self, offset: usize, values: &[f32]) {
        use std::os::unix::fs::FileExt;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let file = std::fs::OpenOptions::new().write(true).open(&self.file).expect("the region is there");
        file.write_all_at(&bytes, offset as u64).expect("the region can be written");
    }

    fn read(&self, offset: usize, count: usize) -> Vec<f32> {
        let bytes = std::fs::read(&self.file).expect("the region is there");
        let values = bytes[offset..offset + 4 * count].chunks_exact(4);
        values.map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes"))).collect()
    }

    /// The place of `count` values, as a request names it.
    fn place(&self, offset: usize, count: usize) -> Value {
        json!({
            "shared_memory_region": self.name,
            "shared_memory_offset": offset,
            "shared_memory_byte_size": 4 * count,
        })
    }

    /// Sends a request whose input `x` lies in the region, for an output in the answer or at another place.
    fn infer(
        &self,
        model: &str,
        (offset, shape): (usize, &[usize]),
        output: &str,
        place: Option<Value>,
    ) -> Answer {
        let count = shape.iter().product();
        let body = json!({
            "inputs": [{
                "name": "x", "datatype": "FP32", "shape": shape, "parameters": self.place(offset, count),
            }],
            "outputs": [{
                "name": output, "parameters": place.unwrap_or_else(|| json!({ "binary_data": true })),
            }],
        });
        let body = body.to_string().into_bytes();
        self.server.client().infer_body(model, None, &body).expect("the request is good")
    }
}

impl Drop for Region<'_> {
    fn drop(&mut self) {
        let path = format!("/v2/systemsharedmemory/region/{}/unregister", self.name);
        self.server.client().post(&path, &Value::Null);
        let _ = std::fs::remove_file(&self.file);
    }
}

/// TensorFlow keeps what it is fed without a copy where the graph stores it: the memory must then be its own.
#[test]
fn what_a_model_keeps_of_an_input_in_shared_memory_stays_when_the_client_writes_to_it() {
    let server = shared_server();
    let mut faults = Vec::new();
    for (saved_model, width) in
        [("remembers", 4), ("keeps_in_queue", 16), ("keeps_in_stage", 16), ("keeps_in_table", 16)]
    {
        let model = &format!("shared_{saved_model}");
        let config = ModelConfig::new(model, 8).input("x", "FP32", &[width as i64]).output(
            "before",
            "FP32",
            &[width as i64],
        );
        server.load(&config, SavedModel::Small(saved_model));
        let mut random = Random::new(31);
        // At the start of a page, where TensorFlow would take it as it is.
        let (rows, region) = (2, Region::new(&server, 4096));
        let mut before: Option<Vec<f32>> = None;
        for round in 0..20 {
            let values = random.floats(rows * width);
            region.write(0, &values);
            let answer = region.infer(model, (0, &[rows, width]), "before", None);
            region.write(0, &vec![f32::NAN; rows * width]);
            let found = answer.output("before").as_f32();
            if before.replace(values).is_some_and(|before| before != found) {
                faults.push(format!("{saved_model}, round {round}: it has forgotten the last input"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// TensorFlow's kernels want 64 bytes; a client may choose any offset, and values may lie across their own size.
#[test]
fn an_input_in_shared_memory_may_begin_at_any_offset() {
    let server = shared_server();
    let model = "shared_offsets";
    server.load(&add_one_config(model, 64), SavedModel::Small("add_one"));
    let (rows, region) = (33, Region::new(&server, 8192));
    let count = rows * 16;
    let mut random = Random::new(32);
    for offset in [0, 64, 4096, 32, 16, 8, 4, 60, 4092, 1, 3, 63] {
        let values = random.floats(count);
        region.write(offset, &values);
        let answer = region.infer(model, (offset, &[rows, 16]), "y", None);
        assert_eq!(answer.output("y").as_f32(), add_one_answer(&values), "offset {offset}");
        assert_eq!(region.read(offset, count), values, "offset {offset}: the client's input is as it was");
        // The output at an odd place of the same region.
        let behind = 4096 + offset % 64;
        if offset < 1024 {
            region.infer(model, (offset, &[rows, 16]), "y", Some(region.place(behind, count)));
            assert_eq!(region.read(behind, count), add_one_answer(&values), "to offset {behind}");
        }
    }
}

/// Nothing computes in place in memory that is the client's.
#[test]
fn requests_at_once_may_share_their_input() {
    let server = shared_server();
    let model = "shared_by_many";
    let config = slow_config(model, 4).instances(2);
    server.load(&config, SavedModel::Small("slow"));
    let region = Region::new(&server, 4096);
    region.write(0, &[20.0]);
    let answers = in_parallel(4, 16, |_| region.infer(model, (0, &[1, 1]), "y", None).output("y").as_f32());
    assert!(answers.iter().all(|answer| answer == &[20.0]), "{answers:?}");
    assert_eq!(region.read(0, 1), [20.0]);
}

/// The answer of an operation that does nothing is the input's memory: its places may be one, or overlap.
#[test]
fn an_output_may_be_written_over_the_input() {
    let server = shared_server();
    let model = "shared_over_itself";
    let config = ModelConfig::new(model, 0).input("x", "FP32", &[-1]).output("y", "FP32", &[-1]);
    server.load(&config, SavedModel::Small("identity"));
    let count = 1024;
    let region = Region::new(&server, 16384);
    let mut random = Random::new(33);
    for (from, to) in [(0, 0), (0, 64), (64, 0), (0, 4), (4, 0), (0, 2048), (2048, 1024), (0, 8192)] {
        let values = random.floats(count);
        region.write(from, &values);
        region.infer(model, (from, &[count]), "y", Some(region.place(to, count)));
        assert_eq!(region.read(to, count), values, "from {from} to {to}");
    }
}

/// Once the answer is there, the region may go, and so may the model.
#[test]
fn a_region_and_its_model_may_go_as_soon_as_the_answer_is_there() {
    let server = Server::start(Options::new());
    let config = |name: &str| ModelConfig::new(name, 0).input("x", "FP32", &[-1]).output("y", "FP32", &[-1]);
    server.load(&config("stays"), SavedModel::Small("identity"));
    for round in 0..20 {
        let model = if round % 4 == 0 { "goes" } else { "stays" };
        if model == "goes" {
            server.load(&config(model), SavedModel::Small("identity"));
        }
        let count = 1 << 18;
        let region = Region::new(&server, 4 * count);
        region.write(0, &vec![round as f32; count]);
        let answer = region.infer(model, (0, &[count]), "y", None);
        // The region is no longer in the server's memory: who reads there ends the process.
        drop(region);
        if model == "goes" {
            server.client().unload(model);
        }
        assert!(answer.output("y").as_f32().iter().all(|value| *value == round as f32), "round {round}");
    }
    assert!(server.is_running());
    assert_eq!(server.stop(), 0, "the server ends in order");
}

/// A model that is unloaded while it works answers first.
#[test]
fn a_model_may_be_unloaded_while_its_input_lies_in_shared_memory() {
    let server = Server::start(Options::new());
    let config = slow_config("unloaded_at_work", 4);
    server.load(&config, SavedModel::Small("slow"));
    let region = Region::new(&server, 4096);
    region.write(0, &[500.0]);
    let answer = std::thread::scope(|scope| {
        let answer = scope.spawn(|| region.infer(config.name(), (0, &[1, 1]), "y", None));
        assert!(eventually(|| server.log().contains("at work for 500")), "the model has begun");
        server.client().unload(config.name());
        answer.join().expect("the request is answered")
    });
    assert_eq!(answer.output("y").as_f32(), [500.0]);
    drop(region);
    assert_eq!(server.stop(), 0, "the server ends in order");
}
