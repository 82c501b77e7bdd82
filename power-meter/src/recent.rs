//! The last values of a kind.

use std::collections::VecDeque;

/// Enough for a steady median, few enough to follow a change within seconds.
const KEPT: usize = 64;

/// The last values of a kind, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    values: VecDeque<u64>,
    /// Asked for several times in each reading, unlike the rest.
    median: Option<u64>,
}

impl Recent {
    pub fn add(&mut self, ns: u64) {
        if self.values.len() == KEPT {
            self.values.pop_front();
        }
        self.values.push_back(ns);
        self.median = self.quantile(0.5);
    }

    pub fn count(&self) -> usize {
        self.values.len()
    }

    pub fn median(&self) -> Option<u64> {
        self.median
    }

    /// Of the values that are kept, the one below which the given part of them lies.
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let mut values: Vec<u64> = self.values.iter().copied().collect();
        let last = values.len().checked_sub(1)?;
        let at = ((last as f64 * part).round() as usize).min(last);
        Some(*values.select_nth_unstable(at).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_values_make_room() {
        let mut recent = Recent::default();
        assert_eq!(recent.median(), None);
        for ns in 0..1000 {
            recent.add(ns);
        }
        assert_eq!((recent.count(), recent.quantile(0.0), recent.quantile(1.0)), (64, Some(936), Some(999)));
        assert_eq!(recent.median(), Some(968));
    }
}
