//! Which rows go into which request.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Requests are made until there are so many, if memory allows: so batches vary in what they are made of.
const ENOUGH: usize = 64;

/// The rows of each request, by their numbers. `shapes` has a value for each row, which is equal for rows that may be
/// together in a batch; `row_bytes` is the size of a row. Each row is in a request at least once. The same seed gives the
/// same requests.
///
/// Rows are taken in a random order, pass after pass. Those that have no full batch at the end of a pass wait for the next
/// one, and at the very end are filled up with rows of their shape.
pub fn draws<S: Ord + Clone>(
    shapes: &[S],
    batch: usize,
    row_bytes: usize,
    most_bytes: usize,
    seed: u64,
) -> Vec<Vec<usize>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..shapes.len()).collect();
    let mut waiting: BTreeMap<S, Vec<usize>> = BTreeMap::new();
    let mut draws = Vec::new();
    let request_bytes = row_bytes.max(1).saturating_mul(batch);
    let most = (most_bytes / request_bytes.max(1)).clamp(1, ENOUGH);
    // A batch that is larger than all rows together takes several passes.
    while draws.is_empty() || draws.len() < most {
        let before = draws.len();
        order.shuffle(&mut random);
        for &row in &order {
            let rows = waiting.entry(shapes[row].clone()).or_default();
            rows.push(row);
            if rows.len() == batch {
                draws.push(std::mem::take(rows));
            }
        }
        if batch == 1 || (draws.len() == before && before > 0) {
            break;
        }
    }
    for rows in waiting.into_values().filter(|rows| !rows.is_empty()) {
        let filled = rows.iter().cycle().take(batch).copied().collect();
        // Full batches of these rows may be there already; whether each of them is, is not worth knowing.
        draws.push(filled);
    }
    draws
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all(draws: &[Vec<usize>]) -> BTreeSet<usize> {
        draws.iter().flatten().copied().collect()
    }

    #[test]
    fn every_row_is_drawn_and_the_seed_decides_the_order() {
        for (rows, batch) in [(1, 1), (1, 8), (5, 1), (5, 2), (5, 16), (1000, 1), (1000, 7), (64, 64)] {
            let shapes = vec![0; rows];
            let drawn = draws(&shapes, batch, 4, 1 << 20, 3);
            assert_eq!(all(&drawn).len(), rows, "{rows} rows, batch {batch}");
            assert!(drawn.iter().all(|draw| draw.len() == batch));
            assert_eq!(drawn, draws(&shapes, batch, 4, 1 << 20, 3));
            if rows > 4 {
                assert_ne!(drawn, draws(&shapes, batch, 4, 1 << 20, 4));
            }
        }
    }

    #[test]
    fn one_pass_takes_each_row_once_where_batches_are_single_rows() {
        let mut drawn: Vec<usize> = draws(&[0; 100], 1, 4, 1 << 20, 1).concat();
        assert!(!drawn.is_sorted());
        drawn.sort_unstable();
        assert_eq!(drawn, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn only_rows_of_one_shape_are_together() {
        let shapes: Vec<usize> = (0..50).map(|row| row % 3).collect();
        let drawn = draws(&shapes, 4, 4, 1 << 20, 1);
        assert_eq!(all(&drawn).len(), 50);
        assert!(drawn.iter().all(|draw| draw.iter().all(|row| shapes[*row] == shapes[draw[0]])));
    }

    #[test]
    fn batches_vary_as_far_as_memory_allows() {
        let different = |most| draws(&[0; 10], 4, 100, most, 1).into_iter().collect::<BTreeSet<_>>().len();
        assert!(different(1 << 20) >= 60, "{}", different(1 << 20));
        assert!((3..=5).contains(&different(400)), "{}", different(400));
    }
}
