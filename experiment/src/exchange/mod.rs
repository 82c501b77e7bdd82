//! Results for other programs, and from them.

mod import;
mod perf_analyzer;
mod prometheus;
mod selection;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Context, Result};
use schemars::{Schema, schema_for};

use crate::ab::Ab;
use crate::diff::Diff;
use crate::results::{Results, Summary};
use crate::samples::Samples;
pub use import::{Imported, import};
pub use selection::Selection;

/// A format that other programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A row for each point and metric, with its confidence interval
    Csv,
    /// Prometheus's text format, for a textfile collector or a push gateway
    Prometheus,
    /// The CSV that perf_analyzer writes with -f
    PerfAnalyzerCsv,
    /// The JSON that perf_analyzer writes with --profile-export-file; needs a run with --keep-requests
    PerfAnalyzerJson,
}

/// The results in a format. `samples` are the single requests, as far as they were kept.
///
/// # Errors
/// The format cannot hold these results, with what to do.
pub fn export(results: &Results, samples: &Samples, format: Format, selection: &Selection) -> Result<String> {
    let chosen = |summary: &&Summary| selection.contains(&summary.configuration, summary.batch);
    let summaries: Vec<&Summary> = results.summary.iter().filter(chosen).collect();
    anyhow::ensure!(
        !summaries.is_empty(),
        "there is no point to export: none was measured, or none is selected"
    );
    match format {
        Format::Csv => csv_text(&summaries),
        Format::Prometheus => Ok(prometheus::text(results, &summaries)),
        Format::PerfAnalyzerCsv => perf_analyzer::csv_text(results, selection),
        Format::PerfAnalyzerJson => perf_analyzer::json(results, samples, selection),
    }
}

fn csv_text(summaries: &[&Summary]) -> Result<String> {
    let mut rows = csv::Writer::from_writer(Vec::new());
    rows.write_record(["configuration", "batch", "load", "visits", "metric", "value", "low", "high"])?;
    for summary in summaries {
        for (metric, estimate) in &summary.estimates {
            let end = |end: Option<f64>| end.map_or_else(String::new, |end| end.to_string());
            rows.write_record([
                summary.configuration.clone(),
                summary.batch.to_string(),
                summary.load.to_string(),
                summary.visits.to_string(),
                metric.name().to_owned(),
                estimate.value.to_string(),
                end(estimate.low),
                end(estimate.high),
            ])?;
        }
    }
    Ok(String::from_utf8(rows.into_inner()?)?)
}

/// A document that has a published schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Document {
    /// `results.json` of a run
    Results,
    /// `ab.json` of a comparison in turn
    Ab,
    /// `diff.json`
    Diff,
}

impl Document {
    /// The JSON schema (draft 2020-12) of the document, made of the types that write it.
    pub fn schema(self) -> Result<String> {
        let schema: Schema = match self {
            Self::Results => schema_for!(Results),
            Self::Ab => schema_for!(Ab),
            Self::Diff => schema_for!(Diff),
        };
        Ok(serde_json::to_string_pretty(&schema)? + "\n")
    }
}

/// Writes to a file, or to standard output without one.
///
/// # Errors
/// It cannot be written.
pub fn write(text: &str, file: Option<&Path>) -> Result<()> {
    match file {
        Some(file) => std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display())),
        None => {
            use std::io::Write;
            std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
        }
    }
}
