//! A judge over scripted readings.

use super::*;

const MS: u64 = 1_000_000;
const S: u64 = 1000 * MS;

fn nvml() -> Limits {
    Limits {
        has_counter: true,
        range_uj: None,
        tick_ns: 100 * MS,
        most_w: 5000.0,
        standstill_ns: S,
        blind_standstill_ns: 10 * S,
    }
}

fn rapl(range_uj: Option<u64>) -> Limits {
    Limits { range_uj, tick_ns: MS, most_w: 3000.0, ..nvml() }
}

fn reading(ns: u64, counter_uj: Option<u64>, watts: Option<f64>) -> Reading {
    let (begin_ns, end_ns) = (ns, ns + 3 * MS);
    Reading { begin_ns, end_ns, counter_uj, power_ns: end_ns, instant_w: watts, ..Reading::default() }
}

/// Reads every 12 ms for some seconds: what the counter and power say at a moment.
struct Run {
    judge: Judge,
    ns: u64,
    events: Vec<Event>,
}

impl Run {
    fn new(limits: Limits) -> Self {
        Self { judge: Judge::new(limits), ns: S, events: Vec::new() }
    }

    fn on(&mut self, seconds: f64, counter: impl Fn(u64) -> Option<u64>, power: impl Fn(u64) -> Option<f64>) {
        let end = self.ns + (seconds * S as f64) as u64;
        while self.ns < end {
            self.events.extend(self.judge.take(&reading(self.ns, counter(self.ns), power(self.ns))));
            self.ns += 12 * MS;
        }
    }

    fn failing(&mut self, seconds: f64) {
        let end = self.ns + (seconds * S as f64) as u64;
        while self.ns < end {
            self.events.extend(self.judge.failed(self.ns, "fell off the bus"));
            self.ns += 12 * MS;
        }
    }

    fn points(&self) -> Vec<Point> {
        let point = |event: &Event| if let Event::Point(point) = event { Some(*point) } else { None };
        self.events.iter().filter_map(point).collect()
    }

    /// Mean power from the first point to the last, in watts.
    fn watts(&self) -> f64 {
        let points = self.points();
        let (first, last) = (points[0], points[points.len() - 1]);
        (last.uj - first.uj) as f64 * 1e3 / (last.ns - first.ns) as f64
    }

    fn dropped(&self) -> Vec<String> {
        let reason = |event: &Event| match event {
            Event::Dropped { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }

    fn gaps(&self) -> Vec<(u64, u64, String)> {
        let gap = |event: &Event| match event {
            Event::Gap { from_ns, to_ns, reason } => Some((*from_ns, *to_ns, reason.clone())),
            _ => None,
        };
        self.events.iter().filter_map(gap).collect()
    }
}

/// A counter of ticks of 100 ms at a power.
fn ticking(watts: f64) -> impl Fn(u64) -> Option<u64> {
    move |ns| Some(7_000_000 + (ns / (100 * MS)) * (watts * 1e5) as u64)
}

fn steady(watts: f64) -> impl Fn(u64) -> Option<f64> {
    move |_| Some(watts)
}

fn close(is: f64, should: f64, part: f64) {
    assert!((is - should).abs() <= part * should, "{is}, expected {should}");
}

#[test]
fn a_counter_that_agrees_is_believed_and_its_tick_is_learnt() {
    let mut run = Run::new(nvml());
    run.on(60.0, ticking(100.0), steady(104.0));
    assert_eq!(run.judge.basis(), Basis::Counter);
    close(run.judge.tick_ns().unwrap() as f64, 1e8, 0.02);
    close(run.watts(), 100.0, 0.002);
    assert!(run.dropped().is_empty() && run.gaps().is_empty());
}

/// C3: 77 J, whatever the GPU does.
#[test]
fn a_counter_that_stands_still_under_power_is_replaced_from_its_last_tick_on() {
    for stuck in [0, 77_000_000] {
        let mut run = Run::new(nvml());
        run.on(5.0, |_| Some(stuck), steady(100.0));
        let [reason] = &run.dropped()[..] else { panic!("{:?}", run.dropped()) };
        assert!(
            reason.contains("stood still at") && reason.contains("for 1.0 s while power said 100.0 W"),
            "{reason}"
        );
        close(run.watts(), 100.0, 0.001);
        let points = run.points();
        assert!(points[0].ns < S + 20 * MS, "from the first reading on: {:?}", points[0]);
        assert!(run.gaps().is_empty());
    }
    // In the middle of a run nothing is lost either.
    let mut run = Run::new(nvml());
    run.on(3.0, ticking(100.0), steady(100.0));
    let last = run.ns;
    run.on(5.0, |_| ticking(100.0)(last), steady(100.0));
    assert_eq!(run.dropped().len(), 1);
    close(run.watts(), 100.0, 0.01);
}

#[test]
fn an_idle_counter_has_more_time() {
    let mut run = Run::new(nvml());
    run.on(9.0, |_| Some(5), steady(15.0));
    assert!(run.dropped().is_empty());
    run.on(2.0, |_| Some(5), steady(15.0));
    assert_eq!(run.dropped().len(), 1);
    close(run.watts(), 15.0, 0.001);
}

#[test]
fn a_counter_that_is_never_there_is_replaced() {
    let mut run = Run::new(nvml());
    run.on(3.0, |_| None, steady(100.0));
    assert!(run.dropped()[0].contains("no reading of its energy counter"), "{:?}", run.dropped());
    close(run.watts(), 100.0, 0.001);
}

#[test]
fn a_difference_of_six_percent_is_dropped_with_both_numbers_and_one_of_four_is_not() {
    let mut run = Run::new(nvml());
    run.on(15.0, ticking(94.0), steady(100.0));
    assert!(run.dropped().is_empty(), "once is not enough");
    run.on(10.0, ticking(94.0), steady(100.0));
    let [reason] = &run.dropped()[..] else { panic!("{:?}", run.dropped()) };
    assert!(reason.contains("(94.0 W) against") && reason.contains("(100.0 W)"), "{reason}");
    let since = run.events.iter().find_map(|event| match event {
        Event::Dropped { since_ns, .. } => Some(*since_ns),
        _ => None,
    });
    assert!(since.unwrap() < 2 * S, "the first of the two counts as wrong too");
    let before = run.points().len();
    run.on(10.0, ticking(94.0), steady(100.0));
    let after = &run.points()[before..];
    let watts = (after[after.len() - 1].uj - after[0].uj) as f64 * 1e3
        / (after[after.len() - 1].ns - after[0].ns) as f64;
    close(watts, 100.0, 0.001);

    for counted in [96.0, 104.0] {
        let mut run = Run::new(nvml());
        run.on(60.0, ticking(counted), steady(100.0));
        assert!(run.dropped().is_empty(), "{counted}: {:?}", run.dropped());
    }
    let mut more = Run::new(nvml());
    more.on(25.0, ticking(106.0), steady(100.0));
    assert_eq!(more.dropped().len(), 1, "too much is no better");
}

#[test]
fn unsteady_load_is_not_judged() {
    let mut run = Run::new(nvml());
    run.on(60.0, ticking(80.0), |ns| Some(if (ns / (3 * S)).is_multiple_of(2) { 80.0 } else { 120.0 }));
    assert!(run.dropped().is_empty(), "{:?}", run.dropped());
}

#[test]
fn a_difference_that_ends_is_forgiven() {
    let mut run = Run::new(nvml());
    run.on(11.0, ticking(100.0), steady(108.0));
    for _ in 0..3 {
        run.on(10.5, ticking(100.0), steady(100.0));
        run.on(9.5, ticking(100.0), steady(108.0));
    }
    assert!(run.dropped().is_empty(), "{:?}", run.dropped());
}

#[test]
fn a_counter_that_falls_or_jumps_is_replaced_by_power_for_good() {
    for wrong in [1_000, 900_000_000_000] {
        let mut run = Run::new(nvml());
        run.on(3.0, ticking(100.0), steady(100.0));
        run.on(0.05, |_| Some(wrong), steady(100.0));
        run.on(3.0, ticking(100.0), steady(100.0));
        let [reason] = &run.dropped()[..] else { panic!("{:?}", run.dropped()) };
        assert!(reason.contains("J to") && reason.contains(" W"), "{reason}");
        assert_eq!(run.judge.basis(), Basis::Power);
        close(run.watts(), 100.0, 0.005);
        assert!(run.gaps().is_empty());
    }
}

/// C5, and a wrap-around beside it.
#[test]
fn rapl_wraps_around_and_a_reset_is_a_gap() {
    const RANGE: u64 = 65_712_999_613;
    // 50 W, from 2 s before the end of the range.
    let wrapping = |ns: u64| Some((RANGE - 100_000_000 + (ns - S) / 1000 * 50) % RANGE);
    let mut run = Run::new(rapl(Some(RANGE)));
    run.on(5.0, wrapping, |_| None);
    close(run.watts(), 50.0, 0.001);
    assert!(run.gaps().is_empty() && run.dropped().is_empty());

    let mut run = Run::new(rapl(Some(RANGE)));
    let growing = |ns: u64| Some(30_000_000_000 + (ns - S) / 1000 * 50);
    run.on(2.0, growing, |_| None);
    let reset = run.ns;
    run.on(2.0, |ns| Some((ns - reset) / 1000 * 50), |_| None);
    let [(from, to, reason)] = &run.gaps()[..] else { panic!("{:?}", run.gaps()) };
    assert!(*from < reset && *to > reset && to - from < 40 * MS, "{from} to {to}, reset at {reset}");
    assert!(reason.contains("fell from 3009") && reason.contains("reset"), "{reason}");
    let total = run.points().last().unwrap().uj;
    assert!(total > 196_000_000 && total < 200_000_000, "{total} µJ of at most 200 J");
    // Without a known range each fall is a reset.
    let mut run = Run::new(rapl(None));
    run.on(5.0, wrapping, |_| None);
    assert_eq!(run.gaps().len(), 1);
}

#[test]
fn rapl_that_stands_still_is_lost_until_it_moves() {
    let growing = |ns: u64| Some(1 + ns / 1000 * 50);
    let mut run = Run::new(rapl(None));
    run.on(2.0, growing, |_| None);
    let stop = run.ns;
    run.on(9.0, |_| growing(stop), |_| None);
    assert!(run.judge.lost().is_none());
    run.on(2.0, |_| growing(stop), |_| None);
    assert!(run.judge.lost().unwrap().1.contains("stood still"), "{:?}", run.judge.lost());
    run.on(2.0, growing, |_| None);
    assert!(run.judge.lost().is_none());
    assert_eq!(run.gaps().len(), 1);
    let total = run.points().last().unwrap().uj as f64;
    close(total, 4.0 * 50e6, 0.02);
}

#[test]
fn a_device_that_dies_and_comes_back_leaves_a_gap() {
    let mut run = Run::new(nvml());
    run.on(3.0, ticking(100.0), steady(100.0));
    let died = run.ns;
    run.failing(5.0);
    let (since, reason) = run.judge.lost().unwrap();
    assert!(since <= died && reason == "fell off the bus");
    // It counts from 0 again, and has come far: nobody may book that.
    let back = run.ns;
    run.on(3.0, |ns| Some((ns / (100 * MS)) * 10_000_000 + 500_000_000_000), steady(100.0));
    let [(from, to, _)] = run.gaps()[..] else { panic!("{:?}", run.gaps()) };
    assert!(from <= died && to >= back && to < back + 120 * MS);
    close(run.points().last().unwrap().uj as f64, 5.7 * 100e6, 0.03);
    assert_eq!(run.judge.basis(), Basis::Counter);

    // A moment is bridged.
    let mut run = Run::new(nvml());
    run.on(3.0, ticking(100.0), steady(100.0));
    run.failing(0.3);
    run.on(3.0, ticking(100.0), steady(100.0));
    assert!(run.gaps().is_empty());
    close(run.watts(), 100.0, 0.003);
}

#[test]
fn no_power_is_no_zero() {
    let power_only = Limits { has_counter: false, ..nvml() };
    let mut run = Run::new(power_only.clone());
    run.on(3.0, |_| None, steady(0.0));
    assert!(run.points().is_empty());
    assert!(run.judge.lost().unwrap().1.contains("0 W is none"), "{:?}", run.judge.lost());

    let mut run = Run::new(power_only);
    run.on(2.0, |_| None, steady(100.0));
    run.on(0.2, |_| None, steady(f64::NAN));
    run.on(2.0, |_| None, steady(100.0));
    assert!(run.gaps().is_empty());
    close(run.watts(), 100.0, 0.001);
    run.on(3.0, |_| None, steady(0.0));
    run.on(2.0, |_| None, steady(100.0));
    assert_eq!(run.gaps().len(), 1);
    close(run.points().last().unwrap().uj as f64, 6.2 * 100e6, 0.01);

    // A counter is judged by itself where power says 0.
    let mut run = Run::new(nvml());
    run.on(30.0, ticking(100.0), steady(0.0));
    assert!(run.dropped().is_empty() && run.gaps().is_empty());
    close(run.watts(), 100.0, 0.003);
}

#[test]
fn a_clock_that_stands_still_loses_nothing() {
    let mut judge = Judge::new(rapl(None));
    let mut take = |ns: u64, uj: u64| {
        judge.take(&Reading { begin_ns: ns, end_ns: ns, counter_uj: Some(uj), ..Reading::default() })
    };
    take(S, 1);
    take(S + MS, 2);
    assert!(take(S + MS, 50).is_empty() && take(S, 60).is_empty());
    let Event::Point(point) = take(S + 2 * MS, 102)[0] else { panic!() };
    assert_eq!(point.uj, 100);
}
