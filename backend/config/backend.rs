//! What `--backend-config` says.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::json;
use super::setting::Setting;
use super::values::{GpuMemory, LATENCY_PARAMETERS, MathMode};
use crate::triton::{Error, Result};

/// The `max_batch_size` that Triton gives a model that leaves it open, unless the server was started with another one.
/// Servers as old as 2.7.0 have no such option, and pass none on.
const DEFAULT_MAX_BATCH_SIZE: u32 = 4;

/// The options of this backend.
#[derive(Debug, PartialEq)]
pub struct BackendOptions {
    /// Where TensorFlow's library is (`tensorflow-dir`).
    pub tensorflow_dir: Option<PathBuf>,
    /// Latency values as response parameters, for models that do not say (`latency-parameters`).
    pub latency_parameters: bool,
    /// The `max_batch_size` of a model that leaves it to the backend (the server's own option
    /// `default-max-batch-size`).
    pub default_max_batch_size: u32,
    /// How oneDNN computes FP32 models (`fpmath-mode`); `None`: as the server's environment says.
    pub math_mode: Option<MathMode>,
    /// How TensorFlow takes the memory of GPUs (`gpu-memory-fraction`).
    pub gpu_memory: GpuMemory,
}

impl Default for BackendOptions {
    fn default() -> Self {
        Self {
            tensorflow_dir: None,
            latency_parameters: false,
            default_max_batch_size: DEFAULT_MAX_BATCH_SIZE,
            math_mode: None,
            gpu_memory: GpuMemory::default(),
        }
    }
}

impl BackendOptions {
    /// Reads the server's JSON of the backend's configuration.
    ///
    /// # Errors
    /// A value that its option does not take.
    pub fn from_json(config: &Value) -> Result<Self> {
        let json::BackendConfig { cmdline } = json::BackendConfig::deserialize(config)
            .map_err(|e| Error::internal(format!("the server's JSON of the backend's options: {e}")))?;
        let mut options = Self::default();
        for (name, value) in &cmdline {
            let value = value.as_str().unwrap_or_default();
            options.set(&Setting { place: "--backend-config", name, value })?;
        }
        Ok(options)
    }

    fn set(&mut self, option: &Setting<'_>) -> Result<()> {
        match option.name {
            "tensorflow-dir" => self.tensorflow_dir = Some(PathBuf::from(option.value)),
            LATENCY_PARAMETERS => self.latency_parameters = option.boolean()?,
            "default-max-batch-size" => self.default_max_batch_size = option.count()?,
            "fpmath-mode" => {
                self.math_mode = Some(match option.value.to_ascii_lowercase().as_str() {
                    "strict" => MathMode::Strict,
                    "bf16" => MathMode::Bf16,
                    _ => return Err(option.wrong("strict or bf16")),
                });
            }
            "gpu-memory-fraction" => self.gpu_memory = gpu_memory(option)?,
            _ => {} // the server passes options of its own here, too
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
        BackendOptions::from_json(&json!({ "cmdline": { name: value } }))
    }

    #[test]
    fn an_option_is_only_what_somebody_asked_for() {
        assert_eq!(BackendOptions::from_json(&json!({})).unwrap(), BackendOptions::default());
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
