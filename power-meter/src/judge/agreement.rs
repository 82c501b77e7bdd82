//! Whether a counter agrees with power, over stretches of steady load.

use crate::clock::seconds;

/// The least length of a stretch.
const STRETCH_NS: u64 = 10_000_000_000;

/// Steady: the mean powers of parts of this length...
const PART_NS: u64 = 1_000_000_000;

/// ...lie within so much of the middle of them all, to either side. More would mean that readings of power, which see
/// moments only, may miss as much as is looked for.
const STEADY: f64 = 0.05;

/// More than this part of the integrated power is a difference.
const MOST_DIFFERENCE: f64 = 0.05;

/// So many stretches in a row.
const IN_A_ROW: u32 = 2;

/// Holds growth of the counter against integrated power.
#[derive(Clone, Debug, Default)]
pub(super) struct Agreement {
    stretch: Option<Stretch>,
    differed: u32,
    since_ns: u64,
}

#[derive(Clone, Debug)]
struct Stretch {
    begin_ns: u64,
    counted_uj: u64,
    integrated_uj: f64,
    part_begin_ns: u64,
    part_sum_w: f64,
    part_readings: u32,
    /// Of the means of the parts.
    least_w: f64,
    most_w: f64,
}

/// They do not agree.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Disagreement {
    /// The beginning of the first stretch that differed.
    pub since_ns: u64,
    /// Both numbers.
    pub reason: String,
}

impl Agreement {
    /// After a valid reading of power.
    pub fn power(&mut self, ns: u64, watts: f64) {
        let Some(stretch) = &mut self.stretch else { return };
        stretch.part_sum_w += watts;
        stretch.part_readings += 1;
        if ns.saturating_sub(stretch.part_begin_ns) < PART_NS {
            return;
        }
        let mean = stretch.part_sum_w / f64::from(stretch.part_readings);
        stretch.least_w = stretch.least_w.min(mean);
        stretch.most_w = stretch.most_w.max(mean);
        (stretch.part_begin_ns, stretch.part_sum_w, stretch.part_readings) = (ns, 0.0, 0);
        if stretch.most_w - stretch.least_w > STEADY * (stretch.most_w + stretch.least_w) {
            self.stretch = None;
        }
    }

    /// At a tick: what the counter and integrated power have come to. Returns what is wrong once two stretches in a row
    /// differ; an unsteady one in between is not judged and does not count.
    pub fn tick(&mut self, ns: u64, counted_uj: u64, integrated_uj: f64) -> Option<Disagreement> {
        let Some(stretch) = &self.stretch else {
            self.begin(ns, counted_uj, integrated_uj);
            return None;
        };
        let length_ns = ns.saturating_sub(stretch.begin_ns);
        if length_ns < STRETCH_NS || stretch.most_w == 0.0 {
            return None;
        }
        let began_ns = stretch.begin_ns;
        let counted = counted_uj.saturating_sub(stretch.counted_uj) as f64;
        let integrated = integrated_uj - stretch.integrated_uj;
        self.begin(ns, counted_uj, integrated_uj);
        if (counted - integrated).abs() <= MOST_DIFFERENCE * integrated {
            self.differed = 0;
            return None;
        }
        if self.differed == 0 {
            self.since_ns = began_ns;
        }
        self.differed += 1;
        let watts = |uj: f64| uj / 1e6 / seconds(length_ns);
        (self.differed >= IN_A_ROW).then(|| Disagreement {
            since_ns: self.since_ns,
            reason: format!(
                "has an energy counter that differs from power: {:.1} J ({:.1} W) against {:.1} J ({:.1} W) over {:.1} s \
                 of steady load, {IN_A_ROW} times in a row by more than {} %",
                counted / 1e6,
                watts(counted),
                integrated / 1e6,
                watts(integrated),
                seconds(length_ns),
                MOST_DIFFERENCE * 100.0
            ),
        })
    }

    fn begin(&mut self, ns: u64, counted_uj: u64, integrated_uj: f64) {
        self.stretch = Some(Stretch {
            begin_ns: ns,
            counted_uj,
            integrated_uj,
            part_begin_ns: ns,
            part_sum_w: 0.0,
            part_readings: 0,
            least_w: f64::INFINITY,
            most_w: 0.0,
        });
    }

    /// The counter or power was not read for a while.
    pub fn restart(&mut self) {
        self.stretch = None;
    }
}
