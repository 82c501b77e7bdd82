//! The ratio of two estimates, and what follows from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::results::{Estimate, Metric};

/// A ratio with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ratio {
    /// The ratio of the values.
    pub value: f64,
    /// The lower end; absent if one of the two has no interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// The upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

impl Ratio {
    /// The second over the first; none if either is not above zero.
    ///
    /// Its interval is recovered from theirs (Zou and Donner's MOVER, on the scale of logarithms): the distances from each
    /// value to the end that matters, as the sides of a right angle. So the errors may be as lopsided as they are.
    pub fn of(first: &Estimate, second: &Estimate) -> Option<Self> {
        let value = second.value / first.value;
        if !(first.value > 0.0 && second.value > 0.0 && value.is_finite() && value > 0.0) {
            return None;
        }
        let interval = first.interval().zip(second.interval()).and_then(|(one, other)| {
            let log = |a: f64, b: f64| (a > 0.0 && b > 0.0).then(|| (a / b).ln().max(0.0));
            let down = log(second.value, other.0)?.hypot(log(one.1, first.value)?);
            let up = log(other.1, second.value)?.hypot(log(first.value, one.0)?);
            Some((value * (-down).exp(), value * up.exp()))
        });
        Some(Self { value, low: interval.map(|i| i.0), high: interval.map(|i| i.1) })
    }

    /// Both ends of the interval.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.low.zip(self.high)
    }
}

/// What a ratio says of the second results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better by more than the threshold: the whole interval is.
    Better,
    /// Worse by more than the threshold: the whole interval is.
    Worse,
    /// The whole interval is within the threshold.
    Same,
    /// The interval allows for more than one of these, or there is none.
    Undecided,
}

impl Verdict {
    /// Of a metric's ratio. The threshold is a fraction of 0 or more.
    pub fn of(metric: Metric, ratio: &Ratio, threshold: f64) -> Self {
        let Some((low, high)) = ratio.interval() else { return Self::Undecided };
        let bound = 1.0 + threshold;
        match (low > bound, high < 1.0 / bound) {
            (true, _) if metric.more_is_better() => Self::Better,
            (true, _) => Self::Worse,
            (_, true) if metric.more_is_better() => Self::Worse,
            (_, true) => Self::Better,
            _ if threshold > 0.0 && low >= 1.0 / bound && high <= bound => Self::Same,
            _ => Self::Undecided,
        }
    }

    /// In a word: times are faster or slower, everything else is more or less.
    pub fn word(self, metric: Metric) -> &'static str {
        let is_time = metric.is_latency() || metric == Metric::CpuSPerInference;
        match (self, is_time) {
            (Self::Better, true) => "faster",
            (Self::Worse, true) => "slower",
            (Self::Better, false) if metric.more_is_better() => "more",
            (Self::Worse, false) if metric.more_is_better() => "less",
            (Self::Better, false) => "less",
            (Self::Worse, false) => "more",
            (Self::Same, _) => "same",
            (Self::Undecided, _) => "undecided",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: f64, low: f64, high: f64) -> Estimate {
        Estimate { value, low: Some(low), high: Some(high) }
    }

    #[test]
    fn a_ratio_has_the_errors_of_both() {
        let ratio = Ratio::of(&of(100.0, 99.0, 101.0), &of(110.0, 108.9, 111.1)).unwrap();
        assert!((ratio.value - 1.1).abs() < 1e-12);
        let (low, high) = ratio.interval().unwrap();
        // One percent each: 1.4 together.
        assert!((low / 1.1 - 0.986).abs() < 5e-4 && (high / 1.1 - 1.0142).abs() < 5e-4, "{low} {high}");
        let back = Ratio::of(&of(110.0, 108.9, 111.1), &of(100.0, 99.0, 101.0)).unwrap();
        assert!((back.low.unwrap() * high - 1.0).abs() < 1e-12, "the other way round it is the inverse");
    }

    #[test]
    fn what_has_no_interval_or_no_value_is_undecided_or_absent() {
        let bare = Ratio::of(&Estimate::bare(2.0), &of(4.0, 3.9, 4.1)).unwrap();
        assert_eq!((bare.value, bare.interval()), (2.0, None));
        assert_eq!(Verdict::of(Metric::LatencyP50Ns, &bare, 0.0), Verdict::Undecided);
        for (first, second) in [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (f64::NAN, 1.0), (1.0, f64::INFINITY)] {
            assert_eq!(Ratio::of(&Estimate::bare(first), &Estimate::bare(second)), None);
        }
        assert_eq!(Ratio::of(&of(1.0, 0.0, 2.0), &of(1.0, 1.0, 1.0)).unwrap().interval(), None);
    }

    #[test]
    fn the_whole_interval_has_to_be_beyond_the_threshold() {
        let ratio = |low, high| Ratio { value: 1.0, low: Some(low), high: Some(high) };
        let of = |low, high, threshold| Verdict::of(Metric::LatencyP99Ns, &ratio(low, high), threshold);
        assert_eq!(of(1.001, 1.2, 0.0), Verdict::Worse);
        assert_eq!(of(0.8, 0.999, 0.0), Verdict::Better);
        assert_eq!(of(1.0, 1.0, 0.0), Verdict::Undecided, "without a threshold nothing is the same");
        assert_eq!(of(1.01, 1.2, 0.02), Verdict::Undecided);
        assert_eq!(of(1.021, 1.2, 0.02), Verdict::Worse);
        assert_eq!(of(0.981, 1.02, 0.02), Verdict::Same);
        assert_eq!(of(0.979, 1.02, 0.02), Verdict::Undecided);
        let throughput = Verdict::of(Metric::InferencesPerS, &ratio(1.1, 1.2), 0.0);
        assert_eq!((throughput, throughput.word(Metric::InferencesPerS)), (Verdict::Better, "more"));
        let joules = Verdict::of(Metric::JPerInference, &ratio(1.1, 1.2), 0.0);
        assert_eq!((joules, joules.word(Metric::JPerInference)), (Verdict::Worse, "more"));
        assert_eq!(Verdict::Worse.word(Metric::LatencyMeanNs), "slower");
        assert_eq!(Verdict::Worse.word(Metric::InferencesPerJ), "less");
    }
}
