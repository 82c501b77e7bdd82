//! The interface of a power source.

use std::time::Duration;

use anyhow::Result;

use super::device::DeviceSample;
use crate::results::PowerSource;

/// The reading of a meter at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Energy since an arbitrary start, in joules; never decreases. Absent if the source has none, or no newer value
    /// than before.
    pub joules: Option<f64>,
    /// The state of the devices, if the source reports it.
    pub device: Option<DeviceSample>,
}

/// A power source.
pub trait Meter: Send {
    /// Its description.
    fn source(&self) -> PowerSource;

    /// Time between two readings.
    fn interval(&self) -> Duration;

    /// How long to wait for a newer energy value. A period that ends without one has no energy.
    fn patience(&self) -> Duration {
        self.interval() * 20
    }

    /// Reads it.
    ///
    /// # Errors
    /// The source does not respond, or its devices have changed.
    fn read(&mut self) -> Result<Reading>;
}
