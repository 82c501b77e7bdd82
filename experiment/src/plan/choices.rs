//! Settings with a few named values.

use serde::{Deserialize, Serialize};

/// How tensors are transferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SharedMemory {
    /// As binary data in the bodies of request and response.
    #[default]
    None,
    /// In system shared memory; the server has to run on this machine.
    System,
}

/// Contents of the inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    /// Seeded random values: floats in [0, 1), integers in [0, 128).
    #[default]
    Random,
    /// Zeros.
    Zero,
}

/// How the values of a picture, 0 to 255, are scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ImageScaling {
    /// As they are: 0 to 255
    #[default]
    None,
    /// 0 to 1: divided by 255
    Unit,
    /// -1 to 1: divided by 127.5, less 1
    Inception,
    /// Less the means that VGG was trained with: 123, 117 and 104 of red, green and blue, and 128 of gray
    Vgg,
}

/// The source of energy readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PowerChoice {
    /// The best one available: the first of the following that works
    #[default]
    Auto,
    /// GPUs of this machine, through the driver's library
    Nvml,
    /// CPU packages and DRAM of this machine, through Linux powercap
    Rapl,
    /// GPUs of the server's machine, through Triton's metrics endpoint
    Metrics,
    /// No energy: CPU seconds of the server's process
    CpuTime,
    /// Nothing
    None,
}

/// How a configuration is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ReconfigureBy {
    /// Through the repository API; if that fails and the tool started the server, by rewriting
    #[default]
    Auto,
    /// With a load request of the repository API
    Api,
    /// By rewriting `config.pbtxt` in the repository of a server that the tool started
    Rewrite,
}
