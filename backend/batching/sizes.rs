//! Batch sizes that have an entry of their own in tables: each of the small ones, and a bounded number of the larger ones,
//! so that a table of all sizes up to 2^31 is as good as free.

/// Up to this many rows each size has its own entry.
const EACH: usize = 32;
/// Beyond, so many sizes for each doubling: two neighbours are 3 to 6 % apart.
const STEPS: usize = 16;

/// The entry of a size, 1 or more: that of the smallest size in the table which is not below it.
pub fn index(rows: usize) -> usize {
    if rows <= EACH {
        return rows - 1;
    }
    let doublings = ((rows - 1) / EACH).ilog2() as usize;
    let (base, step) = (EACH << doublings, (EACH / STEPS) << doublings);
    EACH + STEPS * doublings + (rows - base).div_ceil(step) - 1
}

/// The size of an entry.
pub fn size(index: usize) -> usize {
    if index < EACH {
        return index + 1;
    }
    let (doublings, steps) = ((index - EACH) / STEPS, (index - EACH) % STEPS + 1);
    (EACH << doublings) + ((EACH / STEPS) << doublings) * steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_has_the_entry_of_the_next_size_in_the_table() {
        for rows in (1..5_000).chain([1 << 20, (1 << 31) - 1, 1 << 31]) {
            let (index, above) = (index(rows), size(index(rows)));
            assert!(above >= rows && above as f64 <= rows as f64 * 1.0626, "{rows}: {above}");
            assert!(index == 0 || size(index - 1) < rows, "{rows}");
            assert!(rows > EACH || above == rows, "{rows}: {above}");
        }
        assert!(index((1 << 31) - 1) < 500, "{}", index((1 << 31) - 1));
    }
}
