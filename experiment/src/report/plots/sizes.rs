//! The batches that ran.

use std::collections::BTreeMap;

use super::parts::figures;
use crate::report::cells::{Cell, at_highest_load, titles};
use crate::report::figure::{Kind, Mark, Panel, Plot, dimension};
use crate::report::number::count;
use crate::report::scale::Scale;

/// Plot 8: bars, for each batch or configuration at its highest load.
pub fn executed(cells: &[Cell]) -> Vec<Plot> {
    const TITLE: &str = "Executed batch sizes at the highest load";
    let mut groups: Vec<(&Cell, BTreeMap<u64, u64>)> = Vec::new();
    for cell in at_highest_load(cells) {
        let mut sum = BTreeMap::new();
        for (size, inferences) in cell.repeats.iter().flat_map(|p| p.inferences_by_executed_size()) {
            *sum.entry(size).or_insert(0) += inferences;
        }
        sum.retain(|_, inferences| *inferences > 0);
        if !sum.is_empty() {
            groups.push((cell, sum));
        }
    }
    if groups.is_empty() {
        let reason =
            "Neither the server's statistics nor the responses report the sizes of executed batches.";
        return vec![Plot::absent(TITLE, reason)];
    }
    let mut sizes: Vec<u64> = groups.iter().flat_map(|(_, by_size)| by_size.keys().copied()).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let shown: Vec<&Cell> = groups.iter().map(|(cell, _)| *cell).collect();
    let (title, names) = titles(cells, &shown, TITLE);
    let panel = |((_, by_size), title): (&(&Cell, BTreeMap<u64, u64>), String)| {
        let all = by_size.values().sum::<u64>() as f64;
        let bar = |(size, n): (&u64, &u64)| {
            Some((sizes.iter().position(|s| s == size)? as f64, *n as f64 / all * 100.0))
        };
        Panel {
            title,
            x: dimension("executed batch size", Scale::Names(sizes.iter().map(|s| count(*s)).collect())),
            y: dimension("inferences (%)", Scale::FromZero),
            marks: vec![Mark {
                label: None,
                style: 0,
                kind: Kind::Bars,
                points: by_size.iter().filter_map(bar).collect(),
            }],
        }
    };
    let panels = groups.iter().zip(names).map(panel).collect();
    let caption =
        "Share of inferences that ran in a batch of each size. Sizes that do not occur are left out.";
    figures(("executed-batch-sizes", &title, caption.into()), panels, true, true)
}
