//! What holds for a judge whatever a device says.

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;

fn limits(has_counter: bool, range_uj: Option<u64>) -> Limits {
    Limits {
        has_counter,
        range_uj,
        tick_ns: 10 * MS,
        most_w: 3000.0,
        standstill_ns: 1000 * MS,
        blind_standstill_ns: 10_000 * MS,
    }
}

/// Points are in order, their energy never falls, each loss has its gap.
fn check(events: &[Event]) -> Result<Vec<Point>, TestCaseError> {
    let mut points: Vec<Point> = Vec::new();
    let mut lost = None;
    for event in events {
        match event {
            Event::Point(point) => {
                prop_assert!(lost.is_none(), "a point while energy is unknown");
                if let Some(last) = points.last() {
                    prop_assert!(point.ns > last.ns && point.uj >= last.uj, "{last:?}, {point:?}");
                }
                points.push(*point);
            }
            Event::Lost { since_ns, .. } => {
                prop_assert!(lost.replace(*since_ns).is_none());
                prop_assert!(points.last().is_none_or(|last| last.ns == *since_ns));
            }
            Event::Gap { from_ns, to_ns, .. } => {
                prop_assert_eq!(lost.take(), Some(*from_ns));
                prop_assert!(from_ns <= to_ns);
            }
            Event::Dropped { .. } => {}
        }
    }
    Ok(points)
}

fn any_watts() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        3 => (1.0f64..800.0).prop_map(Some),
        1 => Just(None),
        1 => prop::sample::select(vec![0.0, -3.0, f64::NAN, f64::INFINITY, 1e12]).prop_map(Some),
    ]
}

proptest! {
    #[test]
    fn nothing_that_a_device_says_breaks_the_order(
        has_counter in any::<bool>(),
        range in prop::option::of(0u64..1_000_000_000),
        readings in prop::collection::vec(
            (0u64..3_000 * MS, 0u64..30 * MS, prop::option::of(any::<u64>()), any_watts(), 0u8..10),
            1..120,
        ),
    ) {
        let mut judge = Judge::new(limits(has_counter, range));
        let (mut ns, mut events) = (0, Vec::new());
        for (later, cost, counter_uj, watts, kind) in readings {
            // Close together most of the time.
            ns += if kind < 7 { later % (40 * MS) } else { later };
            if kind == 9 {
                events.extend(judge.failed(ns, "gone"));
            } else {
                let counter_uj = counter_uj.map(|uj| if kind < 8 { uj % 100_000 } else { uj });
                let end_ns = ns + cost;
                events.extend(judge.take(&Reading {
                    begin_ns: ns, end_ns, counter_uj, power_ns: end_ns, average_w: watts, ..Reading::default()
                }));
            }
        }
        check(&events)?;
    }

    #[test]
    fn a_true_counter_is_counted_once_whatever_the_wraps_and_the_pace(
        range in prop::option::of(5_000_000u64..50_000_000),
        start in any::<u64>(),
        steps in prop::collection::vec((1u64..60 * MS, 1u64..3000), 2..200),
    ) {
        // At most 3 W µs for each µs, and less than a range between readings.
        let wrap = |uj: u64| range.map_or(uj, |range| uj % range);
        let start = start % 1_000_000_000;
        let mut judge = Judge::new(Limits { most_w: 50.0, ..limits(true, range) });
        let (mut ns, mut total, mut events) = (0, start, Vec::new());
        let mut first_move = None;
        for (later, milliwatts) in steps {
            ns += later;
            let grown = later * milliwatts / MS;
            total += grown;
            if grown > 0 && first_move.is_none() && ns > later {
                first_move = Some(total);
            }
            events.extend(judge.take(&Reading {
                begin_ns: ns, end_ns: ns, counter_uj: Some(wrap(total)), power_ns: ns, ..Reading::default()
            }));
        }
        let points = check(&events)?;
        let counted = points.last().map_or(0, |last| last.uj);
        prop_assert_eq!(counted, first_move.map_or(0, |first| total - first));
        prop_assert!(!events.iter().any(|event| !matches!(event, Event::Point(_))), "{:?}", events);
    }

    #[test]
    fn a_reset_books_nothing_of_what_lies_between(
        before in 2usize..50,
        after in 3usize..50,
        height in 10_000_000_000u64..200_000_000_000,
    ) {
        let mut judge = Judge::new(limits(true, Some(262_143_328_850)));
        let mut events = Vec::new();
        let values = (0..before).map(|index| height + index as u64 * 1000).chain((0..after).map(|index| index as u64 * 1000));
        for (index, uj) in values.enumerate() {
            let ns = (index as u64 + 1) * 20 * MS;
            events.extend(judge.take(&Reading {
                begin_ns: ns, end_ns: ns, counter_uj: Some(uj), power_ns: ns, ..Reading::default()
            }));
        }
        let points = check(&events)?;
        prop_assert_eq!(points.last().unwrap().uj, (before as u64 - 2 + after as u64 - 2) * 1000);
        prop_assert_eq!(events.iter().filter(|event| matches!(event, Event::Gap { .. })).count(), 1);
    }

    #[test]
    fn integrated_power_lies_between_its_extremes(
        watts in prop::collection::vec(1.0f64..800.0, 2..200),
        every in 1u64..900 * MS,
    ) {
        let mut judge = Judge::new(limits(false, None));
        let mut events = Vec::new();
        for (index, &power) in watts.iter().enumerate() {
            let ns = (index as u64 + 1) * every;
            events.extend(judge.take(&Reading {
                begin_ns: ns, end_ns: ns, power_ns: ns, instant_w: Some(power), ..Reading::default()
            }));
        }
        let points = check(&events)?;
        let nanojoules = points.last().unwrap().uj as f64 * 1e3;
        let seconds = (points[points.len() - 1].ns - points[0].ns) as f64;
        let (least, most) = watts.iter().fold((f64::MAX, 0.0f64), |(least, most), w| (least.min(*w), most.max(*w)));
        prop_assert!(nanojoules <= most * seconds + 1e3 && nanojoules >= least * seconds - 1e3);
        prop_assert_eq!(points.len(), watts.len());
    }
}
