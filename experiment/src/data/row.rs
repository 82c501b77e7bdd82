//! Rows, what they have to be like, and how many bytes of them may be loaded.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

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

/// Bytes that may still be loaded.
pub struct Budget(pub usize);

impl Budget {
    /// Takes the size of something that is about to be loaded.
    pub fn take(&mut self, bytes: u64, file: &Path) -> Result<()> {
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

impl Form {
    /// # Errors
    /// A row cannot have this shape.
    pub fn check(&self, shape: &[i64]) -> Result<()> {
        let fits = shape.len() == self.row.len()
            && shape.iter().zip(&self.row).all(|(dim, asked)| *dim >= 0 && (*asked < 0 || dim == asked));
        ensure!(fits, "the shape {shape:?} does not fit rows of {:?} (-1: any size)", self.row);
        Ok(())
    }
}
