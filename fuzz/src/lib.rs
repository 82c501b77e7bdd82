//! What the fuzz targets share: the files of the backend and of the measuring tool that they try, and a count of memory.
//!
//! The backend is a library for C, so its files are included by their paths, with their own `crate::` paths kept.

#![allow(dead_code, unused_imports, unused_macros)]

#[path = "../../backend/config/mod.rs"]
pub mod config;
#[path = "../../backend/few.rs"]
pub mod few;
pub mod load;
pub mod memory;
pub mod report;
pub mod tensorflow;
#[path = "../../backend/triton/mod.rs"]
pub mod triton;

// As the tool's files know them.
pub use triton_experiment::{
    adherence, answers, clock, elements, estimate, plan, record, results, samples, search, times, uncertainty,
};
