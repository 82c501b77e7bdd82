//! Energy, CPU time and temperatures, on the same clock as the windows.
//!
//! A [`Meter`] is one power source, whose devices the crate `power-meter` reads and judges. The [`Sampler`] reads them in the
//! background, together with the CPU time of the server and of this tool, and computes the consumption between two times.

mod device;
mod meter;
mod sampler;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use power_meter::{cpu_time, metrics, nvml, rapl};

use crate::plan::PowerChoice;
pub use meter::Meter;
pub use sampler::Sampler;

/// What a counter of energy is held against, for the descriptions.
const JUDGED: &str = "A counter that stands still, falls or does not agree with power is replaced by power, integrated, with a \
                      warning.";

/// What the choice of a power source depends on.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The server's Prometheus endpoint, for example `http://localhost:8002/metrics`.
    pub metrics_url: Option<String>,
    /// The server's process, if it runs on this machine and is known.
    pub server_pid: Option<u32>,
    /// Whether the server runs on this machine.
    pub server_is_local: bool,
    /// `/sys/class/powercap`.
    pub powercap_root: PathBuf,
    /// NVML indices of the GPUs to measure; empty: all.
    pub gpus: Vec<u32>,
}

/// Opens the requested meter.
///
/// [`PowerChoice::Auto`] takes the first that works of NVML, RAPL, the metrics endpoint and CPU time, or none. Its
/// description says what was tried.
///
/// # Errors
/// A source that was requested by name does not work: what is missing, and what to do. Never for `Auto`.
pub fn open(choice: PowerChoice, around: &Surroundings) -> Result<Meter> {
    match choice {
        PowerChoice::Auto => Ok(best(around)),
        PowerChoice::Nvml => {
            ensure_local("nvml", around)?;
            let gpus = nvml::open(nvml::LIBRARY, &around.gpus)
                .context("--power nvml does not work here: without a GPU, use --power rapl or cpu-time")?;
            let description = format!(
                "NVML: the devices' energy counters, which move about every 100 ms, interpolated between these ticks. {JUDGED} \
                 Whole GPU boards, including other processes; no CPU, no RAM."
            );
            // A counter that stands still is found out after a second.
            Ok(Meter::of("nvml", description, gpus, Duration::from_secs(2)))
        }
        PowerChoice::Rapl => {
            ensure_local("rapl", around)?;
            let domains = rapl::open(&around.powercap_root)
                .context("--power rapl does not work here: without RAPL, use --power cpu-time")?;
            let description = "RAPL energy counters of this machine's CPU packages and DRAM (where available). They \
                               include everything that runs on the machine, also this tool, but no GPUs, disks, fans and \
                               losses of the power supply. There is no power to hold them against: a counter that stands \
                               still for 10 s, falls without having wrapped around or jumps leaves a period without energy.";
            Ok(Meter::of("rapl", description.to_owned(), domains, Duration::from_secs(2)))
        }
        PowerChoice::Metrics => open_metrics(around),
        PowerChoice::CpuTime => open_cpu_time(around.server_pid),
        PowerChoice::None => Ok(Meter::without_energy("none", "Energy was not measured.", Vec::new())),
    }
}

fn open_metrics(around: &Surroundings) -> Result<Meter> {
    let url = around
        .metrics_url
        .as_deref()
        .context("the metrics endpoint is unknown: give --metrics-url (usually http://HOST:8002/metrics)")?;
    ensure!(
        around.gpus.is_empty(),
        "--power metrics measures all GPUs of the server, because its endpoint lists them by UUID and not by index: leave \
         out --gpus"
    );
    let gpus = metrics::open(url).context(
        "--power metrics does not work here: without it, use --power rapl or cpu-time on the server's machine",
    )?;
    let description = format!(
        "Triton's metrics endpoint {url}: nv_energy_consumption, interpolated between its updates. {JUDGED} The server \
         updates its metrics every 2 s unless --metrics-interval-ms is set, so periods of a few seconds are coarse. Whole \
         GPUs, including other processes; no CPU, no RAM."
    );
    // A counter that stands still is found out after 5 s.
    Ok(Meter::of("metrics", description, gpus, Duration::from_secs(6)))
}

fn open_cpu_time(server_pid: Option<u32>) -> Result<Meter> {
    let pid = server_pid.context(
        "--power cpu-time needs the server's process: the server must run on this machine, and be started by this tool, \
         or be the process tritonserver that listens on its port, or be given with --server-pid",
    )?;
    cpu_time::process_cpu_s(pid).with_context(|| {
        format!("--power cpu-time cannot read the CPU clock of process {pid}: is it the running server?")
    })?;
    let description = "CPU seconds, not energy: user and system time of the server's process and its children. No joules and \
                       no watts.";
    Ok(Meter::without_energy("cpu-time", description, vec![format!("process {pid}")]))
}

/// For sources that measure this machine, which is useless for a server on another one.
fn ensure_local(name: &str, around: &Surroundings) -> Result<()> {
    ensure!(
        around.server_is_local,
        "--power {name} measures this machine, but the server is not known to run on it: use --power metrics, or give \
         the server's process with --server-pid"
    );
    Ok(())
}

/// With the reasons why earlier ones do not work.
fn best(around: &Surroundings) -> Meter {
    let mut passed_over = String::new();
    for (name, choice) in [
        ("nvml", PowerChoice::Nvml),
        ("rapl", PowerChoice::Rapl),
        ("metrics", PowerChoice::Metrics),
        ("cpu-time", PowerChoice::CpuTime),
    ] {
        match open(choice, around) {
            Ok(meter) => return chosen(meter, &passed_over),
            Err(error) => passed_over += &format!(" Not {name}: {error:#}."),
        }
    }
    chosen(Meter::without_energy("none", "Energy was not measured.", Vec::new()), &passed_over)
}

fn chosen(mut meter: Meter, passed_over: &str) -> Meter {
    meter.source.description += &format!(" Chosen by --power auto.{passed_over}");
    meter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elsewhere() -> Surroundings {
        Surroundings {
            metrics_url: None,
            server_pid: None,
            server_is_local: false,
            powercap_root: PathBuf::from("no-such-powercap"),
            gpus: Vec::new(),
        }
    }

    #[test]
    fn auto_without_any_source_is_none_and_says_why() {
        let meter = open(PowerChoice::Auto, &elsewhere()).unwrap();
        let source = &meter.source;
        assert_eq!((source.name.as_str(), source.has_energy), ("none", false));
        for name in ["Not nvml: ", "Not rapl: ", "Not metrics: ", "Not cpu-time: "] {
            assert!(source.description.contains(name), "{}", source.description);
        }
        assert!(meter.devices.is_empty());
    }

    #[test]
    fn auto_takes_cpu_time_when_there_is_nothing_better() {
        let around = Surroundings { server_pid: Some(std::process::id()), ..elsewhere() };
        let source = open(PowerChoice::Auto, &around).unwrap().source;
        assert_eq!((source.name.as_str(), source.has_energy), ("cpu-time", false));
        assert!(source.description.contains("not energy"), "{}", source.description);
        assert!(source.description.contains("Not metrics: "), "{}", source.description);
    }

    #[test]
    fn a_source_asked_for_by_name_is_never_replaced() {
        for (choice, word) in [
            (PowerChoice::Nvml, "--power metrics"),
            (PowerChoice::Rapl, "--power metrics"),
            (PowerChoice::Metrics, "metrics endpoint"),
            (PowerChoice::CpuTime, "process"),
        ] {
            let error = open(choice, &elsewhere()).err().expect("nothing is there");
            assert!(format!("{error:#}").contains(word), "{choice:?}: {error:#}");
        }
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_do_instead() {
        let around = Surroundings { server_is_local: true, ..elsewhere() };
        let error = format!("{:#}", open(PowerChoice::Rapl, &around).err().unwrap());
        assert!(error.contains("use --power cpu-time") && error.contains("no-such-powercap"), "{error}");
        let url = Some("http://127.0.0.1:1/metrics".to_owned());
        let around = Surroundings { metrics_url: url, gpus: vec![0], ..elsewhere() };
        let error = format!("{:#}", open(PowerChoice::Metrics, &around).err().unwrap());
        assert!(error.contains("UUID"), "{error}");
        let error = format!("{:#}", open(PowerChoice::Metrics, &elsewhere()).err().unwrap());
        assert!(error.contains("8002/metrics"), "{error}");
        let around = Surroundings { server_pid: Some(u32::MAX), ..elsewhere() };
        let error = format!("{:#}", open(PowerChoice::CpuTime, &around).err().unwrap());
        assert!(error.contains(&format!("process {}", u32::MAX)), "{error}");
    }
}
