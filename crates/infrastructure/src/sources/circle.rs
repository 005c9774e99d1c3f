//! Notices that a walk from page to page goes in a circle, however long, with two numbers to remember.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

/// The places a walk has come through, after R. P. Brent, "An improved Monte Carlo factorization algorithm" (1980): one of
/// them is remembered, and another in its stead each time the walk has gone twice as far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Circle {
    remembered: Option<u64>,
    steps: u32,
    limit: u32,
}

impl Circle {
    /// Goes on to a place; true when the walk was there before, sooner or later for each circle.
    pub(super) fn closes_at(&mut self, place: &(impl Hash + ?Sized)) -> bool {
        let mut hasher = DefaultHasher::new();
        place.hash(&mut hasher);
        // JSON numbers beyond 2^53 do not survive everywhere.
        let place = hasher.finish() >> 12;
        if self.remembered == Some(place) {
            return true;
        }
        if self.steps == self.limit {
            (self.remembered, self.steps) = (Some(place), 0);
            self.limit = self.limit.saturating_mul(2).max(1);
        }
        self.steps = self.steps.saturating_add(1);
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_circle_is_noticed_soon_and_nothing_else_is_one(before in 0_u64..200, length in 1_u64..200) {
            let mut circle = Circle::default();
            let place = |step: u64| if step < before { step } else { before + (step - before) % length };
            let closed = (0..4 * (before + length) + 4).find(|step| circle.closes_at(&place(*step)));
            let closed = closed.expect("the circle is noticed");
            prop_assert!(closed >= before + length, "{closed} is no place that was seen before");
            let mut straight = Circle::default();
            prop_assert!((0..2_000_u64).all(|step| !straight.closes_at(&step)));
        }
    }
}
