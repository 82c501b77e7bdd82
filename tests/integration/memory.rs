//! What becomes of a model's memory when it is unloaded, and loaded again.

use crate::support::*;

/// The weights of `tests/models/make_large.py`.
const COPY: u64 = 100_000 * 1024 * 4;

/// TensorFlow's allocator keeps what a model has had, and without more ado it puts the same model elsewhere the second time:
/// the server had two copies of the weights then, and one with no model loaded.
#[test]
fn a_model_that_is_loaded_again_takes_its_memory_once() {
    let _turn = heavy_turn();
    let folder = tempfile::TempDir::new_in(scratch_folder()).expect("the target folder can be written");
    run_script("models/make_large.py", &[&folder.path().display().to_string()]);
    let saved_model = folder.path().join("model.savedmodel");
    let request = InferRequest::new(vec![Tensor::int32("x", &[1, 4], &[3, 10, 100, 50_000])]);
    // Two of the signatures fail on random rows, after these were looked up: from then on TensorFlow copies the variable where it is
    // read. One of them cannot be frozen after all.
    let ways = [
        ("auto", "serving_default"),
        ("verify", "picky"),
        ("verify", "no_zeros"),
        ("false", "serving_default"),
    ];
    for (freeze, signature) in ways {
        let server = Server::start(Options::new());
        // What TensorFlow's library and its threads take is not the model's.
        server.load(&add_one_config("first", 8), SavedModel::Small("add_one"));
        server.client().infer("first", &add_one_request(&[0.0; 16])).expect("the request is good");
        let before = server.resident_bytes();
        let config =
            ModelConfig::new("large", 8).input("x", "INT32", &[4]).output("y", "FP32", &[16]).instances(1);
        let config = config.parameter("TF_FREEZE", freeze).parameter("TF_SIGNATURE_DEF", signature);
        let cycle = || {
            server.load(&config, SavedModel::Folder(&saved_model));
            let answer = server.client().infer("large", &request).expect("the request is good");
            assert_eq!(answer.output("y").as_f32(), [50_113.0; 16]);
            let loaded = server.resident_bytes() - before;
            server.unload("large");
            [loaded, server.resident_bytes() - before]
        };
        let cycles = [cycle(), cycle(), cycle()];
        let megabytes = cycles.map(|cycle| cycle.map(|bytes| bytes / 1_000_000));
        println!("TF_FREEZE {freeze}, {signature}: MB with the model and without it: {megabytes:?}");
        for [loaded, unloaded] in cycles {
            assert!(loaded > COPY * 9 / 10, "the measurement misses the weights: {megabytes:?}");
            // TensorFlow's threads have heaps of their own, and its allocator small blocks: some ten MB.
            assert!(loaded < COPY + COPY / 5, "more than one copy with the model: {megabytes:?}");
            assert!(unloaded < COPY / 5, "memory is kept without the model: {megabytes:?}");
        }
    }
}
