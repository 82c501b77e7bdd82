//! The state of devices: temperature, clocks, throttling.

use std::collections::BTreeMap;

use power_meter::State;

use crate::results::DeviceState;

/// The state of two devices together: the highest temperature, the lowest clocks, the throttle reasons of both.
pub(super) fn both(mut one: State, other: State) -> State {
    one.temperature_c = either(f64::max, one.temperature_c, other.temperature_c);
    one.clock_mhz = either(f64::min, one.clock_mhz, other.clock_mhz);
    one.memory_clock_mhz = either(f64::min, one.memory_clock_mhz, other.memory_clock_mhz);
    for reason in other.throttle_reasons {
        if !one.throttle_reasons.contains(&reason) {
            one.throttle_reasons.push(reason);
        }
    }
    one
}

fn either(pick: fn(f64, f64) -> f64, a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).reduce(pick)
}

/// Summary of the samples of a period; none without samples.
pub(super) fn summarise<'a>(samples: impl Iterator<Item = &'a State>) -> Option<DeviceState> {
    let samples: Vec<_> = samples.collect();
    let of = |value: fn(&State) -> Option<f64>| samples.iter().filter_map(move |sample| value(sample));
    let mean = |value| {
        let (count, sum) = of(value).fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
        (count > 0).then(|| sum / f64::from(count))
    };
    let mut throttle_reasons = BTreeMap::new();
    for reason in samples.iter().flat_map(|sample| &sample.throttle_reasons) {
        *throttle_reasons.entry(reason.clone()).or_default() += 1.0 / samples.len() as f64;
    }
    (!samples.is_empty()).then(|| DeviceState {
        temperature_mean_c: mean(|sample| sample.temperature_c),
        temperature_max_c: of(|sample| sample.temperature_c).reduce(f64::max),
        clock_mean_mhz: mean(|sample| sample.clock_mhz),
        clock_min_mhz: of(|sample| sample.clock_mhz).reduce(f64::min),
        memory_clock_mean_mhz: mean(|sample| sample.memory_clock_mhz),
        throttle_reasons,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(temperature: f64, clock: Option<f64>, reasons: &[&str]) -> State {
        State {
            temperature_c: Some(temperature),
            clock_mhz: clock,
            memory_clock_mhz: None,
            throttle_reasons: reasons.iter().map(|&reason| reason.to_owned()).collect(),
        }
    }

    #[test]
    fn of_several_devices_the_hottest_and_the_slowest() {
        let both = super::both(sample(60.0, Some(1500.0), &["a"]), sample(70.0, Some(1200.0), &["a", "b"]));
        assert_eq!(both, sample(70.0, Some(1200.0), &["a", "b"]));
        let unknown = super::both(sample(60.0, Some(1500.0), &[]), sample(50.0, None, &[]));
        assert_eq!(unknown, sample(60.0, Some(1500.0), &[]));
    }

    #[test]
    fn a_stretch_has_means_extremes_and_shares() {
        let samples = [
            sample(60.0, Some(1500.0), &[]),
            sample(80.0, Some(1000.0), &["power cap"]),
            sample(70.0, None, &["power cap"]),
            sample(70.0, None, &[]),
        ];
        let state = summarise(samples.iter()).unwrap();
        assert_eq!((state.temperature_mean_c, state.temperature_max_c), (Some(70.0), Some(80.0)));
        assert_eq!((state.clock_mean_mhz, state.clock_min_mhz), (Some(1250.0), Some(1000.0)));
        assert_eq!(state.memory_clock_mean_mhz, None);
        assert_eq!(state.throttle_reasons, BTreeMap::from([("power cap".to_owned(), 0.5)]));
        assert!(summarise([].iter()).is_none());
    }
}
