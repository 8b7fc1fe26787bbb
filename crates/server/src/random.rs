//! Random numbers for commands that choose: RANDOMKEY, HRANDFIELD.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0x5eed_u64));
}

/// The next number of this thread's sequence: all 64 bits uniform, not for secrets.
///
/// SplitMix64 (Steele, Lea, Flood 2014), started from the hash seed that the operating system gave the process.
#[must_use]
pub fn number() -> u64 {
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// A number below `bound`, which must not be 0. (The bias of multiplying instead of dividing is below 1 in 2^32 for the sizes here.)
#[must_use]
pub fn below(bound: usize) -> usize {
    let scaled = (u128::from(number()) * bound as u128) >> 64;
    usize::try_from(scaled).expect("less than bound, which is a usize")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_below_a_bound_reach_every_value_and_never_the_bound() {
        let mut seen = [0_u32; 7];
        for _ in 0..7_000 {
            seen[below(7)] += 1;
        }
        assert!(seen.iter().all(|&count| count > 700), "{seen:?}");
        assert_eq!(below(1), 0);
    }
}
