//! NVML: the energy counters of this machine's NVIDIA GPUs, or their integrated power.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::error::NvmlError;

use super::counters::{Counters, Trapezoid};
use super::device::DeviceSample;
use super::meter::{Meter, Reading};
use crate::clock;
use crate::results::PowerSource;

/// The driver's library.
pub(super) const LIBRARY: &str = "libnvidia-ml.so.1";

/// About the update interval of the devices.
const INTERVAL: Duration = Duration::from_millis(100);

/// One device.
trait Gpu: Send {
    /// Since an arbitrary start.
    fn joules(&self) -> Result<f64, NvmlError>;
    fn watts(&self) -> Result<f64, NvmlError>;
    /// As far as the device reports it.
    fn state(&self) -> Result<DeviceSample, NvmlError>;
}

struct NvmlGpu {
    nvml: Arc<Nvml>,
    index: u32,
}

impl Gpu for NvmlGpu {
    fn joules(&self) -> Result<f64, NvmlError> {
        Ok(self.nvml.device_by_index(self.index)?.total_energy_consumption()? as f64 / 1e3)
    }

    fn watts(&self) -> Result<f64, NvmlError> {
        Ok(f64::from(self.nvml.device_by_index(self.index)?.power_usage()?) / 1e3)
    }

    fn state(&self) -> Result<DeviceSample, NvmlError> {
        let device = self.nvml.device_by_index(self.index)?;
        let reasons = device.current_throttle_reasons().unwrap_or(ThrottleReasons::NONE);
        Ok(DeviceSample {
            temperature_c: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
            clock_mhz: device.clock_info(Clock::SM).ok().map(f64::from),
            memory_clock_mhz: device.clock_info(Clock::Memory).ok().map(f64::from),
            throttle_reasons: names(reasons),
        })
    }
}

/// NVML's terms, in lower case.
fn names(reasons: ThrottleReasons) -> Vec<String> {
    let throttling = reasons.difference(ThrottleReasons::GPU_IDLE);
    throttling.iter_names().map(|(name, _)| name.to_lowercase().replace('_', " ")).collect()
}

/// How energy is measured.
enum Energy {
    Counted(Counters),
    Integrated(Trapezoid),
}

/// The NVML meter.
pub(super) struct NvmlMeter {
    gpus: Vec<Box<dyn Gpu>>,
    names: Vec<String>,
    energy: Energy,
}

/// Opens the driver's library and the GPUs with these NVML indices, or all if none are given.
///
/// # Errors
/// There is no driver, no GPU, no GPU of a given index, or one without energy and power readings.
pub(super) fn open(library: &str, wanted: &[u32]) -> Result<NvmlMeter> {
    let nvml = Nvml::builder().lib_path(library.as_ref()).init().with_context(|| {
        format!(
            "cannot open NVML: {library} comes with NVIDIA's driver and must be loadable (in a container, start it with \
             GPU access). Without a GPU, use --power rapl or cpu-time"
        )
    })?;
    let count = nvml.device_count().context("NVML does not report the number of GPUs")?;
    ensure!(
        count > 0,
        "NVML finds no GPU that this process may use; without one, use --power rapl or cpu-time"
    );
    let chosen = if wanted.is_empty() { (0..count).collect() } else { wanted.to_vec() };
    let nvml = Arc::new(nvml);
    let mut gpus: Vec<(String, Box<dyn Gpu>)> = Vec::new();
    for index in chosen {
        ensure!(index < count, "there is no GPU {index}: NVML has {count}, from 0 to {}", count - 1);
        let device = nvml.device_by_index(index).with_context(|| format!("NVML cannot open GPU {index}"))?;
        let name = device.name().unwrap_or_else(|_| "GPU".to_owned());
        let uuid = device.uuid().unwrap_or_else(|_| "no UUID".to_owned());
        gpus.push((format!("GPU {index}: {name} ({uuid})"), Box::new(NvmlGpu { nvml: nvml.clone(), index })));
    }
    NvmlMeter::new(gpus)
}

impl NvmlMeter {
    fn new(gpus: Vec<(String, Box<dyn Gpu>)>) -> Result<Self> {
        let (names, gpus): (Vec<_>, Vec<_>) = gpus.into_iter().unzip();
        // One method for all devices, because counted and integrated energy differ.
        let counted: Result<Vec<_>, _> = gpus.iter().map(|gpu| gpu.joules()).collect();
        let energy = match counted {
            Ok(first) => Energy::Counted(Counters::new(first)),
            Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_)) => {
                for (gpu, name) in gpus.iter().zip(&names) {
                    gpu.watts().with_context(|| {
                        format!(
                            "{name} has neither an energy counter nor a power reading: use --power cpu-time"
                        )
                    })?;
                }
                Energy::Integrated(Trapezoid::default())
            }
            Err(error) => bail!("NVML cannot read the GPUs' energy counters: {error}"),
        };
        Ok(Self { gpus, names, energy })
    }

    fn each<T>(&self, read: impl Fn(&dyn Gpu) -> Result<T, NvmlError>) -> Result<Vec<T>> {
        let named = self.gpus.iter().zip(&self.names);
        named
            .map(|(gpu, name)| read(gpu.as_ref()).with_context(|| format!("NVML cannot read {name}")))
            .collect()
    }
}

impl Meter for NvmlMeter {
    fn source(&self) -> PowerSource {
        let ms = INTERVAL.as_millis();
        let how = match self.energy {
            Energy::Counted(_) => format!(
                "the devices' energy counters, read every {ms} ms; a counter may lag by some tens of milliseconds, which \
                 matters in periods of less than a second"
            ),
            Energy::Integrated(_) => format!(
                "power, sampled every {ms} ms and integrated with the trapezoidal rule, because not every device has an \
                 energy counter; shorter peaks are missed, and devices newer than the GA100 report the average of the \
                 last second, so a period includes part of the one before"
            ),
        };
        PowerSource {
            name: "nvml".to_owned(),
            description: format!("NVML: {how}. Whole GPU boards, including other processes; no CPU, no RAM."),
            devices: self.names.clone(),
            has_energy: true,
            interval_s: INTERVAL.as_secs_f64(),
        }
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn read(&mut self) -> Result<Reading> {
        let joules = match self.energy {
            Energy::Counted(_) => self.each(|gpu| gpu.joules())?,
            Energy::Integrated(_) => self.each(|gpu| gpu.watts())?,
        };
        let joules = match &mut self.energy {
            Energy::Counted(counters) => counters.sum(&self.names, joules)?.0,
            Energy::Integrated(energy) => energy.add(clock::now_ns(), joules.iter().sum()),
        };
        let device = self.each(|gpu| gpu.state())?.into_iter().reduce(DeviceSample::and);
        Ok(Reading { joules: Some(joules), device })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A made-up device.
    #[derive(Clone)]
    struct MadeUpGpu(Arc<Mutex<MadeUp>>);

    struct MadeUp {
        joules: Option<f64>,
        watts: Option<f64>,
        temperature_c: f64,
        lost: bool,
    }

    impl MadeUpGpu {
        fn new(joules: Option<f64>, watts: Option<f64>) -> Self {
            Self(Arc::new(Mutex::new(MadeUp { joules, watts, temperature_c: 50.0, lost: false })))
        }

        fn tell<T>(&self, value: impl Fn(&MadeUp) -> Option<T>) -> Result<T, NvmlError> {
            let made_up = self.0.lock().unwrap();
            if made_up.lost {
                return Err(NvmlError::GpuLost);
            }
            value(&made_up).ok_or(NvmlError::NotSupported)
        }
    }

    impl Gpu for MadeUpGpu {
        fn joules(&self) -> Result<f64, NvmlError> {
            self.tell(|gpu| gpu.joules)
        }

        fn watts(&self) -> Result<f64, NvmlError> {
            self.tell(|gpu| gpu.watts)
        }

        fn state(&self) -> Result<DeviceSample, NvmlError> {
            self.tell(|gpu| {
                Some(DeviceSample { temperature_c: Some(gpu.temperature_c), ..Default::default() })
            })
        }
    }

    fn meter(gpus: &[&MadeUpGpu]) -> Result<NvmlMeter> {
        let gpus = gpus.iter().enumerate();
        NvmlMeter::new(
            gpus.map(|(index, &gpu)| (format!("made-up {index}"), Box::new(gpu.clone()) as _)).collect(),
        )
    }

    #[test]
    fn energy_counters_are_added_up() {
        let (one, two) = (MadeUpGpu::new(Some(100.0), None), MadeUpGpu::new(Some(1000.0), None));
        let mut meter = meter(&[&one, &two]).unwrap();
        assert!(meter.source().description.contains("energy counters"), "{}", meter.source().description);
        assert_eq!(meter.source().devices, ["made-up 0", "made-up 1"]);
        let first = meter.read().unwrap().joules.unwrap();
        one.0.lock().unwrap().joules = Some(130.0);
        two.0.lock().unwrap().joules = Some(1004.0);
        two.0.lock().unwrap().temperature_c = 80.0;
        let second = meter.read().unwrap();
        assert_eq!(second.joules.unwrap() - first, 34.0);
        assert_eq!(second.device.unwrap().temperature_c, Some(80.0));
    }

    #[test]
    fn power_is_integrated_when_one_device_has_no_counter() {
        let (one, two) = (MadeUpGpu::new(Some(9e9), Some(100.0)), MadeUpGpu::new(None, Some(50.0)));
        let mut meter = meter(&[&one, &two]).unwrap();
        assert!(meter.source().description.contains("trapezoidal"), "{}", meter.source().description);
        let before = clock::now_ns();
        assert_eq!(meter.read().unwrap().joules, Some(0.0));
        std::thread::sleep(Duration::from_millis(50));
        let joules = meter.read().unwrap().joules.unwrap();
        let most = 150.0 * clock::seconds(clock::now_ns() - before);
        assert!(joules >= 150.0 * 0.05 && joules <= most, "{joules} J, at most {most} J");
    }

    #[test]
    fn a_device_without_energy_and_power_is_refused() {
        let (one, two) = (MadeUpGpu::new(None, Some(1.0)), MadeUpGpu::new(None, None));
        let error = meter(&[&one, &two]).err().unwrap().to_string();
        assert!(error.contains("made-up 1 has neither"), "{error}");
    }

    #[test]
    fn a_lost_device_is_an_error_with_its_name() {
        let gpu = MadeUpGpu::new(Some(1.0), None);
        let mut meter = meter(&[&gpu]).unwrap();
        gpu.0.lock().unwrap().lost = true;
        let error = format!("{:#}", meter.read().unwrap_err());
        assert!(error.contains("made-up 0") && error.contains("fell off the bus"), "{error}");
    }

    #[test]
    fn being_idle_is_no_throttling() {
        assert!(names(ThrottleReasons::GPU_IDLE).is_empty());
        let both =
            ThrottleReasons::GPU_IDLE | ThrottleReasons::SW_POWER_CAP | ThrottleReasons::HW_THERMAL_SLOWDOWN;
        assert_eq!(names(both), ["sw power cap", "hw thermal slowdown"]);
    }

    #[test]
    fn a_missing_library_is_named() {
        let error = format!("{:#}", open("libnvidia-ml-of-nowhere.so.1", &[]).err().unwrap());
        assert!(error.contains("libnvidia-ml-of-nowhere.so.1 comes with"), "{error}");
    }
}
