//! The points of a plan.

use super::*;
use crate::settings::Settings;

fn plan(seed: u64, in_order: bool) -> Plan {
    Settings {
        model: Some("m".to_owned()),
        url: Some("localhost".to_owned()),
        batch: vec![1, 2, 4, 8],
        concurrency: vec![1, 2],
        repeats: Some(2),
        seed: Some(seed),
        in_order: Some(in_order),
        ..Settings::default()
    }
    .into_plan()
    .unwrap()
}

#[test]
fn unloading_without_a_time_to_measure_is_refused() {
    let unloading = |idle| Settings {
        model: Some("m".to_owned()),
        url: Some("localhost".to_owned()),
        idle: Some(idle),
        idle_unload: Some(true),
        ..Settings::default()
    };
    assert!(unloading(1.0).into_plan().unwrap().idle_unload);
    let error = unloading(0.0).into_plan().unwrap_err().to_string();
    assert!(error.contains("--idle-unload") && error.contains("--idle"), "{error}");
}

#[test]
fn the_order_follows_the_seed_and_holds_every_point_once() {
    let (first, again, other) = (plan(1, false).points(), plan(1, false).points(), plan(2, false).points());
    assert_eq!(first, again);
    assert_ne!(first, other);
    let sorted = |mut points: Vec<PointKey>| {
        points.sort();
        points
    };
    assert_eq!(sorted(first), sorted(other));
    let in_order = plan(1, true).points();
    let batches: Vec<u32> = in_order.iter().map(|key| key.batch).collect();
    assert_eq!(batches, [1, 1, 2, 2, 4, 4, 8, 8, 1, 1, 2, 2, 4, 4, 8, 8]);
}

#[test]
fn a_plan_survives_serialization() {
    let plan = plan(3, false);
    let json = serde_json::to_string(&plan).unwrap();
    let back: Plan = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), json);
    assert_eq!(back.points(), plan.points());
}
