//! What a session is opened with: how many threads, which devices, which precision.

use std::env;
use std::thread::available_parallelism;

use once_cell::sync::OnceCell;

use crate::config::Threads;

/// The threads to open a session with, where the model's configuration sets `threads`; the log tells what they are
/// and which of the model's have no effect.
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

/// TensorFlow's `ConfigProto`, serialised: the few fields that are set here are all plain numbers.
///
/// With `bf16`, TensorFlow's optimizer makes the convolutions and matrix products of FP32 models ones of BF16 where the
/// CPU computes these.
pub fn session_config(threads: Threads, cpu_only: bool, bf16: bool) -> Vec<u8> {
    const DEVICE_COUNT: u32 = 1;
    const INTRA_OP_PARALLELISM_THREADS: u32 = 2;
    const INTER_OP_PARALLELISM_THREADS: u32 = 5;
    const ALLOW_SOFT_PLACEMENT: u32 = 7;
    const USE_PER_SESSION_THREADS: u32 = 9;
    // A map's entry is a message: key (field 1, a string) and value (field 2, a number).
    const NO_GPU: [u8; 7] = [0x0a, 3, b'G', b'P', b'U', 0x10, 0];
    // `auto_mixed_precision_onednn_bfloat16` (field 31) of `rewrite_options` (field 10) of `graph_options` (field 10).
    const BF16: [u8; 7] = [0x52, 5, 0x52, 3, 0xf8, 1, 1];

    let mut bytes = Vec::new();
    let mut number = |field: u32, mut value: u32| {
        bytes.push((field << 3) as u8);
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
    };
    // A graph that was exported on a machine with a GPU runs on one without.
    number(ALLOW_SOFT_PLACEMENT, 1);
    if let Some(count) = threads.intra {
        number(INTRA_OP_PARALLELISM_THREADS, count);
    }
    if let Some(count) = threads.inter {
        number(INTER_OP_PARALLELISM_THREADS, count);
    }
    if threads.per_session {
        number(USE_PER_SESSION_THREADS, 1);
    }
    if cpu_only {
        bytes.push((DEVICE_COUNT << 3 | 2) as u8);
        bytes.push(NO_GPU.len() as u8);
        bytes.extend(NO_GPU);
    }
    if bf16 {
        bytes.extend(BF16);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_config_is_tensorflows_protobuf() {
        let threads = Threads { intra: Some(300), inter: Some(1), per_session: true };
        // TensorFlow 2.20's ConfigProto.FromString reads these bytes as what is meant.
        let expected =
            [0x38, 1, 0x10, 0xac, 0x02, 0x28, 1, 0x48, 1, 0x0a, 7, 0x0a, 3, b'G', b'P', b'U', 0x10, 0];
        assert_eq!(session_config(threads, true, false), expected);
        assert_eq!(session_config(Threads::default(), false, false), [0x38, 1]);
        assert_eq!(session_config(Threads::default(), false, true), [0x38, 1, 0x52, 5, 0x52, 3, 0xf8, 1, 1]);
    }
}
