//! Whether the server's statistics agree with the responses, and the meter's energy with theirs.

pub mod energy;

use crate::record::{SERVER_VALUES, Window};
use crate::results::StatisticsGrowth;

/// Failures on the client's side: the server may have answered and counted such a request.
const UNHEARD: [&str; 3] = ["timeout", "connection closed", "bad response"];

/// Compares all requests of a point with the growth of the server's statistics. Returns whether they agree, and an
/// explanation.
pub fn check(all: &Window, growth: &StatisticsGrowth) -> (bool, String) {
    let answered = all.latency.count();
    let counted = growth.success_count;
    let unheard: u64 =
        UNHEARD.iter().filter_map(|kind| all.failures.get(*kind)).map(|(count, _)| count).sum();
    if !(answered..=answered + unheard).contains(&counted) {
        let why = match counted > answered {
            true => "is another client using the model?",
            false => "does the server count requests differently?",
        };
        return (
            false,
            format!("{answered} requests were answered, but the statistics grew by {counted}: {why}"),
        );
    }
    if counted > answered {
        let words = format!(
            "{answered} requests were answered and {} more counted, of {unheard} whose responses did not arrive; times \
             were not compared",
            counted - answered
        );
        return (true, words);
    }
    if growth.cache_hit_count > 0 {
        let words = format!(
            "{answered} requests in both, {} of them from the response cache; times were not compared",
            growth.cache_hit_count
        );
        return (true, words);
    }
    let sums = [
        ("compute_input_ns", growth.compute_input_ns),
        ("compute_infer_ns", growth.compute_infer_ns),
        ("compute_output_ns", growth.compute_output_ns),
    ];
    let mut compared = Vec::new();
    for (name, server) in sums {
        let times = SERVER_VALUES
            .iter()
            .zip(&all.server_times)
            .find_map(|(value, times)| (*value == name).then_some(times))
            .filter(|times| times.count() == answered && answered > 0);
        let Some(times) = times else { continue };
        if times.sum_ns != u128::from(server) {
            return (
                false,
                format!(
                    "{name}: the responses add up to {}, but the statistics grew by {server}",
                    times.sum_ns
                ),
            );
        }
        compared.push(name);
    }
    let sums = match compared.as_slice() {
        [] => "times were not compared, because the responses carry none".to_owned(),
        names => format!("the sums of {} are equal to the nanosecond", names.join(", ")),
    };
    (true, format!("{answered} requests in both; {sums}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(infer: &[u64]) -> Window {
        let mut window = Window::default();
        for ns in infer {
            window.latency.record(ns + 1000);
            window.server_times[2].record(*ns);
        }
        window
    }

    #[test]
    fn equal_sums_agree_and_a_nanosecond_more_does_not() {
        let mut growth = StatisticsGrowth { success_count: 2, compute_infer_ns: 700, ..Default::default() };
        assert!(check(&window(&[300, 400]), &growth).0);
        growth.compute_infer_ns = 701;
        assert_eq!(
            check(&window(&[300, 400]), &growth),
            (
                false,
                "compute_infer_ns: the responses add up to 700, but the statistics grew by 701".to_owned()
            )
        );
    }

    #[test]
    fn answers_that_did_not_arrive_are_no_other_client() {
        let mut window = window(&[300]);
        window.failures.insert("timeout".to_owned(), (2, "no answer".to_owned()));
        let grown = |success_count| StatisticsGrowth { success_count, ..Default::default() };
        assert!(!check(&window, &grown(0)).0, "an answer that was not counted");
        assert!(!check(&window, &grown(1)).0, "the times differ");
        assert!(check(&window, &grown(2)).0);
        assert!(check(&window, &grown(3)).0);
        assert!(!check(&window, &grown(4)).0);
    }

    #[test]
    fn answers_out_of_the_cache_carry_the_times_of_others() {
        let growth = StatisticsGrowth { success_count: 1, cache_hit_count: 1, ..Default::default() };
        let (agrees, words) = check(&window(&[300]), &growth);
        assert!(agrees);
        assert!(words.contains("response cache"), "{words}");
    }

    #[test]
    fn another_client_shows() {
        let growth = StatisticsGrowth { success_count: 3, ..Default::default() };
        let (agrees, words) = check(&window(&[1, 2]), &growth);
        assert!(!agrees);
        assert!(words.contains("another client"), "{words}");
    }

    #[test]
    fn a_model_without_times_in_its_responses_is_compared_by_count() {
        let mut window = Window::default();
        window.latency.record(5);
        let growth = StatisticsGrowth { success_count: 1, compute_infer_ns: 4, ..Default::default() };
        let (agrees, words) = check(&window, &growth);
        assert!(agrees);
        assert!(words.contains("not compared"), "{words}");
    }
}
