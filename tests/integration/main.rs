//! Tests of the backend in a real Triton server.
//!
//! `make test` sets up what they need and runs them; a test fails when the server cannot be had. Each module
//! shows one concern; `support` starts and stops servers and speaks to them.

mod adaptive;
mod adaptive_faults;
mod adaptive_load;
mod adaptive_metrics;
mod adaptive_promises;
mod answers;
mod bad_input;
mod buckets;
mod compatibility;
mod custom_op;
mod discovery;
mod drop_in;
mod energy;
mod faults;
mod freeze;
mod gpu;
mod graph_def;
mod kinds;
mod latency;
mod load_errors;
mod math_mode;
mod memory;
mod odd;
mod optional;
mod promql;
mod ragged;
mod read_only;
mod sequences;
mod server_features;
mod settings;
mod shared_input;
mod signals;
mod strings;
mod support;
mod threads;
mod too_new;
mod unservable;
