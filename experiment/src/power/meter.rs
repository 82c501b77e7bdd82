//! A power source: its devices, and what the report says of it.

use std::fmt::Write;
use std::time::Duration;

use power_meter::{Books, Device, interval_ns};

use crate::results::PowerSource;

/// A power source, opened.
pub struct Meter {
    /// For the report.
    pub source: PowerSource,
    /// None if it has no energy.
    pub devices: Vec<Box<dyn Device>>,
    /// How long to wait for a newer energy value. A period that ends without one has no energy.
    pub patience: Duration,
}

impl Meter {
    /// A source with energy.
    pub(super) fn of(
        name: &str,
        description: String,
        devices: Vec<Box<dyn Device>>,
        patience: Duration,
    ) -> Self {
        let limits: Vec<_> = devices.iter().map(|device| device.limits()).collect();
        let interval = limits.iter().map(|limits| interval_ns(limits.tick_ns, true, 0)).min().unwrap_or(0);
        let mut description = description;
        let by_power: Vec<_> = devices
            .iter()
            .zip(&limits)
            .filter(|(_, limits)| !limits.has_counter)
            .map(|(device, _)| device.name())
            .collect();
        if !by_power.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(
                description,
                " Without an energy counter, so power is integrated with the trapezoidal rule and shorter peaks are \
                 missed: {}.",
                by_power.join(", ")
            );
        }
        let source = PowerSource {
            name: name.to_owned(),
            description,
            devices: devices.iter().map(|device| device.name().to_owned()).collect(),
            has_energy: true,
            interval_s: interval as f64 / 1e9,
            learnt: Vec::new(),
        };
        Self { source, devices, patience }
    }

    /// A source without energy: nothing to read beyond the CPU times, which are always sampled.
    pub(super) fn without_energy(name: &str, description: &str, devices: Vec<String>) -> Self {
        let source = PowerSource {
            name: name.to_owned(),
            description: description.to_owned(),
            devices,
            has_energy: false,
            interval_s: 0.05,
            learnt: Vec::new(),
        };
        Self { source, devices: Vec::new(), patience: Duration::from_secs(2) }
    }
}

/// What readings have shown of each device: its tick, what a reading costs, where its energy is from.
pub(super) fn learnt(books: &Books) -> Vec<String> {
    let ms = |ns: u64| format!("{:.1} ms", ns as f64 / 1e6);
    let line = |account: &power_meter::Account| {
        let tick = match account.tick_ns() {
            Some(tick) => format!("its counter moves every {}", ms(tick)),
            None => "no reading was close enough to another to tell its counter's tick".to_owned(),
        };
        let basis = match account.basis() {
            power_meter::Basis::Counter => format!("energy from its counter; {tick}"),
            power_meter::Basis::Power => "energy integrated from power".to_owned(),
        };
        let cost = account.cost_ns().map_or(String::new(), |(median, most)| {
            format!("; a reading takes {}, {} at the 99th percentile", ms(median), ms(most))
        });
        format!("{}: {basis}{cost}", account.name())
    };
    books.accounts.iter().map(line).collect()
}
