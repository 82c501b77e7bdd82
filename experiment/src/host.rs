//! The machine that the tool runs on.

use std::fs;

use crate::results::Host;

/// Describes it; what cannot be determined is empty or zero.
pub fn describe() -> Host {
    let uname = rustix::system::uname();
    let text = |value: &std::ffi::CStr| value.to_string_lossy().into_owned();
    Host {
        name: text(uname.nodename()),
        kernel: format!("{} {} {}", text(uname.sysname()), text(uname.release()), text(uname.machine())),
        cpu: field("/proc/cpuinfo", "model name").unwrap_or_default(),
        // Respects the affinity and the cgroup's limit.
        cpus: std::thread::available_parallelism().map_or(0, usize::from),
        memory_bytes: field("/proc/meminfo", "MemTotal")
            .and_then(|value| value.trim_end_matches("kB").trim().parse::<u64>().ok())
            .unwrap_or(0)
            * 1024,
    }
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
