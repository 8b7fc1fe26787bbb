//! How long values live that are written with [`Ttl::Adaptive`](super::Ttl::Adaptive): what this process has seen of their keys.
//!
//! A key is watched from its first write here. A write of another value than the last one is a change; the same value written again says that
//! the source has held still that long. How often it is read is not known where it is written, so only the first factor of the rule counts
//! ([`crate::ttl`]). What is forgotten, since other keys were written more lately, begins anew.

use crate::ttl::{AdaptiveTtl, Observed};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64;

/// Keys that are watched: some 60 bytes each.
const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(8192).expect("not zero");

/// What was seen of keys in this process.
#[derive(Debug)]
pub(super) struct Observations {
    rule: AdaptiveTtl,
    /// By the hash of the key: two keys with one hash, of which there are hardly any, live shorter.
    seen: Mutex<LruCache<u64, Seen>>,
}

#[derive(Debug)]
struct Seen {
    since: Instant,
    changes: u64,
    value_hash: u64,
}

impl Observations {
    pub(super) fn new(rule: AdaptiveTtl) -> Observations {
        Observations { rule, seen: Mutex::new(LruCache::new(KEYS_MAX)) }
    }

    /// How long a value is to live that is written now.
    pub(super) fn written(&self, key: &[u8], value: &[u8], now: Instant) -> Duration {
        let (key_hash, value_hash) = (xxh3_64(key), xxh3_64(value));
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = all.get_or_insert_mut(key_hash, || Seen { since: now, changes: 0, value_hash });
        seen.changes += u64::from(seen.value_hash != value_hash);
        seen.value_hash = value_hash;
        let age = now.saturating_duration_since(seen.since);
        self.rule.ttl(&Observed { hits: 0, age, changes: seen.changes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_still_lives_longer_and_what_changes_shorter() {
        let hour = Duration::from_secs(3600);
        let (base, start) = (hour / 6, Instant::now());
        let all = Observations::new(AdaptiveTtl::new(base));
        assert_eq!(all.written(b"steady", b"v", start), base);
        assert_eq!(all.written(b"changing", b"1", start), base);
        assert_eq!(all.written(b"steady", b"v", start + hour), base + hour / 10);
        assert_eq!(all.written(b"changing", b"2", start + hour), (base + hour / 10) / 2);
        assert_eq!(all.written(b"changing", b"2", start + 2 * hour), (base + hour / 5) / 2);
    }

    #[test]
    fn no_more_keys_are_watched_than_is_said() {
        let (base, start) = (Duration::from_secs(60), Instant::now());
        let all = Observations::new(AdaptiveTtl::new(base));
        all.written(b"k", b"1", start);
        for number in 0..KEYS_MAX.get() as u64 {
            all.written(&number.to_le_bytes(), b"v", start);
        }
        assert_eq!(all.written(b"k", b"2", start), base, "it was forgotten");
    }
}
