//! The tool's report, without its pictures in PNG, which take long, and the page around them.

#[path = "../../experiment/src/report/cells.rs"]
pub mod cells;
#[path = "../../experiment/src/report/energy.rs"]
pub mod energy;
#[path = "../../experiment/src/report/figure.rs"]
pub mod figure;
#[path = "../../experiment/src/report/findings.rs"]
pub mod findings;
#[path = "../../experiment/src/report/fit.rs"]
pub mod fit;
#[path = "../../experiment/src/report/number.rs"]
pub mod number;
#[path = "../../experiment/src/report/plots/mod.rs"]
pub mod plots;
#[path = "../../experiment/src/report/scale.rs"]
pub mod scale;
#[path = "../../experiment/src/report/series.rs"]
pub mod series;
#[path = "../../experiment/src/report/summary.rs"]
pub mod summary;
#[path = "../../experiment/src/report/svg.rs"]
pub mod svg;
#[path = "../../experiment/src/report/table.rs"]
pub mod table;
#[path = "../../experiment/src/report/verdict.rs"]
pub mod verdict;
