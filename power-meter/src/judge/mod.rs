//! Which of a device's readings to believe.
//!
//! - A counter that stands still while power says more than 20 W, that falls without having wrapped around, that jumps
//!   further than the device can draw, or that differs from integrated power over steady load twice in a row, is
//!   **dropped** for good. Power is then integrated with the trapezoidal rule, from the last point on: the judge keeps
//!   the readings of power since then.
//! - Where there is no power to go on with (RAPL), energy is **lost** from the last point on, and a **gap** is told once the
//!   counter moves again. The same holds for a device that cannot be read for a while.

mod agreement;
mod counter;
mod ticks;

use std::collections::VecDeque;

use crate::clock::seconds;
use crate::device::{Limits, Reading};
use crate::event::{Event, Point};
use agreement::Agreement;
use counter::{Counter, Seen};
use ticks::Tick;

/// Below it, a counter may be too coarse to have moved.
const CLEARLY_ON_W: f64 = 20.0;

/// After so many times the usual limit, any power says that a counter should have moved.
const LONG_STANDSTILL: u64 = 10;

/// A device that gives nothing for so long, or for so many ticks, leaves a gap. Less is bridged by the counter, or by the
/// power before and after.
const OUTAGE_NS: u64 = 1_000_000_000;
const OUTAGE_TICKS: u64 = 3;

/// A bound for the readings that are kept, beyond what the limits of any device let come together.
const MOST_HELD: usize = 16_384;

/// What energy is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The device's energy counter.
    Counter,
    /// Its power, integrated with the trapezoidal rule.
    Power,
}

/// The judge of one device. Pure: time comes with the readings.
#[derive(Clone, Debug)]
pub struct Judge {
    limits: Limits,
    basis: Basis,
    counter: Counter,
    agreement: Agreement,
    total_uj: u64,
    last_point_ns: Option<u64>,
    /// Valid readings of power in watts since the last point of the counter, and one before it.
    held: VecDeque<(u64, f64)>,
    /// Of all valid power, for the comparison.
    integrated_uj: f64,
    last_power: Option<(u64, f64)>,
    /// With the basis power: what the total was when it began, and the energy since, whose fractions are kept.
    from_power: (u64, f64),
    /// With the basis power: where the integral stands.
    integral: Option<(u64, f64)>,
    first_ns: Option<u64>,
    last_end_ns: u64,
    /// The first of the errors since the last reading.
    failing: Option<String>,
    fault: Option<String>,
    lost: Option<(u64, String)>,
}

impl Judge {
    /// Before any reading.
    pub fn new(limits: Limits) -> Self {
        Self {
            basis: if limits.has_counter { Basis::Counter } else { Basis::Power },
            counter: Counter::new(&limits),
            limits,
            agreement: Agreement::default(),
            total_uj: 0,
            last_point_ns: None,
            held: VecDeque::new(),
            integrated_uj: 0.0,
            last_power: None,
            from_power: (0, 0.0),
            integral: None,
            first_ns: None,
            last_end_ns: 0,
            failing: None,
            fault: None,
            lost: None,
        }
    }

    /// What energy is taken from by now.
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// The time between two moves of the counter as learnt from readings; none as long as too few have been seen, or if
    /// readings are further apart than ticks.
    pub fn tick_ns(&self) -> Option<u64> {
        self.counter.ticks.learnt_ns()
    }

    /// Why energy is unknown at present, and since when.
    pub fn lost(&self) -> Option<(u64, &str)> {
        self.lost.as_ref().map(|(since, reason)| (*since, reason.as_str()))
    }

    /// After a reading. One that does not end after the last is left out: its growth is seen by the next.
    pub fn take(&mut self, reading: &Reading) -> Vec<Event> {
        let mut events = Vec::new();
        let (begin_ns, end_ns) = (reading.begin_ns, reading.end_ns);
        if begin_ns > end_ns || (self.first_ns.is_some() && end_ns <= self.last_end_ns) {
            return events;
        }
        self.first_ns.get_or_insert(end_ns);
        if let Some(reason) = self.failing.take()
            && end_ns - self.last_end_ns > self.outage_ns()
        {
            // The counter may have started anew, and have come further since than it was.
            self.lose(reason, &mut events);
            self.counter.forget();
        }
        self.last_end_ns = end_ns;
        if reading.fault.is_some() {
            self.fault.clone_from(&reading.fault);
        }
        if let Some(watts) = reading.watts(self.limits.most_w) {
            self.take_power(reading.power_ns.max(end_ns), watts, &mut events);
        }
        match self.basis {
            Basis::Counter => self.take_counter(reading, &mut events),
            Basis::Power => self.look_for_power(end_ns, &mut events),
        }
        events
    }

    /// After an error in place of a reading.
    pub fn failed(&mut self, ns: u64, reason: &str) -> Vec<Event> {
        let mut events = Vec::new();
        if self.first_ns.is_none() {
            self.first_ns = Some(ns);
            self.last_end_ns = ns;
        }
        // The first: later ones are often consequences.
        let first = self.failing.get_or_insert_with(|| reason.to_owned()).clone();
        if ns.saturating_sub(self.last_end_ns) > self.outage_ns() {
            self.lose(first, &mut events);
            self.counter.forget();
        }
        events
    }

    fn outage_ns(&self) -> u64 {
        OUTAGE_NS.max(OUTAGE_TICKS * self.counter.ticks.tick_ns())
    }

    fn take_power(&mut self, ns: u64, watts: f64, events: &mut Vec<Event>) {
        match self.last_power {
            Some((last_ns, last_w)) if ns.saturating_sub(last_ns) <= self.outage_ns() => {
                self.integrated_uj += trapezoid_uj(last_w, watts, ns.saturating_sub(last_ns));
            }
            _ => self.agreement.restart(),
        }
        self.last_power = Some((ns, watts));
        match self.basis {
            Basis::Power => self.integrate(ns, watts, events),
            Basis::Counter => {
                self.agreement.power(ns, watts);
                if self.held.len() == MOST_HELD {
                    self.held.pop_front();
                }
                self.held.push_back((ns, watts));
            }
        }
    }

    fn take_counter(&mut self, reading: &Reading, events: &mut Vec<Event>) {
        let seen = reading.counter_uj.map(|uj| self.counter.see(reading.begin_ns, reading.end_ns, uj));
        match seen {
            Some(Seen::Moved { tick, grown_uj }) => {
                self.total_uj = self.total_uj.saturating_add(grown_uj);
                let ns = self.point(tick, events);
                let integrated = match self.last_power {
                    Some((at, watts)) if at > ns => self.integrated_uj - trapezoid_uj(watts, watts, at - ns),
                    Some((at, watts)) => self.integrated_uj + trapezoid_uj(watts, watts, ns - at),
                    None => return,
                };
                if let Some(disagreement) = self.agreement.tick(ns, self.total_uj, integrated) {
                    self.drop_counter(disagreement.since_ns, disagreement.reason, events);
                }
            }
            Some(Seen::Anchored(tick)) => {
                self.agreement.restart();
                self.point(tick, events);
            }
            Some(Seen::Wrong(reason)) => {
                self.drop_or_lose(reason, events);
            }
            Some(Seen::Still) | None => self.look_at_standstill(reading.end_ns, events),
        }
    }

    /// A tick of the counter, at the total. Returns its moment, which is after the point before.
    fn point(&mut self, tick: Tick, events: &mut Vec<Event>) -> u64 {
        let ns = self.last_point_ns.map_or(tick.ns, |last| tick.ns.max(last + 1));
        self.found(ns, events);
        self.add_point(Point { ns, uj: self.total_uj, slack_ns: tick.slack_ns }, events);
        while self.held.get(1).is_some_and(|(next, _)| *next <= ns) {
            self.held.pop_front();
        }
        ns
    }

    fn add_point(&mut self, point: Point, events: &mut Vec<Event>) {
        self.last_point_ns = Some(point.ns);
        events.push(Event::Point(point));
    }

    fn look_at_standstill(&mut self, now_ns: u64, events: &mut Vec<Event>) {
        // A counter that has never been read stands still since the first reading.
        let Some(since) = self.counter.still_since_ns().or(self.first_ns) else { return };
        let since = since.max(self.lost.as_ref().map_or(0, |lost| lost.0));
        let still_ns = now_ns.saturating_sub(since);
        let what = match self.counter.value_uj() {
            Some(uj) => format!("has an energy counter that stood still at {:.3} J", uj as f64 / 1e6),
            None => format!("has had no reading of its energy counter{}", self.in_its_words()),
        };
        if self.power_is_recent(now_ns) {
            // A server that was told to renew its metrics less often is not wrong for that.
            let standstill_ns = self.limits.standstill_ns.max(self.counter.ticks.tick_ns() * 5 / 2);
            let powers = || self.held.iter().filter(|(ns, _)| *ns >= since).map(|(_, watts)| *watts);
            let least = powers().fold(f64::INFINITY, f64::min);
            let clearly = still_ns >= standstill_ns && least.is_finite() && least > CLEARLY_ON_W;
            if clearly || still_ns >= standstill_ns.saturating_mul(LONG_STANDSTILL) {
                let mean = powers().sum::<f64>() / powers().count().max(1) as f64;
                let reason = format!("{what} for {:.1} s while power said {mean:.1} W", seconds(still_ns));
                self.drop_counter(self.last_point_ns.unwrap_or(since), reason, events);
            }
        } else if still_ns >= self.limits.blind_standstill_ns && self.lost.is_none() {
            let reason = format!("{what} for {:.1} s, and gives no power", seconds(still_ns));
            self.lose(reason, events);
            // What it counts once it moves again may be of any time.
            self.counter.forget();
        }
    }

    fn in_its_words(&self) -> String {
        self.fault.as_ref().map_or(String::new(), |fault| format!(" ({fault})"))
    }

    fn power_is_recent(&self, now_ns: u64) -> bool {
        self.last_power.is_some_and(|(ns, _)| now_ns.saturating_sub(ns) <= self.outage_ns())
    }

    fn drop_or_lose(&mut self, reason: String, events: &mut Vec<Event>) {
        match self.power_is_recent(self.last_end_ns) {
            true => self.drop_counter(self.last_point_ns.unwrap_or(self.last_end_ns), reason, events),
            false => self.lose(reason, events),
        }
    }

    /// Integrates from the last point on, with the readings that were held for this.
    fn drop_counter(&mut self, since_ns: u64, reason: String, events: &mut Vec<Event>) {
        let now = self.last_power.map_or(String::new(), |(_, watts)| format!(" (power is {watts:.1} W)"));
        let reason = if reason.contains(" W") { reason } else { reason + &now };
        events.push(Event::Dropped { since_ns, ns: self.last_end_ns, reason });
        self.basis = Basis::Power;
        self.from_power = (self.total_uj, 0.0);
        let held = std::mem::take(&mut self.held);
        if let Some(last) = self.last_point_ns.filter(|_| self.lost.is_none()) {
            // Before the first reading of power, what it says counts as well, if it is not too far away.
            let watts = power_at(&held, last, self.outage_ns());
            self.integral = watts.map(|watts| (last, watts));
            if watts.is_none() {
                self.lose("gave no power reading in time".to_owned(), events);
            }
        }
        for (ns, watts) in held {
            self.integrate(ns, watts, events);
        }
    }

    /// With the basis power: adds what was drawn since the last reading, unless that is too long ago.
    fn integrate(&mut self, ns: u64, watts: f64, events: &mut Vec<Event>) {
        if self.last_point_ns.is_some_and(|last| ns <= last) {
            return;
        }
        match self.integral {
            Some((last_ns, last_w)) if self.lost.is_none() && ns - last_ns <= self.outage_ns() => {
                self.from_power.1 += trapezoid_uj(last_w, watts, ns - last_ns);
            }
            Some(_) => self.lose(format!("gave no power reading{}", self.in_its_words()), events),
            None => {}
        }
        self.integral = Some((ns, watts));
        self.found(ns, events);
        // Rounded down here, with the fractions kept, so that no rounding adds up.
        self.total_uj = self.total_uj.max(self.from_power.0.saturating_add(self.from_power.1 as u64));
        // A power is renewed once in a tick.
        let slack_ns = self.counter.ticks.tick_ns() / 2;
        self.add_point(Point { ns, uj: self.total_uj, slack_ns }, events);
    }

    fn look_for_power(&mut self, now_ns: u64, events: &mut Vec<Event>) {
        let since = self.last_power.map(|(ns, _)| ns).or(self.first_ns).unwrap_or(now_ns);
        if now_ns.saturating_sub(since) > self.outage_ns() {
            self.lose(
                format!(
                    "has given no power reading for {:.1} s{} (0 W is none)",
                    seconds(now_ns - since),
                    self.in_its_words()
                ),
                events,
            );
        }
    }

    fn lose(&mut self, reason: String, events: &mut Vec<Event>) {
        if self.lost.is_none() {
            let since_ns = self.last_point_ns.or(self.first_ns).unwrap_or(self.last_end_ns);
            self.agreement.restart();
            self.lost = Some((since_ns, reason.clone()));
            events.push(Event::Lost { since_ns, reason });
        }
    }

    /// Energy is known again.
    fn found(&mut self, ns: u64, events: &mut Vec<Event>) {
        if let Some((from_ns, reason)) = self.lost.take() {
            events.push(Event::Gap { from_ns, to_ns: ns, reason });
        }
    }
}

/// Watts times nanoseconds are nanojoules.
fn trapezoid_uj(from_w: f64, to_w: f64, ns: u64) -> f64 {
    (from_w + to_w) / 2.0 * ns as f64 / 1e3
}

/// Power at a moment, between the readings around it; next to the first or last of them, if that is near.
fn power_at(readings: &VecDeque<(u64, f64)>, ns: u64, near_ns: u64) -> Option<f64> {
    let after = readings.partition_point(|(at, _)| *at <= ns);
    let before = after.checked_sub(1).and_then(|index| readings.get(index));
    match (before, readings.get(after)) {
        (Some((from, from_w)), Some((to, to_w))) if to - from <= near_ns => {
            Some(from_w + (to_w - from_w) * (ns - from) as f64 / (to - from) as f64)
        }
        (Some((at, watts)), _) if ns - at <= near_ns => Some(*watts),
        (_, Some((at, watts))) if at - ns <= near_ns => Some(*watts),
        _ => None,
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
