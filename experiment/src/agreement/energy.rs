//! Whether the meter's energy agrees with what the responses told.

use crate::results::{Consumption, EnergyComparison, Point, PowerSource};
use crate::uncertainty::together;

/// Holds the meter's energy above idle in the measured part of a point against the sum over its responses. None if the
/// responses told none.
///
/// They agree if they differ by no more than the errors of both together: the edges of the measured part by the meter, the
/// error of the idle power over its time, and the error of the sum. What a meter itself is wrong by is in both and not in
/// the difference.
pub fn compare(
    point: &Point,
    idle: Option<&Consumption>,
    same_device: Result<(), String>,
) -> Option<EnergyComparison> {
    let told = point.response_energy.as_ref()?;
    let found = same_device.and_then(|()| {
        if told.responses != point.requests {
            return Err(format!("only {} of {} responses told their energy", told.responses, point.requests));
        }
        let above = above_idle(&point.consumption, idle)?;
        Ok((above.0, above.1, above.0 - told.energy_j, together([above.1, told.energy_error_j])))
    });
    Some(match found {
        Err(reason) => {
            EnergyComparison { explanation: format!("not compared: {reason}"), ..Default::default() }
        }
        Ok((above_j, above_error_j, difference_j, error_j)) => EnergyComparison {
            above_idle_j: Some(above_j),
            above_idle_error_j: Some(above_error_j),
            difference_j: Some(difference_j),
            error_j: Some(error_j),
            agrees: Some(difference_j.abs() <= error_j),
            explanation: explanation(
                above_j,
                above_error_j,
                told.energy_j,
                told.energy_error_j,
                difference_j,
                error_j,
            ),
        },
    })
}

/// The energy of a period above idle, and its error; or why it is unknown.
fn above_idle(used: &Consumption, idle: Option<&Consumption>) -> Result<(f64, f64), String> {
    let missing = |reason: &Option<String>| reason.clone().unwrap_or_else(|| "there is no meter".to_owned());
    let energy = used.energy_j.ok_or_else(|| format!("no energy: {}", missing(&used.energy_missing)))?;
    let idle = idle.ok_or("the idle power was not measured (--idle 0)")?;
    let idle_w =
        idle.average_power_w.ok_or_else(|| format!("no idle power: {}", missing(&idle.energy_missing)))?;
    let above = energy - idle_w * used.seconds;
    let idle_error_j = idle.average_power_error_w.unwrap_or(0.0) * used.seconds;
    let error = together([used.energy_error_j.unwrap_or(0.0), idle_error_j]);
    match above.is_finite() && error.is_finite() {
        true => Ok((above, error)),
        false => Err(format!("{energy} J and {idle_w} W idle are no numbers to compare")),
    }
}

fn explanation(
    above: f64,
    above_error: f64,
    told: f64,
    told_error: f64,
    difference: f64,
    error: f64,
) -> String {
    let figures = format!(
        "the meter counted {above:.3} ± {above_error:.3} J above idle and the responses told {told:.3} ± {told_error:.3} J"
    );
    if difference.abs() <= error {
        return format!(
            "{figures}: the difference of {difference:.3} J is within the error of both, {error:.3} J"
        );
    }
    let why = match difference > 0.0 {
        true => {
            "something else than executions drew it (other processes, the server's work around them, a device that \
             stays awake between them), or idle was lower than during the load"
        }
        false => {
            "the idle power measured here is higher than the one that the backend has learnt, or the responses tell of \
             another device"
        }
    };
    format!("{figures}: they differ by {difference:.3} J, more than the error of both, {error:.3} J: {why}")
}

/// Whether the meter counts the devices whose energy the responses tell (`cpu`, `gpu`), and no others; or why not.
///
/// # Errors
/// It does not, or that is unknown.
pub fn same_device(source: &PowerSource, told_of: &[String]) -> Result<(), String> {
    let metered = match source.name.as_str() {
        "rapl" => "cpu",
        "nvml" | "metrics" => "gpu",
        _ => return Err(format!("the power source {} has no energy", source.name)),
    };
    match told_of {
        [] => return Err("it is unknown which device's energy the responses tell".to_owned()),
        [one] if one == metered => {}
        devices => {
            return Err(format!(
                "the responses tell the energy of {}, and {} that of {metered}",
                devices.join(" and "),
                source.name
            ));
        }
    }
    // RAPL has many devices for what the backend counts as one: every package and its memory, on both sides.
    match (metered, source.devices.len()) {
        ("gpu", count) if count != 1 => Err(format!(
            "the responses tell the energy of one GPU, and {} sums {count}; measure that one, with --gpus",
            source.name
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures::sweep_with_energy;
    use crate::results::ResponseEnergy;

    /// Ten seconds of 1000 J, with so many joules told by 100 responses.
    fn point(told_j: f64) -> Point {
        let mut point = sweep_with_energy().points.remove(0);
        point.requests = 100;
        point.consumption = Consumption {
            seconds: 10.0,
            energy_j: Some(1000.0),
            energy_error_j: Some(3.0),
            ..Consumption::default()
        };
        point.response_energy = Some(ResponseEnergy {
            responses: 100,
            energy_j: told_j,
            energy_error_j: 12.0,
            ..ResponseEnergy::default()
        });
        point
    }

    /// 40 W, known to 0.4 W.
    fn idle() -> Consumption {
        Consumption {
            average_power_w: Some(40.0),
            average_power_error_w: Some(0.4),
            ..Consumption::default()
        }
    }

    fn of(point: &Point, idle: Option<&Consumption>) -> EnergyComparison {
        compare(point, idle, Ok(())).expect("the responses told energy")
    }

    #[test]
    fn the_meter_less_idle_is_held_against_the_sum_with_the_errors_of_both() {
        let found = of(&point(590.0), Some(&idle()));
        // 3 J of the edges and 4 J of idle; with the 12 J of the responses.
        assert_eq!((found.above_idle_j, found.above_idle_error_j), (Some(600.0), Some(5.0)));
        assert_eq!((found.difference_j, found.error_j, found.agrees), (Some(10.0), Some(13.0), Some(true)));
        assert!(found.explanation.contains("within the error of both, 13.000 J"), "{}", found.explanation);
    }

    #[test]
    fn just_outside_of_the_error_on_either_side_disagrees() {
        for (told, agrees, word) in [
            (587.0, true, "within"),
            (586.9, false, "something else than executions"),
            (613.0, true, "within"),
            (613.1, false, "higher than the one that the backend has learnt"),
        ] {
            let found = of(&point(told), Some(&idle()));
            assert_eq!(found.agrees, Some(agrees), "{told}: {found:?}");
            assert!(found.explanation.contains(word), "{told}: {}", found.explanation);
        }
    }

    #[test]
    fn less_than_idle_is_a_negative_difference_and_zero_is_a_value() {
        let mut below = point(0.0);
        below.consumption.energy_j = Some(390.0);
        let found = of(&below, Some(&idle()));
        assert_eq!((found.above_idle_j, found.difference_j), (Some(-10.0), Some(-10.0)));
        assert_eq!(found.agrees, Some(true), "within 13 J of nothing");
    }

    #[test]
    fn nothing_is_compared_without_all_of_it() {
        let told = point(600.0);
        let mut some = told.clone();
        some.requests = 101;
        let mut gap = told.clone();
        gap.consumption.energy_j = None;
        gap.consumption.energy_missing = Some("GPU-b fell off the bus".to_owned());
        let mut no_number = told.clone();
        no_number.consumption.energy_j = Some(f64::NAN);
        let no_power = Consumption { average_power_w: None, ..idle() };
        for (point, idle, reason) in [
            (&some, Some(&idle()), "only 100 of 101 responses"),
            (&gap, Some(&idle()), "GPU-b fell off the bus"),
            (&told, None, "--idle 0"),
            (&told, Some(&no_power), "no idle power: there is no meter"),
            (&no_number, Some(&idle()), "NaN J"),
        ] {
            let found = of(point, idle);
            assert_eq!(
                (found.agrees, found.difference_j, found.above_idle_j),
                (None, None, None),
                "{reason}"
            );
            assert!(found.explanation.starts_with("not compared: "), "{}", found.explanation);
            assert!(found.explanation.contains(reason), "{}", found.explanation);
        }
        let mut silent = told;
        silent.response_energy = None;
        assert_eq!(compare(&silent, Some(&idle()), Ok(())), None, "nothing is claimed");
    }

    #[test]
    fn the_meter_has_to_count_the_devices_of_the_responses_alone() {
        let source = |name: &str, devices: usize| PowerSource {
            name: name.to_owned(),
            devices: (0..devices).map(|number| format!("device {number}")).collect(),
            ..PowerSource::default()
        };
        let told = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(same_device(&source("rapl", 4), &told(&["cpu"])), Ok(()));
        assert_eq!(same_device(&source("nvml", 1), &told(&["gpu"])), Ok(()));
        assert_eq!(same_device(&source("metrics", 1), &told(&["gpu"])), Ok(()));
        for (source, devices, word) in [
            (source("nvml", 2), told(&["gpu"]), "--gpus"),
            (source("rapl", 1), told(&["gpu"]), "tell the energy of gpu, and rapl that of cpu"),
            (source("nvml", 1), told(&["cpu"]), "that of gpu"),
            (source("nvml", 1), told(&["cpu", "gpu"]), "cpu and gpu"),
            (source("nvml", 1), told(&[]), "unknown which device"),
            (source("cpu-time", 1), told(&["cpu"]), "has no energy"),
        ] {
            let reason = same_device(&source, &devices).unwrap_err();
            assert!(reason.contains(word), "{reason}");
        }
        let found = compare(&point(600.0), Some(&idle()), Err("it is another".to_owned())).unwrap();
        assert_eq!((found.agrees, found.explanation.as_str()), (None, "not compared: it is another"));
    }
}
