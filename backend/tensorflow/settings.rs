//! What a session is opened with: how many threads, which devices, which precision.

use std::env;
use std::thread::available_parallelism;

use once_cell::sync::OnceCell;

use super::library::api;
use super::proto::config::{ConfigProto, GpuOptions, JIT_ON, ON};
use crate::config::{GpuMemory, Optimization, Threads};

/// The threads to open a session with, where the model's configuration sets `threads`. Logs what they are and which of
/// the model's have no effect.
pub fn choose(threads: Threads) -> Threads {
    static TOLD: OnceCell<()> = OnceCell::new();
    let chosen = Threads {
        intra: threads.intra.or_else(|| usable_cpus("TF_NUM_INTRAOP_THREADS")),
        inter: threads.inter.or_else(|| usable_cpus("TF_NUM_INTEROP_THREADS")),
        ..threads
    };
    warn_of_shared_pools(threads, chosen);
    TOLD.get_or_init(|| {
        let count = |count: Option<u32>| count.map_or_else(|| "as it chooses".into(), |n| n.to_string());
        log::info!(
            "TensorFlow's threads for all models: {} within an operation (intra-op), {} for operations side by side \
             (inter-op)",
            count(chosen.intra),
            count(chosen.inter)
        );
    });
    chosen
}

/// The CPUs that this process may use, by its affinity and by the limit of its cgroup. TensorFlow does not look at
/// that limit: in a container with 2 of 64 cores it starts 64 threads, which then wait for one another.
///
/// Nothing where the operator has set TensorFlow's own variable for it.
fn usable_cpus(variable: &str) -> Option<u32> {
    if env::var_os(variable).is_some() {
        return None;
    }
    available_parallelism().ok().and_then(|count| count.get().try_into().ok())
}

/// TensorFlow has one pool of intra-op threads and one of inter-op threads for the process, each as large as
/// its first session asked for, unless it is told to give a session its own.
fn warn_of_shared_pools(asked: Threads, chosen: Threads) {
    const OWN_POOLS: &str = "TF_OVERRIDE_GLOBAL_THREADPOOL";
    static INTRA: OnceCell<Option<u32>> = OnceCell::new();
    static INTER: OnceCell<Option<u32>> = OnceCell::new();
    let own_pools = env::var(OWN_POOLS).is_ok_and(|value| ["1", "true"].contains(&value.as_str()));
    let warn = |parameter: &str, asked: Option<u32>, first: Option<u32>, advice: &str| {
        if asked.is_some() && asked != first {
            let size =
                first.map_or_else(|| "TensorFlow's own choice".into(), |count| format!("{count} threads"));
            log::warn!(
                "{parameter} has no effect here: the sessions of a process share the pool of the first one \
                 ({size}). To give each model its own, {advice}"
            );
        }
    };
    if !own_pools {
        let advice = format!("start the server with {OWN_POOLS}=1 in its environment");
        warn("TF_NUM_INTRA_THREADS", asked.intra, *INTRA.get_or_init(|| chosen.intra), &advice);
    }
    if !asked.per_session {
        let advice = "set TF_USE_PER_SESSION_THREADS to true";
        warn("TF_NUM_INTER_THREADS", asked.inter, *INTER.get_or_init(|| chosen.inter), advice);
    }
}

/// XLA leaves graphs on CPUs alone unless the process is told otherwise.
pub fn let_xla_compile_for_cpus() {
    if api().TF_SetTfXlaCpuGlobalJit.is_ok() {
        // SAFETY: sets a flag of TensorFlow's, from any thread; it is read when a graph is divided among devices.
        unsafe { api().TF_SetTfXlaCpuGlobalJit(1) };
    } else {
        log::warn!(
            "optimization {{ graph {{ level }} }} has no effect on CPUs: this TensorFlow lacks TF_SetTfXlaCpuGlobalJit"
        );
    }
}

/// The devices of a session.
#[derive(Clone, Copy, Debug)]
pub enum Devices {
    /// CPUs only.
    Cpu,
    /// GPUs as well, where there are any.
    Any(GpuMemory),
}

impl ConfigProto {
    /// Leaves the machine's GPUs alone.
    pub fn without_gpus(&mut self) {
        self.device_count.insert("GPU".into(), 0);
        self.gpu_options = None;
    }
}

/// What a session is opened with.
///
/// With `bf16`, TensorFlow's optimizer computes the convolutions and matrix products of FP32 models in BF16 where the CPU
/// has that.
pub fn session_config(
    threads: Threads,
    devices: Devices,
    bf16: bool,
    optimization: Optimization,
) -> ConfigProto {
    let count = |count: Option<u32>| count.and_then(|count| count.try_into().ok()).unwrap_or(0);
    let mut config = ConfigProto {
        // A graph that was exported on a machine with a GPU runs on one without.
        allow_soft_placement: true,
        intra_op_parallelism_threads: count(threads.intra),
        inter_op_parallelism_threads: count(threads.inter),
        use_per_session_threads: threads.per_session,
        ..ConfigProto::default()
    };
    match devices {
        Devices::Cpu => config.without_gpus(),
        // The process's first session decides for all.
        Devices::Any(memory) => {
            config.gpu_options = Some(match memory {
                GpuMemory::Growing => GpuOptions { allow_growth: true, ..GpuOptions::default() },
                GpuMemory::Fraction(fraction) => {
                    GpuOptions { per_process_gpu_memory_fraction: fraction, ..GpuOptions::default() }
                }
            });
        }
    }
    if bf16 {
        config.optimizer().auto_mixed_precision_onednn_bfloat16 = ON;
    }
    if optimization.auto_mixed_precision {
        config.optimizer().auto_mixed_precision = ON;
    }
    if optimization.xla {
        config.jit(JIT_ON);
    }
    config
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn the_session_config_is_tensorflows_protobuf() {
        let threads = Threads { intra: Some(300), inter: Some(1), per_session: true };
        // TensorFlow 2.20's ConfigProto.FromString reads these bytes as what is meant.
        let known =
            [0x38, 1, 0x10, 0xac, 0x02, 0x28, 1, 0x48, 1, 0x0a, 7, 0x0a, 3, b'G', b'P', b'U', 0x10, 0];
        let config = session_config(threads, Devices::Cpu, false, Optimization::default());
        assert_eq!(ConfigProto::decode(&known[..]).unwrap(), config);
        // The same fields in the order of their numbers, a number that is 0 left out.
        let written = [0x0a, 5, 0x0a, 3, b'G', b'P', b'U', 0x10, 0xac, 0x02, 0x28, 1, 0x38, 1, 0x48, 1];
        assert_eq!(config.encode_to_vec(), written);
        let config = |memory, bf16, xla, auto_mixed_precision| {
            let optimization = Optimization { xla, auto_mixed_precision };
            session_config(Threads::default(), Devices::Any(memory), bf16, optimization).encode_to_vec()
        };
        let growing = [0x32, 2, 0x20, 1, 0x38, 1];
        assert_eq!(config(GpuMemory::Growing, false, false, false), growing);
        let with = |more: &[u8]| [&growing[..], more].concat();
        assert_eq!(config(GpuMemory::Growing, true, false, false), with(&[0x52, 5, 0x52, 3, 0xf8, 1, 1]));
        assert_eq!(config(GpuMemory::Growing, false, true, false), with(&[0x52, 4, 0x1a, 2, 0x28, 2]));
        assert_eq!(config(GpuMemory::Growing, false, false, true), with(&[0x52, 5, 0x52, 3, 0xb8, 1, 1]));
        let half = [0x32, 9, 9, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f, 0x38, 1];
        assert_eq!(config(GpuMemory::Fraction(0.5), false, false, false), half);
    }
}
