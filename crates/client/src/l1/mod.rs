//! The first tier: values in this process, kept coherent with the shard by its invalidation pushes.
//!
//! ```
//! use std::time::Instant;
//! use sutra_cache_client::l1::{About, L1, L1Settings};
//!
//! let l1 = L1::new(L1Settings::default());
//! let ticket = l1.begin(b"answer");
//! // … the shard is asked here, and says `forty-two` …
//! assert!(l1.insert(ticket, b"answer", b"forty-two", About::default()));
//! assert_eq!(l1.get(b"answer", Instant::now()).unwrap().value, "forty-two");
//!
//! // A push says that the key has changed, while another read is in flight: its reply may be old and is not kept.
//! let ticket = l1.begin(b"answer");
//! l1.invalidate(b"answer");
//! assert!(!l1.insert(ticket, b"answer", b"forty-two", About::default()));
//! assert!(l1.get(b"answer", Instant::now()).is_none());
//! ```
//!
//! # Why nothing stale stays
//!
//! The promise: if the shard changes a key and says so in a push, then once [`L1::invalidate`] has returned for that push, no read of
//! the first tier returns a value from before the change, ever.
//!
//! Every key belongs to one of 4096 buckets with a *generation* each; beside them there is one *epoch*. A read of the shard is framed
//! by [`L1::begin`], which notes both **before the request is sent**, and [`L1::insert`], which compares them with what they are now,
//! **under the lock** of the key's store, and stores only if they are the same. An invalidation first raises the generation, **then**
//! takes that lock and removes the entry. Consider a value that was read before the change, and where its insertion falls:
//!
//! - Its ticket was taken after the generation was raised: then the request was sent after the push had arrived, hence after the
//!   change, and the value is not from before it. (`begin` acquires what raising releases.)
//! - Its ticket is older, and its insertion locks the store after the removal did: the lock orders the raising before the comparison,
//!   which therefore sees it and refuses.
//! - Its ticket is older, and its insertion locks first: it may store, and the removal that waits for the lock takes it out again.
//!
//! There is no fourth place, since removal and insertion hold the same lock. Keys that share a bucket refuse each other's insertions
//! now and then; that costs a hit, never truth. A generation would have to be raised 2^64 times during one read to come round.
//!
//! The same holds for [`L1::invalidate_all`] with the epoch in the place of the generation. [`L1::suspend`] makes the epoch odd and
//! drops everything: while it is odd, nothing is served, no ticket is good, and tickets of before stay bad after [`L1::resume`]. It is
//! called when the connection that receives the pushes is lost, since pushes are lost with it; and `resume` is called when a new one
//! has been told what to track.
//!
//! What the caller owes: `begin` before the request is sent (or queued where somebody else may send it); `invalidate` around its own
//! writes too, **after** the reply and also if there is none (a shard does not push to the writer itself with `NOLOOP`). What was
//! written is not inserted: of two concurrent writers nobody here knows whose value stayed.
//!
//! Locks: each store has one, nothing is called while it is held, and no two are held together.

#[cfg(test)]
mod interleavings;
mod store;

pub(crate) use store::Store;
pub use store::{About, ENTRY_OVERHEAD_BYTES, Entry, Removals};

use crate::fault::{Fault, Planted};
use lru::DefaultHasher;
use serde::Serialize;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How many generations there are. Two keys share one with a probability of 1/4096.
const BUCKETS: usize = 4096;
const _: () = assert!(BUCKETS.is_power_of_two());

/// How large the first tier may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct L1Settings {
    /// At most so many entries; 0 turns the first tier off.
    pub entries_max: usize,
    /// At most so many bytes, of keys, values and [`ENTRY_OVERHEAD_BYTES`] for each entry; 0 turns the first tier off.
    pub bytes_max: usize,
    /// Into how many stores with a lock each it is divided: the next power of two, at most 256. Each has an equal share of both limits,
    /// so an entry larger than `bytes_max / stores` is not kept. Fewer than asked for are made if they would hold less than
    /// 16 entries each.
    pub stores: usize,
}

impl Default for L1Settings {
    /// 10,000 entries and 64 MiB in 16 stores.
    fn default() -> L1Settings {
        L1Settings { entries_max: 10_000, bytes_max: 64 << 20, stores: 16 }
    }
}

/// What was known of a key's bucket before a read was sent. It is good for one insertion of that key.
#[derive(Debug)]
#[must_use = "a read without its ticket cannot be kept"]
pub struct Ticket {
    hash: u64,
    generation: u64,
    epoch: u64,
}

/// The first tier.
#[derive(Debug)]
pub struct L1 {
    hasher: DefaultHasher,
    generations: Box<[AtomicU64]>,
    /// Odd while suspended. Raised by two by whatever invalidates everything.
    epoch: AtomicU64,
    /// A power of two of them.
    stores: Box<[Mutex<Store>]>,
    outdated: AtomicU64,
    /// For tests, to show that somebody notices.
    pub(crate) planted: Planted,
}

/// What the first tier holds, and what went since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct L1Snapshot {
    /// Entries that are there, expired ones that nobody has met included.
    pub entries: u64,
    /// Their bytes: keys, values and [`ENTRY_OVERHEAD_BYTES`] for each.
    pub bytes: u64,
    /// Why entries went.
    pub removals: Removals,
    /// Values that were not kept, because something was invalidated while they were read, or while suspended.
    pub outdated: u64,
}

impl L1 {
    /// An empty first tier that serves. Memory is taken as entries come.
    #[must_use]
    pub fn new(settings: L1Settings) -> L1 {
        let stores = store_count(settings);
        let store = |_| Mutex::new(Store::new(settings.entries_max / stores, settings.bytes_max / stores));
        L1 {
            hasher: DefaultHasher::default(),
            generations: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            epoch: AtomicU64::new(0),
            stores: (0..stores).map(store).collect(),
            outdated: AtomicU64::new(0),
            planted: Planted::default(),
        }
    }

    /// The entry of the key, if it is there and has not expired at `now`. The value is shared, not copied.
    #[must_use]
    pub fn get(&self, key: &[u8], now: Instant) -> Option<Entry> {
        if self.is_suspended() {
            return None;
        }
        self.store(self.hash(key)).read(key, now)
    }

    /// To be called before a read of the key is sent.
    pub fn begin(&self, key: &[u8]) -> Ticket {
        let hash = self.hash(key);
        let epoch = self.epoch.load(Ordering::Acquire);
        Ticket { hash, generation: self.generation(hash).load(Ordering::Acquire), epoch }
    }

    /// Keeps a copy of what the shard answered to the read that the ticket was taken for. Whether it was kept: not if anything was
    /// invalidated in between that may have been this key, not while suspended, and not if it is too large.
    ///
    /// The copy has an allocation of its size, so that a small value does not hold the large buffer it was received in.
    ///
    /// # Panics
    /// If the ticket is another key's.
    pub fn insert(&self, ticket: Ticket, key: &[u8], value: &[u8], about: About) -> bool {
        assert_eq!(ticket.hash, self.hash(key), "a ticket is good for its own key");
        let mut store = self.store(ticket.hash);
        if !self.is_good(&ticket) {
            drop(store);
            self.outdated.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        store.put(key, value, about)
    }

    /// Whether nothing was invalidated since the ticket was taken that may have been its key.
    pub(crate) fn is_current(&self, ticket: &Ticket) -> bool {
        self.is_good(ticket)
    }

    /// The key has changed, or is about to. Whether there was an entry.
    pub fn invalidate(&self, key: &[u8]) -> bool {
        let hash = self.hash(key);
        self.raise(hash);
        self.store(hash).invalidate(key)
    }

    /// Everything may have changed.
    pub fn invalidate_all(&self) {
        self.epoch.fetch_add(2, Ordering::AcqRel);
        self.clear();
    }

    /// From now on nobody says what changes: drops everything, serves nothing and keeps nothing.
    pub fn suspend(&self) {
        self.epoch.fetch_or(1, Ordering::AcqRel);
        self.clear();
    }

    /// Changes are said again: reads that begin from now on may be kept.
    pub fn resume(&self) {
        // From odd to the next even one: no ticket of before is good again. If it is even, nothing is to be done.
        let raised = |epoch: u64| (epoch % 2 == 1).then_some(epoch.wrapping_add(1));
        let _ = self.epoch.fetch_update(Ordering::AcqRel, Ordering::Acquire, raised);
    }

    /// Whether it serves nothing.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.epoch.load(Ordering::Acquire) % 2 == 1
    }

    /// What it holds. Locks one store after the other.
    #[must_use]
    pub fn snapshot(&self) -> L1Snapshot {
        let mut all = L1Snapshot { outdated: self.outdated.load(Ordering::Relaxed), ..L1Snapshot::default() };
        for store in &self.stores {
            let store = locked(store);
            all.entries += store.len() as u64;
            all.bytes += store.bytes() as u64;
            let (sum, more) = (&mut all.removals, store.removals());
            sum.entries_limit += more.entries_limit;
            sum.bytes_limit += more.bytes_limit;
            sum.expired += more.expired;
            sum.replaced += more.replaced;
            sum.invalidated += more.invalidated;
            sum.cleared += more.cleared;
        }
        all
    }

    /// The first half of an invalidation: reads that have begun will not be kept.
    fn raise(&self, hash: u64) {
        self.generation(hash).fetch_add(1, Ordering::AcqRel);
    }

    /// To be asked with the store locked, see the module's page.
    fn is_good(&self, ticket: &Ticket) -> bool {
        if self.planted.is(Fault::GenerationsIgnored) {
            return true;
        }
        ticket.epoch.is_multiple_of(2)
            && ticket.epoch == self.epoch.load(Ordering::Acquire)
            && ticket.generation == self.generation(ticket.hash).load(Ordering::Acquire)
    }

    fn clear(&self) {
        for store in &self.stores {
            let entries = locked(store).clear();
            // Here, without the lock: freeing a million entries takes a while.
            drop(entries);
        }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// By the lowest bits.
    fn generation(&self, hash: u64) -> &AtomicU64 {
        &self.generations[hash as usize & (BUCKETS - 1)]
    }

    /// By bits above those of the bucket, so that a store has keys of every bucket.
    fn store(&self, hash: u64) -> MutexGuard<'_, Store> {
        locked(&self.stores[(hash >> 32) as usize & (self.stores.len() - 1)])
    }
}

const STORES_MAX: usize = 256;
const STORE_ENTRIES_MIN: usize = 16;

fn store_count(settings: L1Settings) -> usize {
    let useful = (settings.entries_max / STORE_ENTRIES_MIN).max(1);
    let useful = 1 << useful.ilog2();
    settings.stores.clamp(1, STORES_MAX).next_power_of_two().min(useful)
}

/// Nothing in here panics while it holds a lock, and if it did, the store would be whole.
fn locked(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn kept(l1: &L1, key: &[u8], value: &[u8]) -> bool {
        let ticket = l1.begin(key);
        l1.insert(ticket, key, value, About::default())
    }

    fn value(l1: &L1, key: &[u8]) -> Option<bytes::Bytes> {
        l1.get(key, Instant::now()).map(|entry| entry.value)
    }

    #[test]
    fn a_hit_shares_the_value_and_brings_what_is_known_of_it() {
        let l1 = L1::new(L1Settings::default());
        let now = Instant::now();
        let about = About {
            expires_at: Some(now + Duration::from_secs(1)),
            compute_time: Some(Duration::from_millis(80)),
            negative: true,
        };
        let ticket = l1.begin(b"k");
        assert!(l1.insert(ticket, b"k", &[7; 3 << 10], about));
        let (first, second) = (l1.get(b"k", now).expect("a hit"), l1.get(b"k", now).expect("a hit"));
        assert_eq!(first.about, about);
        assert_eq!(first.value.as_ptr(), second.value.as_ptr());
        assert_eq!(l1.get(b"k", now + Duration::from_secs(1)), None);
    }

    #[test]
    fn a_small_value_does_not_hold_the_buffer_it_came_in() {
        let l1 = L1::new(L1Settings::default());
        let buffer = bytes::Bytes::from(vec![1; 64 << 10]);
        let part = buffer.slice(100..200);
        assert!(kept(&l1, b"k", &part));
        drop(part);
        assert!(buffer.is_unique());
    }

    #[test]
    fn a_read_that_an_invalidation_overtakes_is_not_kept_and_the_next_one_is() {
        let l1 = L1::new(L1Settings::default());
        let overtaken = l1.begin(b"k");
        assert!(!l1.invalidate(b"k"));
        assert!(!l1.insert(overtaken, b"k", b"old", About::default()));
        assert!(kept(&l1, b"k", b"new"));
        assert_eq!(value(&l1, b"k").expect("a hit"), "new");
        assert_eq!(l1.snapshot().outdated, 1);
    }

    #[test]
    fn everything_can_be_invalidated_at_once() {
        let l1 = L1::new(L1Settings::default());
        assert!(kept(&l1, b"a", b"1"));
        let overtaken = l1.begin(b"b");
        l1.invalidate_all();
        assert!(!l1.insert(overtaken, b"b", b"2", About::default()));
        assert!(value(&l1, b"a").is_none() && value(&l1, b"b").is_none());
        assert!(kept(&l1, b"a", b"1"));
        assert_eq!(l1.snapshot().removals.cleared, 1);
    }

    #[test]
    fn nothing_is_served_or_kept_while_suspended_nor_afterwards_by_tickets_of_before() {
        let l1 = L1::new(L1Settings::default());
        assert!(kept(&l1, b"a", b"1"));
        let before = l1.begin(b"b");
        l1.suspend();
        l1.suspend();
        assert!(l1.is_suspended() && value(&l1, b"a").is_none());
        let during = l1.begin(b"c");
        assert!(!kept(&l1, b"a", b"1"));
        l1.invalidate_all();
        assert!(l1.is_suspended(), "an invalidation of everything does not wake it");
        l1.resume();
        l1.resume();
        assert!(!l1.is_suspended());
        assert!(!l1.insert(before, b"b", b"2", About::default()));
        assert!(!l1.insert(during, b"c", b"3", About::default()));
        assert!(kept(&l1, b"a", b"1"));
    }

    #[test]
    #[should_panic(expected = "a ticket is good for its own key")]
    fn a_ticket_of_another_key_is_a_mistake_in_the_program() {
        let l1 = L1::new(L1Settings::default());
        let ticket = l1.begin(b"a");
        l1.insert(ticket, b"b", b"", About::default());
    }

    #[test]
    fn the_limits_hold_over_all_stores() {
        let settings = L1Settings { entries_max: 1000, bytes_max: 200_000, stores: 8 };
        let l1 = L1::new(settings);
        for index in 0..5_000_u32 {
            kept(&l1, &index.to_le_bytes(), &vec![0; index as usize % 400]);
        }
        let snapshot = l1.snapshot();
        assert!(snapshot.bytes <= 200_000 && snapshot.entries <= 1000, "{snapshot:?}");
        assert!(snapshot.bytes > 150_000, "{snapshot:?}");
        l1.stores.iter().for_each(|store| locked(store).validate());
    }

    #[test]
    fn small_limits_are_not_divided_into_stores_that_hold_nothing() {
        let count = |entries_max, stores| store_count(L1Settings { entries_max, bytes_max: 1 << 20, stores });
        assert_eq!((count(10_000, 16), count(100, 16), count(10, 16), count(0, 16)), (16, 4, 1, 1));
        assert_eq!((count(10_000, 0), count(10_000, 5), count(1 << 20, 1 << 40)), (1, 8, 256));
        let off = L1::new(L1Settings { entries_max: 0, ..L1Settings::default() });
        assert!(!kept(&off, b"k", b"v"));
    }
}
