//! A transaction: the locks of some stripes, and all that can be seen and done under them.
//!
//! Every change is applied to the stripe at once and noted in the frame; [`Txn::commit`] appends the frame to the log while the locks
//! are still held, so the log's order is the order of the stripes. One transaction is one frame: after a crash all of it is there or
//! none of it.

mod keyspace;
mod tell;

use crate::api::{Entry, Put, Scope, StringRef, Value, WriteError};
use crate::hash::{KeyHash, STRIPES};
use crate::heap::{BytesValue, HashValue, HeapValue};
use crate::meaning::ReservedRow;
use crate::ops::{Edit, Op};
use crate::shard::Shard;
use crate::slot::{ExpiryHint, Slot, SlotKind};
use crate::stripe::{HeapEntry, Stripe};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use sutra_eviction::frequency;
use sutra_mmap_store::{Location, NewRecord, Pin, Record};
use sutra_wal::Lsn;

/// Raised once any watched key has changed.
pub type WatchFlag = Arc<AtomicBool>;

/// A string that is written into and has at least so many bytes lives on the heap, so that SETBIT, APPEND and SETRANGE do not rewrite it.
pub const HEAP_STRING_BYTES_MIN: usize = 4096;

/// How much a write at an offset may grow a string without a look at the memory limit.
const UNANNOUNCED_BYTES_MAX: u64 = 64 * 1024;

thread_local! {
    /// The frame buffer of this thread's last transaction, to be used by its next.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A frame buffer larger than this is given back to the allocator.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

enum Held<'s> {
    Nothing,
    One {
        stripe: u8,
        hash: KeyHash,
        key_address: usize,
        key_bytes: usize,
        guard: MutexGuard<'s, Stripe>,
    },
    /// Sorted by stripe.
    Some(Vec<(u8, MutexGuard<'s, Stripe>)>),
}

/// Exclusive access to the stripes of some keys: what one command, or one EXEC, sees and changes at one instant.
pub struct Txn<'s> {
    pub(crate) shard: &'s Shard,
    held: Held<'s>,
    pub(crate) pin: Pin,
    now_ms: u64,
    pub(crate) frame: Vec<u8>,
    touch: bool,
    /// Recovery: what had expired by now was there when the frame was made.
    replays: bool,
    /// Who is not told of the changes, since it makes them.
    author: u64,
    changes_everything: bool,
    expired: Cell<Option<Box<tell::Expired>>>,
}

impl std::fmt::Debug for Txn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Txn").field("now_ms", &self.now_ms).field("frame_bytes", &self.frame.len()).finish()
    }
}

/// Where a key's entry is, expired or not.
pub(crate) struct Found<'t> {
    db: u8,
    pub(crate) position: usize,
    pub(crate) slot: Slot,
    body: Body<'t>,
}

#[derive(Clone, Copy)]
enum Body<'t> {
    Record(Record<'t>),
    Heap(&'t HeapEntry),
}

impl<'t> Found<'t> {
    /// The record, unless the entry is on the heap.
    pub(crate) fn record(&self) -> Option<Record<'t>> {
        match self.body {
            Body::Record(record) => Some(record),
            Body::Heap(_) => None,
        }
    }

    pub(crate) fn expires_at_ms(&self) -> Option<u64> {
        match self.body {
            Body::Record(record) => record.expires_at_ms().unwrap_or(Some(0)),
            Body::Heap(entry) => entry.expires_at_ms,
        }
    }
}

/// What stood under a key, detached from the borrow so that it can be replaced.
#[derive(Clone, Copy)]
enum Old {
    Nothing,
    Record { position: usize, slot: Slot, location: Location, bytes: u32 },
    Heap { position: usize, index: u32 },
}

impl<'s> Txn<'s> {
    pub(crate) fn begin(shard: &'s Shard, scope: Scope<'_>, now_ms: u64) -> Txn<'s> {
        let held = match scope {
            Scope::Nothing => Held::Nothing,
            Scope::Key(key) => {
                let hash = KeyHash::of(key, shard.seed);
                Held::One {
                    stripe: hash.stripe,
                    hash,
                    key_address: key.as_ptr() as usize,
                    key_bytes: key.len(),
                    guard: shard.lock(hash.stripe),
                }
            }
            Scope::Keys(keys) => {
                let mut stripes: Vec<u8> = keys.iter().map(|key| KeyHash::of(key, shard.seed).stripe).collect();
                stripes.sort_unstable();
                stripes.dedup();
                Held::Some(stripes.into_iter().map(|stripe| (stripe, shard.lock(stripe))).collect())
            }
            Scope::All => Held::Some((0..STRIPES).map(|stripe| (stripe as u8, shard.lock(stripe as u8))).collect()),
        };
        let mut frame = SCRATCH.take();
        frame.clear();
        Txn::of_held(shard, held, frame, true, now_ms)
    }

    /// Holds one stripe by number: for the shard's own passes.
    pub(crate) fn begin_stripe(shard: &'s Shard, stripe: u8, now_ms: u64) -> Txn<'s> {
        let held = Held::Some(vec![(stripe, shard.lock(stripe))]);
        Txn::of_held(shard, held, Vec::new(), false, now_ms)
    }

    /// Wraps a stripe that is locked already.
    pub(crate) fn of_guard(shard: &'s Shard, stripe: u8, guard: MutexGuard<'s, Stripe>, now_ms: u64) -> Txn<'s> {
        let held = Held::Some(vec![(stripe, guard)]);
        Txn::of_held(shard, held, Vec::new(), false, now_ms)
    }

    fn of_held(shard: &'s Shard, held: Held<'s>, frame: Vec<u8>, touch: bool, now_ms: u64) -> Txn<'s> {
        let (pin, expired) = (shard.store.pin(), Cell::default());
        let (replays, author, changes_everything) = (false, 0, false);
        Txn { shard, held, pin, now_ms, frame, touch, replays, author, changes_everything, expired }
    }

    /// Gives the one locked stripe back, still locked, when what was changed is in the log.
    pub(crate) fn into_guard(mut self) -> Option<MutexGuard<'s, Stripe>> {
        if let Err(error) = self.append_frame() {
            tracing::error!(%error, "a change could not be logged");
        }
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Some(mut guards) => guards.pop().map(|(_, guard)| guard),
            Held::One { guard, .. } => Some(guard),
            Held::Nothing => None,
        }
    }

    /// Whether this is recovery, which makes rows at its end.
    pub(crate) fn is_replaying(&self) -> bool {
        self.replays
    }

    /// For recovery: expired entries count as live.
    pub(crate) fn replaying(mut self) -> Self {
        self.replays = true;
        self
    }

    /// Now, in Unix milliseconds: one instant for the whole transaction.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Whether reads refresh recency from here on (CLIENT NO-TOUCH turns it off).
    pub fn set_touch(&mut self, touch: bool) {
        self.touch = touch;
    }

    /// Appends what was changed to the log, as one frame, and gives its LSN; `None` if nothing was changed or there is no log.
    /// The change is safe from process death once [`Shard::flush_log`] has returned for that LSN.
    ///
    /// # Errors
    /// [`WriteError::Unavailable`] if the log has failed: the change is in memory but not durable.
    pub fn commit(mut self) -> Result<Option<Lsn>, WriteError> {
        self.append_frame()
    }

    fn append_frame(&mut self) -> Result<Option<Lsn>, WriteError> {
        self.tell_the_rest();
        let mut frame = std::mem::take(&mut self.frame);
        let result = match &self.shard.log {
            Some(log) if !frame.is_empty() => {
                log.append(&frame).map(Some).map_err(|error| WriteError::Unavailable(error.to_string()))
            }
            Some(_) | None => Ok(None),
        };
        if (1..=SCRATCH_BYTES_MAX).contains(&frame.capacity()) {
            frame.clear();
            SCRATCH.set(frame);
        }
        result
    }

    // ---- finding ----

    pub(crate) fn hash_of(&self, key: &[u8]) -> KeyHash {
        match &self.held {
            Held::One { hash, key_address, key_bytes, .. }
                if *key_address == key.as_ptr() as usize && *key_bytes == key.len() =>
            {
                *hash
            }
            Held::One { .. } | Held::Nothing | Held::Some(_) => KeyHash::of(key, self.shard.seed),
        }
    }

    pub(crate) fn stripe(&self, stripe: u8) -> &Stripe {
        match &self.held {
            Held::One { stripe: held, guard, .. } if *held == stripe => guard,
            Held::Some(guards) => {
                let at = guards.binary_search_by_key(&stripe, |(held, _)| *held);
                &guards[at.expect("the transaction's scope names every key it touches")].1
            }
            Held::One { .. } | Held::Nothing => panic!("the transaction's scope names every key it touches"),
        }
    }

    pub(crate) fn stripe_mut(&mut self, stripe: u8) -> &mut Stripe {
        match &mut self.held {
            Held::One { stripe: held, guard, .. } if *held == stripe => guard,
            Held::Some(guards) => {
                let at = guards.binary_search_by_key(&stripe, |(held, _)| *held);
                &mut guards[at.expect("the transaction's scope names every key it touches")].1
            }
            Held::One { .. } | Held::Nothing => panic!("the transaction's scope names every key it touches"),
        }
    }

    pub(crate) fn find(&self, db: u8, hash: KeyHash, key: &[u8]) -> Option<Found<'_>> {
        let stripe = self.stripe(hash.stripe);
        for (position, slot) in stripe.database(db)?.table.candidates(hash.slot) {
            match slot.kind() {
                SlotKind::Record | SlotKind::Annotated => {
                    let location = Location::from_bits(slot.location());
                    let Some(record) = self.shard.store.record(&self.pin, location) else {
                        self.shard.report_damage(db, hash, location);
                        continue;
                    };
                    if !record.is_trusted() && !record.verify() {
                        self.shard.report_damage(db, hash, location);
                        continue;
                    }
                    if record.key() == key {
                        return Some(Found { db, position, slot, body: Body::Record(record) });
                    }
                }
                SlotKind::Heap => {
                    let Some(entry) = stripe.heap.at(slot.location() as u32) else { continue };
                    if *entry.key == *key {
                        return Some(Found { db, position, slot, body: Body::Heap(entry) });
                    }
                }
                SlotKind::Empty => {}
            }
        }
        None
    }

    fn old(&self, db: u8, hash: KeyHash, key: &[u8]) -> (Old, bool) {
        match self.find(db, hash, key) {
            None => (Old::Nothing, false),
            Some(found) => {
                let live = self.is_live(&found);
                let position = found.position;
                match found.body {
                    Body::Record(record) => {
                        let location = Location::from_bits(found.slot.location());
                        (Old::Record { position, slot: found.slot, location, bytes: record.bytes() }, live)
                    }
                    Body::Heap(_) => (Old::Heap { position, index: found.slot.location() as u32 }, live),
                }
            }
        }
    }

    pub(crate) fn is_live(&self, found: &Found<'_>) -> bool {
        if self.replays {
            return true;
        }
        // A hash whose last field has expired is gone, as it is after its last HDEL.
        let has_content = match found.body {
            Body::Record(_) => true,
            Body::Heap(entry) => match &entry.value {
                HeapValue::Hash(hash) => !hash.is_empty(self.now_ms),
                HeapValue::Bytes(_) => true,
            },
        };
        has_content && found.expires_at_ms().is_none_or(|at| at > self.now_ms) && !self.is_covered(found)
    }

    /// Whether an invalidation that is being swept has removed the entry.
    fn is_covered(&self, found: &Found<'_>) -> bool {
        found.slot.kind() == SlotKind::Annotated
            && self.shard.meaning.active_count.load(Ordering::Relaxed) > 0
            && found.record().is_some_and(|record| self.shard.is_covered(found.db, &record))
    }

    fn find_live(&self, db: u8, hash: KeyHash, key: &[u8]) -> Option<Found<'_>> {
        let found = self.find(db, hash, key)?;
        if self.is_live(&found) {
            return Some(found);
        }
        if self.shard.tracking.is_on() {
            self.note_expired(db, key);
        }
        None
    }

    // ---- reading ----

    /// The live entry, for reading: counts a keyspace hit or miss and refreshes recency.
    #[must_use]
    pub fn get(&self, db: u8, key: &[u8]) -> Option<Entry<'_>> {
        self.read(db, key).map(|found| self.entry(&found))
    }

    /// The live entry, for looking at: counts nothing, refreshes nothing (OBJECT, TTL, writes that check first).
    #[must_use]
    pub fn peek(&self, db: u8, key: &[u8]) -> Option<Entry<'_>> {
        let found = self.find_live(db, self.hash_of(key), key)?;
        Some(self.entry(&found))
    }

    /// [`Txn::get`] for commands on strings.
    ///
    /// # Errors
    /// [`WriteError::WrongType`] if the entry is no string.
    pub fn string(&self, db: u8, key: &[u8]) -> Result<Option<StringRef<'_>>, WriteError> {
        match self.read(db, key) {
            None => Ok(None),
            Some(found) => match self.value(&found) {
                Value::String(string) => Ok(Some(string)),
                Value::Hash(_) => Err(WriteError::WrongType),
            },
        }
    }

    /// [`Txn::get`] for commands on hashes.
    ///
    /// # Errors
    /// [`WriteError::WrongType`] if the entry is no hash.
    pub fn hash(&self, db: u8, key: &[u8]) -> Result<Option<&HashValue>, WriteError> {
        match self.read(db, key) {
            None => Ok(None),
            Some(found) => match self.value(&found) {
                Value::Hash(hash) => Ok(Some(hash)),
                Value::String(_) => Err(WriteError::WrongType),
            },
        }
    }

    pub(crate) fn read(&self, db: u8, key: &[u8]) -> Option<Found<'_>> {
        let hash = self.hash_of(key);
        let stripe = self.stripe(hash.stripe);
        let Some(found) = self.find_live(db, hash, key) else {
            stripe.misses.set(stripe.misses.get() + 1);
            return None;
        };
        stripe.hits.set(stripe.hits.get() + 1);
        if self.touch
            && let Some(database) = stripe.database(db)
        {
            database.table.refresh(found.position, self.touched(stripe, found.slot));
        }
        Some(found)
    }

    /// The slot after an access now.
    pub(crate) fn touched(&self, stripe: &Stripe, slot: Slot) -> Slot {
        let slot_now = slot.with_clock(self.now_ms);
        if !self.shard.counts_frequency() {
            return slot_now;
        }
        let idle_ms = u32::try_from(slot.idle_ms(self.now_ms)).unwrap_or(u32::MAX);
        let decayed = frequency::decayed(slot.frequency(), idle_ms, self.shard.frequency_decay_ms());
        slot_now.with_frequency(frequency::touched(decayed, stripe.random() as u32))
    }

    pub(crate) fn value<'t>(&'t self, found: &Found<'t>) -> Value<'t> {
        match found.body {
            Body::Record(record) => Value::String(StringRef { bytes: record.value(), record: Some(record) }),
            Body::Heap(entry) => match &entry.value {
                HeapValue::Bytes(bytes) => Value::String(StringRef { bytes: bytes.as_slice(), record: None }),
                HeapValue::Hash(hash) => Value::Hash(hash),
            },
        }
    }

    fn entry<'t>(&'t self, found: &Found<'t>) -> Entry<'t> {
        let idle_ms = found.slot.idle_ms(self.now_ms);
        let (cost, bytes) = match found.body {
            Body::Record(record) => (record.cost().unwrap_or(1.0), u64::from(record.bytes())),
            Body::Heap(entry) => (entry.cost, entry.memory_bytes()),
        };
        Entry {
            value: self.value(found),
            expires_at_ms: found.expires_at_ms(),
            idle_ms,
            frequency: frequency::decayed(
                found.slot.frequency(),
                u32::try_from(idle_ms).unwrap_or(u32::MAX),
                self.shard.frequency_decay_ms(),
            ),
            cost,
            memory_bytes: bytes + size_of::<Slot>() as u64,
        }
    }

    // ---- writing ----

    /// Stores a string, replacing whatever was there, its expiry included.
    ///
    /// # Errors
    /// [`WriteError::TooLarge`], [`WriteError::OutOfMemory`] or [`WriteError::Unavailable`]; nothing was changed.
    pub fn put(&mut self, db: u8, key: &[u8], value: &[u8], put: Put) -> Result<(), WriteError> {
        self.admit(db, key)?;
        self.put_record(db, key, value, put, None)
    }

    /// [`Txn::put`] of a value with an annex, or without.
    pub(crate) fn put_record(
        &mut self,
        db: u8,
        key: &[u8],
        value: &[u8],
        put: Put,
        annex: Option<&[u8]>,
    ) -> Result<(), WriteError> {
        self.shard.writable()?;
        let hash = self.hash_of(key);
        let row = match annex {
            Some(annex) => self.reserve_row(db, hash, key, annex, value, None)?,
            None => None,
        };
        self.put_with_row(db, key, value, put, annex, row)
    }

    /// [`Txn::put_record`] when the row of the entry is reserved.
    pub(crate) fn put_with_row(
        &mut self,
        db: u8,
        key: &[u8],
        value: &[u8],
        put: Put,
        annex: Option<&[u8]>,
        row: Option<ReservedRow>,
    ) -> Result<(), WriteError> {
        let hash = self.hash_of(key);
        let record = NewRecord { key, value, expires_at_ms: put.expires_at_ms, cost: put.cost, annex };
        let class = self.shard.class_of(put.expires_at_ms, self.now_ms);
        let appended = match self.shard.store.append(class, &record) {
            Ok(appended) => appended,
            Err(error) => {
                self.give_up_row(row);
                return Err(self.shard.refusal(error));
            }
        };
        let (old, _) = self.old(db, hash, key);
        let expires_at_ms = put.expires_at_ms.unwrap_or(0);
        if let Old::Heap { position, index } = old {
            self.drop_heap(db, hash, key, position, index);
        }
        if self.shard.logs_keys() {
            let op = Op::KeyPut { db, key, value, expires_at_ms, cost: put.cost.unwrap_or(1.0), annex };
            op.encode(&mut self.frame);
        } else if self.shard.log.is_some() {
            let old = match old {
                Old::Record { location, .. } => Some(location),
                Old::Nothing | Old::Heap { .. } => None,
            };
            let (new, bytes, crc) = (appended.location, appended.bytes, appended.crc);
            let annotated = annex.is_some();
            let op = Op::Place { db, hash, old, new, bytes, crc, expires_at_ms, moved: false, annotated };
            op.encode(&mut self.frame);
        }
        let total = &self.stripe(hash.stripe).appended_bytes;
        total.set(total.get() + u64::from(appended.bytes));
        let hint = ExpiryHint::new(put.expires_at_ms, self.now_ms);
        let now_ms = self.now_ms;
        let kind = if annex.is_some() { SlotKind::Annotated } else { SlotKind::Record };
        if let Old::Record { position, slot, location, bytes } = old {
            let stripe = self.stripe(hash.stripe);
            let new = self.touched(stripe, slot).with_location(appended.location.to_bits()).with_expiry_hint(hint);
            self.stripe_mut(hash.stripe).database_or_new(db).replace(position, slot, new.with_kind(kind));
            if slot.kind() == SlotKind::Annotated {
                self.drop_row(hash.stripe, location, row.as_ref());
            }
            self.shard.store.release(location, bytes);
        } else {
            let slot = Slot::new(hash.slot, kind, appended.location.to_bits())
                .with_clock(now_ms)
                .with_expiry_hint(hint)
                .with_frequency(self.shard.first_frequency(hash));
            self.insert_slot(db, hash, slot);
        }
        if let Some(row) = row {
            self.settle_row(db, hash, appended.location, row);
        }
        self.changed(db, hash, key);
        Ok(())
    }

    /// Stores a heap value (RESTORE, COPY, RENAME of collections), replacing whatever was there.
    ///
    /// # Errors
    /// As [`Txn::put`].
    pub fn put_heap(&mut self, db: u8, key: &[u8], value: HeapValue, put: Put) -> Result<(), WriteError> {
        self.place_heap(db, key, value, put)?;
        self.changed(db, self.hash_of(key), key);
        Ok(())
    }

    /// [`Txn::put_heap`] by whoever says afterwards that the entry has changed.
    fn place_heap(&mut self, db: u8, key: &[u8], value: HeapValue, put: Put) -> Result<(), WriteError> {
        self.shard.writable()?;
        self.admit(db, key)?;
        let hash = self.hash_of(key);
        self.remove_entry(db, hash, key);
        let mut encoded = Vec::new();
        value.encode(&mut encoded);
        let (expires_at_ms, cost) = (put.expires_at_ms.unwrap_or(0), put.cost.unwrap_or(1.0));
        Op::HeapPut { db, key, expires_at_ms, cost, value: &encoded }.encode(&mut self.frame);
        self.insert_heap(db, hash, key, value, put.expires_at_ms, cost);
        Ok(())
    }

    /// Removes an entry; whether a live one was there.
    pub fn delete(&mut self, db: u8, key: &[u8]) -> bool {
        let hash = self.hash_of(key);
        let removed = self.remove_entry(db, hash, key);
        let live = removed == Some(true);
        if live || self.shard.meaning.leases_out.load(Ordering::Relaxed) > 0 {
            // Who deletes what is not there says that what is being computed for it is stale.
            self.changed(db, hash, key);
        } else if removed.is_some() {
            // It had expired, and nobody else will come to say so.
            self.tell(hash, key);
        }
        live
    }

    /// Sets or clears (`None`) the expiry of a live entry; whether there is one. A time that is not after now removes the entry.
    ///
    /// # Errors
    /// [`WriteError::Unavailable`] if the log has failed.
    pub fn set_expiry(&mut self, db: u8, key: &[u8], expires_at_ms: Option<u64>) -> Result<bool, WriteError> {
        self.shard.writable()?;
        let hash = self.hash_of(key);
        let (old, live) = self.old(db, hash, key);
        if !live {
            return Ok(false);
        }
        if !self.replays && expires_at_ms.is_some_and(|at| at <= self.now_ms) {
            self.delete(db, key);
            return Ok(true);
        }
        let hint = ExpiryHint::new(expires_at_ms, self.now_ms);
        let at = expires_at_ms.unwrap_or(0);
        let position = match old {
            Old::Record { position, location, .. } => {
                if self.shard.logs_keys() {
                    Op::KeyExpire { db, key, expires_at_ms: at }.encode(&mut self.frame);
                } else {
                    Op::Expire { db, hash, location, expires_at_ms: at }.encode(&mut self.frame);
                }
                if self.shard.store.set_expiry(&self.pin, location, expires_at_ms).is_err() {
                    self.shard.report_damage(db, hash, location);
                    return Ok(false);
                }
                position
            }
            Old::Heap { position, index } => {
                Op::HeapExpire { db, key, expires_at_ms: at }.encode(&mut self.frame);
                if let Some(entry) = self.stripe_mut(hash.stripe).heap.at_mut(index) {
                    entry.expires_at_ms = expires_at_ms;
                }
                position
            }
            Old::Nothing => return Ok(false),
        };
        let database = self.stripe_mut(hash.stripe).database_or_new(db);
        let slot = database.table.slot(position).unwrap_or(Slot::EMPTY);
        database.replace(position, slot, slot.with_expiry_hint(hint));
        self.changed(db, hash, key);
        Ok(true)
    }

    /// Copies the entry as it is (value, expiry, cost) over `to`, which may be in another database; whether there was one.
    /// With `remove_source` it is moved (RENAME, MOVE).
    ///
    /// # Errors
    /// As [`Txn::put`].
    pub fn copy(&mut self, from: (u8, &[u8]), to: (u8, &[u8]), remove_source: bool) -> Result<bool, WriteError> {
        self.shard.writable()?;
        let Some(entry) = self.peek(from.0, from.1) else { return Ok(false) };
        let put = entry.as_put();
        match entry.value {
            Value::String(string) => {
                let value = string.to_shared();
                match string.record.and_then(|record| record.annex()) {
                    Some(annex) if !self.knows_space_of(annex) => return Ok(false),
                    // Its space is being dropped, and it with it.
                    Some(annex) if !self.knows_space_of(annex) => return Ok(false),
                    Some(annex) => {
                        let annex = self.restamped(annex);
                        self.admit_annotated(to.0, to.1, &annex, &value)?;
                        self.put_record(to.0, to.1, &value, put, Some(&annex))?;
                    }
                    None => self.put(to.0, to.1, &value, put)?,
                }
            }
            Value::Hash(hash) => {
                let copy = HeapValue::Hash(hash.clone());
                self.put_heap(to.0, to.1, copy, put)?;
            }
        }
        if remove_source && from != to {
            self.delete(from.0, from.1);
        }
        Ok(true)
    }

    /// Writes `data` (if any: nothing writes nothing) at `offset` of a string, zero-filling a gap and keeping the expiry; creates the entry. Returns the new length.
    /// (SETRANGE, APPEND with the present length as offset, SETBIT, BITFIELD: cheap on large values.)
    ///
    /// # Errors
    /// As [`Txn::put`], and [`WriteError::WrongType`].
    pub fn write_range(&mut self, db: u8, key: &[u8], offset: usize, data: &[u8]) -> Result<usize, WriteError> {
        self.shard.writable()?;
        self.admit(db, key)?;
        let hash = self.hash_of(key);
        let (old_bytes, put) = match self.peek(db, key) {
            None => (&[][..], Put::default()),
            Some(entry) => match entry.value {
                Value::String(string) => (string.as_slice(), entry.as_put()),
                Value::Hash(_) => return Err(WriteError::WrongType),
            },
        };
        if data.is_empty() {
            return Ok(old_bytes.len());
        }
        let len = old_bytes.len().max(offset + data.len());
        // What is declared by an offset was not brought along, so nobody has made room for it.
        let growth = (len - old_bytes.len()) as u64;
        let max_memory = self.shard.max_memory.load(Ordering::Relaxed);
        if growth > UNANNOUNCED_BYTES_MAX && self.shard.memory_beside_segments().saturating_add(growth) > max_memory / 2
        {
            return Err(WriteError::OutOfMemory);
        }
        let (old, live) = self.old(db, hash, key);
        let on_heap = matches!(old, Old::Heap { .. }) && live;
        if !on_heap {
            let mut bytes = Vec::with_capacity(len);
            bytes.extend_from_slice(old_bytes);
            if len < HEAP_STRING_BYTES_MIN {
                bytes.resize(len, 0);
                bytes[offset..offset + data.len()].copy_from_slice(data);
                self.put(db, key, &bytes, put)?;
                return Ok(len);
            }
            self.place_heap(db, key, HeapValue::Bytes(BytesValue::from(bytes)), put)?;
        }
        self.edit(db, hash, key, &Edit::WriteRange { offset: offset as u64, data });
        self.changed(db, hash, key);
        Ok(len)
    }

    /// Sets fields, creating the hash; `keep_ttl` keeps the expiry of fields that had one (HINCRBY), otherwise it is cleared
    /// (HSET). Returns how many fields are new.
    ///
    /// # Errors
    /// As [`Txn::put`], and [`WriteError::WrongType`].
    pub fn hash_set(
        &mut self,
        db: u8,
        key: &[u8],
        fields: &[(&[u8], &[u8])],
        keep_ttl: bool,
    ) -> Result<usize, WriteError> {
        self.shard.writable()?;
        self.admit(db, key)?;
        let hash = self.hash_of(key);
        if self.peek_hash(db, key)?.is_none() {
            self.place_heap(db, key, HeapValue::Hash(HashValue::default()), Put::default())?;
        }
        let now_ms = self.now_ms;
        let new = self.edit(db, hash, key, &Edit::HashSet { now_ms, keep_ttl, fields: fields.to_vec() });
        self.changed(db, hash, key);
        Ok(new)
    }

    /// Removes fields, and the entry with its last field. Returns how many live fields went.
    ///
    /// # Errors
    /// [`WriteError::WrongType`], [`WriteError::Unavailable`].
    pub fn hash_remove(&mut self, db: u8, key: &[u8], fields: &[&[u8]]) -> Result<usize, WriteError> {
        self.shard.writable()?;
        let hash = self.hash_of(key);
        let now_ms = self.now_ms;
        let Some(value) = self.peek_hash(db, key)? else { return Ok(0) };
        let mut there: Vec<&[u8]> = fields.to_vec();
        there.sort_unstable();
        there.dedup();
        there.retain(|field| value.field_expiry(field, now_ms).is_some());
        if there.is_empty() {
            return Ok(0);
        }
        let gone = there.len();
        self.edit(db, hash, key, &Edit::HashRemove { now_ms, fields: there });
        self.drop_empty_hash(db, hash, key);
        self.changed(db, hash, key);
        Ok(gone)
    }

    /// Sets or clears the expiry of fields; a time not after now removes the field (and the entry with its last field).
    /// Returns, per field, whether it was there.
    ///
    /// # Errors
    /// [`WriteError::WrongType`], [`WriteError::Unavailable`].
    pub fn hash_expire(
        &mut self,
        db: u8,
        key: &[u8],
        fields: &[&[u8]],
        at_ms: Option<u64>,
    ) -> Result<Vec<bool>, WriteError> {
        self.shard.writable()?;
        let hash = self.hash_of(key);
        let now_ms = self.now_ms;
        let Some(value) = self.peek_hash(db, key)? else { return Ok(vec![false; fields.len()]) };
        let found: Vec<bool> = fields.iter().map(|field| value.field_expiry(field, now_ms).is_some()).collect();
        let there: Vec<&[u8]> =
            fields.iter().zip(&found).filter(|(_, there)| **there).map(|(field, _)| *field).collect();
        if there.is_empty() {
            return Ok(found);
        }
        if at_ms.is_some_and(|at| at <= now_ms) {
            self.edit(db, hash, key, &Edit::HashRemove { now_ms, fields: there });
            self.drop_empty_hash(db, hash, key);
        } else {
            self.edit(db, hash, key, &Edit::HashExpire { now_ms, at_ms: at_ms.unwrap_or(0), fields: there });
        }
        self.changed(db, hash, key);
        Ok(found)
    }

    // ---- watching ----

    /// Raises `flag` as soon as the entry changes, is removed or expires (WATCH). Dropping every clone of the flag ends the watch.
    pub fn watch(&mut self, db: u8, key: &[u8], flag: &WatchFlag) {
        let hash = self.hash_of(key);
        self.stripe_mut(hash.stripe).watch(db, key, Arc::downgrade(flag));
    }

    // ---- pieces ----

    fn peek_hash(&self, db: u8, key: &[u8]) -> Result<Option<&HashValue>, WriteError> {
        match self.peek(db, key).map(|entry| entry.value) {
            None => Ok(None),
            Some(Value::Hash(hash)) => Ok(Some(hash)),
            Some(Value::String(_)) => Err(WriteError::WrongType),
        }
    }

    /// Logs and applies an edit of a heap value; returns how many fields are new.
    pub(crate) fn edit(&mut self, db: u8, hash: KeyHash, key: &[u8], edit: &Edit<'_>) -> usize {
        edit.encode(db, key, &mut self.frame);
        let shard = self.shard;
        let now_ms = self.now_ms;
        let edited = shard.edit_heap(self.stripe_mut(hash.stripe), db, hash, key, edit, now_ms);
        shard.account(edited.change);
        edited.new_fields
    }

    /// Heap entries of a held stripe.
    pub(crate) fn heap_entries(&self, stripe: u8) -> impl Iterator<Item = &HeapEntry> {
        self.stripe(stripe).heap.iter()
    }

    fn drop_empty_hash(&mut self, db: u8, hash: KeyHash, key: &[u8]) {
        let is_empty = |found: Found<'_>| match found.body {
            Body::Heap(HeapEntry { value: HeapValue::Hash(value), .. }) => value.is_empty(self.now_ms),
            Body::Heap(_) | Body::Record(_) => false,
        };
        if self.find(db, hash, key).is_some_and(is_empty) {
            self.remove_entry(db, hash, key);
        }
    }

    /// Removes whatever stands under the key, and logs it; whether it was live, if there was anything. The caller says that it has changed.
    pub(crate) fn remove_entry(&mut self, db: u8, hash: KeyHash, key: &[u8]) -> Option<bool> {
        let (old, live) = self.old(db, hash, key);
        match old {
            Old::Nothing => return None,
            Old::Record { position, location, bytes, .. } => {
                if self.shard.logs_keys() {
                    Op::KeyRemove { db, key }.encode(&mut self.frame);
                } else {
                    Op::Remove { db, hash, location }.encode(&mut self.frame);
                }
                self.remove_slot(db, hash, position);
                self.shard.store.release(location, bytes);
            }
            Old::Heap { position, index } => self.drop_heap(db, hash, key, position, index),
        }
        Some(live)
    }

    pub(crate) fn drop_heap(&mut self, db: u8, hash: KeyHash, key: &[u8], position: usize, index: u32) {
        Op::HeapRemove { db, key }.encode(&mut self.frame);
        self.remove_slot(db, hash, position);
        if let Some(entry) = self.stripe_mut(hash.stripe).heap.remove(index) {
            self.shard.heap_bytes.fetch_sub(entry.accounted_bytes, Ordering::Relaxed);
        }
    }

    fn insert_heap(
        &mut self,
        db: u8,
        hash: KeyHash,
        key: &[u8],
        value: HeapValue,
        expires_at_ms: Option<u64>,
        cost: f32,
    ) {
        let shard = self.shard;
        let now_ms = self.now_ms;
        let entry = HeapEntry { key: key.into(), db, expires_at_ms, cost, value, accounted_bytes: 0 };
        let change = shard.insert_heap(self.stripe_mut(hash.stripe), hash, entry, now_ms);
        shard.account(change);
    }

    fn insert_slot(&mut self, db: u8, hash: KeyHash, slot: Slot) {
        let database = self.stripe_mut(hash.stripe).database_or_new(db);
        let before = database.table.memory_bytes();
        database.insert(slot);
        let after = database.table.memory_bytes();
        self.shard.account_slot(1, after as i64 - before as i64);
    }

    pub(crate) fn remove_slot(&mut self, db: u8, hash: KeyHash, position: usize) {
        let database = self.stripe_mut(hash.stripe).database_or_new(db);
        let before = database.table.memory_bytes();
        let slot = database.remove(position);
        let after = database.table.memory_bytes();
        self.shard.account_slot(-1, after as i64 - before as i64);
        if slot.kind() == SlotKind::Annotated {
            self.drop_row(hash.stripe, Location::from_bits(slot.location()), None);
        }
    }

    pub(crate) fn changed(&mut self, db: u8, hash: KeyHash, key: &[u8]) {
        let is_leased = self.shard.meaning.leases_out.load(Ordering::Relaxed) > 0;
        let position = if is_leased { self.shard.meaning.tick_position() } else { 0 };
        let stripe = self.stripe_mut(hash.stripe);
        if stripe.is_watched() {
            stripe.changed(db, key);
        }
        if is_leased {
            stripe.leases.note(position, db, hash.slot);
        }
        self.tell(hash, key);
    }
}

impl Drop for Txn<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.append_frame() {
            tracing::error!(%error, "a change could not be logged");
        }
    }
}
