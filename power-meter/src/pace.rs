//! How often to read a device.

/// A counter that moves more often than this is as good as one that never stands still.
const CONTINUOUS_NS: u64 = 5_000_000;

/// For those: what happens within it is seen as evenly spread. 50 readings of RAPL a second cost about a millisecond.
const CONTINUOUS_INTERVAL_NS: u64 = 20_000_000;

/// A thread that wakes up more often shows in the CPU time of its process.
const SHORTEST_NS: u64 = 5_000_000;
const LONGEST_NS: u64 = 250_000_000;

/// Parts of a tick: how much before the next one it is looked for, because ticks are not quite regular; and how close to the
/// last one its moment has to be known.
const EARLY: u64 = 6;
const CLOSE: u64 = 4;

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

/// The same after a reading, begun at `begin_ns`, that found that the counter had moved: `tick` is when it did, and how far that
/// may be off. The counter moves again only a tick later, so that readings in between are left out, two of three.
pub fn after_tick_ns(interval_ns: u64, tick_ns: u64, begin_ns: u64, tick: (u64, u64)) -> u64 {
    let (moved_ns, slack_ns) = tick;
    if tick_ns < CONTINUOUS_NS || slack_ns > tick_ns / CLOSE {
        return interval_ns;
    }
    let next_ns = moved_ns.saturating_add(tick_ns - tick_ns / EARLY);
    next_ns.saturating_sub(begin_ns).clamp(interval_ns, LONGEST_NS.max(interval_ns))
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

    #[test]
    fn after_a_tick_nothing_is_read_until_shortly_before_the_next() {
        let next = |tick_ms, slack_ms, begin_ms| {
            after_tick_ns(12 * MS, tick_ms * MS, begin_ms * MS, (1000 * MS, slack_ms * MS))
        };
        assert_eq!(next(100, 6, 1004), 79_333_334);
        assert_eq!(next(100, 6, 1080), 12 * MS, "late, so as if it were not known");
        assert_eq!(next(100, 6, 5000), 12 * MS);
        assert_eq!(next(100, 26, 1004), 12 * MS, "the moment is not known well enough");
        assert_eq!(next(4, 0, 1000), 12 * MS, "moves all the time");
        assert_eq!(next(2000, 50, 1000), 250 * MS, "never longer than anything else");
        assert_eq!(after_tick_ns(300 * MS, 2000 * MS, 0, (0, 0)), 300 * MS);
        assert_eq!(after_tick_ns(12 * MS, u64::MAX, 0, (u64::MAX, 0)), 250 * MS);
    }
}
