//! NVML: energy counter, power and state of this machine's NVIDIA GPUs.
//!
//! Each value is a call of its own, which takes 2.5 ms in the middle and 24 ms at the 99th percentile on an H100. Whole
//! boards are measured, including other processes; a MIG slice cannot be told apart. The GA100 and later report average
//! power over the last second; the power of the moment is read where the driver has it (field 186).

use std::sync::Arc;

use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::{NVML_FI_DEV_POWER_AVERAGE, NVML_FI_DEV_POWER_INSTANT};

use crate::clock::now_ns;
use crate::device::{Also, Device, Limits, Reading, State};
use crate::error::{Error, Result};

/// The driver's library.
pub const LIBRARY: &str = "libnvidia-ml.so.1";

const SECOND_NS: u64 = 1_000_000_000;

/// Measured on an H100: 98 to 102 ms.
const TICK_NS: u64 = 100_000_000;

/// Modules with several chips draw up to 2.7 kW.
const MOST_W: f64 = 5000.0;

/// Watts, average and instant.
type Power = (Result<f64, NvmlError>, Option<f64>);

/// What is called of NVML for one device.
trait Gpu: Send {
    /// Since the driver was loaded.
    fn millijoules(&self) -> Result<u64, NvmlError>;
    fn power(&self) -> Power;
    /// As far as the device reports it.
    fn state(&self) -> Option<State>;
}

struct NvmlGpu {
    nvml: Arc<Nvml>,
    index: u32,
}

impl NvmlGpu {
    fn fields(&self) -> Result<[Option<f64>; 2], NvmlError> {
        let ids = [FieldId(NVML_FI_DEV_POWER_AVERAGE), FieldId(NVML_FI_DEV_POWER_INSTANT)];
        let device = self.nvml.device_by_index(self.index)?;
        let mut fields =
            device.field_values_for(&ids)?.into_iter().map(|field| watts(field.ok()?.value.ok()?));
        Ok([fields.next().flatten(), fields.next().flatten()])
    }
}

/// The fields are in milliwatts.
fn watts(value: SampleValue) -> Option<f64> {
    let milliwatts = match value {
        SampleValue::F64(value) => value,
        SampleValue::U32(value) => f64::from(value),
        SampleValue::U64(value) => value as f64,
        SampleValue::I64(value) => value as f64,
    };
    Some(milliwatts / 1e3).filter(|watts| *watts > 0.0)
}

impl Gpu for NvmlGpu {
    fn millijoules(&self) -> Result<u64, NvmlError> {
        self.nvml.device_by_index(self.index)?.total_energy_consumption()
    }

    fn power(&self) -> Power {
        match self.fields() {
            Ok([Some(average), instant]) => (Ok(average), instant),
            // Drivers before these fields, and devices without them.
            fields => {
                let usage = self.nvml.device_by_index(self.index).and_then(|device| device.power_usage());
                (
                    usage.map(|milliwatts| f64::from(milliwatts) / 1e3),
                    fields.ok().and_then(|[_, instant]| instant),
                )
            }
        }
    }

    fn state(&self) -> Option<State> {
        let device = self.nvml.device_by_index(self.index).ok()?;
        let reasons = device.current_throttle_reasons().unwrap_or(ThrottleReasons::NONE);
        Some(State {
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

/// Opens the driver's library, usually [`LIBRARY`], and the GPUs with these NVML indices, or all if none are given.
///
/// # Errors
/// There is no driver, no GPU, no GPU of a given index, or one without energy and power readings.
pub fn open(library: &str, indices: &[u32]) -> Result<Vec<Box<dyn Device>>> {
    let (nvml, count) = load(library)?;
    let all: Vec<u32> = (0..count).collect();
    let chosen = if indices.is_empty() { &all } else { indices };
    chosen.iter().map(|&index| open_index(&nvml, index, count)).collect()
}

/// Opens the GPUs with these PCI bus ids, such as `00000000:1B:00.0`: what CUDA knows its devices by, which may be in
/// another order than NVML's.
///
/// # Errors
/// As [`open`].
pub fn open_by_pci_bus_id(library: &str, ids: &[&str]) -> Result<Vec<Box<dyn Device>>> {
    let (nvml, count) = load(library)?;
    let open = |id: &&str| {
        let index = nvml.device_by_pci_bus_id(*id).and_then(|device| device.index());
        open_index(&nvml, index.map_err(|error| unknown("PCI bus id", id, &error))?, count)
    };
    ids.iter().map(open).collect()
}

/// Opens the GPUs with these UUIDs, such as `GPU-5d5ba0d6-...`.
///
/// # Errors
/// As [`open`].
pub fn open_by_uuid(library: &str, uuids: &[&str]) -> Result<Vec<Box<dyn Device>>> {
    let (nvml, count) = load(library)?;
    let open = |uuid: &&str| {
        let index = nvml.device_by_uuid(*uuid).and_then(|device| device.index());
        open_index(&nvml, index.map_err(|error| unknown("UUID", uuid, &error))?, count)
    };
    uuids.iter().map(open).collect()
}

fn unknown(what: &str, id: &str, error: &NvmlError) -> Error {
    Error::new(format!("NVML finds no GPU with the {what} {id}: {error}. `nvidia-smi -q` lists them"))
}

fn load(library: &str) -> Result<(Arc<Nvml>, u32)> {
    let nvml = Nvml::builder().lib_path(library.as_ref()).init().map_err(|error| {
        Error::new(format!(
            "cannot open NVML: {library} comes with NVIDIA's driver and must be loadable (in a container, start it with \
             GPU access): {error}"
        ))
    })?;
    let count = nvml
        .device_count()
        .map_err(|error| Error::new(format!("NVML does not report the number of GPUs: {error}")))?;
    if count == 0 {
        return Err(Error::new("NVML finds no GPU that this process may use"));
    }
    Ok((Arc::new(nvml), count))
}

fn open_index(nvml: &Arc<Nvml>, index: u32, count: u32) -> Result<Box<dyn Device>> {
    if index >= count {
        return Err(Error::new(format!(
            "there is no GPU {index}: NVML has {count}, from 0 to {}",
            count - 1
        )));
    }
    let device = nvml
        .device_by_index(index)
        .map_err(|error| Error::new(format!("NVML cannot open GPU {index}: {error}")))?;
    let name = device.name().unwrap_or_else(|_| "GPU".to_owned());
    let uuid = device.uuid().unwrap_or_else(|_| "no UUID".to_owned());
    let gpu = NvmlGpu { nvml: nvml.clone(), index };
    Ok(Box::new(NvmlDevice::new(format!("GPU {index}: {name} ({uuid})"), Box::new(gpu))?))
}

struct NvmlDevice {
    name: String,
    gpu: Box<dyn Gpu>,
    has_counter: bool,
}

impl NvmlDevice {
    fn new(name: String, gpu: Box<dyn Gpu>) -> Result<Self> {
        let has_counter = match gpu.millijoules() {
            Ok(_) => true,
            Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_)) => false,
            Err(error) => {
                return Err(Error::new(format!("NVML cannot read the energy counter of {name}: {error}")));
            }
        };
        if !has_counter && let (Err(error), None) = gpu.power() {
            return Err(Error::new(format!(
                "{name} has neither an energy counter nor a power reading: {error}"
            )));
        }
        Ok(Self { name, gpu, has_counter })
    }
}

impl Device for NvmlDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        Limits {
            has_counter: self.has_counter,
            // 64 bits of millijoules.
            range_uj: None,
            tick_ns: TICK_NS,
            most_w: MOST_W,
            standstill_ns: SECOND_NS,
            blind_standstill_ns: 10 * SECOND_NS,
        }
    }

    fn read(&mut self, also: Also) -> Result<Reading> {
        let begin_ns = now_ns();
        let counter = self.has_counter.then(|| self.gpu.millijoules());
        let end_ns = now_ns();
        let power = also.power.then(|| self.gpu.power());
        let power_ns = end_ns + (now_ns() - end_ns) / 2;
        let mut fault = None;
        let mut known = |value: Option<Result<u64, NvmlError>>| match value? {
            Ok(value) => Some(value),
            Err(error) => {
                fault = Some(error.to_string());
                None
            }
        };
        let counter_uj = known(counter).map(|millijoules| millijoules.saturating_mul(1000));
        let (average_w, instant_w) = match power {
            Some((Ok(average), instant)) => (Some(average), instant),
            Some((Err(error), instant)) => {
                fault.get_or_insert(error.to_string());
                (None, instant)
            }
            None => (None, None),
        };
        if let Some(fault) = &fault
            && counter_uj.is_none()
            && average_w.or(instant_w).is_none()
        {
            return Err(Error::new(format!("NVML cannot read {}: {fault}", self.name)));
        }
        let state = also.state.then(|| self.gpu.state()).flatten();
        Ok(Reading { begin_ns, end_ns, counter_uj, power_ns, average_w, instant_w, state, fault })
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
        millijoules: Option<u64>,
        average_w: Option<f64>,
        instant_w: Option<f64>,
        lost: bool,
    }

    impl MadeUpGpu {
        fn new(millijoules: Option<u64>, average_w: Option<f64>) -> Self {
            Self(Arc::new(Mutex::new(MadeUp { millijoules, average_w, instant_w: None, lost: false })))
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
        fn millijoules(&self) -> Result<u64, NvmlError> {
            self.tell(|gpu| gpu.millijoules)
        }

        fn power(&self) -> Power {
            (self.tell(|gpu| gpu.average_w), self.tell(|gpu| gpu.instant_w).ok())
        }

        fn state(&self) -> Option<State> {
            Some(State { temperature_c: Some(50.0), ..State::default() })
        }
    }

    const ALL: Also = Also { power: true, state: true };

    fn device(gpu: &MadeUpGpu) -> Result<NvmlDevice> {
        NvmlDevice::new("made-up".to_owned(), Box::new(gpu.clone()))
    }

    #[test]
    fn counter_power_and_state_are_read_with_their_times() {
        let gpu = MadeUpGpu::new(Some(100), Some(70.0));
        gpu.0.lock().unwrap().instant_w = Some(80.0);
        let mut device = device(&gpu).unwrap();
        let before = now_ns();
        let reading = device.read(ALL).unwrap();
        assert_eq!(reading.counter_uj, Some(100_000));
        assert_eq!((reading.average_w, reading.instant_w), (Some(70.0), Some(80.0)));
        assert_eq!(reading.state.unwrap().temperature_c, Some(50.0));
        assert!(before <= reading.begin_ns && reading.begin_ns <= reading.end_ns);
        assert!(reading.end_ns <= reading.power_ns && reading.power_ns <= now_ns());
        let only = device.read(Also::default()).unwrap();
        assert_eq!((only.average_w, only.instant_w, only.state, only.fault), (None, None, None, None));
    }

    #[test]
    fn a_device_without_a_counter_has_power_and_one_without_both_is_refused() {
        let mut device_with = device(&MadeUpGpu::new(None, Some(50.0))).unwrap();
        assert!(!device_with.limits().has_counter);
        let reading = device_with.read(ALL).unwrap();
        assert_eq!((reading.counter_uj, reading.average_w), (None, Some(50.0)));
        let error = device(&MadeUpGpu::new(None, None)).err().unwrap().to_string();
        assert!(error.contains("made-up has neither"), "{error}");
    }

    #[test]
    fn a_lost_device_is_an_error_with_its_name_and_a_lost_value_is_told() {
        let gpu = MadeUpGpu::new(Some(1), Some(50.0));
        let mut device = device(&gpu).unwrap();
        gpu.0.lock().unwrap().millijoules = None;
        let reading = device.read(ALL).unwrap();
        assert_eq!((reading.counter_uj, reading.average_w), (None, Some(50.0)));
        assert!(reading.fault.is_some());
        gpu.0.lock().unwrap().lost = true;
        let error = device.read(ALL).unwrap_err().to_string();
        assert!(error.contains("made-up") && error.contains("fell off the bus"), "{error}");
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
        for open in [
            |library| open(library, &[]),
            |library| open_by_uuid(library, &["GPU-1"]),
            |library| open_by_pci_bus_id(library, &["0000:1B:00.0"]),
        ] {
            let error = open("libnvidia-ml-of-nowhere.so.1").err().unwrap().to_string();
            assert!(error.contains("libnvidia-ml-of-nowhere.so.1 comes with"), "{error}");
        }
    }
}
