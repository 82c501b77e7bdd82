//! Energy, CPU time and temperatures, on the same clock as the windows.
//!
//! A [`Meter`] reads one power source. The [`Sampler`] reads it in the background, together with the CPU time of the
//! server and of this tool, and computes the consumption between two times.

mod counters;
mod cpu_time;
mod device;
mod meter;
mod metrics;
mod nvml;
mod rapl;
mod sampler;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::plan::PowerChoice;
use crate::results::PowerSource;
pub use device::DeviceSample;
pub use meter::{Meter, Reading};
pub use sampler::Sampler;

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
pub fn open(choice: PowerChoice, around: &Surroundings) -> Result<Box<dyn Meter>> {
    match choice {
        PowerChoice::Auto => Ok(best(around)),
        PowerChoice::Nvml => {
            ensure_local("nvml", around)?;
            Ok(Box::new(nvml::open(nvml::LIBRARY, &around.gpus)?))
        }
        PowerChoice::Rapl => {
            ensure_local("rapl", around)?;
            Ok(Box::new(rapl::Rapl::open(&around.powercap_root)?))
        }
        PowerChoice::Metrics => {
            Ok(Box::new(metrics::Metrics::open(around.metrics_url.as_deref(), &around.gpus)?))
        }
        PowerChoice::CpuTime => Ok(Box::new(cpu_time::NoEnergy::cpu_time(around.server_pid)?)),
        PowerChoice::None => Ok(Box::new(cpu_time::NoEnergy::none())),
    }
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

fn best(around: &Surroundings) -> Box<dyn Meter> {
    let mut passed_over = String::new();
    for (name, choice) in [
        ("nvml", PowerChoice::Nvml),
        ("rapl", PowerChoice::Rapl),
        ("metrics", PowerChoice::Metrics),
        ("cpu-time", PowerChoice::CpuTime),
    ] {
        match open(choice, around) {
            Ok(meter) => return Box::new(Chosen { meter, passed_over }),
            Err(error) => passed_over += &format!(" Not {name}: {error:#}."),
        }
    }
    Box::new(Chosen { meter: Box::new(cpu_time::NoEnergy::none()), passed_over })
}

/// A meter that `auto` chose, with the reasons why earlier ones do not work.
struct Chosen {
    meter: Box<dyn Meter>,
    passed_over: String,
}

impl Meter for Chosen {
    fn source(&self) -> PowerSource {
        let mut source = self.meter.source();
        source.description += &format!(" Chosen by --power auto.{}", self.passed_over);
        source
    }

    fn interval(&self) -> Duration {
        self.meter.interval()
    }

    fn patience(&self) -> Duration {
        self.meter.patience()
    }

    fn read(&mut self) -> Result<Reading> {
        self.meter.read()
    }
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
        let mut meter = open(PowerChoice::Auto, &elsewhere()).unwrap();
        let source = meter.source();
        assert_eq!((source.name.as_str(), source.has_energy), ("none", false));
        for name in ["Not nvml: ", "Not rapl: ", "Not metrics: ", "Not cpu-time: "] {
            assert!(source.description.contains(name), "{}", source.description);
        }
        assert_eq!(meter.read().unwrap(), Reading::default());
    }

    #[test]
    fn auto_takes_cpu_time_when_there_is_nothing_better() {
        let around = Surroundings { server_pid: Some(std::process::id()), ..elsewhere() };
        let source = open(PowerChoice::Auto, &around).unwrap().source();
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
}
