//! The run in order of measurement, which shows heat and drift.

use super::parts::{figure, no_energy};
use crate::report::cells::{Cell, grouped, short_name};
use crate::report::figure::{Kind, Mark, Panel, Plot, dimension};
use crate::report::scale::Scale;
use crate::results::{DeviceState, Point, Results};

type Value = fn(&Point) -> Option<f64>;

fn device(point: &Point, value: fn(&DeviceState) -> Option<f64>) -> Option<f64> {
    point.consumption.device.as_ref().and_then(value)
}

/// Plot 10: throughput, its drift between repeats, and the state of the devices, in order of measurement.
pub fn over_visits(results: &Results, cells: &[Cell]) -> Plot {
    const TITLE: &str = "In order of measurement";
    let visits = cells.iter().map(|cell| cell.repeats.len()).sum::<usize>();
    if visits < 2 {
        return Plot::absent(TITLE, "There are fewer than two points.");
    }
    let values: [(&str, &str, Scale, Value); 4] = [
        ("Throughput", "inferences/s", Scale::FromZero, |p| Some(p.inferences_per_s)),
        ("Power", "average power (W)", Scale::FromZero, |p| p.consumption.average_power_w),
        ("Temperature", "mean temperature (°C)", Scale::Linear, |p| device(p, |d| d.temperature_mean_c)),
        ("Clock", "mean clock (MHz)", Scale::Linear, |p| device(p, |d| d.clock_mean_mhz)),
    ];
    let groups = grouped(cells, |cell| (cell.configuration, cell.batch));
    let marks = |value: &dyn Fn(&Cell, &Point) -> Option<f64>| -> Vec<Mark> {
        let mark = |(style, ((configuration, batch), group)): (usize, &((&str, u32), Vec<&Cell>))| {
            let points: Vec<_> = group
                .iter()
                .flat_map(|cell| cell.repeats.iter().map(move |p| (*cell, *p)))
                .filter_map(|(cell, p)| Some((p.visit as f64 + 1.0, value(cell, p)?)))
                .collect();
            let label = Some(short_name(cells, configuration, *batch));
            (!points.is_empty()).then_some(Mark { label, style, kind: Kind::Dots, points })
        };
        groups.iter().enumerate().filter_map(mark).collect()
    };
    let panel = |title: &str, y: &str, scale: Scale, marks: Vec<Mark>| Panel {
        title: title.into(),
        x: dimension("visit", Scale::Linear),
        y: dimension(y, scale),
        marks,
    };
    let mut panels: Vec<Panel> = values
        .into_iter()
        .map(|(title, y, scale, value)| panel(title, y, scale, marks(&|_, p| value(p))))
        .collect();
    let drift = |cell: &Cell, point: &Point| {
        let mean = cell.mean(|p| Some(p.inferences_per_s)).filter(|_| cell.repeats.len() > 1)?;
        Some((point.inferences_per_s / mean - 1.0) * 100.0)
    };
    let drift = marks(&drift);
    panels.insert(1, panel("Throughput of repeats", "difference from mean (%)", Scale::Linear, drift));
    panels.retain(|panel| !panel.marks.is_empty());

    let mut caption = String::from("Points in the order of measurement.");
    if panels.iter().any(|panel| panel.title.contains("repeats")) {
        caption += " Repeats that differ more the later they were measured indicate drift.";
    }
    if !results.power.has_energy {
        caption = format!("{caption} {}", no_energy(results));
    }
    figure(("visits", TITLE, caption), panels, true, false)
}
