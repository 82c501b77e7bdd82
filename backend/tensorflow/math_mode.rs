//! oneDNN's math mode: whether FP32 models may be computed in BF16. Off by default.
//!
//! oneDNN, with which TensorFlow computes convolutions and matrix products on CPUs, reads the mode from the
//! process's environment when it is first used and keeps it: one mode for all models. TensorFlow has no
//! setting of its own for it. oneDNN uses the mode only on CPUs with AMX; so the option also sets TensorFlow's
//! optimizer (`settings.rs`), which covers CPUs that have BF16 without AMX.

use std::env;
use std::ffi::OsStr;

use super::process::set_variable;
use crate::config::MathMode;

/// Where oneDNN looks; the first one that is not empty counts.
const VARIABLES: [&str; 2] = ["ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"];

/// Where NVIDIA's libraries look: with 0 they compute FP32 as it is.
const TF32: &str = "NVIDIA_TF32_OVERRIDE";

/// Whether GPUs may compute FP32 convolutions and matrix products in TF32, which TensorFlow allows.
pub fn may_be_tf32() -> bool {
    env::var_os(TF32).is_none_or(|value| value != "0")
}

/// Whether the process's mode may be another than FP32 as it is, once it is [`set`].
pub fn is_relaxed() -> bool {
    let mode = VARIABLES.into_iter().find_map(|name| env::var_os(name).filter(|value| !value.is_empty()));
    mode.is_some_and(|mode| !mode.eq_ignore_ascii_case("STRICT"))
}

/// Sets the mode for the backend of this name, before TensorFlow's library is opened. Without the option the
/// environment is left alone.
pub fn set(backend: &str, option: Option<MathMode>) {
    let is_set = |name| Some((name, env::var_os(name).filter(|value| !value.is_empty())?));
    match (option, VARIABLES.into_iter().find_map(is_set)) {
        (Some(MathMode::Bf16), _) => {
            set_variable(VARIABLES[0], OsStr::new("BF16"));
            log::info!(
                "BF16 math mode is on for all models of this process (fpmath-mode): where the CPU has BF16, FP32 \
                 convolutions and matrix products are computed in it, and answers change"
            );
        }
        (Some(MathMode::Strict), is_set) => {
            // Each is touched only where it changes something.
            if is_set.is_some() {
                set_variable(VARIABLES[0], OsStr::new("STRICT"));
            }
            set_variable(TF32, OsStr::new("0"));
        }
        (None, Some((name, value))) => log::warn!(
            "{name}={} is in the server's environment, and TensorFlow follows it for all models; \
             --backend-config={backend},fpmath-mode=strict would keep FP32 as it is",
            value.display()
        ),
        (None, None) => {}
    }
}
