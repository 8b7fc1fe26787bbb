//! When a value is computed anew before its time is over: how long it took to compute, and the die that says that it is this caller's turn.
//!
//! *Early* is XFetch (A. Vattani, F. Chierichetti, K. Lowenstein, "Optimal probabilistic cache stampede prevention", VLDB 2015): a reader
//! computes anew if `now − delta·beta·ln(random) ≥ expiry`, with delta the time that computing takes. The readers before expiry need not know of each
//! other for one of them to be early, in time, with a probability that rises as expiry comes near; delta scales how near is near. Here the lease of the
//! shard then makes it one in fact.

use lru::LruCache;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Keys whose time of computing is remembered: some 30 bytes each.
const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(8192).expect("not zero");
/// Caches whose mean is remembered. Beyond them, all others share one.
const NAMES_MAX: usize = 256;
/// The share of the newest time in the mean.
const NEWEST: f64 = 1.0 / 8.0;

/// Whether a reader is to compute anew a value that has this long to live and took `delta` to compute. `random` lies in (0, 1].
pub(crate) fn is_early(remaining: Duration, delta: Duration, beta: f64, random: f64) -> bool {
    delta.as_secs_f64() * beta * -random.ln() >= remaining.as_secs_f64()
}

/// How long values took to compute in this process.
#[derive(Debug)]
pub(crate) struct ComputeTimes {
    state: Mutex<Times>,
}

#[derive(Debug)]
struct Times {
    /// By the hash of the key. Two keys with one hash, of which there are hardly any, share a guess.
    by_key: LruCache<u64, Duration>,
    by_name: HashMap<Box<[u8]>, Duration>,
}

impl Default for ComputeTimes {
    fn default() -> ComputeTimes {
        let state = Times { by_key: LruCache::new(KEYS_MAX), by_name: HashMap::new() };
        ComputeTimes { state: Mutex::new(state) }
    }
}

impl ComputeTimes {
    pub(crate) fn note(&self, key: &[u8], took: Duration) {
        let mut state = self.state();
        state.by_key.put(hash(key), took);
        let name = cache_name(key);
        let is_known = state.by_name.contains_key(name) || state.by_name.len() < NAMES_MAX;
        let mean = state.by_name.entry(if is_known { name } else { &[] }.into()).or_insert(took);
        *mean = mean.mul_f64(1.0 - NEWEST) + took.mul_f64(NEWEST);
    }

    /// How long it took when this process computed it last, or how long values of its cache take in the mean.
    pub(crate) fn of(&self, key: &[u8]) -> Option<Duration> {
        let mut state = self.state();
        let own = state.by_key.get(&hash(key)).copied();
        own.or_else(|| state.by_name.get(cache_name(key)).or_else(|| state.by_name.get(&[][..])).copied())
    }

    fn state(&self) -> MutexGuard<'_, Times> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `cache:{name}` of the keys that [`crate::keys`] makes, what is in front of the first `:` of others.
fn cache_name(key: &[u8]) -> &[u8] {
    let parts = if key.starts_with(b"cache:") || key.starts_with(b"emb:") { 2 } else { 1 };
    let mut colons = key.iter().enumerate().filter(|(_, byte)| **byte == b':');
    colons.nth(parts - 1).map_or(&[], |(at, _)| &key[..at])
}

fn hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

/// The keys that this process is renewing, each once at a time.
#[derive(Debug, Default)]
pub(crate) struct Renewals {
    under_way: Mutex<HashSet<Box<[u8]>>>,
}

/// The right to renew a key, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    renewals: Arc<Renewals>,
    key: Box<[u8]>,
}

impl Renewals {
    pub(crate) fn begin(self: &Arc<Renewals>, key: &[u8]) -> Option<Turn> {
        let key: Box<[u8]> = key.into();
        self.under_way().insert(key.clone()).then(|| Turn { renewals: Arc::clone(self), key })
    }

    fn under_way(&self) -> MutexGuard<'_, HashSet<Box<[u8]>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.renewals.under_way().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of readers who are early. XFetch's is exp(−remaining / (delta·beta)).
    fn share(remaining_ms: u64, delta_ms: u64, beta: f64, seed: u64) -> f64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (remaining, delta) = (Duration::from_millis(remaining_ms), Duration::from_millis(delta_ms));
        let early = (0..100_000).filter(|_| is_early(remaining, delta, beta, 1.0 - random.f64())).count();
        early as f64 / 100_000.0
    }

    #[test]
    fn a_reader_is_early_with_the_probability_of_the_paper() {
        let seed = fastrand::u64(..);
        for (remaining, delta, beta) in [(100, 100, 1.0), (300, 100, 1.0), (300, 100, 3.0), (50, 10, 1.0)] {
            let expected = (-(remaining as f64) / (delta as f64 * beta)).exp();
            let share = share(remaining, delta, beta, seed);
            assert!((share - expected).abs() < 0.01, "{share} instead of {expected}, seed {seed}");
        }
        assert!(is_early(Duration::ZERO, Duration::ZERO, 1.0, 0.5), "what has expired is due");
        assert!(!is_early(Duration::from_secs(1), Duration::from_secs(1), 0.0, 1e-9), "beta 0 is never early");
    }

    #[test]
    fn a_key_that_was_not_computed_here_takes_as_long_as_others_of_its_cache() {
        let times = ComputeTimes::default();
        assert_eq!(times.of(b"cache:a:t:1"), None);
        times.note(b"cache:a:t:1", Duration::from_millis(80));
        assert_eq!(times.of(b"cache:a:t:1"), Some(Duration::from_millis(80)));
        assert_eq!(times.of(b"cache:a:t:2"), Some(Duration::from_millis(80)));
        times.note(b"cache:a:t:3", Duration::from_millis(160));
        assert_eq!(times.of(b"cache:a:t:1"), Some(Duration::from_millis(80)), "its own time is known");
        assert_eq!(times.of(b"cache:a:t:2"), Some(Duration::from_millis(90)));
        assert_eq!(times.of(b"cache:b:t:1"), None);
    }

    #[test]
    fn caches_without_end_share_one_mean() {
        let times = ComputeTimes::default();
        for name in 0..1000 {
            times.note(format!("{name}:k").as_bytes(), Duration::from_millis(5));
        }
        assert!(times.state().by_name.len() <= NAMES_MAX + 1);
        assert_eq!(times.of(b"never:seen"), Some(Duration::from_millis(5)));
    }

    #[test]
    fn a_key_is_renewed_by_one_at_a_time() {
        let renewals = Arc::new(Renewals::default());
        let turn = renewals.begin(b"k");
        assert!(turn.is_some() && renewals.begin(b"k").is_none() && renewals.begin(b"other").is_some());
        drop(turn);
        assert!(renewals.begin(b"k").is_some());
    }
}
