//! Tables and plots of the results: one self-contained HTML file, and each plot as SVG and PNG.
//!
//! | | |
//! |---|---|
//! | `cells` | points in groups |
//! | `plots` | the plots, and what they show |
//! | `figure`, `scale`, `svg`, `png` | how a plot is drawn |
//! | `verdict`, `summary` | for `batching`: which configurations met the target, and at what cost |
//! | `comparison` | the pages of `diff` and `ab` |
//! | `findings`, `energy`, `intervals`, `table`, `page` | sentences, tables, the page |
//! | `search` | what a search has found |
//! | `series` | power and efficiency over throughput, as formulas |
//! | `number`, `fit` | numbers for people, a straight line |

mod cells;
pub mod comparison;
mod energy;
mod figure;
mod findings;
mod fit;
#[cfg(test)]
pub(crate) mod fixtures;
mod intervals;
mod number;
mod page;
mod plots;
mod png;
mod scale;
mod search;
mod series;
mod summary;
mod svg;
mod table;
#[cfg(test)]
mod tests;
mod verdict;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use self::figure::Plot;
use self::page::Shown;
use crate::results::Results;
use crate::samples;
pub use summary::text as summary;

/// Writes `report.html`, `plots/NAME.svg` and `plots/NAME.png` to `folder`, which is created if missing, and returns the
/// path of `report.html`. Single requests are read from the folder. The same results give the same files.
///
/// # Errors
///
/// A file cannot be written, or a histogram or the requests of a point cannot be read.
pub fn write(results: &Results, folder: &Path) -> Result<PathBuf> {
    let samples = samples::read(folder, results.points.iter().map(|point| point.visit))?;
    let shown = draw(plots::plots(results, &samples)?, folder)?;
    let path = folder.join("report.html");
    save(&path, page::page(results, shown)?.as_bytes())?;
    Ok(path)
}

/// Writes plots as SVG and PNG to `plots/` in the folder.
fn draw(all: Vec<Plot>, folder: &Path) -> Result<Vec<Shown>> {
    let plots = folder.join("plots");
    fs::create_dir_all(&plots).with_context(|| format!("cannot create the folder {}", plots.display()))?;
    let renderer = png::Renderer::new();
    let mut shown = Vec::new();
    for plot in all {
        shown.push(match plot {
            Plot::Absent { title, reason } => Shown::Absent { title, reason },
            Plot::Drawn(figure) => {
                let svg = svg::draw(&figure);
                let png =
                    renderer.png(&svg).with_context(|| format!("cannot draw the plot {}", figure.name))?;
                save(&plots.join(format!("{}.svg", figure.name)), svg.as_bytes())?;
                save(&plots.join(format!("{}.png", figure.name)), &png)?;
                Shown::Picture { name: figure.name, svg, caption: figure.caption }
            }
        });
    }
    Ok(shown)
}

fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
