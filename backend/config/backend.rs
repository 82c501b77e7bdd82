//! What `--backend-config` says.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::energy::{EnergyScope, MeterPlaces};
use super::json;
use super::setting::{Setting, nearest};
use super::values::{GpuMemory, LATENCY_PARAMETERS, MathMode};
use crate::triton::{Error, Result};

/// The `max_batch_size` that Triton gives a model that leaves it open, unless the server was started with another one.
/// Servers as old as 2.7.0 have no such option, and pass none on.
const DEFAULT_MAX_BATCH_SIZE: u32 = 4;

/// The names under which servers look for the TensorFlow backend that Triton used to ship. Those before 23.04 make one of the
/// last two of the first.
const FORMER_NAMES: [&str; 3] = ["tensorflow", "tensorflow1", "tensorflow2"];

/// The options there are.
const OPTIONS: [&str; 11] = [
    TENSORFLOW_DIR,
    LATENCY_OUTPUTS,
    LATENCY_PARAMETERS,
    DEFAULT_MAX_BATCH_SIZE_OPTION,
    FPMATH_MODE,
    GPU_MEMORY_FRACTION,
    ENERGY_SCOPE,
    NVML_LIBRARY,
    POWERCAP_DIR,
    ALLOW_SOFT_PLACEMENT,
    TENSORFLOW_VERSION,
];
const TENSORFLOW_DIR: &str = "tensorflow-dir";
const LATENCY_OUTPUTS: &str = "latency-outputs";
const DEFAULT_MAX_BATCH_SIZE_OPTION: &str = "default-max-batch-size";
const FPMATH_MODE: &str = "fpmath-mode";
const GPU_MEMORY_FRACTION: &str = "gpu-memory-fraction";
const ENERGY_SCOPE: &str = "energy-scope";
// Servers such as 2.28.0 pass only one option on whose name comes behind `min-compute-capability`, and there is `tensorflow-dir`.
const NVML_LIBRARY: &str = "energy-nvml-library";
const POWERCAP_DIR: &str = "energy-powercap-dir";
const ALLOW_SOFT_PLACEMENT: &str = "allow-soft-placement";
const TENSORFLOW_VERSION: &str = "version";
/// What the server passes to every backend.
const OF_SERVER: [&str; 3] = ["auto-complete-config", "backend-directory", "min-compute-capability"];

/// The options of this backend.
#[derive(Debug, PartialEq)]
pub struct BackendOptions {
    /// Where TensorFlow's library is (`tensorflow-dir`).
    pub tensorflow_dir: Option<PathBuf>,
    /// The backend is in the place of Triton's former TensorFlow backend, and completes configurations as that did.
    pub is_drop_in: bool,
    /// Completed configurations have the latency outputs (`latency-outputs`).
    pub latency_outputs: bool,
    /// Latency values as response parameters, for models that do not say (`latency-parameters`).
    pub latency_parameters: bool,
    /// The `max_batch_size` of a model that leaves it to the backend (the server's own option
    /// `default-max-batch-size`).
    pub default_max_batch_size: u32,
    /// How oneDNN computes FP32 models (`fpmath-mode`); `None`: as the server's environment says.
    pub math_mode: Option<MathMode>,
    /// How TensorFlow takes the memory of GPUs (`gpu-memory-fraction`).
    pub gpu_memory: GpuMemory,
    /// Operations without a kernel for the device that the model names are computed on another one (`allow-soft-placement`).
    pub soft_placement: bool,
    /// Whose energy goes into responses, for models that do not say (`energy-scope`).
    pub energy_scope: Option<EnergyScope>,
    /// Where the meters of energy are (`energy-nvml-library`, `energy-powercap-dir`).
    pub meters: MeterPlaces,
}

impl Default for BackendOptions {
    fn default() -> Self {
        Self {
            tensorflow_dir: None,
            is_drop_in: false,
            latency_outputs: true,
            latency_parameters: false,
            default_max_batch_size: DEFAULT_MAX_BATCH_SIZE,
            math_mode: None,
            gpu_memory: GpuMemory::default(),
            soft_placement: true,
            energy_scope: None,
            meters: MeterPlaces::default(),
        }
    }
}

impl BackendOptions {
    /// Reads the server's JSON of the configuration of the backend, which has this name.
    ///
    /// # Errors
    /// A value that its option does not take.
    pub fn from_json(name: &str, config: &Value) -> Result<Self> {
        let json::BackendConfig { cmdline } = json::BackendConfig::deserialize(config)
            .map_err(|e| Error::internal(format!("the server's JSON of the backend's options: {e}")))?;
        let is_drop_in = FORMER_NAMES.contains(&name);
        let mut options = Self { is_drop_in, latency_outputs: !is_drop_in, ..Self::default() };
        for (option, value) in &cmdline {
            let value = value.as_str().unwrap_or_default();
            options.set(name, &Setting { place: "--backend-config", name: option, value })?;
        }
        Ok(options)
    }

    fn set(&mut self, backend: &str, option: &Setting<'_>) -> Result<()> {
        match option.name {
            TENSORFLOW_DIR => self.tensorflow_dir = Some(PathBuf::from(option.value)),
            LATENCY_OUTPUTS => self.latency_outputs = option.boolean()?,
            LATENCY_PARAMETERS => self.latency_parameters = option.boolean()?,
            DEFAULT_MAX_BATCH_SIZE_OPTION => self.default_max_batch_size = option.count()?,
            FPMATH_MODE => {
                self.math_mode = Some(match option.value.to_ascii_lowercase().as_str() {
                    "strict" => MathMode::Strict,
                    "bf16" => MathMode::Bf16,
                    _ => return Err(option.wrong("strict or bf16")),
                });
            }
            GPU_MEMORY_FRACTION => self.gpu_memory = gpu_memory(option)?,
            ALLOW_SOFT_PLACEMENT => self.soft_placement = option.boolean()?,
            ENERGY_SCOPE => self.energy_scope = Some(EnergyScope::read(option)?),
            NVML_LIBRARY => self.meters.nvml_library = option.value.into(),
            POWERCAP_DIR => self.meters.powercap_dir = option.value.into(),
            TENSORFLOW_VERSION => {
                if option.value != "2" {
                    return Err(option.wrong("2, since this backend needs TensorFlow 2.4 or newer"));
                }
            }
            name if OF_SERVER.contains(&name) => {}
            unknown => log::warn!(
                "backend '{backend}': unknown option of --backend-config, ignored: {}",
                nearest(unknown, &OPTIONS)
            ),
        }
        Ok(())
    }
}

fn gpu_memory(option: &Setting<'_>) -> Result<GpuMemory> {
    let fraction = option.value.parse().ok().filter(|fraction| (0.0..=1.0).contains(fraction));
    let expected = "a number from 0 (memory is taken as it is needed) to 1 (all of it)";
    match fraction.ok_or_else(|| option.wrong(expected))? {
        0.0 => Ok(GpuMemory::Growing),
        fraction => Ok(GpuMemory::Fraction(fraction)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(name: &str, value: &str) -> Result<BackendOptions> {
        BackendOptions::from_json("tensorflow_latency", &json!({ "cmdline": { name: value } }))
    }

    #[test]
    fn an_option_is_only_what_somebody_asked_for() {
        let unset = |name| BackendOptions::from_json(name, &json!({})).unwrap();
        assert_eq!(unset("tensorflow_latency"), BackendOptions::default());
        for name in FORMER_NAMES {
            let expected =
                BackendOptions { is_drop_in: true, latency_outputs: false, ..BackendOptions::default() };
            assert_eq!(unset(name), expected);
        }
        let outputs = json!({"cmdline": {"latency-outputs": "true", "auto-complete-config": "true"}});
        assert!(BackendOptions::from_json("tensorflow", &outputs).unwrap().latency_outputs);
        assert!(!read("allow-soft-placement", "false").unwrap().soft_placement);
        for ignored in [("version", "2"), ("fpmath_mode", "bf16"), ("mine", "")] {
            assert_eq!(read(ignored.0, ignored.1).unwrap(), BackendOptions::default());
        }
        let options = read("tensorflow-dir", "/x").unwrap();
        let expected = BackendOptions { tensorflow_dir: Some("/x".into()), ..BackendOptions::default() };
        assert_eq!(options, expected);
        for (value, expected) in
            [("strict", MathMode::Strict), ("bf16", MathMode::Bf16), ("BF16", MathMode::Bf16)]
        {
            assert_eq!(read("fpmath-mode", value).unwrap().math_mode, Some(expected), "{value}");
        }
        for (value, expected) in [
            ("0", GpuMemory::Growing),
            ("0.0", GpuMemory::Growing),
            ("0.25", GpuMemory::Fraction(0.25)),
            ("1", GpuMemory::Fraction(1.0)),
        ] {
            assert_eq!(read("gpu-memory-fraction", value).unwrap().gpu_memory, expected, "{value}");
        }
    }

    #[test]
    fn a_server_that_does_not_tell_its_default_batch_size_has_triton_s() {
        assert_eq!(read("auto-complete-config", "true").unwrap().default_max_batch_size, 4);
        assert_eq!(read("default-max-batch-size", "16").unwrap().default_max_batch_size, 16);
        assert_eq!(read("default-max-batch-size", "0").unwrap().default_max_batch_size, 0);
    }

    #[test]
    fn wrong_values_are_named() {
        for (name, value, expected) in [
            ("latency-parameters", "si", "expected true or false, found 'si'"),
            ("default-max-batch-size", "-1", "expected a whole number, 0 or more, found '-1'"),
            ("fpmath-mode", "", "expected strict or bf16, found ''"),
            ("fpmath-mode", "fp16", "expected strict or bf16, found 'fp16'"),
            ("latency-outputs", "", "expected true or false, found ''"),
            ("allow-soft-placement", "maybe", "expected true or false, found 'maybe'"),
            ("version", "1", "expected 2, since this backend needs TensorFlow 2.4 or newer, found '1'"),
            ("gpu-memory-fraction", "1.5", "expected a number from 0"),
            ("gpu-memory-fraction", "-0.1", "expected a number from 0"),
            ("gpu-memory-fraction", "NaN", "expected a number from 0"),
            ("gpu-memory-fraction", "", "expected a number from 0"),
            ("fpmath-mode", "true", "expected strict or bf16, found 'true'"),
        ] {
            let error = read(name, value).unwrap_err().message;
            assert!(error.contains(&format!("'{name}' in --backend-config: {expected}")), "{error}");
        }
    }
}
