//! How often to read a device.

/// A counter that moves more often than this is as good as one that never stands still.
const CONTINUOUS_NS: u64 = 5_000_000;

/// For those: what happens within it is seen as evenly spread. 50 readings of RAPL a second cost about a millisecond.
const CONTINUOUS_INTERVAL_NS: u64 = 20_000_000;

/// A thread that wakes up more often shows in the CPU time of its process.
const SHORTEST_NS: u64 = 5_000_000;
const LONGEST_NS: u64 = 250_000_000;

/// The time from one reading to the next.
///
/// The moment of a tick is known as well as the readings around it lie close together, so that there are 8 to a tick, and
/// 16 until the tick is learnt. A thread spends at most a quarter of its time in readings, half until then.
pub fn interval_ns(tick_ns: u64, learnt: bool, cost_ns: u64) -> u64 {
    if tick_ns < CONTINUOUS_NS {
        return CONTINUOUS_INTERVAL_NS.max(cost_ns.saturating_mul(4)).min(LONGEST_NS);
    }
    let (share, rest) = if learnt { (8, 4) } else { (16, 2) };
    (tick_ns / share).max(cost_ns.saturating_mul(rest)).clamp(SHORTEST_NS, LONGEST_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn readings_are_close_enough_and_leave_time_between() {
        assert_eq!(interval_ns(100 * MS, true, 3 * MS), 12_500_000);
        assert_eq!(interval_ns(100 * MS, true, 25 * MS), 100 * MS);
        assert_eq!(interval_ns(100 * MS, false, 3 * MS), 6_250_000);
        assert_eq!(interval_ns(20 * MS, true, 100_000), 5_000_000);
        assert_eq!(interval_ns(MS, true, 20_000), 20 * MS);
        assert_eq!(interval_ns(2000 * MS, true, MS), 250 * MS);
        assert_eq!(interval_ns(2000 * MS, true, u64::MAX), 250 * MS);
    }
}
