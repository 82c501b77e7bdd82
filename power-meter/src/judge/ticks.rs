//! When a counter moved, from readings before and after.

use crate::recent::Recent;

/// So many times between moves, and the tick counts as learnt.
const ENOUGH: usize = 8;

/// How much a reading corrects the moment that was expected from the ticks before: ticks are more regular (98 to 102 ms)
/// than readings are close together.
const GAIN: u64 = 4;

/// Where ticks lie.
#[derive(Clone, Debug)]
pub(super) struct Ticks {
    assumed_ns: u64,
    between: Recent,
    last_ns: Option<u64>,
}

/// The moment of a move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tick {
    pub ns: u64,
    /// How far off to either side.
    pub slack_ns: u64,
}

impl Ticks {
    pub fn new(assumed_ns: u64) -> Self {
        Self { assumed_ns, between: Recent::default(), last_ns: None }
    }

    /// The median of the times between moves; none until there were enough with a reading that saw no move in between:
    /// where every reading sees one, the tick is shorter than can be seen.
    pub fn learnt_ns(&self) -> Option<u64> {
        self.between.median().filter(|_| self.between.count() >= ENOUGH)
    }

    pub fn tick_ns(&self) -> u64 {
        self.learnt_ns().unwrap_or(self.assumed_ns)
    }

    /// The value of the reading from `begin_ns` to `end_ns` was not there yet when the reading before began, at
    /// `before_ns`. `stood` says whether that one saw the counter unmoved.
    pub fn moved(&mut self, before_ns: u64, begin_ns: u64, end_ns: u64, stood: bool) -> Tick {
        // Had it moved earlier than a tick before this reading, it would have moved once more since.
        let earliest = before_ns.max(begin_ns.saturating_sub(self.tick_ns())).min(end_ns);
        let middle = earliest + (end_ns - earliest) / 2;
        let ns = match self.expected(middle) {
            Some(expected) if expected > middle => expected - (expected - middle) / GAIN,
            Some(expected) => expected + (middle - expected) / GAIN,
            None => middle,
        };
        let ns = ns.clamp(earliest, end_ns);
        if let Some(last) = self.last_ns
            && stood
            && ns > last
        {
            self.between.add(ns - last);
        }
        self.last_ns = Some(ns);
        Tick { ns, slack_ns: (ns - earliest).max(end_ns - ns) }
    }

    /// The tick that is due around a moment, by those before.
    fn expected(&self, around_ns: u64) -> Option<u64> {
        let (tick, last) = (self.learnt_ns()?, self.last_ns?);
        let since = around_ns.checked_sub(last)?;
        let ticks = (since + tick / 2) / tick.max(1);
        // Further on, the small errors of the tick have added up.
        (1..=4).contains(&ticks).then(|| last + ticks * tick)
    }

    /// After a time without readings.
    pub fn forget_last(&mut self) {
        self.last_ns = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_tick_lies_between_the_readings_around_it() {
        let mut ticks = Ticks::new(100 * MS);
        assert_eq!(ticks.moved(10 * MS, 20 * MS, 24 * MS, true), Tick { ns: 17 * MS, slack_ns: 7 * MS });
        assert_eq!((ticks.learnt_ns(), ticks.tick_ns()), (None, 100 * MS));
        // A tick of 1 ms was at most 1 ms ago, however long nobody looked.
        let mut fast = Ticks::new(MS);
        assert_eq!(fast.moved(0, 20 * MS, 20 * MS, false), Tick { ns: 19_500_000, slack_ns: 500_000 });
    }

    #[test]
    fn the_tick_is_learnt_and_then_helps_where_a_reading_was_slow() {
        let mut ticks = Ticks::new(1000 * MS);
        for tick in 1..40 {
            let at = tick * 100 * MS;
            ticks.moved(at - 6 * MS, at + 4 * MS, at + 6 * MS, true);
        }
        assert_eq!(ticks.learnt_ns(), Some(100 * MS));
        let slow = ticks.moved(3990 * MS, 4002 * MS, 4070 * MS, true);
        assert!(slow.ns.abs_diff(4000 * MS) < 8 * MS && slow.slack_ns > 60 * MS, "{slow:?}");
    }

    #[test]
    fn a_tick_that_no_reading_resolves_is_not_learnt() {
        let mut ticks = Ticks::new(MS);
        for reading in 1..100 {
            ticks.moved((reading - 1) * 20 * MS, reading * 20 * MS, reading * 20 * MS, false);
        }
        assert_eq!((ticks.learnt_ns(), ticks.tick_ns()), (None, MS));
    }
}
