//! The tool as its users run it: the command, against a real Triton server with this project's backend.
//!
//! `make test` says where server, TensorFlow, backend and models are; see `support`.

mod batching;
mod data;
mod endings;
mod energy;
mod hostile;
mod server;
mod support;
mod sweep;
mod together;
mod verdicts;
