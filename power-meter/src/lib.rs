//! Energy of GPUs and CPU packages over time, in integer microjoules.
//!
//! A [`Device`] is one meter at the edge: it reads a counter and power, which takes microseconds (RAPL) to tens of
//! milliseconds (NVML), so that a thread of its own has to do it. Everything else is pure: a [`Judge`] decides which of
//! a device's readings to believe and turns them into [`Point`]s of a growing energy, a [`Curve`] tells the energy of a
//! window between points, an [`Account`] is both for one device, and [`Books`] are the accounts of all devices.
//!
//! ```
//! use power_meter::{Also, Books, clock, rapl};
//!
//! let mut devices = rapl::open("/sys/class/powercap".as_ref()).unwrap_or_default();
//! let mut books = Books::new(&devices);
//! for (index, device) in devices.iter_mut().enumerate() {
//!     let reading = device.read(Also { power: true, state: false });
//!     books.accounts[index].take(reading, clock::now_ns());
//! }
//! let now = clock::now_ns();
//! match books.energy(now - 1_000_000_000, now) {
//!     Ok(energy) => println!("{} µJ, wrong by at most about {} µJ", energy.uj, energy.error_uj),
//!     Err(missing) => println!("no energy: {missing}"),
//! }
//! ```
//!
//! All times are nanoseconds of `CLOCK_MONOTONIC`, the clock of Triton's own time stamps.
//!
//! | module | source | counter moves every | a reading costs | measures |
//! |---|---|---|---|---|
//! | [`nvml`] | NVIDIA's driver | 98 to 102 ms (H100) | 2.5 ms, 24 ms at the 99th percentile (H100) | a whole GPU board, including other processes |
//! | [`rapl`] | Linux powercap | 1 ms | tens of microseconds | a CPU package, or its DRAM, including everything that runs on it |
//! | `metrics` | Triton's metrics endpoint | 2 s, or `--metrics-interval-ms` | a request over HTTP | as NVML, also on another machine |
//! | `cpu_time` | the kernel | - | microseconds | CPU time of a process: no energy |
//!
//! The values of the table are where a meter starts. Tick and cost are then learnt from the readings:
//! [`Judge::tick_ns`], [`Account::cost_ns`].

#![forbid(unsafe_code)]

mod account;
pub mod clock;
#[cfg(feature = "cpu-time")]
pub mod cpu_time;
mod curve;
mod device;
mod error;
mod event;
mod judge;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod nvml;
mod pace;
pub mod rapl;
mod recent;

pub use account::{Account, Books, Notice};
pub use curve::{Curve, Energy, Missing};
pub use device::{Also, Device, Limits, Reading, State};
pub use error::{Error, Result};
pub use event::{Event, Point};
pub use judge::{Basis, Judge};
pub use pace::interval_ns;

#[cfg(test)]
mod simulation;
