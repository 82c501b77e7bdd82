//! The errors of a point's energy, and what its responses told.

use crate::record::Window;
use crate::results::ResponseEnergy;
use crate::uncertainty::{of_mean, together};

/// The part of its energy by which a response may correct what earlier ones told, as the backend limits it.
const MOST_CORRECTED: f64 = 0.05;

/// The index of `compute_latency_ns` in [`SERVER_VALUES`](crate::record::SERVER_VALUES).
const COMPUTE_LATENCY: usize = 0;

/// Energy and inferences of a window.
pub type Part = (Option<f64>, u64);

/// The error of the energy of an inference, from that of the whole energy and from the spread over the windows; none
/// without inferences.
pub fn per_inference_error(error_j: f64, inferences: u64, windows: &[Part]) -> Option<f64> {
    let each: Vec<f64> = windows
        .iter()
        .filter(|(_, inferences)| *inferences > 0)
        .filter_map(|(joules, inferences)| Some((*joules)? / *inferences as f64))
        .collect();
    (inferences > 0).then(|| together([error_j / inferences as f64, of_mean(&each).unwrap_or(0.0)]))
}

/// What the responses of the measured part told; none if they told nothing.
pub fn told(measured: &Window, windows: &[Window], batch: u32) -> Option<ResponseEnergy> {
    let energy = &measured.energy;
    let energy_j = energy.joules()?;
    let batch = u64::from(batch);
    let inferences = energy.responses * batch;
    let of_one = energy_j.abs() / energy.responses as f64;
    let energy_error_j = together([executing(measured) * of_one, MOST_CORRECTED * energy_j.abs()]);
    let parts: Vec<Part> =
        windows.iter().map(|window| (window.energy.joules(), window.energy.responses * batch)).collect();
    Some(ResponseEnergy {
        responses: energy.responses,
        energy_j,
        energy_error_j,
        measured_share: energy.measured_share(),
        j_per_inference: energy_j / inferences as f64,
        j_per_inference_error_j: per_inference_error(energy_error_j, inferences, &parts)?,
        comparison: None,
    })
}

/// Requests that were executed at a time, on average (Little's law: their rate times the time that each takes). At the edges
/// of the measured part so many have used a part of their energy on one side and tell it on the other. Where the responses
/// do not carry the time of the execution, that at the client takes its place, which is longer.
fn executing(measured: &Window) -> f64 {
    let compute = &measured.server_times[COMPUTE_LATENCY];
    let times = if compute.count() == measured.latency.count() { compute } else { &measured.latency };
    match measured.seconds() {
        0.0 => 0.0,
        seconds => times.sum_ns as f64 / 1e9 / seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    /// A second with requests that each took 100 ms and told so many joules.
    fn window(number: u64, told: &[f64]) -> Window {
        let mut window = Window { start_ns: number * S, end_ns: (number + 1) * S, ..Window::default() };
        for joules in told {
            window.latency.record(S / 10);
            window.energy.record((joules * 1e6) as i64, Some(80));
        }
        window
    }

    fn merged(windows: &[Window]) -> Window {
        let mut measured = Window::default();
        windows.iter().for_each(|window| measured.add(window));
        measured
    }

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-6 * expected.abs().max(1.0)
    }

    #[test]
    fn the_sum_over_responses_has_the_error_of_its_edges_and_of_corrections() {
        let windows = [window(1, &[2.0; 10]), window(2, &[2.0; 10])];
        let told = told(&merged(&windows), &windows, 4).unwrap();
        assert_eq!((told.responses, told.energy_j), (20, 40.0));
        assert!(close(told.measured_share.unwrap(), 0.8));
        // Ten a second that take 100 ms: one at a time, which has 2 J. A twentieth of 40 J is 2 J, too.
        assert!(close(told.energy_error_j, 8f64.sqrt()), "{told:?}");
        assert!(close(told.j_per_inference, 0.5));
        assert!(
            close(told.j_per_inference_error_j, 8f64.sqrt() / 80.0),
            "windows alike add nothing: {told:?}"
        );
    }

    #[test]
    fn requests_that_wait_have_used_no_energy() {
        let mut waiting = window(1, &[2.0; 10]);
        for _ in 0..10 {
            waiting.server_times[COMPUTE_LATENCY].record(S / 100);
        }
        let windows = [waiting];
        let told = told(&merged(&windows), &windows, 1).unwrap();
        assert!(close(told.energy_error_j, together([0.2, 1.0])), "{told:?}");
    }

    #[test]
    fn windows_that_differ_widen_the_error() {
        let windows = [window(1, &[1.0; 10]), window(2, &[3.0; 10])];
        let told = told(&merged(&windows), &windows, 1).unwrap();
        // Two values with a standard deviation of sqrt(2): 12.706 of it over sqrt(2).
        assert!(told.j_per_inference_error_j > 12.7 && told.j_per_inference_error_j < 12.8, "{told:?}");
        assert!(told.energy_error_j < 3.0, "the sum itself is as exact as before: {told:?}");
    }

    #[test]
    fn zero_energy_is_told_and_nothing_is_not() {
        let silent = [window(1, &[])];
        assert_eq!(told(&merged(&silent), &silent, 1), None);
        let zero = [window(1, &[0.0; 5])];
        let told = told(&merged(&zero), &zero, 1).unwrap();
        assert_eq!((told.energy_j, told.energy_error_j, told.j_per_inference), (0.0, 0.0, 0.0));
        assert_eq!(told.measured_share, None);
    }

    #[test]
    fn the_error_of_an_inference_needs_inferences_and_ignores_windows_without() {
        assert_eq!(per_inference_error(1.0, 0, &[]), None);
        assert_eq!(per_inference_error(1.0, 10, &[]), Some(0.1));
        assert_eq!(per_inference_error(1.0, 10, &[(Some(20.0), 10)]), Some(0.1), "one window has no spread");
        let parts = [(Some(20.0), 10), (None, 10), (Some(5.0), 0), (Some(20.0), 10)];
        assert_eq!(per_inference_error(1.0, 10, &parts), Some(0.1));
    }
}
