//! What settings say of energy.

use std::path::PathBuf;

use super::setting::Setting;
use crate::triton::Result;

/// Whose energy goes into the responses of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnergyScope {
    /// The GPU's on which it computes.
    Gpu,
    /// The processors' and their memory's.
    Cpu,
    /// Both.
    All,
}

impl EnergyScope {
    /// # Errors
    /// The setting is none of these.
    pub(super) fn read(setting: &Setting<'_>) -> Result<Self> {
        match setting.value.to_ascii_lowercase().as_str() {
            "gpu" => Ok(Self::Gpu),
            "cpu" => Ok(Self::Cpu),
            "all" => Ok(Self::All),
            _ => Err(setting.wrong("gpu, cpu or all")),
        }
    }
}

/// Where the meters of energy are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterPlaces {
    /// The library of NVIDIA's driver.
    pub nvml_library: PathBuf,
    /// The folder of Linux's power capping framework, with RAPL's counters.
    pub powercap_dir: PathBuf,
}

impl Default for MeterPlaces {
    fn default() -> Self {
        Self { nvml_library: "libnvidia-ml.so.1".into(), powercap_dir: "/sys/class/powercap".into() }
    }
}
