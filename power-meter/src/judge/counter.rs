//! What a counter's values say by themselves: growth, wraps, resets, impossible values.

use super::ticks::{Tick, Ticks};
use crate::clock::seconds;
use crate::device::Limits;

/// A counter, as far as it has been read.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    range_uj: Option<u64>,
    most_w: f64,
    pub ticks: Ticks,
    last: Option<Last>,
    /// Whether it has moved since the first value: only from then on is it known of when a value is.
    anchored: bool,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    begin_ns: u64,
    end_ns: u64,
    uj: u64,
    /// Whether it was the same value as before.
    stood: bool,
    /// The reading that saw this value first.
    since_ns: u64,
}

/// What a value says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    /// Nothing new: the first value, or one like the last.
    Still,
    /// The first move: energy is counted from here on.
    Anchored(Tick),
    Moved {
        tick: Tick,
        grown_uj: u64,
    },
    /// It cannot be what the device has used, and why. The value is a new first one.
    Wrong(String),
}

impl Counter {
    pub fn new(limits: &Limits) -> Self {
        let ticks = Ticks::new(limits.tick_ns);
        Self { range_uj: limits.range_uj, most_w: limits.most_w, ticks, last: None, anchored: false }
    }

    pub fn see(&mut self, begin_ns: u64, end_ns: u64, uj: u64) -> Seen {
        let first = Last { begin_ns, end_ns, uj, stood: false, since_ns: begin_ns };
        let Some(last) = self.last.replace(first) else { return Seen::Still };
        if uj == last.uj {
            self.last = Some(Last { begin_ns, end_ns, stood: true, ..last });
            return Seen::Still;
        }
        match self.growth(&last, end_ns, uj) {
            Ok(grown_uj) => {
                let tick = self.ticks.moved(last.begin_ns, begin_ns, end_ns, last.stood);
                if std::mem::replace(&mut self.anchored, true) {
                    Seen::Moved { tick, grown_uj }
                } else {
                    Seen::Anchored(tick)
                }
            }
            Err(reason) => {
                self.anchored = false;
                self.ticks.forget_last();
                Seen::Wrong(reason)
            }
        }
    }

    fn growth(&self, last: &Last, end_ns: u64, uj: u64) -> Result<u64, String> {
        let unread_ns = end_ns.saturating_sub(last.end_ns);
        if let Some(range) = self.range_uj
            && self.most_uj(unread_ns) >= range as f64
        {
            return Err(format!(
                "was not read for {:.1} s, in which its energy counter may have wrapped around more than once",
                seconds(unread_ns)
            ));
        }
        // A value may be a tick old at both readings.
        let most = self.most_uj(end_ns.saturating_sub(last.since_ns) + 2 * self.ticks.tick_ns());
        let possible = |grown: &u64| *grown as f64 <= most;
        let (before, now) = (last.uj as f64 / 1e6, uj as f64 / 1e6);
        if let Some(grown) = uj.checked_sub(last.uj) {
            return Some(grown).filter(possible).ok_or_else(|| {
                format!(
                    "has an energy counter that jumped from {before:.3} J to {now:.3} J within {:.3} s, which would be \
                     more than {} W",
                    seconds(end_ns.saturating_sub(last.since_ns)),
                    self.most_w
                )
            });
        }
        let to_the_end = self.range_uj.and_then(|range| range.checked_sub(last.uj));
        let wrapped = to_the_end.and_then(|rest| rest.checked_add(uj)).filter(possible);
        wrapped.ok_or_else(|| {
            let wrap = match self.range_uj {
                Some(range) => format!(", too far from its range of {:.3} J for a wrap-around", range as f64 / 1e6),
                None => String::new(),
            };
            format!(
                "has an energy counter that fell from {before:.3} J to {now:.3} J{wrap}: it was reset, by a restart of \
                 the server or the driver for example"
            )
        })
    }

    /// The most energy in a time: watts times nanoseconds are nanojoules.
    fn most_uj(&self, ns: u64) -> f64 {
        self.most_w * ns as f64 / 1e3
    }

    /// Since when the counter has had its last value; none before the first.
    pub fn still_since_ns(&self) -> Option<u64> {
        self.last.map(|last| last.since_ns)
    }

    /// The last value in microjoules.
    pub fn value_uj(&self) -> Option<u64> {
        self.last.map(|last| last.uj)
    }

    /// After a time of which nothing is known: the next value is a first one.
    pub fn forget(&mut self) {
        self.last = None;
        self.anchored = false;
        self.ticks.forget_last();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const RANGE: u64 = 262_143_328_850;

    fn counter(range_uj: Option<u64>) -> Counter {
        Counter::new(&Limits {
            has_counter: true,
            range_uj,
            tick_ns: MS,
            most_w: 3000.0,
            standstill_ns: 1000 * MS,
            blind_standstill_ns: 10_000 * MS,
        })
    }

    /// Values every 100 ms.
    fn seen(range_uj: Option<u64>, values: &[u64]) -> Vec<Seen> {
        let mut counter = counter(range_uj);
        let at = |index: usize| (index as u64 + 1) * 100 * MS;
        values.iter().enumerate().map(|(index, &uj)| counter.see(at(index), at(index), uj)).collect()
    }

    fn grown(seen: &Seen) -> Option<u64> {
        match seen {
            Seen::Moved { grown_uj, .. } => Some(*grown_uj),
            _ => None,
        }
    }

    #[test]
    fn a_wrap_is_counted_and_a_reset_is_not() {
        let wrap = seen(Some(RANGE), &[RANGE - 9_000_000, RANGE - 3_000_000, 2_000_000]);
        assert!(matches!(wrap[1], Seen::Anchored(_)), "{wrap:?}");
        assert_eq!(grown(&wrap[2]), Some(5_000_000));

        let reset = seen(Some(RANGE), &[100_000_000_000, 100_001_000_000, 2_000_000, 4_000_000, 5_000_000]);
        let Seen::Wrong(reason) = &reset[2] else { panic!("{reset:?}") };
        assert!(reason.contains("fell from 100001.000 J to 2.000 J, too far from its range"), "{reason}");
        assert!(matches!(reset[3], Seen::Anchored(_)), "{reset:?}");
        assert_eq!(grown(&reset[4]), Some(1_000_000));

        let unknown = seen(None, &[RANGE - 9_000_000, RANGE - 3_000_000, 2_000_000]);
        assert!(matches!(&unknown[2], Seen::Wrong(reason) if reason.contains("reset")), "{unknown:?}");
        // A range that is smaller than the value says nothing.
        let small = seen(Some(5), &[8, 9, 7]);
        assert!(matches!(small[2], Seen::Wrong(_)), "{small:?}");
    }

    #[test]
    fn an_impossible_jump_is_wrong_and_so_is_a_counter_nobody_read_for_too_long() {
        let jump = seen(None, &[0, 1, 2_000_000_000, 2_000_000_001]);
        assert!(matches!(&jump[2], Seen::Wrong(reason) if reason.contains("more than 3000 W")), "{jump:?}");
        assert!(matches!(jump[3], Seen::Anchored(_)), "{jump:?}");

        let mut counter = counter(Some(RANGE));
        counter.see(0, 0, 1);
        counter.see(MS, MS, 2);
        let seen = counter.see(200_000 * MS, 200_000 * MS, 3);
        assert!(matches!(&seen, Seen::Wrong(reason) if reason.contains("more than once")), "{seen:?}");
    }
}
