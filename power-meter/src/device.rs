//! The interface of a meter, at the edge: one object for each device.

use crate::error::Result;

/// One device that measures energy or power.
pub trait Device: Send {
    /// For people, for example `GPU 0: NVIDIA H100 (GPU-...)`.
    fn name(&self) -> &str;

    /// What its readings are held against.
    fn limits(&self) -> Limits;

    /// Reads it. Takes microseconds to tens of milliseconds: never on the path of a request.
    ///
    /// # Errors
    /// The device gives neither energy nor power. The message names it.
    fn read(&mut self, also: Also) -> Result<Reading>;
}

/// What to read beside the counter. Each costs another call, with NVML milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Also {
    /// Power, average and instant.
    pub power: bool,
    /// Temperature, clocks and throttling.
    pub state: bool,
}

/// What a device said at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Just before the counter was read.
    pub begin_ns: u64,
    /// Just after it.
    pub end_ns: u64,
    /// The energy counter in microjoules, as the device has it: it may stand still, fall or wrap around.
    pub counter_uj: Option<u64>,
    /// When power was read.
    pub power_ns: u64,
    /// Power in watts, averaged by the device over a time of its own, up to a second.
    pub average_w: Option<f64>,
    /// Power in watts, of the moment.
    pub instant_w: Option<f64>,
    /// Where the device has it and it was asked for.
    pub state: Option<State>,
    /// Why the counter or power is absent, in the device's words.
    pub fault: Option<String>,
}

impl Reading {
    /// Power to believe, in watts: instant, or else average. No device that runs draws 0 W: a driver that says so cannot
    /// tell. Neither can one whose value is not a number, negative or beyond `most_w`.
    pub fn watts(&self, most_w: f64) -> Option<f64> {
        [self.instant_w, self.average_w].into_iter().flatten().find(|&watts| watts > 0.0 && watts <= most_w)
    }
}

/// What the readings of a device are held against.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Whether the device has an energy counter.
    pub has_counter: bool,
    /// The value at which the counter wraps around to 0, in microjoules; none if it never does, or if it is unknown: then
    /// a counter that falls was reset.
    pub range_uj: Option<u64>,
    /// The time between two moves of the counter, until it is learnt.
    pub tick_ns: u64,
    /// No such device draws more: a power beyond it is no reading, a counter that grows faster is wrong. In watts.
    pub most_w: f64,
    /// A counter that stands still for so long, and for two ticks and a half, is not believed if power says more than 20 W all the while. After ten
    /// times as long any power will do, because a device that works never stands still.
    pub standstill_ns: u64,
    /// The same where there is no power to compare with.
    pub blind_standstill_ns: u64,
}

/// The state of a device at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Degrees Celsius.
    pub temperature_c: Option<f64>,
    /// Clock of the cores (NVML: SM clock) in MHz.
    pub clock_mhz: Option<f64>,
    /// Clock of the memory in MHz.
    pub memory_clock_mhz: Option<f64>,
    /// Why clocks are throttled, without duplicates. Idling is not a reason.
    pub throttle_reasons: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_power_is_no_reading() {
        let watts =
            |instant_w, average_w| Reading { instant_w, average_w, ..Reading::default() }.watts(5000.0);
        assert_eq!(watts(Some(100.0), Some(90.0)), Some(100.0));
        for useless in [0.0, -0.0, -5.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5001.0] {
            assert_eq!(watts(Some(useless), Some(90.0)), Some(90.0), "{useless}");
            assert_eq!(watts(Some(useless), None), None, "{useless}");
            assert_eq!(watts(None, Some(useless)), None, "{useless}");
        }
        assert_eq!(watts(None, None), None);
    }
}
