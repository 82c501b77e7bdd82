//! The few batch sizes that a model runs with, where it does not run with any.
//!
//! On a GPU the first batch of each size stalls: cuDNN tries its algorithms, XLA compiles. A model with buckets runs
//! batches of their sizes only, all of which have run before the first request comes.

use std::sync::Arc;

/// The sizes that batches are filled up to, in rows, ascending; the last is the largest batch. None of them: a batch runs
/// as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets(Arc<[usize]>);

impl Buckets {
    /// `sizes`, which are ascending and 1 or more, as far as they are below `max_batch_size`, and that itself.
    pub fn new(sizes: impl IntoIterator<Item = usize>, max_batch_size: usize) -> Self {
        let below = sizes.into_iter().filter(|&size| size < max_batch_size);
        Self(below.chain([max_batch_size]).collect())
    }

    /// Whether batches run as they are.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sizes, ascending.
    pub fn sizes(&self) -> &[usize] {
        &self.0
    }

    /// The rows that TensorFlow computes for a batch of so many rows. Of none it computes none.
    pub fn padded(&self, rows: usize) -> usize {
        match self.0.iter().find(|&&size| size >= rows) {
            Some(&size) if rows > 0 => size,
            _ => rows,
        }
    }

    /// The place in [`Self::sizes`] of the bucket of so many rows, which are not more than the largest.
    pub fn index(&self, rows: usize) -> usize {
        self.0.partition_point(|&size| size < rows)
    }

    /// The largest bucket that is smaller than so many rows.
    pub fn below(&self, rows: usize) -> Option<usize> {
        self.0[..self.index(rows)].last().copied()
    }
}

/// 1, 2, 4 and so on, and the largest.
pub fn doubling(max_batch_size: usize) -> impl Iterator<Item = usize> {
    let doubled = std::iter::successors(Some(1_usize), |size| size.checked_mul(2));
    doubled.take_while(move |&size| size < max_batch_size).chain([max_batch_size])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_batch_is_filled_up_to_the_next_bucket() {
        let buckets = Buckets::new([2, 4], 6);
        assert_eq!(buckets.sizes(), [2, 4, 6]);
        let padded: Vec<_> = (0..=7).map(|rows| buckets.padded(rows)).collect();
        assert_eq!(padded, [0, 2, 2, 4, 4, 6, 6, 7], "nothing of nothing, and what is too large as it is");
        let below: Vec<_> = (1..=7).map(|rows| buckets.below(rows)).collect();
        assert_eq!(below, [None, None, Some(2), Some(2), Some(4), Some(4), Some(6)]);
        assert_eq!(Buckets::new([1, 6], 6).sizes(), [1, 6], "the largest is there once");
    }

    #[test]
    fn without_buckets_a_batch_runs_as_it_is() {
        let buckets = Buckets::default();
        assert!(buckets.is_empty());
        assert_eq!((buckets.padded(0), buckets.padded(5), buckets.below(5)), (0, 5, None));
    }

    #[test]
    fn the_doublings_end_with_the_largest() {
        assert_eq!(doubling(1).collect::<Vec<_>>(), [1]);
        assert_eq!(doubling(6).collect::<Vec<_>>(), [1, 2, 4, 6]);
        assert_eq!(doubling((1 << 31) - 1).last(), Some((1 << 31) - 1));
        assert_eq!(Buckets::new(doubling(6), 6).sizes(), [1, 2, 4, 6]);
    }

    proptest! {
        #[test]
        fn a_bucket_is_the_smallest_that_is_large_enough(
            sizes in prop::collection::btree_set(1..200_usize, 0..12),
            max_batch_size in 1..200_usize,
            rows in 1..200_usize,
        ) {
            let buckets = Buckets::new(sizes.clone(), max_batch_size);
            let rows = rows.min(max_batch_size);
            let padded = buckets.padded(rows);
            prop_assert!(padded >= rows && padded <= max_batch_size);
            prop_assert!(padded == max_batch_size || sizes.contains(&padded));
            prop_assert!(sizes.range(rows..padded).next().is_none(), "{padded} is not the smallest");
            prop_assert_eq!(buckets.sizes()[buckets.index(rows)], padded);
            prop_assert_eq!(buckets.padded(padded), padded);
            prop_assert_eq!(buckets.below(rows).is_some_and(|below| below >= rows), false);
        }
    }
}
