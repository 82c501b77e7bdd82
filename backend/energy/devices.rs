//! The devices whose energy can be shared, and their meters.

use std::env;
use std::fmt::Display;

use power_meter::{Device, nvml, rapl};

use crate::config::{EnergyScope, MeterPlaces};
use crate::triton::{Error, Result};

/// What has a ledger of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// The GPU that TensorFlow computes on: the first that the process may use.
    Gpu,
    /// The processors of the machine, and their memory where it is measured.
    Cpu,
}

impl Domain {
    /// Those of a model: where nobody chooses, what it computes on.
    pub fn of(scope: Option<EnergyScope>, on_gpu: bool) -> &'static [Self] {
        match scope {
            Some(EnergyScope::All) => &[Self::Gpu, Self::Cpu],
            Some(EnergyScope::Gpu) => &[Self::Gpu],
            Some(EnergyScope::Cpu) => &[Self::Cpu],
            None if on_gpu => &[Self::Gpu],
            None => &[Self::Cpu],
        }
    }

    /// Its name, as metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Cpu => "cpu",
        }
    }
}

/// Opens the meters of a device.
///
/// # Errors
/// There is none; why.
pub fn open(domain: Domain, places: &MeterPlaces) -> Result<Vec<Box<dyn Device>>> {
    let opened = match domain {
        Domain::Gpu => first_gpu(places),
        Domain::Cpu => rapl::open(&places.powercap_dir).map_err(|e| e.to_string()),
    };
    let devices = opened.map_err(|reason| no_meter(domain, &reason))?;
    for device in &devices {
        log::info!("energy of the {}: read from {}", domain.name(), device.name());
    }
    Ok(devices)
}

/// The GPU that CUDA has as its first.
fn first_gpu(places: &MeterPlaces) -> std::result::Result<Vec<Box<dyn Device>>, String> {
    let library = places.nvml_library.to_string_lossy();
    let visible = env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
    let first = visible.split(',').next().unwrap_or_default().trim();
    let opened = match first.parse() {
        // The driver counts GPUs by their place on the bus. CUDA does where all are alike, or where it is told to.
        Ok(index) => nvml::open(&library, &[index]),
        Err(_) if first.is_empty() => nvml::open(&library, &[0]),
        Err(_) => nvml::open_by_uuid(&library, &[first]),
    };
    opened.map_err(|e| e.to_string())
}

fn no_meter(domain: Domain, reason: &dyn Display) -> Error {
    let advice = match domain {
        Domain::Gpu => "`energy_scope: cpu` would take the processors' energy",
        Domain::Cpu => "`energy_scope: gpu` would take a GPU's energy",
    };
    Error::unsupported(format!("no meter for the energy of the {}: {reason}. {advice}", domain.name()))
}
