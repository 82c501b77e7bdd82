//! What the report says of energy beside the plots: the table, the idle powers, and what the responses told.

use super::number::{ABSENT, count, or_absent_with_error, percent, plural, with_error};
use super::table::{Table, key, table, yes_no};
use crate::results::{Consumption, Point, Results};

/// Each point's energy, with errors, and that of its responses beside the meter's.
pub fn energy(points: &[&Point]) -> Table {
    let rows = points.iter().filter_map(|p| {
        let told = p.response_energy.as_ref();
        if p.consumption.energy_j.is_none() && told.is_none() {
            return None;
        }
        let compared = told.and_then(|told| told.comparison.as_ref());
        let used = &p.consumption;
        let mut row = key(p);
        row.extend([
            or_absent_with_error(used.average_power_w, used.average_power_error_w),
            or_absent_with_error(used.energy_j, used.energy_error_j),
            or_absent_with_error(p.j_per_inference, p.j_per_inference_error_j),
            or_absent_with_error(told.map(|t| t.j_per_inference), told.map(|t| t.j_per_inference_error_j)),
            told.and_then(|t| t.measured_share).map_or_else(|| ABSENT.into(), percent),
            or_absent_with_error(
                compared.and_then(|c| c.above_idle_j),
                compared.and_then(|c| c.above_idle_error_j),
            ),
            or_absent_with_error(told.map(|t| t.energy_j), told.map(|t| t.energy_error_j)),
            or_absent_with_error(compared.and_then(|c| c.difference_j), compared.and_then(|c| c.error_j)),
            yes_no(compared.and_then(|c| c.agrees)),
            // Where they agree the numbers say it all.
            compared
                .filter(|c| c.agrees != Some(true))
                .map_or_else(|| ABSENT.into(), |c| c.explanation.clone()),
        ]);
        Some(row)
    });
    table(
        "energy",
        (
            "Energy",
            "±: of power and of the energy of an inference, the edges of the measured part between ticks of the meter and the \
             spread over its windows (95 %); of energy, the edges alone. What the meter itself is wrong by is not in it. \
             Responses tell their share of the energy above idle. Above idle: the meter's energy less idle power, with the \
             model loaded, times the time. They agree if they differ by no more than the errors of both.",
        ),
        &[
            "power (W)",
            "energy (J)",
            "J per inference",
            "J per inference by the responses (above idle)",
            "of it measured",
            "above idle by the meter (J)",
            "sum over the responses (J)",
            "difference (J)",
            "agree",
            "what was compared",
        ],
        rows,
    )
}

/// Idle power with the model and without it, or which of them is unknown and why.
pub fn idle(results: &Results) -> Option<String> {
    let watts = |idle: &Option<Consumption>| {
        let idle = idle.as_ref()?;
        Some((idle.average_power_w?, idle.average_power_error_w))
    };
    let text = |(watts, error)| format!("{}\u{a0}W", with_error(watts, error));
    let why = match (results.plan.own_server.is_some(), results.plan.idle_unload) {
        (false, false) => {
            ", because the server was running before: let the tool start it, or give --idle-unload"
        }
        _ => "",
    };
    Some(match (watts(&results.idle), watts(&results.idle_without_model)) {
        (Some(with), Some(without)) => format!(
            "The idle server drew {} without the model and {} with the model loaded and nothing running: {:.1}\u{a0}W more.",
            text(without),
            text(with),
            with.0 - without.0
        )
        .replace(": -", ": −"),
        (Some(with), None) => format!(
            "The idle server drew {} with the model loaded and nothing running. Without the model it was not measured{why}.",
            text(with)
        ),
        (None, Some(without)) => format!(
            "The idle server drew {} without the model. With the model loaded its idle power is unknown.",
            text(without)
        ),
        (None, None) => return None,
    })
}

/// What the responses told of their energy; nothing if none did.
pub fn responses(results: &Results) -> Option<String> {
    let telling: Vec<_> = results.points.iter().filter_map(|p| p.response_energy.as_ref()).collect();
    let compared: Vec<_> = telling.iter().filter_map(|told| told.comparison.as_ref()?.agrees).collect();
    let agree = compared.iter().filter(|agrees| **agrees).count();
    let verdict = match (compared.len(), agree) {
        (0, _) => "It was not compared with a meter; see the table of energy.".to_owned(),
        (all, agree) if all == agree => {
            format!("Its sum agrees with the meter's energy above idle at {}.", plural(all, "point"))
        }
        (all, agree) => format!(
            "Its sum agrees with the meter's energy above idle at {agree} of {}; see the table of energy.",
            plural(all, "point")
        ),
    };
    (!telling.is_empty()).then(|| {
        format!(
            "At {} of {} the responses told their energy. {verdict}",
            count(telling.len() as u64),
            plural(results.points.len(), "point")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures::{sweep_with_cpu_time, sweep_with_energy, sweep_with_response_energy};

    #[test]
    fn idle_powers_are_told_apart_or_it_is_said_which_is_known() {
        let mut results = sweep_with_energy();
        let text = idle(&results).unwrap().replace('\u{a0}', " ");
        assert!(text.contains("57.3 W with the model loaded"), "{text}");
        assert!(text.contains("server was running before") && text.contains("--idle-unload"), "{text}");
        let without = |watts| {
            Some(Consumption {
                average_power_w: Some(watts),
                average_power_error_w: Some(0.5),
                ..Consumption::default()
            })
        };
        results.idle_without_model = without(41.0);
        let text = idle(&results).unwrap().replace('\u{a0}', " ");
        assert!(
            text.contains("41.00 ± 0.50 W without the model") && text.contains(": 16.3 W more"),
            "{text}"
        );
        results.idle_without_model = without(58.0);
        assert!(idle(&results).unwrap().contains(": −0.7"), "less is a finding, too");
        results.idle = None;
        assert!(idle(&results).unwrap().contains("With the model loaded its idle power is unknown"));
        assert_eq!(idle(&sweep_with_cpu_time()), None);
    }

    #[test]
    fn what_responses_told_is_counted_and_nothing_is_claimed_without() {
        let mut results = sweep_with_response_energy();
        let text = responses(&results).unwrap();
        assert!(text.starts_with("At 40 of 40 points"), "{text}");
        assert!(text.contains("agrees with the meter's energy above idle at 39 of 40 points"), "{text}");
        let points: Vec<&Point> = results.points.iter().collect();
        let table = energy(&points);
        assert_eq!(table.rows.len(), 40);
        assert_eq!(table.rows.iter().filter(|row| row.iter().any(|cell| cell == "NO")).count(), 1);
        assert!(table.rows[0].iter().filter(|cell| cell.contains('±')).count() >= 6, "{:?}", table.rows[0]);

        results
            .points
            .iter_mut()
            .filter_map(|p| p.response_energy.as_mut())
            .for_each(|t| t.comparison = None);
        assert!(responses(&results).unwrap().contains("not compared with a meter"));
        assert_eq!(responses(&sweep_with_energy()), None);
        assert!(energy(&sweep_with_cpu_time().points.iter().collect::<Vec<_>>()).rows.is_empty());
    }
}
