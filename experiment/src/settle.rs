//! Whether the measurements of a point have settled.

use crate::record::Window;

/// Number of windows that have to agree.
pub const WINDOWS: usize = 3;

/// Whether the last three windows agree: each lies within `tolerance` (a fraction) of their mean.
///
/// In a closed loop, throughput and mean latency have to agree. In an open loop throughput follows the arrivals, which
/// are irregular by design; there the median latency has to agree, and the server must not fall behind.
pub fn is_settled(windows: &[Window], open_loop: bool, tolerance: f64) -> bool {
    let Some(last) = windows.last_chunk::<WINDOWS>() else { return false };
    if last.iter().any(|window| window.latency.count() == 0) {
        return false;
    }
    if open_loop {
        let answered: u64 = last.iter().map(|window| window.latency.count() + window.failed()).sum();
        let due: u64 = last.iter().map(|window| window.scheduled).sum();
        let keeps_up = answered as f64 >= due as f64 * (1.0 - tolerance);
        keeps_up
            && agree(
                last.each_ref().map(|window| window.latency.histogram.value_at_quantile(0.5) as f64),
                tolerance,
            )
    } else {
        agree(last.each_ref().map(|window| window.latency.count() as f64 / window.seconds()), tolerance)
            && agree(last.each_ref().map(|window| window.latency.mean().unwrap_or(0.0)), tolerance)
    }
}

fn agree(values: [f64; WINDOWS], tolerance: f64) -> bool {
    let mean = values.iter().sum::<f64>() / WINDOWS as f64;
    values.iter().all(|value| (value - mean).abs() <= tolerance * mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` requests of `latency_ns` each, over one second; `scheduled` were due.
    fn window(count: u64, latency_ns: u64, scheduled: u64) -> Window {
        let mut window = Window { start_ns: 0, end_ns: 1_000_000_000, scheduled, ..Window::default() };
        for _ in 0..count {
            window.latency.record(latency_ns);
        }
        window
    }

    #[test]
    fn the_last_three_have_to_agree_and_no_earlier_one() {
        let calm = [window(300, 900, 0), window(100, 5000, 0), window(103, 5100, 0), window(98, 5000, 0)];
        assert!(is_settled(&calm, false, 0.05));
        assert!(!is_settled(&calm[..3], false, 0.05), "the first is another thing");
        assert!(!is_settled(&calm[2..], false, 0.05), "two are not three");
        assert!(!is_settled(&calm, false, 0.01));
    }

    #[test]
    fn a_closed_loop_settles_in_latency_too() {
        let drifting = [window(100, 5000, 0), window(100, 6000, 0), window(100, 7000, 0)];
        assert!(!is_settled(&drifting, false, 0.05));
    }

    #[test]
    fn an_open_loop_settles_when_arrivals_vary_and_the_server_keeps_up() {
        let varying = [window(100, 5000, 100), window(130, 5050, 130), window(70, 5000, 71)];
        assert!(is_settled(&varying, true, 0.05));
        let behind = [window(100, 5000, 120), window(100, 5050, 120), window(100, 5000, 120)];
        assert!(!is_settled(&behind, true, 0.05));
    }

    #[test]
    fn a_window_without_an_answer_settles_nothing() {
        let empty = [window(100, 5000, 0), window(0, 0, 0), window(100, 5000, 0)];
        assert!(!is_settled(&empty, false, 1.0));
    }
}
