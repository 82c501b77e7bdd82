//! What a judge makes of readings.

/// The energy of a device up to a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// When: a tick of the counter, or a reading of power.
    pub ns: u64,
    /// Energy since the first point, in microjoules. Never less than at the point before.
    pub uj: u64,
    /// How far the moment may be off to either side.
    pub slack_ns: u64,
}

/// What a reading says about the energy of its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Energy is known up to here, from the point before on, unless a gap lies between.
    Point(Point),
    /// The counter is no longer believed, for good: power is integrated from the last point on.
    Dropped {
        /// Points from here on were of the counter, which was wrong by then.
        since_ns: u64,
        /// When it was noticed.
        ns: u64,
        /// With both numbers: what the counter said and what power said.
        reason: String,
    },
    /// Energy is unknown from here on. [`Event::Gap`] follows once it is known again.
    Lost {
        /// The last point, or the first try to read.
        since_ns: u64,
        /// Why.
        reason: String,
    },
    /// Energy was unknown between these moments, and is known again. The points at both have the same energy, which is
    /// not to say that none was used.
    Gap {
        /// The last point before.
        from_ns: u64,
        /// The first point after.
        to_ns: u64,
        /// Why.
        reason: String,
    },
}
