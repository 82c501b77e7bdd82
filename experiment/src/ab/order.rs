//! The order in which contenders are measured.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One of the two that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Contender {
    /// The first, which the second is compared with.
    A,
    /// The second.
    B,
}

/// Rounds of A B B A or B A A B, by a fair coin each. A steady drift cancels within a round; the coin makes the test right
/// whatever does not.
#[derive(Clone, Debug)]
pub struct Order(ChaCha8Rng);

impl Order {
    /// The same seed gives the same order.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The blocks of the next round.
    pub fn next_round(&mut self) -> [Contender; 4] {
        use Contender::{A, B};
        if self.0.random::<bool>() { [A, B, B, A] } else { [B, A, A, B] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_both_kinds_come_in_a_seeded_order() {
        let rounds = |seed| {
            let mut order = Order::new(seed);
            (0..1000).map(|_| order.next_round()).collect::<Vec<_>>()
        };
        assert_eq!(rounds(1), rounds(1));
        assert_ne!(rounds(1), rounds(2));
        let first_a = rounds(1).iter().filter(|round| round[0] == Contender::A).count();
        assert!((440..560).contains(&first_a), "{first_a}");
        assert!(
            rounds(1)
                .iter()
                .all(|round| round[0] == round[3] && round[1] == round[2] && round[0] != round[1])
        );
    }
}
