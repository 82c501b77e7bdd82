//! The energy of a window, between the points of a device.

use std::collections::VecDeque;
use std::fmt;

use crate::clock::seconds;
use crate::event::{Event, Point};

/// Points of growing energy, and the gaps between them. Pure.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    points: VecDeque<Point>,
    /// From, to, why.
    gaps: VecDeque<(u64, u64, String)>,
    lost: Option<(u64, String)>,
}

/// The energy of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Energy {
    /// Microjoules, interpolated between the points around each edge. Windows that follow each other add up exactly.
    pub uj: u64,
    /// By how much that may be wrong because edges lie between points, in microjoules: for each edge the uncertainty of
    /// the point's moment times power, and half the time between the two points times the change of power to the
    /// neighbouring ones. What the meter itself is wrong by (NVIDIA says 5 %) comes on top.
    pub error_uj: u64,
}

/// Why the energy of a window is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

impl Curve {
    /// Takes what a judge says.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Point(point) => self.points.push_back(*point),
            Event::Lost { since_ns, reason } => self.lost = Some((*since_ns, reason.clone())),
            Event::Gap { from_ns, to_ns, reason } => {
                self.lost = None;
                self.gaps.push_back((*from_ns, *to_ns, reason.clone()));
            }
            Event::Dropped { .. } => {}
        }
    }

    /// Whether all that can be known up to a moment is known.
    pub fn reaches(&self, ns: u64) -> bool {
        self.lost.is_some() || self.points.back().is_some_and(|last| last.ns >= ns)
    }

    /// The last point.
    pub fn last(&self) -> Option<Point> {
        self.points.back().copied()
    }

    /// The energy from one moment to a later one.
    ///
    /// # Errors
    /// There is no point before or after, or a gap within: why.
    pub fn energy(&self, from_ns: u64, to_ns: u64) -> Result<Energy, Missing> {
        if let Some((gap_from, gap_to, reason)) =
            self.gaps.iter().find(|(gap_from, gap_to, _)| *gap_from < to_ns && from_ns < *gap_to)
        {
            let seconds = seconds(gap_to - gap_from);
            return Err(Missing(format!("{reason}; its energy is unknown for {seconds:.3} s")));
        }
        if let Some((since, reason)) = &self.lost
            && to_ns > *since
        {
            return Err(Missing(format!("{reason}; its energy is unknown since")));
        }
        match (self.points.front(), self.points.back()) {
            (Some(first), _) if first.ns > from_ns => Err(Missing(format!(
                "the first energy reading came {:.3} s after the start of the period",
                seconds(first.ns - from_ns)
            ))),
            (_, Some(last)) if last.ns < to_ns => Err(Missing(format!(
                "the last energy reading was {:.3} s before the end of the period, and no newer one came",
                seconds(to_ns - last.ns)
            ))),
            (None, _) => Err(Missing("there was no energy reading".to_owned())),
            _ => {
                let error = self.error_at(from_ns) + self.error_at(to_ns);
                let uj = self.at(to_ns).saturating_sub(self.at(from_ns));
                Ok(Energy { uj, error_uj: error as u64 })
            }
        }
    }

    /// The index of the point at or after a moment within the curve.
    fn after(&self, ns: u64) -> usize {
        self.points.partition_point(|point| point.ns < ns)
    }

    /// Linear between points, rounded down.
    fn at(&self, ns: u64) -> u64 {
        let after = self.after(ns);
        let end = self.points[after];
        if end.ns == ns || after == 0 {
            return end.uj;
        }
        let start = self.points[after - 1];
        let part = u128::from(end.uj - start.uj) * u128::from(ns - start.ns) / u128::from(end.ns - start.ns);
        start.uj + part as u64
    }

    /// Mean power before the point of an index, in microjoules for each nanosecond.
    fn power(&self, index: usize) -> Option<f64> {
        let (start, end) = (self.points.get(index.checked_sub(1)?)?, self.points.get(index)?);
        Some((end.uj - start.uj) as f64 / (end.ns - start.ns) as f64)
    }

    fn error_at(&self, ns: u64) -> f64 {
        let after = self.after(ns);
        let end = self.points[after];
        let Some(power) = self.power(after).or_else(|| self.power(after + 1)) else { return 0.0 };
        let on_slack = end.slack_ns as f64 * power;
        if end.ns == ns || after == 0 {
            return on_slack;
        }
        let neighbours = [self.power(after - 1), self.power(after + 1)];
        let change = neighbours.into_iter().flatten().map(|other| (other - power).abs()).fold(0.0, f64::max);
        on_slack + change * (end.ns - self.points[after - 1].ns) as f64 / 2.0
    }

    /// Drops what no window from a moment on needs.
    pub fn forget_before(&mut self, ns: u64) {
        let kept = self.after(ns).saturating_sub(1);
        self.points.drain(..kept);
        self.gaps.retain(|(_, to, _)| *to >= ns);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn curve(points: &[(u64, u64)]) -> Curve {
        let mut curve = Curve::default();
        for &(ns, uj) in points {
            curve.take(&Event::Point(Point { ns, uj, slack_ns: 5 }));
        }
        curve
    }

    fn uj(curve: &Curve, from: u64, to: u64) -> u64 {
        curve.energy(from, to).unwrap().uj
    }

    fn missing(curve: &Curve, from: u64, to: u64) -> String {
        curve.energy(from, to).unwrap_err().to_string()
    }

    #[test]
    fn windows_are_interpolated_and_never_continued() {
        let mut curve = curve(&[(100, 10), (200, 20), (400, 80)]);
        assert_eq!((uj(&curve, 150, 300), uj(&curve, 200, 400), uj(&curve, 100, 100)), (35, 60, 0));
        assert!(missing(&curve, 99, 200).contains("the first energy reading came"));
        assert!(missing(&curve, 100, 401).contains("no newer one came"));
        assert!(missing(&Curve::default(), 0, 1).contains("there was no energy reading"));
        curve.forget_before(300);
        assert_eq!(uj(&curve, 200, 300), 30);
        assert!(curve.energy(199, 300).is_err() && curve.reaches(400) && !curve.reaches(401));
    }

    #[test]
    fn the_error_is_of_the_edges() {
        let even = curve(&[(0, 0), (100, 1000), (200, 2000), (300, 3000)]);
        assert_eq!(even.energy(150, 250).unwrap(), Energy { uj: 1000, error_uj: 100 });
        // A step of power from 10 to 30 next to the edge: half a tick of the difference.
        let step = curve(&[(0, 0), (100, 1000), (200, 4000), (300, 7000)]);
        assert_eq!(step.energy(50, 300).unwrap().error_uj, 50 + 1000 + 150);
    }

    #[test]
    fn a_gap_is_unknown_and_the_rest_is_not() {
        let mut curve = curve(&[(0, 0), (100, 1000)]);
        curve.take(&Event::Lost { since_ns: 100, reason: "is gone".to_owned() });
        assert!(curve.reaches(150), "waiting does not help");
        assert!(missing(&curve, 50, 150).contains("is gone; its energy is unknown since"));
        assert_eq!(uj(&curve, 0, 100), 1000);
        curve.take(&Event::Gap { from_ns: 100, to_ns: 300, reason: "was gone".to_owned() });
        curve.take(&Event::Point(Point { ns: 300, uj: 1000, slack_ns: 0 }));
        curve.take(&Event::Point(Point { ns: 400, uj: 1500, slack_ns: 0 }));
        assert_eq!((uj(&curve, 0, 100), uj(&curve, 300, 400)), (1000, 500));
        for (from, to) in [(0, 101), (150, 200), (299, 400), (0, 400)] {
            assert!(missing(&curve, from, to).contains("was gone"), "{from} to {to}");
        }
    }

    proptest! {
        #[test]
        fn windows_add_up_exactly(
            steps in prop::collection::vec((1u64..1_000_000_000, 0u64..u64::MAX / 1000), 2..40),
            cuts in prop::collection::vec(0.0f64..1.0, 3),
        ) {
            let (mut ns, mut total) = (1000, 0);
            let mut points = vec![(ns, total)];
            for (later, more) in steps {
                ns += later;
                total += more;
                points.push((ns, total));
            }
            let curve = curve(&points);
            let mut cuts: Vec<u64> = cuts.iter().map(|cut| 1000 + ((ns - 1000) as f64 * cut) as u64).collect();
            cuts.sort_unstable();
            let of = |from, to| uj(&curve, from, to);
            prop_assert_eq!(of(cuts[0], cuts[1]) + of(cuts[1], cuts[2]), of(cuts[0], cuts[2]));
            prop_assert_eq!(of(1000, cuts[1]) + of(cuts[1], ns), total);
        }
    }
}
