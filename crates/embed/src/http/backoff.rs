//! How long to wait before the next attempt: twice as long each time, up to a limit, and somewhere between half of that
//! and all of it, so that those who failed together do not come back together.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The waits of one call.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
    random: u64,
}

impl Backoff {
    pub(super) fn new(first: Duration, max: Duration) -> Backoff {
        // The only randomness that std gives away is in the seeds of its hash maps.
        Backoff { next: first.min(max), max, random: RandomState::new().hash_one(0) }
    }

    /// The next wait: what the endpoint asked for if it did, else a random one.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.max);
        let share = self.random_share();
        asked.unwrap_or_else(|| step / 2 + (step / 2).mul_f64(share))
    }

    /// A number from 0 to 1 (splitmix64, Steele et al. 2014).
    fn random_share(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 32) as u32 as f64 / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_differ() {
        let (first, max) = (Duration::from_millis(100), Duration::from_millis(350));
        let mut some = Backoff::new(first, max);
        let mut others = Backoff::new(first, max);
        let mut equal = 0;
        for limit in [100, 200, 350, 350] {
            let (wait, other) = (some.next(None), others.next(None));
            assert!(wait >= Duration::from_millis(limit / 2) && wait <= Duration::from_millis(limit), "{wait:?}");
            equal += usize::from(wait == other);
        }
        assert!(equal < 4, "two calls wait alike");
    }

    #[test]
    fn what_the_endpoint_asks_for_is_kept() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        assert_eq!(backoff.next(Some(Duration::from_secs(3))), Duration::from_secs(3));
    }
}
