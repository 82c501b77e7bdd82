//! Which batches run inline, in the thread that calls the session.

use crate::tensorflow::RunOptions;

/// The batches that run inline: those of up to so many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InlineRows(pub usize);

impl InlineRows {
    /// No batch.
    pub const NONE: Self = Self(0);
    /// Every batch.
    pub const ALL: Self = Self(usize::MAX);

    /// How a batch of so many rows is to run.
    pub fn run_options(self, rows: usize) -> RunOptions {
        if rows <= self.0 { RunOptions::INLINE } else { RunOptions::DEFAULT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_a_batch_decide_how_it_runs() {
        let up_to_two = InlineRows(2);
        assert_eq!(up_to_two.run_options(2), RunOptions::INLINE);
        assert_eq!(up_to_two.run_options(3), RunOptions::DEFAULT);
        assert_eq!(InlineRows::ALL.run_options(usize::MAX), RunOptions::INLINE);
        assert_eq!(InlineRows::NONE.run_options(1), RunOptions::DEFAULT);
    }
}
