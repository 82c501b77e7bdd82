//! The plots of a report, from the results.

mod batch;
mod batching;
mod compare;
mod cpu;
mod efficiency;
mod latency;
pub mod parts;
mod power;
mod sizes;
mod visits;

use super::cells::cells;
use super::figure::Plot;
use super::verdict::Verdict;
use crate::results::Results;
use crate::samples::Samples;

/// All plots, or why there is none, in the order of the report.
///
/// # Errors
///
/// A point's histogram cannot be read.
pub fn plots(results: &Results, samples: &Samples) -> anyhow::Result<Vec<Plot>> {
    let cells = &cells(results);
    if let Some(verdict) = Verdict::of(results) {
        // No plots over the load: traces with the same mean rate are different loads.
        let mut plots = batching::late_over_cost(results, &verdict);
        plots.extend(batching::over_time(results, &verdict, samples));
        plots.push(compare::side_by_side(cells));
        plots.push(visits::over_visits(results, cells));
        return Ok(plots);
    }
    let mut plots: Vec<Plot> = super::search::plot(results).into_iter().collect();
    plots.extend([
        batch::throughput(cells),
        batch::power(results, cells),
        power::over_throughput(results, cells),
        batch::efficiency(results, cells),
        efficiency::over_load(results, cells),
        efficiency::over_throughput(results, cells),
        cpu::over_batch_size(cells),
        cpu::over_throughput(cells),
    ]);
    plots.extend(latency::over_load(cells));
    plots.extend(latency::distribution(cells)?);
    plots.extend(sizes::executed(cells));
    plots.push(compare::side_by_side(cells));
    plots.push(visits::over_visits(results, cells));
    Ok(plots)
}
