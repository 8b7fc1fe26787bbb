//! The shard: stripes, store, log and limits, joined.
//!
//! Lock order: maintenance → sampler → stripes (ascending) → the store's open segment, the log's buffer. Nothing waits for input or output under
//! a stripe's lock.

use crate::api::{DatabaseStats, Scope, WriteError};
use crate::hash::{KeyHash, STRIPES};
use crate::heap::{HashOptions, HeapValue};
use crate::maintenance::Maintenance;
use crate::meaning::Meaning;
use crate::ops::{Edit, Op};
use crate::options::Limits;
use crate::sampling::Sampler;
use crate::slot::{ExpiryHint, Slot, SlotKind};
use crate::stripe::{HeapEntry, Stripe};
use crate::tracking::Tracking;
use crate::txn::Txn;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use sutra_eviction::{Ghosts, Policy, frequency};
use sutra_mmap_store::{Location, Pin, SegmentPhase, SegmentState, Store, StoreError, format};
use sutra_wal::{DirectoryLock, Log, Lsn, Storage};

/// One shard of the cache. Shared by threads; every look and change goes through [`Shard::begin`].
pub struct Shard {
    pub(crate) stripes: Box<[Mutex<Stripe>]>,
    pub(crate) store: Store,
    /// `None`: no log, nothing survives the process.
    pub(crate) log: Option<Log>,
    /// `None`: there is no log either.
    pub(crate) storage: Option<Arc<dyn Storage>>,
    pub(crate) segment_bytes: u32,
    pub(crate) seed: u64,
    /// Payloads are in mapped files, so the log names locations; otherwise it carries keys and values.
    pub(crate) mapped: bool,
    policy: AtomicU8,
    frequency_decay_ms: AtomicU64,
    pub(crate) max_memory: AtomicU64,
    pub(crate) max_entries: AtomicU64,
    /// The limit last given to the store.
    pub(crate) store_limit: AtomicU64,
    /// Bytes of segments beyond which room is made before more is stored; at most `store_limit`. Only asked before locks are taken: a
    /// command that was let in is never refused by it.
    pub(crate) soft_limit: AtomicU64,
    /// Bytes that the embedding program uses on the shard's account: client buffers.
    pub(crate) outside_bytes: AtomicU64,
    pub(crate) heap_bytes: AtomicU64,
    pub(crate) index_bytes: AtomicI64,
    pub(crate) entries: AtomicI64,
    pub(crate) tally: Tally,
    pub(crate) ghosts: Mutex<Ghosts>,
    pub(crate) damaged: Mutex<Vec<(u8, KeyHash, Location)>>,
    pub(crate) maintenance: Mutex<Maintenance>,
    /// Chooses entries that go one by one. Not part of `maintenance`: a write under a limit on entries must not wait for a merge.
    pub(crate) sampler: Mutex<Sampler>,
    pub(crate) checkpoint_due: AtomicBool,
    pub(crate) checkpoint_log_bytes: u64,
    hash_fields_max: AtomicUsize,
    hash_item_bytes_max: AtomicUsize,
    pub(crate) directory_lock: Option<DirectoryLock>,
    pub(crate) meaning: Meaning,
    pub(crate) tracking: Tracking,
    /// Where rows are kept in mapped files; `None`: in anonymous memory.
    pub(crate) rows_directory: Option<PathBuf>,
}

/// Counters that only grow.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) expired: AtomicU64,
    pub(crate) evicted_memory: AtomicU64,
    pub(crate) evicted_entries: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) merges: AtomicU64,
    pub(crate) merged_bytes: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) last_checkpoint_ms: AtomicU64,
    pub(crate) checkpoint_failed: AtomicBool,
}

/// What an edit did to the sizes that the shard accounts for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change {
    pub(crate) entries: i64,
    pub(crate) index_bytes: i64,
    pub(crate) heap_bytes: i64,
}

/// What an edit of a heap value did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Edited {
    pub(crate) change: Change,
    /// Fields of a hash that were not there before.
    pub(crate) new_fields: usize,
    /// Whether there was such a value.
    pub(crate) found: bool,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("entries", &self.entries).finish_non_exhaustive()
    }
}

impl Shard {
    pub(crate) fn assemble(
        store: Store,
        storage: Option<Arc<dyn Storage>>,
        seed: u64,
        mapped: bool,
        limits: &Limits,
    ) -> Shard {
        let stripes = (0..STRIPES as u64).map(|index| Mutex::new(Stripe::new(seed ^ index << 1))).collect();
        let shard = Shard {
            stripes,
            store,
            log: None,
            storage,
            segment_bytes: sutra_eviction::segment_bytes(limits.max_memory_bytes),
            seed,
            mapped,
            policy: AtomicU8::new(0),
            frequency_decay_ms: AtomicU64::new(60_000),
            max_memory: AtomicU64::new(limits.max_memory_bytes),
            max_entries: AtomicU64::new(limits.max_entries),
            store_limit: AtomicU64::new(limits.max_memory_bytes),
            soft_limit: AtomicU64::new(limits.max_memory_bytes),
            outside_bytes: AtomicU64::new(0),
            heap_bytes: AtomicU64::new(0),
            index_bytes: AtomicI64::new(0),
            entries: AtomicI64::new(0),
            tally: Tally::default(),
            ghosts: Mutex::new(Ghosts::new(0)),
            damaged: Mutex::default(),
            maintenance: Mutex::default(),
            sampler: Mutex::default(),
            checkpoint_due: AtomicBool::new(false),
            checkpoint_log_bytes: u64::MAX,
            hash_fields_max: AtomicUsize::new(HashOptions::default().fields_max),
            hash_item_bytes_max: AtomicUsize::new(HashOptions::default().item_bytes_max),
            directory_lock: None,
            meaning: Meaning::new(),
            tracking: Tracking::default(),
            rows_directory: None,
        };
        shard.set_policy(limits.policy);
        shard.make_unplaced(&mut |_, _| false);
        shard
    }

    /// Locks what `scope` names. Everything seen and done through the transaction happens at one instant, `now_ms` (Unix milliseconds).
    pub fn begin(&self, scope: Scope<'_>, now_ms: u64) -> Txn<'_> {
        Txn::begin(self, scope, now_ms)
    }

    pub(crate) fn lock(&self, stripe: u8) -> MutexGuard<'_, Stripe> {
        let guard = self.lock_unswept(stripe);
        if guard.swept_through == self.meaning.by_name_sequence.load(Ordering::Relaxed) {
            return guard;
        }
        self.sweep_by_name(stripe, guard)
    }

    /// Locks a stripe that may hold what an invalidation by name has removed.
    pub(crate) fn lock_unswept(&self, stripe: u8) -> MutexGuard<'_, Stripe> {
        self.stripes[stripe as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps segments from being reused while it lives. A caller that runs many transactions in a row holds one, which makes the
    /// transactions' own cheaper.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.store.pin()
    }

    /// Has the processor fetch what a read of the key will need, without waiting for it. A caller that knows several keys beforehand, as from
    /// a pipeline, says so for all of them before it looks at the first: their cache misses then overlap.
    pub fn prefetch(&self, pin: &Pin, db: u8, key: &[u8]) {
        let hash = KeyHash::of(key, self.seed);
        let stripe = self.lock(hash.stripe);
        let Some(database) = stripe.database(db) else { return };
        if let Some((_, slot)) = database.table.candidates(hash.slot).next()
            && slot.kind().is_record()
        {
            self.store.prefetch(pin, Location::from_bits(slot.location()));
        }
    }

    // ---- durability ----

    /// Writes the log up to `lsn` to its file: from then on the frame survives the death of the process. One write serves all who ask.
    ///
    /// # Errors
    /// [`WriteError::Unavailable`] when the log has failed: the change must not be acknowledged.
    pub fn flush_log(&self, lsn: Lsn) -> Result<(), WriteError> {
        match &self.log {
            Some(log) => log.flush(lsn).map_err(|error| WriteError::Unavailable(error.to_string())),
            None => Ok(()),
        }
    }

    /// Makes everything so far safe from power loss: syncs the store, then the log, and tells later frames so. Returns the LSN through
    /// which the state is durable; frees segments that waited for it.
    ///
    /// # Errors
    /// [`WriteError::Unavailable`] when a sync fails: the log then refuses further writes.
    pub fn sync(&self) -> Result<Lsn, WriteError> {
        // Freed now: the frames that freed them are at most `through`, and durable when this returns.
        let freed = self.freed_segments();
        let Some(log) = &self.log else {
            self.release(&freed);
            return Ok(Lsn(0));
        };
        let through = log.last();
        let unavailable = |error: &dyn std::fmt::Display| WriteError::Unavailable(error.to_string());
        if self.mapped {
            self.store.sync().map_err(|error| unavailable(&error))?;
            if through > log.durable() {
                // Replay must not look for records in segments that were used again: it learns from this frame that all of them arrived.
                let mut body = Vec::new();
                Op::StoreSynced { through: through.0 }.encode(&mut body);
                log.append(&body).map_err(|error| unavailable(&error))?;
            }
        }
        log.sync().map_err(|error| unavailable(&error))?;
        log.mark_durable(through);
        self.tally.syncs.fetch_add(1, Ordering::Relaxed);
        self.release(&freed);
        if log.bytes() >= self.checkpoint_log_bytes {
            self.checkpoint_due.store(true, Ordering::Relaxed);
        }
        Ok(through)
    }

    /// Bytes in mapped segments that wait for a sync: memory that the system cannot take back before it has written them. 0 without mapped
    /// segments.
    #[must_use]
    pub fn unsynced_bytes(&self) -> u64 {
        if self.mapped { self.store.unsynced_bytes() } else { 0 }
    }

    /// Segments that wait for a sync before they may be used again.
    pub(crate) fn freed_segments(&self) -> Vec<u16> {
        let freed = |segment: &SegmentState| segment.phase == SegmentPhase::Freed;
        self.store.segments().iter().filter(|segment| freed(segment)).map(|segment| segment.id).collect()
    }

    fn release(&self, freed: &[u16]) {
        if let Err(error) = self.store.release_freed(freed) {
            tracing::warn!(%error, "a segment's file could not be removed");
        }
    }

    /// Sets up to which size a new hash is kept compact: fields, and bytes of a name or value.
    pub fn set_hash_limits(&self, fields_max: usize, item_bytes_max: usize) {
        self.hash_fields_max.store(fields_max, Ordering::Relaxed);
        self.hash_item_bytes_max.store(item_bytes_max, Ordering::Relaxed);
    }

    /// Takes the shard into service again after its log or store had failed: begins a new log file and writes a checkpoint of what is in
    /// memory.
    ///
    /// # Errors
    /// [`WriteError::Unavailable`] while the cause persists.
    pub fn restart_log(&self, now_ms: u64) -> Result<(), WriteError> {
        let Some(log) = &self.log else { return Ok(()) };
        log.restart().map_err(|error| WriteError::Unavailable(error.to_string()))?;
        self.checkpoint(now_ms)
    }

    /// The LSN through which the state survives power loss.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.log.as_ref().map_or(Lsn(u64::MAX), Log::durable)
    }

    /// Why writes are refused at present, if they are.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let log = self.log.as_ref().and_then(Log::failed).map(|error| error.to_string());
        log.or_else(|| self.store.failed().map(ToString::to_string))
    }

    pub(crate) fn writable(&self) -> Result<(), WriteError> {
        match &self.log {
            Some(log) if log.has_failed() => {
                Err(WriteError::Unavailable(self.failure().unwrap_or_else(|| "the log has failed".into())))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn refusal(&self, error: StoreError) -> WriteError {
        match error {
            StoreError::KeyTooLong { bytes } => {
                WriteError::TooLarge { bytes: bytes as u64, bytes_max: format::KEY_BYTES_MAX as u64 }
            }
            StoreError::ValueTooLong { bytes } => {
                WriteError::TooLarge { bytes: bytes as u64, bytes_max: format::VALUE_BYTES_MAX as u64 }
            }
            StoreError::AnnexTooLong { bytes } => {
                WriteError::TooLarge { bytes: bytes as u64, bytes_max: format::ANNEX_BYTES_MAX as u64 }
            }
            StoreError::NoRoom { .. } => WriteError::OutOfMemory,
            StoreError::Io(error) | StoreError::Failed(error) => WriteError::Unavailable(error.to_string()),
        }
    }

    /// Whether the log carries keys and values instead of locations.
    pub(crate) fn logs_keys(&self) -> bool {
        !self.mapped
    }

    // ---- policy ----

    /// Changes the eviction policy.
    pub fn set_policy(&self, policy: Policy) {
        let code = Policy::ALL.iter().position(|p| *p == policy).unwrap_or(0);
        self.policy.store(code as u8, Ordering::Relaxed);
        if policy == Policy::Cost {
            let entries = (self.max_memory.load(Ordering::Relaxed) / 1024).clamp(1024, 4 << 20);
            let mut ghosts = self.ghosts.lock().unwrap_or_else(PoisonError::into_inner);
            if ghosts.capacity() == 0 {
                ghosts.resize(entries as usize);
            }
        }
    }

    /// The eviction policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy::ALL[self.policy.load(Ordering::Relaxed) as usize]
    }

    /// Minutes until an idle entry's access counter drops by one (lfu-decay-time).
    pub fn set_frequency_decay_minutes(&self, minutes: u64) {
        self.frequency_decay_ms.store(minutes.saturating_mul(60_000), Ordering::Relaxed);
    }

    pub(crate) fn frequency_decay_ms(&self) -> u32 {
        u32::try_from(self.frequency_decay_ms.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }

    pub(crate) fn counts_frequency(&self) -> bool {
        match self.policy() {
            Policy::AllkeysLfu | Policy::VolatileLfu | Policy::Cost => true,
            Policy::AllkeysLru
            | Policy::VolatileLru
            | Policy::AllkeysRandom
            | Policy::VolatileRandom
            | Policy::VolatileTtl
            | Policy::NoEviction => false,
        }
    }

    /// The counter of an entry that is new: what a ghost remembers of it, under `cost`.
    pub(crate) fn first_frequency(&self, hash: KeyHash) -> u8 {
        if self.policy() != Policy::Cost {
            return frequency::INITIAL;
        }
        let mut ghosts = self.ghosts.lock().unwrap_or_else(PoisonError::into_inner);
        ghosts.recall(hash.to_u64()).map_or(frequency::INITIAL, |counter| frequency::touched(counter, u32::MAX))
    }

    /// Entries of like time to live share segments, so that whole segments expire together.
    pub(crate) fn class_of(&self, expires_at_ms: Option<u64>, now_ms: u64) -> usize {
        match expires_at_ms {
            None => 0,
            Some(at) => match at.saturating_sub(now_ms) {
                0..=600_000 => 1,
                600_001..=14_400_000 => 2,
                _ => 3,
            },
        }
    }

    // ---- the one apply: live changes of heap values, and all of recovery, go through these ----

    pub(crate) fn account(&self, change: Change) {
        if change.entries != 0 || change.index_bytes != 0 {
            self.account_slot(change.entries, change.index_bytes);
        }
        if change.heap_bytes >= 0 {
            self.heap_bytes.fetch_add(change.heap_bytes as u64, Ordering::Relaxed);
        } else {
            self.heap_bytes.fetch_sub(change.heap_bytes.unsigned_abs(), Ordering::Relaxed);
        }
    }

    pub(crate) fn account_slot(&self, entries: i64, index_bytes: i64) {
        self.entries.fetch_add(entries, Ordering::Relaxed);
        if index_bytes != 0 {
            self.index_bytes.fetch_add(index_bytes, Ordering::Relaxed);
        }
    }

    /// Stores a heap entry under a key that has none.
    pub(crate) fn insert_heap(&self, stripe: &mut Stripe, hash: KeyHash, mut entry: HeapEntry, now_ms: u64) -> Change {
        let (db, expires_at_ms) = (entry.db, entry.expires_at_ms);
        entry.accounted_bytes = entry.memory_bytes();
        let heap_bytes = entry.accounted_bytes as i64;
        let index = stripe.heap.insert(entry);
        let slot = Slot::new(hash.slot, SlotKind::Heap, u64::from(index))
            .with_clock(now_ms)
            .with_expiry_hint(ExpiryHint::new(expires_at_ms, now_ms))
            .with_frequency(frequency::INITIAL);
        let database = stripe.database_or_new(db);
        let before = database.table.memory_bytes() as i64;
        database.insert(slot);
        Change { entries: 1, index_bytes: database.table.memory_bytes() as i64 - before, heap_bytes }
    }

    /// Removes the heap entry under a key, if there is one.
    pub(crate) fn remove_heap(&self, stripe: &mut Stripe, db: u8, hash: KeyHash, key: &[u8]) -> Change {
        let Some((position, slot)) = stripe.find_heap(db, hash.slot, key) else { return Change::default() };
        let gone = stripe.heap.remove(slot.location() as u32);
        let database = stripe.database_or_new(db);
        let before = database.table.memory_bytes() as i64;
        database.remove(position);
        let index_bytes = database.table.memory_bytes() as i64 - before;
        Change { entries: -1, index_bytes, heap_bytes: -gone.map_or(0, |entry| entry.accounted_bytes as i64) }
    }

    /// Changes the heap value under a key, if it is there.
    pub(crate) fn edit_heap(
        &self,
        stripe: &mut Stripe,
        db: u8,
        hash: KeyHash,
        key: &[u8],
        edit: &Edit<'_>,
        now_ms: u64,
    ) -> Edited {
        let mut edited = Edited::default();
        let Some((position, slot)) = stripe.find_heap(db, hash.slot, key) else { return edited };
        if let Some(database) = stripe.database(db) {
            database.table.refresh(position, slot.with_clock(now_ms));
        }
        let Some(entry) = stripe.heap.at_mut(slot.location() as u32) else { return edited };
        edited.found = true;
        match (&mut entry.value, edit) {
            (HeapValue::Bytes(bytes), Edit::WriteRange { offset, data }) => {
                // The one error, too long, was excluded before the edit was made.
                edited.found = bytes.write_range(*offset as usize, data).is_ok();
            }
            (HeapValue::Hash(value), Edit::HashSet { now_ms, keep_ttl, fields }) => {
                let options = HashOptions {
                    fields_max: self.hash_fields_max.load(Ordering::Relaxed),
                    item_bytes_max: self.hash_item_bytes_max.load(Ordering::Relaxed),
                    seed: self.seed,
                };
                for (field, bytes) in fields {
                    edited.new_fields += usize::from(value.set(field, bytes, *keep_ttl, *now_ms, &options));
                }
            }
            (HeapValue::Hash(value), Edit::HashRemove { now_ms, fields }) => {
                for field in fields {
                    value.remove(field, *now_ms);
                }
            }
            (HeapValue::Hash(value), Edit::HashExpire { now_ms, at_ms, fields }) => {
                for field in fields {
                    if *at_ms == 0 {
                        value.persist(field, *now_ms);
                    } else {
                        value.expire(field, *at_ms, *now_ms);
                    }
                }
            }
            (HeapValue::Hash(value), Edit::HashExpired { now_ms }) => {
                value.remove_expired(*now_ms, usize::MAX);
            }
            // An edit of another kind of value: only a damaged log could ask for it, and nothing sensible can be done.
            (
                HeapValue::Bytes(_),
                Edit::HashSet { .. } | Edit::HashRemove { .. } | Edit::HashExpire { .. } | Edit::HashExpired { .. },
            )
            | (HeapValue::Hash(_), Edit::WriteRange { .. }) => edited.found = false,
        }
        let bytes = entry.memory_bytes();
        edited.change.heap_bytes += bytes as i64 - entry.accounted_bytes as i64;
        entry.accounted_bytes = bytes;
        edited
    }

    /// Empties one database of a stripe; with a pin the records are released in the store too (recovery counts them at its end).
    pub(crate) fn flush_stripe(&self, stripe: &mut Stripe, db: u8, pin: Option<&Pin>) -> Change {
        stripe.database_changed(db);
        stripe.leases.forget_before(self.meaning.tick_position());
        let Some(database) = stripe.take_database(db) else { return Change::default() };
        let mut change = Change {
            entries: -(database.table.len() as i64),
            index_bytes: -(database.table.memory_bytes() as i64),
            heap_bytes: 0,
        };
        database.table.for_each(|_, slot| match slot.kind() {
            SlotKind::Record | SlotKind::Annotated => {
                if let Some(pin) = pin {
                    let location = Location::from_bits(slot.location());
                    let bytes = self.store.record(pin, location).map_or(0, |record| record.bytes());
                    self.store.release(location, bytes);
                }
                if let Some(row) = stripe.rows.remove(&slot.location()) {
                    self.free_row(row);
                }
            }
            SlotKind::Heap => {
                if let Some(entry) = stripe.heap.remove(slot.location() as u32) {
                    change.heap_bytes -= entry.accounted_bytes as i64;
                }
            }
            SlotKind::Empty => {}
        });
        change
    }

    pub(crate) fn report_damage(&self, db: u8, hash: KeyHash, location: Location) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if !damaged.contains(&(db, hash, location)) {
            tracing::warn!(
                segment = location.segment(),
                offset = location.offset_bytes(),
                "a damaged entry is dropped: its record does not match its checksum"
            );
            damaged.push((db, hash, location));
        }
    }

    // ---- numbers ----

    /// Entries in a database (may count some that have expired but are not yet removed, as Redis does).
    #[must_use]
    pub fn database_len(&self, db: u8) -> u64 {
        (0..STRIPES).map(|stripe| self.lock(stripe as u8).database(db).map_or(0, |d| d.table.len() as u64)).sum()
    }

    /// What INFO keyspace shows of a database. The mean time to live is not tracked and is 0, as Redis shows before its first sample.
    #[must_use]
    pub fn database_stats(&self, db: u8) -> DatabaseStats {
        let mut stats = DatabaseStats::default();
        for stripe in 0..STRIPES {
            if let Some(database) = self.lock(stripe as u8).database(db) {
                stats.keys += database.table.len() as u64;
                stats.expires += database.expires;
            }
        }
        stats
    }

    /// Applies one decoded edit of the log to the stripes that `wants` accepts. Recovery only; the live path applies while it decides.
    pub(crate) fn replay(&self, op: &Op<'_>, now_ms: u64, wants: &dyn Fn(u8) -> bool) -> Replayed {
        let change = match op {
            // What concerns the whole shard's meaning is kept by recovery itself.
            Op::StoreSynced { .. }
            | Op::Space { .. }
            | Op::SpaceDrop { .. }
            | Op::Predicate { .. }
            | Op::Swept { .. }
            | Op::Undone { .. } => return Replayed::Skipped,
            Op::Flush { db } => {
                for stripe in (0..=u8::MAX).filter(|stripe| wants(*stripe)) {
                    self.account(self.flush_stripe(
                        &mut self.lock(stripe),
                        *db,
                        self.logs_keys().then(|| self.pin()).as_ref(),
                    ));
                }
                return Replayed::Done;
            }
            Op::Swap { a, b } => {
                (0..=u8::MAX)
                    .filter(|stripe| wants(*stripe))
                    .for_each(|stripe| self.lock(stripe).swap_databases(*a, *b));
                return Replayed::Done;
            }
            Op::Place { db, hash, old, new, expires_at_ms, moved, annotated, .. } => {
                if !wants(hash.stripe) {
                    return Replayed::Skipped;
                }
                let expires = (*expires_at_ms != 0).then_some(*expires_at_ms);
                let mut stripe = self.lock(hash.stripe);
                let hint = ExpiryHint::new(expires, now_ms);
                let kind = if *annotated { SlotKind::Annotated } else { SlotKind::Record };
                let database = stripe.database_or_new(*db);
                let at = old.and_then(|old| database.table.find_exact(hash.slot, old.to_bits(), SlotKind::Record));
                let before = database.table.memory_bytes() as i64;
                let (entries, missing) = match at {
                    Some(position) => {
                        let slot = database.table.slot(position).unwrap_or(Slot::EMPTY);
                        let mut new_slot = slot.with_location(new.to_bits()).with_expiry_hint(hint).with_kind(kind);
                        if !moved {
                            new_slot = new_slot.with_clock(now_ms);
                        }
                        database.replace(position, slot, new_slot);
                        (0, false)
                    }
                    None => {
                        let slot = Slot::new(hash.slot, kind, new.to_bits()).with_clock(now_ms);
                        database.insert(slot.with_expiry_hint(hint).with_frequency(frequency::INITIAL));
                        (1, old.is_some())
                    }
                };
                let change =
                    Change { entries, index_bytes: database.table.memory_bytes() as i64 - before, heap_bytes: 0 };
                self.account(change);
                return if missing { Replayed::Missing } else { Replayed::Done };
            }
            Op::Remove { db, hash, location } => {
                if !wants(hash.stripe) {
                    return Replayed::Skipped;
                }
                let mut stripe = self.lock(hash.stripe);
                let database = stripe.database_or_new(*db);
                let Some(position) = database.table.find_exact(hash.slot, location.to_bits(), SlotKind::Record) else {
                    return Replayed::Missing;
                };
                let before = database.table.memory_bytes() as i64;
                database.remove(position);
                Change { entries: -1, index_bytes: database.table.memory_bytes() as i64 - before, heap_bytes: 0 }
            }
            Op::Expire { db, hash, location, expires_at_ms } => {
                if !wants(hash.stripe) {
                    return Replayed::Skipped;
                }
                let expires = (*expires_at_ms != 0).then_some(*expires_at_ms);
                let mut stripe = self.lock(hash.stripe);
                let database = stripe.database_or_new(*db);
                let Some(position) = database.table.find_exact(hash.slot, location.to_bits(), SlotKind::Record) else {
                    return Replayed::Missing;
                };
                let slot = database.table.slot(position).unwrap_or(Slot::EMPTY);
                database.replace(position, slot, slot.with_expiry_hint(ExpiryHint::new(expires, now_ms)));
                // The record's own expiry word is set when the whole log is read: by then the place may belong to another record.
                return Replayed::Done;
            }
            Op::HeapPut { db, key, .. }
            | Op::HeapEdit { db, key, .. }
            | Op::HeapRemove { db, key }
            | Op::HeapExpire { db, key, .. } => {
                let hash = KeyHash::of(key, self.seed);
                if !wants(hash.stripe) {
                    return Replayed::Skipped;
                }
                let mut stripe = self.lock(hash.stripe);
                match op {
                    Op::HeapPut { expires_at_ms, cost, value, .. } => {
                        let Ok(value) = HeapValue::decode(value) else { return Replayed::Missing };
                        self.account(self.remove_heap(&mut stripe, *db, hash, key));
                        let expires_at_ms = (*expires_at_ms != 0).then_some(*expires_at_ms);
                        let entry = HeapEntry {
                            key: (*key).into(),
                            db: *db,
                            expires_at_ms,
                            cost: *cost,
                            value,
                            accounted_bytes: 0,
                        };
                        self.insert_heap(&mut stripe, hash, entry, now_ms)
                    }
                    Op::HeapEdit { edit, .. } => {
                        let edited = self.edit_heap(&mut stripe, *db, hash, key, edit, now_ms);
                        if !edited.found {
                            return Replayed::Missing;
                        }
                        edited.change
                    }
                    Op::HeapExpire { expires_at_ms, .. } => {
                        let expires = (*expires_at_ms != 0).then_some(*expires_at_ms);
                        let Some((position, slot)) = stripe.find_heap(*db, hash.slot, key) else {
                            return Replayed::Missing;
                        };
                        if let Some(entry) = stripe.heap.at_mut(slot.location() as u32) {
                            entry.expires_at_ms = expires;
                        }
                        let hint = ExpiryHint::new(expires, now_ms);
                        stripe.database_or_new(*db).replace(position, slot, slot.with_expiry_hint(hint));
                        return Replayed::Done;
                    }
                    Op::HeapRemove { .. }
                    | Op::Place { .. }
                    | Op::Remove { .. }
                    | Op::Expire { .. }
                    | Op::Flush { .. }
                    | Op::Swap { .. }
                    | Op::KeyPut { .. }
                    | Op::KeyRemove { .. }
                    | Op::KeyExpire { .. }
                    | Op::Space { .. }
                    | Op::SpaceDrop { .. }
                    | Op::Predicate { .. }
                    | Op::Swept { .. }
                    | Op::Undone { .. }
                    | Op::StoreSynced { .. } => self.remove_heap(&mut stripe, *db, hash, key),
                }
            }
            Op::KeyPut { db, key, .. } | Op::KeyRemove { db, key } | Op::KeyExpire { db, key, .. } => {
                if !wants(KeyHash::of(key, self.seed).stripe) {
                    return Replayed::Skipped;
                }
                return self.replay_by_key(*db, key, op, now_ms);
            }
        };
        self.account(change);
        Replayed::Done
    }

    /// Keys and values in the log: replay is the live path itself, with the log not yet attached.
    fn replay_by_key(&self, db: u8, key: &[u8], op: &Op<'_>, now_ms: u64) -> Replayed {
        if let Op::KeyPut { value, .. } = op {
            // What was overwritten fills segments as it did when it was live; if there is no room, the put says so.
            let _ = self.make_room((key.len() + value.len()) as u64, now_ms);
        }
        let mut txn = self.begin(Scope::Key(key), now_ms).replaying();
        let done = match op {
            Op::KeyPut { value, expires_at_ms, cost, annex, .. } => {
                let expires_at_ms = (*expires_at_ms != 0).then_some(*expires_at_ms);
                let put = crate::api::Put { expires_at_ms, cost: Some(*cost) };
                txn.put_record(db, key, value, put, *annex).is_ok()
            }
            Op::KeyExpire { expires_at_ms, .. } => {
                let at = (*expires_at_ms != 0).then_some(*expires_at_ms);
                txn.set_expiry(db, key, at).unwrap_or(false)
            }
            Op::KeyRemove { .. }
            | Op::Place { .. }
            | Op::Remove { .. }
            | Op::Expire { .. }
            | Op::HeapPut { .. }
            | Op::HeapEdit { .. }
            | Op::HeapRemove { .. }
            | Op::HeapExpire { .. }
            | Op::Flush { .. }
            | Op::Swap { .. }
            | Op::Space { .. }
            | Op::SpaceDrop { .. }
            | Op::Predicate { .. }
            | Op::Swept { .. }
            | Op::Undone { .. }
            | Op::StoreSynced { .. } => txn.delete(db, key),
        };
        if done { Replayed::Done } else { Replayed::Missing }
    }
}

/// What became of an edit in recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replayed {
    /// Applied.
    Done,
    /// The stripe's image already holds it.
    Skipped,
    /// What it edits is not there: only after damage.
    Missing,
}
