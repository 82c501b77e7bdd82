//! Inputs, and the outputs that are expected of them, from files.
//!
//! A *row* is what a request has for each unit of its batch size: one tensor for each input, without the batch dimension.

mod draw;
mod files;
mod image;
mod json;
mod npy;
mod row;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::plan::ImageScaling as Scaling;
pub use draw::draws;
use row::Budget;
pub use row::{Form, LIMIT, Row, Rows, Tensor};

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
            "--expect: {} rows of inputs, but expected outputs of {}: give one for each row, in the same order",
            rows.inputs.len(),
            rows.expected.len()
        );
        Ok(rows)
    }
}
