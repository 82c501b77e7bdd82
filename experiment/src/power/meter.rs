//! What every power source is.

use std::time::Duration;

use anyhow::Result;

use super::device::DeviceSample;
use crate::results::PowerSource;

/// What a meter says at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Energy since an arbitrary start, in joules; never falls. Absent when the source has none, or none newer
    /// than the last.
    pub joules: Option<f64>,
    /// The devices' state, where the source tells.
    pub device: Option<DeviceSample>,
}

/// A power source.
pub trait Meter: Send {
    /// What it is.
    fn source(&self) -> PowerSource;

    /// Time between two readings.
    fn interval(&self) -> Duration;

    /// How long a newer energy may take to come; a stretch that has none after that long stays without.
    fn patience(&self) -> Duration {
        self.interval() * 20
    }

    /// What it says now.
    ///
    /// # Errors
    /// When the source does not answer, or not with what it answered at first.
    fn read(&mut self) -> Result<Reading>;
}
