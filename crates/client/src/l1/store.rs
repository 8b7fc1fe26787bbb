//! Entries in the order of their use, bounded by count and by bytes, with the time at which each ends: a plain value with `&mut self`.
//! [`L1`](super::L1) puts locks around several of them, [`Fallback`](crate::fallback::Fallback) around one.

use bytes::Bytes;
use lru::LruCache;
use serde::Serialize;
use std::time::{Duration, Instant};

/// What an entry costs beside the bytes of its key and its value: its node (112 bytes on 64-bit machines), its place in the hash table
/// (17 bytes, at a load of 7/16 to 7/8), the count of references of its value, and what the allocator adds to four allocations.
pub const ENTRY_OVERHEAD_BYTES: usize = 240;

/// An entry, as it is stored and as a hit returns it. A clone shares the bytes of the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value, in an allocation of exactly its size.
    pub value: Bytes,
    /// What else is known of it.
    pub about: About,
}

/// What is known of an entry beside its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct About {
    /// From when on it is not served; `None`: it ends only by invalidation or eviction.
    pub expires_at: Option<Instant>,
    /// What computing it took, for an early refresh in proportion to it.
    pub compute_time: Option<Duration>,
    /// That there is no value is what is known.
    pub negative: bool,
}

/// Why entries went, counted since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Removals {
    /// Least recently used when there were too many entries.
    pub entries_limit: u64,
    /// Least recently used when there were too many bytes.
    pub bytes_limit: u64,
    /// Found expired by a read.
    pub expired: u64,
    /// Overwritten by a new value.
    pub replaced: u64,
    /// Invalidated by key.
    pub invalidated: u64,
    /// Dropped with everything else.
    pub cleared: u64,
}

/// Entries in the order of their use.
#[derive(Debug)]
pub(crate) struct Store {
    entries: LruCache<Box<[u8]>, Entry>,
    entries_max: usize,
    bytes_max: usize,
    bytes: usize,
    removals: Removals,
}

impl Store {
    pub(crate) fn new(entries_max: usize, bytes_max: usize) -> Store {
        // Unbounded for the library: the limits are kept here, where removals are counted by their reason.
        Store { entries: LruCache::unbounded(), entries_max, bytes_max, bytes: 0, removals: Removals::default() }
    }

    /// The entry, which becomes the most recently used one; its value is shared, not copied. An expired one is removed.
    pub(crate) fn read(&mut self, key: &[u8], now: Instant) -> Option<Entry> {
        let entry = self.entries.get(key)?;
        if !entry.is_expired(now) {
            return Some(entry.clone());
        }
        self.take(key);
        self.removals.expired += 1;
        None
    }

    /// Stores a copy of the value, and removes the least recently used entries that have no room beside it. Whether it was stored: an
    /// entry that is larger than everything together may be is not, and what was there under its key is gone all the same.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8], about: About) -> bool {
        if self.take(key).is_some() {
            self.removals.replaced += 1;
        }
        let bytes = charge(key, value);
        if self.entries_max == 0 || bytes > self.bytes_max {
            return false;
        }
        while self.entries.len() >= self.entries_max {
            self.evict();
            self.removals.entries_limit += 1;
        }
        while self.bytes + bytes > self.bytes_max {
            self.evict();
            self.removals.bytes_limit += 1;
        }
        self.bytes += bytes;
        self.entries.put(key.into(), Entry { value: Bytes::copy_from_slice(value), about });
        true
    }

    /// Removes the entry; whether there was one.
    pub(crate) fn invalidate(&mut self, key: &[u8]) -> bool {
        let found = self.take(key).is_some();
        self.removals.invalidated += u64::from(found);
        found
    }

    /// Removes everything, and returns it, so that a caller can free it without its lock.
    pub(crate) fn clear(&mut self) -> impl Drop + use<> {
        self.removals.cleared += self.entries.len() as u64;
        self.bytes = 0;
        std::mem::replace(&mut self.entries, LruCache::unbounded())
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Of keys, values and [`ENTRY_OVERHEAD_BYTES`] for each entry.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn removals(&self) -> Removals {
        self.removals
    }

    fn take(&mut self, key: &[u8]) -> Option<Entry> {
        let entry = self.entries.pop(key)?;
        self.bytes -= charge(key, &entry.value);
        Some(entry)
    }

    fn evict(&mut self) {
        let (key, entry) = self.entries.pop_lru().expect("limits are only exceeded by entries");
        self.bytes -= charge(&key, &entry.value);
    }

    /// For tests: the bytes are those of the entries, and both are within their limits.
    #[cfg(test)]
    pub(crate) fn validate(&self) {
        let sum: usize = self.entries.iter().map(|(key, entry)| charge(key, &entry.value)).sum();
        assert_eq!(self.bytes, sum);
        assert!(self.bytes <= self.bytes_max && self.entries.len() <= self.entries_max);
    }
}

impl Entry {
    /// Whether its time has come.
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        self.about.expires_at.is_some_and(|at| at <= now)
    }
}

fn charge(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TTL: Duration = Duration::from_secs(10);

    fn about(expires_at: Option<Instant>) -> About {
        About { expires_at, ..About::default() }
    }

    #[test]
    fn an_entry_is_read_until_it_expires_and_is_removed_by_the_first_read_after() {
        let start = Instant::now();
        let mut store = Store::new(10, 10_000);
        assert!(store.put(b"k", b"value", about(Some(start + TTL))));
        assert_eq!(store.read(b"k", start + TTL - Duration::from_nanos(1)).expect("it lives").value, "value");
        assert_eq!(store.len(), 1);
        assert!(store.read(b"k", start + TTL).is_none());
        assert_eq!((store.len(), store.bytes(), store.removals().expired), (0, 0, 1));
    }

    #[test]
    fn the_entry_that_was_not_used_for_longest_goes_first() {
        let now = Instant::now();
        let mut store = Store::new(2, 10_000);
        store.put(b"a", b"1", about(None));
        store.put(b"b", b"2", about(None));
        assert!(store.read(b"a", now).is_some());
        store.put(b"c", b"3", about(None));
        assert!(store.read(b"b", now).is_none());
        assert!(store.read(b"a", now).is_some() && store.read(b"c", now).is_some());
        assert_eq!(store.removals(), Removals { entries_limit: 1, ..Removals::default() });
    }

    #[test]
    fn bytes_are_a_limit_of_their_own() {
        let now = Instant::now();
        let each = 1 + 1000 + ENTRY_OVERHEAD_BYTES;
        let mut store = Store::new(100, 3 * each);
        for key in [b"a", b"b", b"c", b"d"] {
            assert!(store.put(key, &[0; 1000], about(None)));
        }
        assert_eq!((store.len(), store.bytes(), store.removals().bytes_limit), (3, 3 * each, 1));
        assert!(store.read(b"a", now).is_none());
    }

    #[test]
    fn what_is_larger_than_the_limit_is_not_stored_and_evicts_nothing_but_its_own_old_value() {
        let now = Instant::now();
        let mut store = Store::new(100, 1000);
        store.put(b"small", b"1", about(None));
        store.put(b"large", b"1", about(None));
        assert!(!store.put(b"large", &[0; 1000], about(None)));
        assert!(store.read(b"small", now).is_some());
        assert!(store.read(b"large", now).is_none(), "the value it had is outdated");
    }

    #[test]
    fn a_store_without_room_takes_nothing() {
        assert!(!Store::new(0, 1000).put(b"k", b"v", about(None)));
        assert!(!Store::new(10, 0).put(b"k", b"v", about(None)));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Put(u8, usize, Option<u8>),
        Read(u8),
        Invalidate(u8),
        Clear,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0..20_u8, 0..500_usize, proptest::option::of(0..100_u8)).prop_map(|(key, len, end)| Step::Put(key, len, end)),
            6 => (0..20_u8).prop_map(Step::Read),
            2 => (0..20_u8).prop_map(Step::Invalidate),
            1 => Just(Step::Clear),
        ];
        proptest::collection::vec(step, 0..100)
    }

    proptest! {
        #[test]
        fn limits_and_sums_hold_and_every_hit_is_the_last_value_stored(steps in steps()) {
            let start = Instant::now();
            let mut store = Store::new(8, 3000);
            let mut last = std::collections::BTreeMap::new();
            for (index, step) in (0_u8..).zip(steps) {
                let now = start + Duration::from_secs(index.into());
                match step {
                    Step::Put(key, len, end) => {
                        let expires_at = end.map(|end| start + Duration::from_secs(end.into()));
                        store.put(&[key], &vec![index; len], about(expires_at));
                        last.insert(key, (vec![index; len], expires_at));
                    }
                    Step::Read(key) => {
                        if let Some(entry) = store.read(&[key], now) {
                            let (value, expires_at) = &last[&key];
                            prop_assert_eq!(&entry.value[..], &value[..]);
                            prop_assert!(expires_at.is_none_or(|at| at > now));
                        }
                    }
                    Step::Invalidate(key) => {
                        store.invalidate(&[key]);
                        last.remove(&key);
                    }
                    Step::Clear => {
                        drop(store.clear());
                        last.clear();
                    }
                }
                store.validate();
            }
        }
    }
}
