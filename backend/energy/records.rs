//! Executions that wait for their ticks.

use super::front::{Measured, Told};

/// A model and a batch size, by a number that the caller gives and never gives again in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(pub u64);

/// An execution, or several of one class that were put together, as far as no tick has reached them.
#[derive(Clone, Debug)]
pub struct Record {
    pub class: Class,
    /// How many executions it stands for.
    pub count: u64,
    /// The begin of what no tick has reached yet.
    from_ns: u64,
    /// None as long as it runs.
    end_ns: Option<u64>,
    /// How much of the time from `from_ns` on something ran: all of it, or not, if several were put together.
    busy_ns: u64,
    /// The length of the executions.
    pub length_ns: u64,
    /// Booked for it.
    pub booked_uj: u128,
    /// The time that is for.
    pub measured_ns: u64,
    /// The time for which there is no meter.
    gap_ns: u64,
    /// What the responses said.
    pub told: Told,
}

impl Record {
    /// One that runs since then; ticks up to `booked_ns` are booked already, without it.
    pub fn start(class: Class, start_ns: u64, booked_ns: u64) -> Self {
        Self {
            class,
            count: 1,
            from_ns: start_ns.max(booked_ns),
            end_ns: None,
            busy_ns: 0,
            length_ns: 0,
            booked_uj: 0,
            measured_ns: 0,
            gap_ns: 0,
            told: Told::default(),
        }
    }

    /// It has ended. If its last tick is booked up to a later time, so be it: what is booked stays booked.
    pub fn end(&mut self, start_ns: u64, end_ns: u64, told: Told) {
        self.length_ns = end_ns.saturating_sub(start_ns);
        self.busy_ns = end_ns.saturating_sub(self.from_ns);
        self.end_ns = Some(end_ns);
        self.told = told;
    }

    /// The time in which it ran between what is booked and `until_ns`.
    pub fn time(&self, until_ns: u64) -> u64 {
        let Some(end_ns) = self.end_ns else { return until_ns.saturating_sub(self.from_ns) };
        let part = end_ns.min(until_ns).saturating_sub(self.from_ns);
        let span = end_ns.saturating_sub(self.from_ns);
        // Of one execution, the part itself.
        if part == span {
            self.busy_ns
        } else {
            (u128::from(self.busy_ns) * u128::from(part) / u128::from(span)) as u64
        }
    }

    /// Up to that time it is booked: with so much, or, where there is no meter, with nothing.
    pub fn book(&mut self, until_ns: u64, uj: Option<u64>) {
        let time = self.time(until_ns);
        match uj {
            Some(uj) => {
                self.booked_uj += u128::from(uj);
                self.measured_ns = self.measured_ns.saturating_add(time);
            }
            None => self.gap_ns = self.gap_ns.saturating_add(time),
        }
        self.busy_ns = self.busy_ns.saturating_sub(time);
        self.from_ns = self.from_ns.max(until_ns.min(self.end_ns.unwrap_or(u64::MAX)));
    }

    /// Whether no tick after that time has a part of it.
    pub fn is_over(&self, booked_ns: u64) -> bool {
        self.end_ns.is_some_and(|end| end <= booked_ns)
    }

    /// What is measured so far.
    pub fn measured(&self) -> Measured {
        Measured { uj: u64::try_from(self.booked_uj).unwrap_or(u64::MAX), ns: self.measured_ns }
    }

    /// Whether ticks held exactly the time that it took, so that what is booked is its cost.
    pub fn is_whole(&self) -> bool {
        self.length_ns > 0 && self.measured_ns == self.length_ns
    }

    /// What was told without the correction, which others owed.
    pub fn base_uj(&self) -> i128 {
        i128::from(self.told.uj) - i128::from(self.told.correction_uj)
    }

    /// What of the estimate was for the time without a meter: no tick will ever answer for it.
    pub fn lost_uj(&self) -> u64 {
        let unmeasured = self.told.unmeasured_ns;
        let gap = self.gap_ns.min(unmeasured);
        match unmeasured {
            0 => 0,
            _ => (u128::from(self.told.estimate_uj) * u128::from(gap) / u128::from(unmeasured)) as u64,
        }
    }

    /// When it ended, or the end of time.
    pub fn end_ns(&self) -> u64 {
        self.end_ns.unwrap_or(u64::MAX)
    }

    /// Puts two of one class that have ended together. False if they are not, or if their sums do not fit: they are left
    /// as they are.
    pub fn absorb(&mut self, other: &Self) -> bool {
        let (Some(end), Some(other_end)) = (self.end_ns, other.end_ns) else { return false };
        let sums = || {
            Some(Self {
                class: self.class,
                count: self.count.checked_add(other.count)?,
                from_ns: self.from_ns.min(other.from_ns),
                end_ns: Some(end.max(other_end)),
                busy_ns: self.busy_ns.checked_add(other.busy_ns)?,
                length_ns: self.length_ns.checked_add(other.length_ns)?,
                booked_uj: self.booked_uj.checked_add(other.booked_uj)?,
                measured_ns: self.measured_ns.checked_add(other.measured_ns)?,
                gap_ns: self.gap_ns.checked_add(other.gap_ns)?,
                told: Told {
                    uj: self.told.uj.checked_add(other.told.uj)?,
                    measured_uj: self.told.measured_uj.checked_add(other.told.measured_uj)?,
                    estimate_uj: self.told.estimate_uj.checked_add(other.told.estimate_uj)?,
                    unmeasured_ns: self.told.unmeasured_ns.checked_add(other.told.unmeasured_ns)?,
                    correction_uj: self.told.correction_uj.checked_add(other.told.correction_uj)?,
                    error_uj: 0,
                },
            })
        };
        let merged = if self.class == other.class { sums() } else { None };
        let fits = merged.is_some();
        if let Some(merged) = merged {
            *self = merged;
        }
        fits
    }
}
