//! The commands `export` and `import`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::exchange::{self, Format, Imported, Selection};
use crate::samples;
use crate::store::Store;

/// Arguments of `export`.
#[derive(Args)]
pub struct Exporting {
    /// The folder that holds results.json.
    folder: PathBuf,
    /// The format.
    #[arg(long, value_name = "FORMAT")]
    format: Format,
    /// The file to write [default: standard output].
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only points of this batch size.
    #[arg(long, short, value_name = "N")]
    batch: Option<u32>,
    /// Only points of this configuration.
    #[arg(long, value_name = "NAME")]
    configuration: Option<String>,
}

/// Writes the results in another format.
///
/// # Errors
/// There are no results, or the format cannot hold them.
pub fn export(exporting: &Exporting) -> Result<()> {
    let Exporting { folder, format, output, batch, configuration } = exporting;
    let store = Store::open(folder)?;
    let results = store.results();
    let samples = match format {
        Format::PerfAnalyzerJson => samples::read(folder, results.points.iter().map(|point| point.visit))?,
        _ => Default::default(),
    };
    let selection = Selection { batch: *batch, configuration: configuration.clone() };
    exchange::write(&exchange::export(results, &samples, *format, &selection)?, output.as_deref())
}

/// Arguments of `import`.
#[derive(Args)]
pub struct Importing {
    /// perf_analyzer's profile export (JSON, --profile-export-file) or report (CSV, -f).
    file: PathBuf,
    /// Folder for the results; created if missing.
    #[arg(long, short, value_name = "FOLDER")]
    output: PathBuf,
    /// The model, which the file does not name; `diff` compares results of one model only.
    #[arg(long, short, value_name = "NAME")]
    model: String,
    /// The batch size, which the file does not tell.
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
}

/// Makes a folder of results of a file of perf_analyzer.
///
/// # Errors
/// The file cannot be read, or the folder holds results.
pub fn import(importing: &Importing) -> Result<()> {
    let Importing { file, output, model, batch } = importing;
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let about = Imported { model: model.clone(), batch: *batch, file: file.display().to_string() };
    let results = exchange::import(&text, &about).with_context(|| file.display().to_string())?;
    let points = results.points.len();
    Store::create(output, results)?;
    println!("{points} points are in {}", output.display());
    Ok(())
}
