//! Who is told that a key has changed: subscribers, for programs that keep copies of entries of their own. The design is in
//! `docs/decisions/0006-tracking.md`.
//!
//! Invariants: a subscriber is registered for a key under the lock under which the key was read, and told under the lock under which it
//! is changed, so no change between the two is lost and nobody who is told can still read the old value. `keys`, `items` and
//! `bytes` are the sums over all stripes' tables.
//!
//! Lock order: stripes → subscribers, prefixes → whatever a subscriber's function locks, which must be no stripe and must not block.

use crate::hash::STRIPES;
use crate::shard::Shard;
use crate::slab::Slab;
use crate::slot::{Slot, SlotKind};
use crate::table::Table;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keys that are remembered unless the embedding program says otherwise.
const KEYS_MAX: u64 = 1_000_000;
/// Keys that one tick forgets when there are too many.
const FORGOTTEN_PER_TICK: usize = 100_000;
/// Stripes that one tick looks through for subscribers that have ended.
const STRIPES_PER_TICK: u64 = 32;

/// What a subscriber is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// The entry of this key, in whichever database, has changed or is gone, or has come to be.
    Key(&'a [u8]),
    /// Anything may have changed.
    Everything,
}

/// Somebody who is told of changes. The function is called with stripes locked: it notes what it is told and returns.
pub struct Subscriber {
    id: u64,
    ended: AtomicBool,
    tell: Box<dyn Fn(Told<'_>) + Send + Sync>,
}

/// How many are told of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrackingStats {
    /// Subscribers.
    pub subscribers: u64,
    /// Keys that somebody has read and will be told of.
    pub keys: u64,
    /// Pairs of such a key and a subscriber.
    pub items: u64,
    /// Prefixes of keys of which subscribers are told without having read them.
    pub prefixes: u64,
    /// Bytes of memory behind all of it.
    pub bytes: u64,
}

impl Subscriber {
    /// A subscriber with a number of its own and a function that takes what it is told.
    #[must_use]
    pub fn new(id: u64, tell: Box<dyn Fn(Told<'_>) + Send + Sync>) -> Arc<Subscriber> {
        Arc::new(Subscriber { id, ended: AtomicBool::new(false), tell })
    }

    /// Its number: who changes an entry under the same number ([`crate::Txn::set_author`]) is not told of it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn tell(&self, told: Told<'_>) {
        if !self.has_ended() {
            (self.tell)(told);
        }
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("id", &self.id).field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// Prefixes of keys and who is told of what begins with them.
type Prefixes = Vec<(Box<[u8]>, Vec<Arc<Subscriber>>)>;

/// What concerns all stripes.
pub(crate) struct Tracking {
    /// Whether there is any subscriber: all that a change looks at when there is none.
    on: AtomicBool,
    state: Mutex<State>,
    /// Counts changes of the prefixes, so that stripes know whether their copy is the present one.
    version: AtomicU64,
    keys: AtomicU64,
    items: AtomicU64,
    bytes: AtomicU64,
    keys_max: AtomicU64,
    /// How many stripes are still to be looked through for subscribers that have ended, and which is next. (A turn that began anew with
    /// every end would never come to the last of them.)
    stripes_to_clean: AtomicU64,
    next_to_clean: AtomicU64,
}

#[derive(Default)]
struct State {
    subscribers: Vec<Arc<Subscriber>>,
    prefixes: Arc<Prefixes>,
}

impl Default for Tracking {
    fn default() -> Tracking {
        Tracking {
            on: AtomicBool::new(false),
            state: Mutex::default(),
            version: AtomicU64::new(0),
            keys: AtomicU64::new(0),
            items: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            keys_max: AtomicU64::new(KEYS_MAX),
            stripes_to_clean: AtomicU64::new(0),
            next_to_clean: AtomicU64::new(0),
        }
    }
}

impl Tracking {
    /// Whether anybody is to be told of anything. Relaxed: who subscribes and then reads locks the stripe after the changes that did not
    /// see it.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Bytes of the tables.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Tells everybody that anything may have changed.
    pub(crate) fn tell_everything(&self) {
        self.lock().subscribers.iter().for_each(|subscriber| subscriber.tell(Told::Everything));
    }

    fn has_too_many_keys(&self) -> bool {
        let max = self.keys_max.load(Ordering::Relaxed);
        max != 0 && self.keys.load(Ordering::Relaxed) > max
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Tells the subscriber from now on of every change of a key that begins with one of the prefixes, in addition to those of an earlier
    /// call; without any, of every key that it has been registered for ([`crate::Txn::track`]).
    pub fn subscribe(&self, subscriber: &Arc<Subscriber>, prefixes: &[&[u8]]) {
        let mut state = self.tracking.lock();
        if !state.subscribers.iter().any(|other| Arc::ptr_eq(other, subscriber)) {
            state.subscribers.push(Arc::clone(subscriber));
        }
        if !prefixes.is_empty() {
            let mut all = Prefixes::clone(&state.prefixes);
            for prefix in prefixes {
                match all.iter_mut().find(|(other, _)| **other == **prefix) {
                    Some((_, readers)) if readers.iter().any(|other| Arc::ptr_eq(other, subscriber)) => {}
                    Some((_, readers)) => readers.push(Arc::clone(subscriber)),
                    None => all.push((Box::from(*prefix), vec![Arc::clone(subscriber)])),
                }
            }
            state.prefixes = Arc::new(all);
            self.tracking.version.fetch_add(1, Ordering::Release);
        }
        self.tracking.on.store(true, Ordering::Relaxed);
    }

    /// Tells the subscriber nothing more. What is remembered of it in the stripes is forgotten by and by.
    pub fn unsubscribe(&self, subscriber: &Arc<Subscriber>) {
        subscriber.ended.store(true, Ordering::Relaxed);
        let mut state = self.tracking.lock();
        state.subscribers.retain(|other| !Arc::ptr_eq(other, subscriber));
        let mut all = Prefixes::clone(&state.prefixes);
        all.iter_mut().for_each(|(_, readers)| readers.retain(|other| !Arc::ptr_eq(other, subscriber)));
        all.retain(|(_, readers)| !readers.is_empty());
        state.prefixes = Arc::new(all);
        self.tracking.version.fetch_add(1, Ordering::Release);
        self.tracking.on.store(!state.subscribers.is_empty(), Ordering::Relaxed);
        self.tracking.stripes_to_clean.store(STRIPES as u64, Ordering::Relaxed);
    }

    /// How many keys are remembered for subscribers; beyond, a key is taken at random, its readers are told as if it had changed, and it is
    /// forgotten. 0: no limit.
    pub fn set_tracked_keys_max(&self, keys: u64) {
        self.tracking.keys_max.store(keys, Ordering::Relaxed);
    }

    /// How many are told of what.
    #[must_use]
    pub fn tracking_stats(&self) -> TrackingStats {
        let tracking = &self.tracking;
        let state = tracking.lock();
        TrackingStats {
            subscribers: state.subscribers.len() as u64,
            keys: tracking.keys.load(Ordering::Relaxed),
            items: tracking.items.load(Ordering::Relaxed),
            prefixes: state.prefixes.len() as u64,
            bytes: tracking.bytes(),
        }
    }

    /// The standing work: forgets keys beyond the limit, and subscribers that have ended. `random` chooses the keys.
    pub(crate) fn tick_tracking(&self, mut random: impl FnMut() -> u64) {
        let tracking = &self.tracking;
        let mut left = FORGOTTEN_PER_TICK;
        while tracking.has_too_many_keys() && left > 0 {
            left -= 1;
            let number = random();
            let stripe = (number >> 56) as u8;
            self.lock(stripe).tracked.forget_one(tracking, number as u32, None);
        }
        let to_clean = tracking.stripes_to_clean.load(Ordering::Relaxed).min(STRIPES_PER_TICK);
        for _ in 0..to_clean {
            // Before it is cleaned: who ends meanwhile sets the number anew.
            tracking.stripes_to_clean.fetch_sub(1, Ordering::Relaxed);
            let stripe = tracking.next_to_clean.fetch_add(1, Ordering::Relaxed) as u8;
            self.lock(stripe).tracked.clean(tracking);
        }
    }
}

/// The readers of a key that are to be told of its next change.
struct Reading {
    key: Box<[u8]>,
    /// By number.
    readers: Vec<Arc<Subscriber>>,
}

impl Reading {
    fn bytes(&self) -> u64 {
        (size_of::<Reading>() + self.key.len() + self.readers.capacity() * size_of::<Arc<Subscriber>>()) as u64
    }
}

/// What one stripe remembers for subscribers.
#[derive(Default)]
pub(crate) struct Tracked {
    /// By hash; a slot's location is an index into `readings`.
    table: Table,
    readings: Slab<Reading>,
    /// The prefixes as of a version.
    prefixes: Arc<Prefixes>,
    version: u64,
}

impl Tracked {
    /// Remembers that the subscriber has read the key.
    pub(crate) fn remember(&mut self, tracking: &Tracking, hash: u32, key: &[u8], reader: &Arc<Subscriber>) {
        let before = self.table.memory_bytes() as u64;
        match self.find(hash, key) {
            Some((_, index)) => {
                let Some(reading) = self.readings.at_mut(index) else { return };
                // Numbers grow, so the newest client mostly is the last.
                let Err(at) = reading.readers.binary_search_by_key(&reader.id, |other| other.id) else {
                    // The same number again is another subscription of the same client: the old one has ended.
                    if let Ok(at) = reading.readers.binary_search_by_key(&reader.id, |other| other.id)
                        && !Arc::ptr_eq(&reading.readers[at], reader)
                    {
                        reading.readers[at] = Arc::clone(reader);
                    }
                    return;
                };
                let bytes = reading.bytes();
                reading.readers.insert(at, Arc::clone(reader));
                tracking.bytes.fetch_add(reading.bytes() - bytes, Ordering::Relaxed);
            }
            None => {
                let reading = Reading { key: key.into(), readers: vec![Arc::clone(reader)] };
                tracking.bytes.fetch_add(reading.bytes(), Ordering::Relaxed);
                tracking.keys.fetch_add(1, Ordering::Relaxed);
                let index = self.readings.insert(reading);
                self.table.insert(Slot::new(hash, SlotKind::Heap, u64::from(index)));
                let after = self.table.memory_bytes() as u64;
                tracking.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
                if tracking.has_too_many_keys() {
                    // The one that was just read goes last: else it would have been remembered in vain.
                    self.forget_one(tracking, hash.wrapping_mul(0x9E37_79B9), Some(index));
                }
            }
        }
        tracking.items.fetch_add(1, Ordering::Relaxed);
    }

    /// A key has changed: tells its readers, and forgets them; tells those who want to know of its prefix. Who changed it is not told, and
    /// remains a reader.
    pub(crate) fn changed(&mut self, tracking: &Tracking, hash: u32, key: &[u8], author: u64) {
        if let Some((position, index)) = self.find(hash, key) {
            let readers = self.readings.at(index).map(|reading| &reading.readers[..]).unwrap_or_default();
            let keeps = author != 0 && readers.iter().any(|reader| reader.id == author);
            readers.iter().filter(|reader| reader.id != author).for_each(|reader| reader.tell(Told::Key(key)));
            if keeps {
                self.keep_only(tracking, index, author);
            } else {
                self.forget(tracking, position);
            }
        }
        for (prefix, readers) in self.prefixes(tracking).iter() {
            if key.starts_with(prefix) {
                readers.iter().filter(|reader| reader.id != author).for_each(|reader| reader.tell(Told::Key(key)));
            }
        }
    }

    /// Some key of this hash has changed, and it is not known which: its record is damaged.
    pub(crate) fn changed_unknown(&mut self, tracking: &Tracking, hash: u32) {
        let keys: Vec<Box<[u8]>> = self
            .table
            .candidates(hash)
            .filter_map(|(_, slot)| Some(self.readings.at(slot.location() as u32)?.key.clone()))
            .collect();
        for key in keys {
            self.forget_key(tracking, hash, &key);
        }
        let prefixes = self.prefixes(tracking);
        prefixes.iter().flat_map(|(_, readers)| readers).for_each(|reader| reader.tell(Told::Everything));
    }

    /// Everything in the stripe changes, and everybody is told so: nobody need be remembered.
    pub(crate) fn forget_all(&mut self, tracking: &Tracking) {
        if self.table.is_empty() {
            return;
        }
        tracking.keys.fetch_sub(self.table.len() as u64, Ordering::Relaxed);
        for reading in self.readings.iter() {
            tracking.items.fetch_sub(reading.readers.len() as u64, Ordering::Relaxed);
            tracking.bytes.fetch_sub(reading.bytes(), Ordering::Relaxed);
        }
        tracking.bytes.fetch_sub(self.table.memory_bytes() as u64, Ordering::Relaxed);
        (self.table, self.readings) = (Table::new(), Slab::default());
    }

    /// Tells the readers of the first key from a hash on (other than that of `spared`) that it has changed, and forgets it.
    fn forget_one(&mut self, tracking: &Tracking, from: u32, spared: Option<u32>) {
        for from in [from, 0] {
            let mut chosen = None;
            self.table.scan(from, 2, |_, slot| {
                if chosen.is_none() && spared != Some(slot.location() as u32) {
                    chosen = Some(slot);
                }
            });
            if let Some(slot) = chosen
                && let Some(key) = self.readings.at(slot.location() as u32).map(|reading| reading.key.clone())
            {
                self.forget_key(tracking, slot.hash(), &key);
                return;
            }
        }
    }

    fn forget_key(&mut self, tracking: &Tracking, hash: u32, key: &[u8]) {
        if let Some((position, index)) = self.find(hash, key) {
            let readers = self.readings.at(index).map(|reading| &reading.readers[..]).unwrap_or_default();
            readers.iter().for_each(|reader| reader.tell(Told::Key(key)));
            self.forget(tracking, position);
        }
    }

    /// Forgets subscribers that have ended.
    fn clean(&mut self, tracking: &Tracking) {
        self.prefixes(tracking);
        let mut empty = 0;
        for reading in self.readings.iter_mut() {
            let (count, bytes) = (reading.readers.len(), reading.bytes());
            reading.readers.retain(|reader| !reader.has_ended());
            if reading.readers.len() < count {
                reading.readers.shrink_to_fit();
            }
            tracking.items.fetch_sub((count - reading.readers.len()) as u64, Ordering::Relaxed);
            tracking.bytes.fetch_sub(bytes - reading.bytes(), Ordering::Relaxed);
            empty += usize::from(reading.readers.is_empty());
        }
        if empty == self.table.len() {
            return self.forget_all(tracking);
        }
        if empty == 0 {
            return;
        }
        let mut positions = Vec::new();
        self.table.for_each(|position, slot| {
            if self.readings.at(slot.location() as u32).is_some_and(|reading| reading.readers.is_empty()) {
                positions.push(position);
            }
        });
        // From the end, since the removal of one moves those behind it.
        for position in positions.into_iter().rev() {
            self.forget(tracking, position);
        }
    }

    fn find(&self, hash: u32, key: &[u8]) -> Option<(usize, u32)> {
        if self.table.is_empty() {
            return None;
        }
        self.table
            .candidates(hash)
            .map(|(position, slot)| (position, slot.location() as u32))
            .find(|(_, index)| self.readings.at(*index).is_some_and(|reading| *reading.key == *key))
    }

    fn forget(&mut self, tracking: &Tracking, position: usize) {
        let before = self.table.memory_bytes() as u64;
        let slot = self.table.remove(position);
        tracking.bytes.fetch_sub(before.wrapping_sub(self.table.memory_bytes() as u64), Ordering::Relaxed);
        if let Some(reading) = self.readings.remove(slot.location() as u32) {
            tracking.keys.fetch_sub(1, Ordering::Relaxed);
            tracking.items.fetch_sub(reading.readers.len() as u64, Ordering::Relaxed);
            tracking.bytes.fetch_sub(reading.bytes(), Ordering::Relaxed);
        }
    }

    fn keep_only(&mut self, tracking: &Tracking, index: u32, author: u64) {
        if let Some(reading) = self.readings.at_mut(index) {
            let count = reading.readers.len();
            reading.readers.retain(|reader| reader.id == author);
            tracking.items.fetch_sub((count - reading.readers.len()) as u64, Ordering::Relaxed);
        }
    }

    /// The present prefixes. A version that is just being changed may be missed: then its subscriber has not been answered yet.
    fn prefixes(&mut self, tracking: &Tracking) -> Arc<Prefixes> {
        if self.version != tracking.version.load(Ordering::Acquire) {
            let state = tracking.lock();
            self.version = tracking.version.load(Ordering::Acquire);
            self.prefixes = Arc::clone(&state.prefixes);
        }
        Arc::clone(&self.prefixes)
    }
}

#[cfg(test)]
mod tests;
