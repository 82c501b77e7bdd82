//! What the tests stand on: servers, clients, configurations and reference answers.

mod capabilities;
mod config;
mod environment;
mod executable;
mod http;
mod latency;
mod load;
mod meter;
mod models;
mod notes;
mod python;
mod region;
mod repository;
mod server;
mod shared;
mod tensor;

pub use capabilities::{capabilities, requests_wait_for_others};
pub use config::{LATENCY_OUTPUTS, ModelConfig, PADDED_OUTPUT, QUEUE_OUTPUTS};
pub use environment::environment;
pub use executable::{completes_configurations, executable};
pub use http::{Answer, Client, InferRequest, JSON_LENGTH_HEADER, OutputRequest, Refusal, Statistics};
pub use latency::{Latency, QueueTimes, monotonic_ns};
pub use load::{Random, check, eventually, in_one_of_three, in_parallel};
pub use meter::{BUSY_WATTS, MadeMeter};
pub use models::{
    ADD_ONE_WIDTH, add_one_answer, add_one_config, add_one_request, inception_config, inception_request,
    slow_config, slow_request,
};
pub use notes::{left_out, note, skipped};
pub use python::{inception_reference, run_script};
pub use region::Region;
pub use repository::{SavedModel, scratch_folder, write_model};
pub use server::{Options, Server, place_backend};
pub use shared::{heavy_turn, prompt_server, shared_server};
pub use tensor::{Tensor, relative_error};
