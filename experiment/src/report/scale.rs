//! Axes: ranges, ticks, and positions of values.

use super::number::{grouped, significant};

/// How an axis is divided.
#[derive(Clone, Debug)]
pub enum Scale {
    /// Equal steps around the values.
    Linear,
    /// Equal steps from zero.
    FromZero,
    /// Logarithmic.
    Log,
    /// Logarithmic, with a tick at each of these values: for sizes that double.
    Sizes(Vec<f64>),
    /// Names side by side, at 0, 1, 2 and so on.
    Names(Vec<String>),
}

/// An axis with its range.
#[derive(Clone, Debug)]
pub struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Labelled ticks.
    pub ticks: Vec<(f64, String)>,
    /// Ticks without labels.
    pub minor: Vec<f64>,
}

impl Axis {
    /// The position of a value: 0 at the start of the axis and 1 at its end.
    pub fn place(&self, value: f64) -> f64 {
        let map = |v: f64| if self.logarithmic { v.log2() } else { v };
        (map(value) - map(self.low)) / (map(self.high) - map(self.low))
    }

    /// The start of the axis, which is the base of bars.
    pub fn low(&self) -> f64 {
        self.low
    }
}

impl Scale {
    /// Whether such an axis can show a value.
    pub fn takes(&self, value: f64) -> bool {
        value.is_finite() && (value > 0.0 || !matches!(self, Self::Log | Self::Sizes(_)))
    }

    /// An axis around the values with about `most` labelled ticks.
    pub fn fit(&self, values: impl Iterator<Item = f64>, most: usize) -> Axis {
        // 1, 2, 5 of a decade are closer than the ticks of a linear axis may be.
        let log_most = most * 2 + 1;
        let (mut low, mut high) = values
            .filter(|v| self.takes(*v))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        if low > high {
            (low, high) = (1.0, 1.0);
        }
        match self {
            Self::Linear => linear(low, high, most),
            Self::FromZero => linear(low.min(0.0), high.max(0.0), most),
            Self::Log => logarithmic(low, high, log_most),
            Self::Sizes(sizes) => Axis {
                low: low / 1.3,
                high: high * 1.3,
                logarithmic: true,
                ticks: sizes
                    .iter()
                    .filter(|size| self.takes(**size))
                    .map(|size| (*size, grouped(*size, 0)))
                    .collect(),
                minor: Vec::new(),
            },
            Self::Names(names) => Axis {
                low: -0.5,
                high: names.len() as f64 - 0.5,
                logarithmic: false,
                ticks: names.iter().enumerate().map(|(at, name)| (at as f64, name.clone())).collect(),
                minor: Vec::new(),
            },
        }
    }
}

fn linear(mut low: f64, mut high: f64, most: usize) -> Axis {
    if high - low <= 1e-9 * high.abs().max(low.abs()) {
        let room = if high == 0.0 { 1.0 } else { high.abs() * 0.1 };
        (low, high) = (low - room, high + room);
    }
    let rough = (high - low) / most as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step + 1e-9).floor();
    let last = (high / step - 1e-9).ceil();
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let ticks = (0..=(last - first) as usize).map(|n| {
        let value = (first + n as f64) * step;
        (value, grouped(value, decimals))
    });
    // Up to the next tick, unless that leaves much empty space.
    let room = 0.06 * (high - low);
    let (from, to) = ((first * step).max(low - room), (last * step).min(high + room));
    let within = |v: f64| v >= from - 1e-9 * step && v <= to + 1e-9 * step;
    Axis {
        low: from,
        high: to,
        logarithmic: false,
        ticks: ticks.filter(|(value, _)| within(*value)).collect(),
        minor: Vec::new(),
    }
}

/// Ticks at 1, 2, 5 of each decade if they fit, otherwise at decades; in a short range at all digits.
fn logarithmic(low: f64, high: f64, most: usize) -> Axis {
    let decades = (low.log10().floor() as i32 - 1)..=(high.log10().ceil() as i32 + 1);
    let steps = |of: &[f64]| -> Vec<f64> {
        decades.clone().flat_map(|d| of.iter().map(move |m| m * 10f64.powi(d)).collect::<Vec<_>>()).collect()
    };
    let (whole, grid) = (steps(&[1.0]), steps(&[1.0, 2.0, 5.0]));
    let digits = steps(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    let ticks = |all: &[f64], from: f64, to: f64| -> Vec<f64> {
        all.iter().copied().filter(|v| *v >= from * 0.9999 && *v <= to * 1.0001).collect()
    };
    let (mut from, mut to) = (low / 1.15, high * 1.15);
    if ticks(&digits, from, to).len() < 2 {
        // A single tick shows no scale.
        from = grid.iter().rev().find(|v| **v <= low).copied().unwrap_or(from);
        to = grid.iter().find(|v| **v >= high && **v > from * 1.001).copied().unwrap_or(to);
    }
    let mut labelled = ticks(&grid, from, to);
    if labelled.len() <= 2 {
        labelled = ticks(&digits, from, to);
    } else if labelled.len() > most && ticks(&whole, from, to).len() >= 2 {
        labelled = ticks(&whole, from, to);
    }
    Axis {
        low: from,
        high: to,
        logarithmic: true,
        ticks: labelled.into_iter().map(|v| (v, significant(v))).collect(),
        minor: ticks(&digits, from, to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn linear_ticks_enclose_the_values() {
        let axis = Scale::FromZero.fit([12.0, 1730.0].into_iter(), 5);
        assert_eq!(labels(&axis), ["0", "500", "1,000", "1,500"]);
        assert_eq!(axis.place(0.0), 0.0);
        assert!((0.9..1.0).contains(&axis.place(1730.0)));
        let small = Scale::FromZero.fit([0.012].into_iter(), 4);
        assert_eq!(labels(&small), ["0.000", "0.005", "0.010"]);
        let whole = Scale::FromZero.fit([100.0].into_iter(), 4);
        assert_eq!(whole.place(100.0), 1.0);
        let drift = Scale::Linear.fit([1863.0, 1980.0].into_iter(), 4);
        assert_eq!(labels(&drift), ["1,900", "1,950"]);
    }

    #[test]
    fn a_single_value_has_room_around_it() {
        for scale in [Scale::Linear, Scale::FromZero, Scale::Log, Scale::Sizes(vec![5.0])] {
            let axis = scale.fit([5.0].into_iter(), 5);
            let place = axis.place(5.0);
            assert!((0.0..=1.0).contains(&place), "{scale:?}: {place}");
            assert!(axis.ticks.len() >= 2 || matches!(scale, Scale::Sizes(_)), "{scale:?}");
        }
        assert!(Scale::FromZero.fit([0.0].into_iter(), 5).place(0.0).is_finite());
        assert!(Scale::Log.fit(std::iter::empty(), 5).place(1.0).is_finite());
    }

    #[test]
    fn log_ticks_thin_out_to_decades() {
        assert_eq!(labels(&Scale::Log.fit([1.3, 14.0].into_iter(), 3)), ["2", "5", "10"]);
        assert_eq!(labels(&Scale::Log.fit([17.0, 41.0].into_iter(), 3)), ["20", "30", "40"]);
        assert_eq!(labels(&Scale::Log.fit([0.13, 900.0].into_iter(), 3)), ["1", "10", "100", "1,000"]);
    }

    #[test]
    fn doubling_sizes_are_equally_far() {
        let axis = Scale::Sizes(vec![1.0, 2.0, 4.0]).fit([1.0, 2.0, 4.0].into_iter(), 9);
        assert!((axis.place(2.0) * 2.0 - axis.place(1.0) - axis.place(4.0)).abs() < 1e-9);
        assert_eq!(labels(&axis), ["1", "2", "4"]);
        // A results file that was edited may have a size of 0, which has no place.
        let axis = Scale::Sizes(vec![0.0, 2.0, f64::NAN]).fit([0.0, 2.0].into_iter(), 9);
        assert_eq!(labels(&axis), ["2"]);
        assert!(axis.place(2.0).is_finite());
    }

    #[test]
    fn values_without_a_place_are_known() {
        assert!(!Scale::Log.takes(0.0));
        assert!(Scale::FromZero.takes(0.0));
        assert!(!Scale::Linear.takes(f64::NAN));
    }
}
