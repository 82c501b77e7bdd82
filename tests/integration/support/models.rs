//! Configurations and requests of the models that many tests use.

use super::config::ModelConfig;
use super::http::InferRequest;
use super::tensor::Tensor;

/// The elements of a row of `add_one`.
pub const ADD_ONE_WIDTH: i64 = 16;

/// The values of one picture as Inception-v3 takes it, 299 x 299 pixels of three colours.
pub const PICTURE_DIMS: [i64; 3] = [299, 299, 3];

/// `y = x + 1` for rows of 16 FP32 values; without latency outputs.
pub fn add_one_config(name: &str, max_batch_size: u32) -> ModelConfig {
    ModelConfig::new(name, max_batch_size).input("x", "FP32", &[ADD_ONE_WIDTH]).output(
        "y",
        "FP32",
        &[ADD_ONE_WIDTH],
    )
}

/// A request of `values.len() / 16` rows for [`add_one_config`].
pub fn add_one_request(values: &[f32]) -> InferRequest {
    let rows = values.len() as i64 / ADD_ONE_WIDTH;
    InferRequest::new(vec![Tensor::fp32("x", &[rows, ADD_ONE_WIDTH], values)])
}

/// What `add_one` answers.
pub fn add_one_answer(values: &[f32]) -> Vec<f32> {
    values.iter().map(|value| value + 1.0).collect()
}

/// Inception-v3 as `model_repository/inception_v3` has it, with all latency outputs; batching is the test's
/// choice.
pub fn inception_config(name: &str) -> ModelConfig {
    ModelConfig::new(name, 32)
        .input("input", "FP32", &PICTURE_DIMS)
        .output("predictions", "FP32", &[1000])
        .latency_outputs()
}

/// A request of pictures for [`inception_config`].
pub fn inception_request(pictures: &[f32]) -> InferRequest {
    let size = PICTURE_DIMS.iter().product::<i64>();
    let rows = pictures.len() as i64 / size;
    let shape = [&[rows][..], &PICTURE_DIMS].concat();
    InferRequest::new(vec![Tensor::fp32("input", &shape, pictures)])
}

/// A model that works for about as many milliseconds as the largest value of `x` says.
pub fn slow_config(name: &str, max_batch_size: u32) -> ModelConfig {
    ModelConfig::new(name, max_batch_size)
        .input("x", "FP32", &[1])
        .output("y", "FP32", &[1])
        .latency_outputs()
}

/// A request of one row for [`slow_config`].
pub fn slow_request(milliseconds: f32) -> InferRequest {
    InferRequest::new(vec![Tensor::fp32("x", &[1, 1], &[milliseconds])])
}
