//! How long a value should live, from what was seen of it.
//!
//! # The rule
//! With a value seen unchanged or changing over `age`, `changes` times, and `hits` reads, and with the settings of [`AdaptiveTtl`]:
//!
//! ```text
//! ttl = (base + 2 · stale_share · age) / (changes + 1)  ×  (1 + popularity · hits / (hits + hits_half))
//! ```
//!
//! kept between `min` and `max`.
//!
//! **The first factor** bounds how often a reader sees an outdated value. If a source changes at random r times a second, a value that is kept
//! for T is outdated, averaged over its life, for a share of 1 − (1 − e^(−rT)) / rT of it, which is at most rT/2. To keep that below `stale_share`, T
//! = 2 · stale_share / r. The rate is not known, but estimated: with a Gamma prior of one change in base / (2 · stale_share), its posterior
//! after `changes` in `age` has the mean (changes + 1) / (age + base / (2 · stale_share)). Put into T, that is the factor above: `base`
//! for what nothing is known of, longer with every hour that it does not change, half after the first change. For a source that
//! never changed it is base plus a fixed share of its age, which is the rule of the Alex file system (Cate 1992), and of HTTP where a page
//! does not say how long it holds (RFC 9111, section 4.2.2: a tenth of its age, which is our default of 5 % stale).
//!
//! **The second factor** lets what is read often live longer, since a second of its life saves more computations; what is never read again is
//! not worth its memory for longer. It saturates: no popularity makes anything live longer than 1 + `popularity` times what its changes
//! allow, and the share of outdated reads is at most 1 + `popularity` times `stale_share`.
//!
//! ```
//! use std::time::Duration;
//! use sutra_cache_client::ttl::{AdaptiveTtl, Observed};
//!
//! let rule = AdaptiveTtl::new(Duration::from_secs(600));
//! let hour = Duration::from_secs(3600);
//! assert_eq!(rule.ttl(&Observed::default()), Duration::from_secs(600));
//! let steady = Observed { age: 10 * hour, ..Observed::default() };
//! assert_eq!(rule.ttl(&steady), Duration::from_secs(600 + 3600));
//! let changing = Observed { changes: 3, ..steady };
//! assert_eq!(rule.ttl(&changing), Duration::from_secs((600 + 3600) / 4));
//! ```

use std::time::Duration;

/// The settings of the rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaptiveTtl {
    /// For what nothing is known of.
    pub base: Duration,
    /// Never shorter.
    pub min: Duration,
    /// Never longer. If it is below `min`, it is `min`.
    pub max: Duration,
    /// The share of reads that may be outdated, as 0.05 for 5 %. It is kept between 0 and 1.
    pub stale_share: f64,
    /// By which share of itself the time grows for what is read without end: 1 is twice as long. At least 0.
    pub popularity: f64,
    /// With so many reads it has grown by half of that. At least 1.
    pub hits_half: u32,
}

/// What was seen of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Observed {
    /// How often it was read.
    pub hits: u64,
    /// For how long it, or what it is made from, has been watched.
    pub age: Duration,
    /// How often it was another one when it was computed anew, or was invalidated, in that time.
    pub changes: u64,
}

impl AdaptiveTtl {
    /// A tenth of the base to ten times the base, 5 % outdated reads, twice as long for what is read often, half of that at 16 reads.
    #[must_use]
    pub fn new(base: Duration) -> AdaptiveTtl {
        AdaptiveTtl {
            base,
            min: base / 10,
            max: base.saturating_mul(10),
            stale_share: 0.05,
            popularity: 1.0,
            hits_half: 16,
        }
    }

    /// How long the value should live from now on.
    #[must_use]
    pub fn ttl(&self, observed: &Observed) -> Duration {
        let share = if self.stale_share.is_finite() { self.stale_share.clamp(0.0, 1.0) } else { 0.0 };
        let steady = self.base.as_secs_f64() + 2.0 * share * observed.age.as_secs_f64();
        let allowed = steady / (observed.changes as f64 + 1.0);
        let popularity = if self.popularity.is_finite() { self.popularity.max(0.0) } else { 0.0 };
        let hits = observed.hits as f64;
        let boost = 1.0 + popularity * hits / (hits + f64::from(self.hits_half.max(1)));
        // What no Duration can hold is longer than any limit.
        Duration::try_from_secs_f64(allowed * boost).unwrap_or(Duration::MAX).min(self.max).max(self.min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule() -> impl Strategy<Value = AdaptiveTtl> {
        let ms = |ms| Duration::from_millis(ms);
        (1..10_000_000_u64, 0..10_000_u64, 0..100_000_000_u64, 0.0..1.0, 0.0..4.0, 0..100_u32).prop_map(
            move |(base, min, max, stale_share, popularity, hits_half)| AdaptiveTtl {
                base: ms(base),
                min: ms(min),
                max: ms(min + max),
                stale_share,
                popularity,
                hits_half,
            },
        )
    }

    fn observed() -> impl Strategy<Value = Observed> {
        (0..10_000_u64, 0..1_000_000_u64, 0..1000_u64).prop_map(|(hits, age, changes)| Observed {
            hits,
            age: Duration::from_secs(age),
            changes,
        })
    }

    proptest! {
        #[test]
        fn it_stays_between_its_limits(rule in rule(), seen in observed()) {
            let ttl = rule.ttl(&seen);
            prop_assert!(rule.min <= ttl && ttl <= rule.max);
        }

        #[test]
        fn more_reads_and_a_longer_quiet_never_shorten_it_and_a_change_never_prolongs_it(
            rule in rule(), seen in observed(), more in 1..1000_u64,
        ) {
            let ttl = rule.ttl(&seen);
            let ttl_of = |seen: Observed| rule.ttl(&seen);
            let read_more = ttl_of(Observed { hits: seen.hits + more, ..seen });
            let quiet_longer = ttl_of(Observed { age: seen.age + Duration::from_secs(more), ..seen });
            let changed_more = ttl_of(Observed { changes: seen.changes + more, ..seen });
            prop_assert!(read_more >= ttl && quiet_longer >= ttl && changed_more <= ttl);
        }

        #[test]
        fn popularity_stretches_what_changes_allow_by_no_more_than_was_said(rule in rule(), seen in observed()) {
            let unread = rule.ttl(&Observed { hits: 0, ..seen }).as_secs_f64();
            let read = rule.ttl(&seen).as_secs_f64();
            prop_assert!(read <= unread * (1.0 + rule.popularity) + 1e-6);
        }

        #[test]
        fn settings_that_make_no_sense_still_give_a_time(share: f64, popularity: f64, hits: u64, changes: u64) {
            let rule = AdaptiveTtl { stale_share: share, popularity, ..AdaptiveTtl::new(Duration::from_secs(60)) };
            let ttl = rule.ttl(&Observed { hits, age: Duration::MAX, changes });
            prop_assert!((rule.min..=rule.max).contains(&ttl));
        }
    }

    #[test]
    fn reads_of_a_source_that_changes_at_random_are_outdated_no_more_often_than_stated() {
        // A source with a change every 1,000 s on average, watched for long; its values are read at evenly spread moments of their lives.
        let rate = 1e-3_f64;
        let settings = AdaptiveTtl { popularity: 0.0, ..AdaptiveTtl::new(Duration::from_secs(60)) };
        let seen = Observed { age: Duration::from_secs(1_000_000), changes: 1000, hits: 0 };
        let ttl = settings.ttl(&seen).as_secs_f64();
        let outdated = 1.0 - (1.0 - (-rate * ttl).exp()) / (rate * ttl);
        assert!((0.03..=0.05).contains(&outdated), "{outdated} with a time of {ttl} s");
    }
}
