//! Single requests of a trace, for plots of latency over time and for the latency target.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// A request of a trace. Times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When it was due, since the trace's start.
    pub due_ns: u64,
    /// From then to the last byte of the response, also of a refusal, or to the failure.
    pub latency_ns: u64,
    /// Its outcome.
    pub fate: Fate,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// A response without an error.
    Answered,
    /// Refused because the queue is full: HTTP 503, UNAVAILABLE.
    Refused,
    /// Any other error.
    Failed,
}

/// The requests of points, by visit number.
pub type Samples = BTreeMap<usize, Vec<Sample>>;

/// The CSV file with the requests of a visit, in a folder beside `results.json`.
fn file(folder: &Path, visit: usize) -> PathBuf {
    folder.join("requests").join(format!("{visit:04}.csv"))
}

/// Writes the requests of a point.
///
/// # Errors
/// The file cannot be written.
pub fn write(folder: &Path, visit: usize, samples: &[Sample]) -> Result<()> {
    let file = file(folder, visit);
    let mut rows = csv::Writer::from_writer(Vec::new());
    for sample in samples {
        rows.serialize(sample)?;
    }
    let write = || {
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        fs::write(&file, rows.into_inner().map_err(|error| error.into_error())?)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

/// The requests of these visits, of those for which they were kept.
///
/// # Errors
/// A file cannot be read, or is not a file of this tool.
pub fn read(folder: &Path, visits: impl Iterator<Item = usize>) -> Result<Samples> {
    let mut all = Samples::new();
    for visit in visits {
        let file = file(folder, visit);
        if !file.exists() {
            continue;
        }
        let wrong = || format!("{} is not a list of requests of this tool", file.display());
        let mut rows = csv::Reader::from_path(&file).with_context(wrong)?;
        let samples: Vec<Sample> = rows.deserialize().collect::<Result<_, _>>().with_context(wrong)?;
        ensure!(!samples.is_empty(), "{} is empty", file.display());
        all.insert(visit, samples);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let samples = [
            Sample { due_ns: 0, latency_ns: u64::MAX, fate: Fate::Answered },
            Sample { due_ns: 1_500_000_000, latency_ns: 2_000_000, fate: Fate::Refused },
            Sample { due_ns: 1_500_000_001, latency_ns: 3, fate: Fate::Failed },
        ];
        write(folder.path(), 12, &samples).unwrap();
        let read = |visits: &[usize]| read(folder.path(), visits.iter().copied());
        assert_eq!(read(&[11, 12]).unwrap(), Samples::from([(12, samples.to_vec())]));
        let text = fs::read_to_string(file(folder.path(), 12)).unwrap();
        assert!(
            text.starts_with("due_ns,latency_ns,fate\n") && text.contains("\n1500000000,2000000,refused\n")
        );
        fs::write(file(folder.path(), 12), "due_ns,latency_ns,fate\n1,soon,answered\n").unwrap();
        let error = format!("{:#}", read(&[12]).unwrap_err());
        assert!(error.contains("0012.csv is not a list of requests"), "{error}");
    }
}
