//! Which of a model's outputs are computed together.
//!
//! For each list of outputs that it is asked for TensorFlow keeps a graph of its own, pruned and optimised, for as long as the
//! session lives: a megabyte and a tenth of a second for one of medium size. Clients may ask for any subset, of which there are
//! 2^n, so only so many are computed as they are.

use std::sync::{Mutex, PoisonError};

/// So many subsets, beside all of the declared outputs.
const MOST: usize = 16;

/// The subsets of a model's outputs that have been computed.
#[derive(Debug, Default)]
pub struct Subsets(Mutex<Vec<Vec<usize>>>);

impl Subsets {
    /// What to compute for whoever wants these outputs: ascending, each once, and some of `all`. From the 17th subset on it
    /// may be more: the smallest one that was computed before and has them, or all.
    pub fn to_compute(&self, wanted: Vec<usize>, all: &[usize]) -> Vec<usize> {
        if wanted.len() == all.len() {
            return wanted;
        }
        // Nothing that runs under the lock leaves the list half changed.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&wanted) {
            return wanted;
        }
        if known.len() < MOST {
            known.push(wanted.clone());
            return wanted;
        }
        let has_all = |subset: &&Vec<usize>| wanted.iter().all(|index| subset.contains(index));
        known
            .iter()
            .filter(has_all)
            .min_by_key(|subset| subset.len())
            .map_or_else(|| all.to_vec(), Vec::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_of_a_model_are_bounded() {
        let all: Vec<usize> = (0..12).collect();
        let subsets = Subsets::default();
        let mut lists = Vec::new();
        for bits in 1..1_u32 << all.len() {
            let wanted: Vec<usize> = all.iter().copied().filter(|index| bits & (1 << index) != 0).collect();
            let computed = subsets.to_compute(wanted.clone(), &all);
            assert!(wanted.iter().all(|index| computed.contains(index)), "{wanted:?} in {computed:?}");
            lists.push(computed);
        }
        // The first ones are computed as they are, then and later.
        assert_eq!((&lists[0][..], &lists[5][..], &lists[15][..]), (&[0][..], &[1, 2][..], &[4][..]));
        assert_eq!(subsets.to_compute(vec![1, 2], &all), [1, 2]);
        // [0, 4] was never computed, and [5] is in none but all.
        assert_eq!(subsets.to_compute(vec![0, 3], &all), [0, 3]);
        assert_eq!(subsets.to_compute(vec![5], &all), all);
        lists.sort();
        lists.dedup();
        assert_eq!(lists.len(), MOST + 1);
    }

    #[test]
    fn the_smallest_known_one_is_computed() {
        let all: Vec<usize> = (0..40).collect();
        let subsets = Subsets::default();
        for size in (1..=MOST).rev() {
            assert_eq!(subsets.to_compute((0..=size).collect(), &all).len(), size + 1);
        }
        assert_eq!(subsets.to_compute(vec![1], &all), [0, 1]);
        assert_eq!(subsets.to_compute(vec![2, 3], &all), [0, 1, 2, 3]);
        assert_eq!(subsets.to_compute(vec![MOST + 1], &all), all);
    }
}
