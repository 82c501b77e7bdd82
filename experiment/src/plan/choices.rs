//! Choices among a few ways to do something.

use serde::{Deserialize, Serialize};

/// Where tensors travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SharedMemory {
    /// In the body of the request and the response, as binary data.
    #[default]
    None,
    /// In system shared memory: the server has to run on this machine.
    System,
}

/// What the inputs hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    /// Seeded random values: floats in [0, 1), integers in [0, 128).
    #[default]
    Random,
    /// Zeros.
    Zero,
}

/// Where energy is to come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PowerChoice {
    /// The best there is: the first of the others that can be had
    #[default]
    Auto,
    /// The GPUs of this machine, by the driver's library
    Nvml,
    /// The CPU packages and DRAM of this machine, by Linux powercap
    Rapl,
    /// The GPUs of the server's machine, by Triton's metrics endpoint
    Metrics,
    /// No energy: CPU seconds of the server's process
    CpuTime,
    /// Nothing
    None,
}

/// How a configuration is put into force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ReconfigureBy {
    /// Through the repository API; where that does not do, and the server is the tool's own, by rewriting
    #[default]
    Auto,
    /// With the load request of the repository API
    Api,
    /// By rewriting `config.pbtxt` in the repository of a server that the tool started
    Rewrite,
}
