//! Points in groups: repeats of one point, points of one configuration or batch size.

use std::cmp::Ordering;

use super::figure::{Kind, Mark};
use crate::plan::Load;
use crate::results::{Latency, Point, Results};

/// One point of the plan with those of its repeats that got responses.
#[derive(Clone, Debug)]
pub struct Cell<'a> {
    /// Empty in a sweep.
    pub configuration: &'a str,
    /// Rows in each request.
    pub batch: u32,
    /// The load.
    pub load: &'a Load,
    /// At least one.
    pub repeats: Vec<&'a Point>,
}

impl Cell<'_> {
    /// Mean over the repeats that have the value; none if none has.
    pub fn mean(&self, value: impl Fn(&Point) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.repeats.iter().filter_map(|p| value(p)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// Batch and load, and the configuration if there is one.
    pub fn name(&self) -> String {
        let (batch, load) = (self.batch, load_name(self.load));
        match self.configuration {
            "" => format!("batch {batch}, {load}"),
            name => format!("“{name}”, batch {batch}, {load}"),
        }
    }
}

/// All points with at least one response, by configuration, batch and load.
pub fn cells(results: &Results) -> Vec<Cell<'_>> {
    let mut points: Vec<&Point> = results.points.iter().filter(|p| p.inferences > 0).collect();
    points.sort_by(|a, b| a.key.cmp(&b.key));
    let mut cells: Vec<Cell> = Vec::new();
    for point in points {
        let key = &point.key;
        match cells.last_mut() {
            Some(cell)
                if (cell.configuration, cell.batch, cell.load)
                    == (key.configuration.as_str(), key.batch, &key.load) =>
            {
                cell.repeats.push(point);
            }
            _ => cells.push(Cell {
                configuration: &key.configuration,
                batch: key.batch,
                load: &key.load,
                repeats: vec![point],
            }),
        }
    }
    cells
}

/// Cells grouped by a key, in order.
pub fn grouped<'a, 'c, K: Ord>(
    cells: impl IntoIterator<Item = &'c Cell<'a>>,
    by: impl Fn(&Cell<'a>) -> K,
) -> Vec<(K, Vec<&'c Cell<'a>>)>
where
    'a: 'c,
{
    let mut groups = std::collections::BTreeMap::<K, Vec<&Cell>>::new();
    for cell in cells {
        groups.entry(by(cell)).or_default().push(cell);
    }
    groups.into_iter().collect()
}

/// Their batch sizes, in order.
pub fn batches(cells: &[Cell]) -> Vec<u32> {
    grouped(cells, |cell| cell.batch).into_iter().map(|(batch, _)| batch).collect()
}

/// Their configurations, in order. A sweep has one, with an empty name.
pub fn configurations<'a>(cells: &[Cell<'a>]) -> Vec<&'a str> {
    grouped(cells, |cell| cell.configuration).into_iter().map(|(name, _)| name).collect()
}

/// The cells with the maximum throughput: those of `--max-throughput` if there are any, otherwise all.
pub fn fullest<'a, 'c>(cells: &'c [Cell<'a>]) -> Vec<&'c Cell<'a>> {
    let searched: Vec<_> = cells.iter().filter(|cell| *cell.load == Load::MaxThroughput).collect();
    if searched.is_empty() { cells.iter().collect() } else { searched }
}

/// Whether requests are due at times that do not depend on the answers.
pub fn is_open(load: &Load) -> bool {
    matches!(load, Load::Rate { .. } | Load::Ramp { .. } | Load::Trace { .. } | Load::Shaped { .. })
}

/// From the lowest load to the highest; open loops before closed ones.
fn by_height(a: &Cell, b: &Cell) -> Ordering {
    let height = |cell: &Cell| match cell.load {
        Load::MaxThroughput => (2, 0.0),
        Load::Concurrency { concurrency } => (1, *concurrency as f64),
        Load::Rate { .. } | Load::Ramp { .. } | Load::Trace { .. } | Load::Shaped { .. } => {
            (0, cell.mean(offered).unwrap_or(0.0))
        }
    };
    let (a, b) = (height(a), height(b));
    a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
}

/// Requests per second that were due or, in a closed loop, that were answered.
pub fn offered(point: &Point) -> Option<f64> {
    Some(point.pacing.as_ref().map_or(point.requests_per_s, |pacing| pacing.scheduled_per_s))
}

/// Cells that a line over the load may connect: open and closed loops separately, each from low to high.
pub fn runs<'a, 'c>(cells: &[&'c Cell<'a>]) -> Vec<Vec<&'c Cell<'a>>> {
    let mut runs: Vec<_> =
        grouped(cells.iter().copied(), |cell| is_open(cell.load)).into_iter().map(|(_, run)| run).collect();
    runs.iter_mut().for_each(|run| run.sort_by(|a, b| by_height(a, b)));
    runs
}

/// Each group of configuration and batch at its highest load.
pub fn at_highest_load<'a, 'c>(cells: &'c [Cell<'a>]) -> Vec<&'c Cell<'a>> {
    let groups = grouped(cells, |cell| (cell.configuration, cell.batch)).into_iter();
    groups.filter_map(|(_, cells)| cells.into_iter().max_by(|a, b| by_height(a, b))).collect()
}

/// Titles of a figure and its panels for these cells. A common load is named once.
pub fn titles(all: &[Cell], shown: &[&Cell], title: &str) -> (String, Vec<String>) {
    let name = |cell: &&Cell| short_name(all, cell.configuration, cell.batch);
    match shown.first() {
        Some(first) if shown.iter().all(|cell| cell.load == first.load) => {
            (format!("{title}: {}", load_name(first.load)), shown.iter().map(name).collect())
        }
        _ => {
            let named = shown.iter().map(|cell| format!("{}, {}", name(cell), load_name(cell.load)));
            (title.into(), named.collect())
        }
    }
}

/// The name of a group of configuration and batch.
pub fn group_name(configuration: &str, batch: u32) -> String {
    if configuration.is_empty() {
        format!("batch {batch}")
    } else {
        format!("{configuration}, batch {batch}")
    }
}

/// [`group_name`] without the parts that all groups share.
pub fn short_name(cells: &[Cell], configuration: &str, batch: u32) -> String {
    match (configurations(cells).len() > 1, batches(cells).len() > 1) {
        (true, false) => configuration.into(),
        (true, true) => group_name(configuration, batch),
        _ => format!("batch {batch}"),
    }
}

/// The name of a load; for a trace, the file name without its folder.
pub fn load_name(load: &Load) -> String {
    match load {
        Load::Trace { file } => {
            let name = std::path::Path::new(file).file_name();
            format!("trace {}", name.map_or_else(|| file.as_str().into(), |n| n.to_string_lossy()))
        }
        load => load.to_string(),
    }
}

/// Client latency, a percentile of it.
pub fn client(point: &Point, percentile: impl Fn(&Latency) -> u64) -> Option<f64> {
    point.client_latency.as_ref().map(|latency| percentile(latency) as f64)
}

/// A line through the means of the cells, and behind it each repeat, when there are any.
pub fn line(
    label: &str,
    style: usize,
    cells: &[&Cell],
    x: impl Fn(&Point) -> Option<f64>,
    y: impl Fn(&Point) -> Option<f64>,
) -> Vec<Mark> {
    // Means of x and y over different repeats would be a point that was not measured.
    let both = |point: &Point| Some((x(point)?, y(point)?));
    let mean =
        |cell: &&Cell| Some((cell.mean(|p| both(p).map(|b| b.0))?, cell.mean(|p| both(p).map(|b| b.1))?));
    let means: Vec<_> = cells.iter().filter_map(mean).collect();
    if means.is_empty() {
        return Vec::new();
    }
    let mut marks = Vec::new();
    if cells.iter().any(|cell| cell.repeats.len() > 1) {
        let points = cells.iter().flat_map(|cell| &cell.repeats).filter_map(|p| both(p)).collect();
        marks.push(Mark { label: None, style, kind: Kind::Repeats, points });
    }
    marks.push(Mark { label: Some(label.into()), style, kind: Kind::Line, points: means });
    marks
}

/// The explanation of small markers, if there are any.
pub fn repeats_note(cells: &[Cell]) -> &'static str {
    if cells.iter().any(|cell| cell.repeats.len() > 1) {
        " Small hollow markers: single repeats; large ones: their mean."
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    #[test]
    fn repeats_are_together_and_failures_left_out() {
        let results = fixtures::sweep_with_energy();
        let all = cells(&results);
        assert_eq!(all.len(), 20);
        assert!(all.iter().all(|cell| cell.repeats.len() == 2));
        assert_eq!(batches(&all), [1, 2, 4, 8, 16]);
        let rates = |p: &Point| Some(p.inferences_per_s);
        let [a, b] = [0, 1].map(|n| all[3].repeats[n].inferences_per_s);
        assert_eq!(all[3].mean(rates), Some((a + b) / 2.0));
        assert!(cells(&fixtures::all_failed()).is_empty());
    }

    #[test]
    fn lines_join_open_loops_by_rate_and_leave_closed_ones_apart() {
        let results = fixtures::sweep_with_cpu_time();
        let all = cells(&results);
        let group: Vec<_> = all.iter().filter(|cell| cell.batch == 4).collect();
        let runs = runs(&group);
        let names = |run: &Vec<&Cell>| run.iter().map(|cell| load_name(cell.load)).collect::<Vec<_>>();
        assert_eq!(names(&runs[0]), ["max throughput"]);
        assert_eq!(
            names(&runs[1]),
            ["20 requests/s, Poisson", "40 requests/s, Poisson", "80 requests/s, Poisson"]
        );
        let highest = at_highest_load(&all);
        assert_eq!(highest.len(), 5);
        assert!(highest.iter().all(|cell| *cell.load == Load::MaxThroughput));
    }

    #[test]
    fn of_traces_the_densest_is_the_highest_load() {
        let results = fixtures::comparison();
        let all = cells(&results);
        let names: Vec<_> = at_highest_load(&all).iter().map(|cell| load_name(cell.load)).collect();
        assert_eq!(names, ["trace burst.csv"; 4]);
    }
}
