//! Inputs, and the outputs that are expected of them, from files.
//!
//! A *row* is what a request has for each unit of its batch size: one tensor for each input, without the batch dimension.

mod draw;
mod files;
mod image;
mod json;
mod npy;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;

use crate::plan::ImageScaling as Scaling;
pub use draw::draws;

/// The most bytes of data that a run loads. They are in memory twice: as rows, and in the requests made of them.
pub const LIMIT: usize = 1 << 30;

/// An input or output of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Its name.
    pub name: String,
    /// The protocol's name, for example "FP32".
    pub datatype: String,
    /// The shape of a row; -1 is any size.
    pub row: Vec<i64>,
}

/// A tensor of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Without the batch dimension.
    pub shape: Vec<i64>,
    /// Little-endian and row-major; strings with their length in 4 bytes before them.
    pub bytes: Bytes,
}

/// The tensors of a row, by name.
pub type Row = BTreeMap<String, Tensor>;

/// Rows in the order of the files, and what is expected of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// At least one; all have the same inputs.
    pub inputs: Vec<Row>,
    /// One for each row, or none at all.
    pub expected: Vec<Row>,
}

/// Where data come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// A file or folder with inputs.
    pub data: PathBuf,
    /// A file or folder with the outputs that are expected, row by row.
    pub expect: Option<PathBuf>,
    /// How the values of pictures are scaled.
    pub scaling: Scaling,
}

/// Bytes that may still be loaded.
struct Budget(usize);

impl Budget {
    /// Takes the size of something that is about to be loaded.
    fn take(&mut self, bytes: u64, file: &Path) -> Result<()> {
        let left = usize::try_from(bytes).ok().and_then(|bytes| self.0.checked_sub(bytes));
        self.0 = left.with_context(|| {
            format!(
                "{}: with it the data have more than {} MiB, which is as much as the tool loads: give fewer rows",
                file.display(),
                LIMIT >> 20
            )
        })?;
        Ok(())
    }
}

impl Source {
    /// Reads all rows. `inputs` are those that the data have to contain, `outputs` those that may be expected.
    ///
    /// # Errors
    /// What is wrong, with the file, and what was expected there.
    pub fn read(&self, inputs: &[Form], outputs: &[Form]) -> Result<Rows> {
        let mut budget = Budget(LIMIT);
        let found = files::read(&self.data, inputs, outputs, self.scaling, &mut budget).context("--data")?;
        let mut rows = Rows { inputs: found.rows, expected: found.expected };
        ensure!(!rows.inputs.is_empty(), "--data: {} has no rows", self.data.display());
        for (number, row) in rows.inputs.iter().enumerate() {
            if let Some(missing) = inputs.iter().find(|input| !row.contains_key(&input.name)) {
                bail!(
                    "--data: row {number} of {} has no input '{}': give all inputs of the model, or --input-file for it",
                    self.data.display(),
                    missing.name
                );
            }
        }
        if let Some(path) = &self.expect {
            ensure!(
                rows.expected.is_empty(),
                "--expect: {} has validation_data already: give one of them",
                self.data.display()
            );
            let found = files::read(path, outputs, &[], Scaling::None, &mut budget).context("--expect")?;
            rows.expected = found.rows;
        }
        ensure!(
            rows.expected.is_empty() || rows.expected.len() == rows.inputs.len(),
            "{} rows of inputs, but expected outputs of {}: give one for each row, in the same order",
            rows.inputs.len(),
            rows.expected.len()
        );
        Ok(rows)
    }
}
