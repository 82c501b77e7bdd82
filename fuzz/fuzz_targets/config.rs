//! The server's JSON of a backend's and of a model's configuration.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::path::{Component, Path};
use tensorflow_latency_fuzz::config::{BackendOptions, Batching, MAX_RANK, ModelConfig, TensorConfig};
use tensorflow_latency_fuzz::triton::Error;

/// What a message adds to what it quotes.
const WORDS: usize = 2000;

fuzz_target!(|data: &[u8]| {
    let Ok(json) = serde_json::from_slice::<Value>(data) else { return };
    // A control character is quoted with up to six.
    let check = |error: &Error| {
        assert!(!error.message.is_empty());
        assert!(error.message.len() <= WORDS + 6 * data.len(), "{}", error.message);
    };
    let options = BackendOptions::from_json("tensorflow", &json).inspect_err(check).unwrap_or_default();
    assert!(options.default_max_batch_size <= i32::MAX as u32);
    match ModelConfig::from_json(&json, &options) {
        Err(error) => check(&error),
        Ok(config) => {
            valid(&config);
            assert_eq!(config, ModelConfig::from_json(&json, &options).expect("the same again"));
        }
    }
});

/// What the backend relies on.
fn valid(config: &ModelConfig) {
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    for name in config.file_name.iter().chain(&config.init_ops_file) {
        assert!(!name.is_empty() && Path::new(name).components().all(inside));
    }
    let batch = usize::from(config.max_batch_size > 0);
    for tensors in [&config.inputs, &config.outputs] {
        for (index, TensorConfig { name, dims, .. }) in tensors.iter().enumerate() {
            assert!(dims.len() + batch <= MAX_RANK);
            assert!(dims.iter().all(|&dim| dim >= -1), "{name}: {dims:?}");
            assert!(tensors[..index].iter().all(|other| other.name != *name));
        }
    }
    assert!(config.max_batch_size > 0 || !config.is_ragged());
    let targets = config.batch_inputs.iter().flat_map(|input| &input.targets);
    let mut inputs: Vec<&String> =
        config.inputs.iter().chain(&config.controls).map(|input| &input.name).chain(targets).collect();
    let count = inputs.len();
    inputs.sort_unstable();
    inputs.dedup();
    assert_eq!(inputs.len(), count);
    for count in [config.threads.intra, config.threads.inter].into_iter().flatten() {
        assert!(count <= 1024);
    }
    if let Batching::Adaptive(adaptive) = config.batching {
        assert!(config.max_batch_size > 0 || adaptive.max_queue_size != Some(0));
        assert!(adaptive.max_wait_ns <= 600_000_000_000);
        if let Some(target) = adaptive.target {
            assert!(target.latency_ns <= 600_000_000_000);
            assert!(target.percentile > 0.0 && target.percentile < 100.0);
        }
    }
}
