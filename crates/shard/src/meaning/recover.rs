//! Meaning after a restart: spaces and invalidations from the log, rows from the records.

use super::annex::Annex;
use super::predicate::{Predicate, swapped};
use super::rows::{Owner, RowRef, side};
use super::space::{Space, UNPLACED};
use crate::hash::{KeyHash, STRIPES};
use crate::ops::{Op, PredicateState};
use crate::shard::Shard;
use crate::slot::{Slot, SlotKind};
use crate::stripe::{Database, Stripe};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use sutra_hnsw_index::Side;
use sutra_mmap_store::Location;
use sutra_wal::Lsn;

/// Entries whose rows one thread makes at a time.
const ENTRIES_PER_TURN: usize = 4096;

/// What checkpoint and log say of spaces and invalidations.
#[derive(Default)]
pub(crate) struct Recovered {
    spaces: BTreeMap<u32, Vec<u8>>,
    dropped: BTreeSet<u32>,
    predicates: BTreeMap<u64, (PredicateState, u64, Vec<u8>)>,
    /// The database of an invalidation in a checkpoint is the one that it had at this position; swaps before it are counted in.
    swapped_through: Lsn,
    /// Invalidations that the log says are swept, before it is replayed, and the frames that say so.
    swept: BTreeMap<u64, Lsn>,
    /// The last frame that was looked at before replay, and the last one before which no frame is missing.
    looked_at: (Lsn, Lsn),
    /// Through this frame the records that the log names have arrived.
    synced_through: Lsn,
}

/// Slots that recovery has removed of itself, by hash and location.
#[derive(Default)]
pub(crate) struct Forgotten(BTreeMap<(u64, u64), Owner>);

impl Recovered {
    /// Looks at a frame's first edit before the log is replayed.
    pub(crate) fn preview(&mut self, lsn: Lsn, op: Option<&Op<'_>>) {
        let (last, whole_through) = self.looked_at;
        if lsn <= last {
            // What a failed write left behind was written anew: those are not the frames that will be replayed.
            self.swept.retain(|_, at| *at < lsn);
        }
        let follows = last == Lsn(0) || lsn <= last.next();
        self.looked_at = (lsn, if follows && whole_through == last { lsn } else { whole_through.min(lsn) });
        match op {
            Some(Op::Swept { lsn: swept, .. }) => {
                self.swept.insert(*swept, lsn);
            }
            Some(Op::StoreSynced { through }) => self.synced_through = self.synced_through.max(Lsn(*through)),
            Some(_) | None => {}
        }
    }

    /// Whether the log says that an invalidation is swept, and will not be cut before it says so: replay then finds each removal in it.
    fn is_swept(&self, lsn: u64) -> bool {
        let (_, whole_through) = self.looked_at;
        self.swept.get(&lsn).is_some_and(|at| *at <= whole_through.min(self.synced_through))
    }

    /// Keeps what an edit says of meaning. Returns an invalidation by name whose sweep was not completed: replay has to carry it out here.
    pub(crate) fn note(&mut self, lsn: Lsn, op: &Op<'_>) -> Option<Predicate> {
        match op {
            Op::Space { id, body } => {
                if !self.dropped.contains(id) {
                    self.spaces.insert(*id, body.to_vec());
                }
            }
            Op::SpaceDrop { id } => {
                self.dropped.insert(*id);
                self.spaces.remove(id);
            }
            Op::Predicate { lsn: own, state, count, body } => {
                let at = if *own == 0 { lsn.0 } else { *own };
                self.predicates.entry(at).or_insert_with(|| (*state, *count, body.to_vec()));
                let is_here = *own == 0 && !self.is_swept(at);
                return is_here
                    .then(|| Predicate::decode(body, at, &|_| None))
                    .flatten()
                    .filter(|predicate| predicate.conditions.names_only());
            }
            Op::Swept { lsn, count } => {
                if let Some((state, own, _)) = self.predicates.get_mut(lsn) {
                    (*state, *own) = (PredicateState::Swept, *count);
                }
            }
            Op::Undone { lsn } => {
                if let Some((state, ..)) = self.predicates.get_mut(lsn) {
                    *state = PredicateState::Undone;
                }
            }
            Op::Swap { a, b } => {
                for (at, (_, _, body)) in &mut self.predicates {
                    // Those of the log that came before it, and those of the checkpoint that were written before it.
                    if *at < lsn.0 && lsn > self.swapped_through {
                        Predicate::swap_encoded(body, *a, *b);
                    }
                }
            }
            // In a checkpoint: where the log was when the edits behind it were gathered.
            Op::StoreSynced { through } if lsn == Lsn(0) => self.swapped_through = Lsn(*through),
            Op::Place { .. }
            | Op::Remove { .. }
            | Op::Expire { .. }
            | Op::HeapPut { .. }
            | Op::HeapEdit { .. }
            | Op::HeapRemove { .. }
            | Op::HeapExpire { .. }
            | Op::Flush { .. }
            | Op::KeyPut { .. }
            | Op::KeyRemove { .. }
            | Op::KeyExpire { .. }
            | Op::StoreSynced { .. } => {}
        }
        None
    }
}

impl Shard {
    /// Makes spaces, rows and invalidations when everything is replayed. Returns sentences on what was damaged.
    pub(crate) fn finish_meaning(&self, recovered: Recovered, same_boot: bool) -> Vec<String> {
        let mut damage = Vec::new();
        self.clear_rows(&|id| same_boot && (id == UNPLACED || recovered.spaces.contains_key(&id)));
        self.make_unplaced(&mut |row, side| self.adopt_row(UNPLACED, row, side));
        for (id, body) in &recovered.spaces {
            match Space::understand(body) {
                Some((name, options)) => {
                    let rows = self.open_rows(*id, options.dimension, &mut |row, side| self.adopt_row(*id, row, side));
                    let space = Arc::new(Space::new(*id, &name, options, rows));
                    self.meaning.registry.write().unwrap_or_else(PoisonError::into_inner).insert(space);
                }
                None => damage.push(format!("space {id}: its description is not understood; its entries are dropped")),
            }
        }
        for id in &recovered.dropped {
            self.meaning.registry.write().unwrap_or_else(PoisonError::into_inner).remove(*id);
        }
        self.make_rows();
        for (lsn, (state, count, body)) in recovered.predicates {
            let Some(predicate) = Predicate::decode(&body, lsn, &|id| self.space_by_id(id)) else { continue };
            predicate.count.store(count, Ordering::Relaxed);
            predicate.undone.store(state == PredicateState::Undone, Ordering::Relaxed);
            // Replay has carried out what names keys only.
            let swept = state != PredicateState::Active || predicate.conditions.names_only();
            predicate.swept.store(swept, Ordering::Relaxed);
            self.enter(Arc::new(predicate));
        }
        damage
    }

    /// Whether a row that an earlier process left is still that of an entry; then it is.
    ///
    /// That process changed a row before it wrote the frame of the change, so a row that names a record to which a slot still points is as
    /// the record is: a record is never changed, and its place is not used again while a slot points to it.
    fn adopt_row(&self, space: u32, row: u32, side: &Side) -> bool {
        let owner = Owner::unpack(side.owner);
        let mut stripe = self.lock(owner.hash.stripe);
        let location = owner.location.to_bits();
        let slot = stripe.database(owner.db).and_then(|database| {
            let position = database.table.find_exact(owner.hash.slot, location, SlotKind::Annotated)?;
            database.table.slot(position)
        });
        let is_there = slot.is_some_and(|slot| slot.kind() == SlotKind::Annotated);
        if is_there && !stripe.rows.contains_key(&location) {
            stripe.rows.insert(location, RowRef { space, row });
            return true;
        }
        false
    }

    /// Makes a row for every annotated entry that has none, from its record, on all cores.
    fn make_rows(&self) {
        let mut owners: Vec<Owner> = Vec::new();
        for stripe in 0..STRIPES {
            let guard = self.lock(stripe as u8);
            for (db, database) in guard.databases() {
                database.table.for_each(|_, slot| {
                    if slot.kind() == SlotKind::Annotated && !guard.rows.contains_key(&slot.location()) {
                        let hash = KeyHash { stripe: stripe as u8, slot: slot.hash() };
                        owners.push(Owner { db, hash, location: Location::from_bits(slot.location()) });
                    }
                });
            }
        }
        if owners.is_empty() {
            return;
        }
        // In the order of the segments, which is how the disk likes to be read.
        owners.sort_unstable_by_key(|owner| owner.location.to_bits());
        let next = AtomicUsize::new(0);
        let threads =
            std::thread::available_parallelism().map_or(1, NonZero::get).min(owners.len() / ENTRIES_PER_TURN + 1);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let start = next.fetch_add(ENTRIES_PER_TURN, Ordering::Relaxed);
                        let Some(rest) = owners.get(start..).filter(|rest| !rest.is_empty()) else { return };
                        rest.iter().take(ENTRIES_PER_TURN).for_each(|owner| self.make_row(*owner));
                    }
                });
            }
        });
    }

    fn make_row(&self, owner: Owner) {
        let pin = self.store.pin();
        let Some(record) = self.store.record(&pin, owner.location).filter(|r| r.is_trusted() || r.verify()) else {
            self.report_damage(owner.db, owner.hash, owner.location);
            return;
        };
        let Some(annex) = record.annex().and_then(Annex::parse) else {
            self.report_damage(owner.db, owner.hash, owner.location);
            return;
        };
        let is_known = annex.space == UNPLACED || self.space_by_id(annex.space).is_some();
        let placed = if is_known { self.codes(&annex, record.value()) } else { None };
        let row = placed.and_then(|(space, codes)| {
            let row = space.rows.insert(codes.as_ref(), side(owner, &annex)).ok()?;
            Some(RowRef { space: space.id(), row })
        });
        let mut stripe = self.lock(owner.hash.stripe);
        match row {
            Some(row) => {
                stripe.rows.insert(owner.location.to_bits(), row);
            }
            // Its space was dropped, or there is no room for a row: an entry without its row would not be found by what removes it.
            None => self.forget_entry(&mut stripe, owner),
        }
    }

    fn forget_entry(&self, stripe: &mut Stripe, owner: Owner) {
        let database = stripe.database_or_new(owner.db);
        let location = owner.location.to_bits();
        if let Some(position) = database.table.find_exact(owner.hash.slot, location, SlotKind::Annotated) {
            let before = database.table.memory_bytes() as i64;
            database.remove(position);
            self.account_slot(-1, database.table.memory_bytes() as i64 - before);
            let mut forgotten = self.meaning.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
            forgotten.0.insert((owner.hash.to_u64(), location), owner);
        }
    }

    /// Replay goes on after recovery has removed slots of itself: what the log says of them.
    pub(crate) fn note_forgotten(&self, op: &Op<'_>) {
        let mut forgotten = self.meaning.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        if forgotten.0.is_empty() {
            return;
        }
        match op {
            // The sweep had come so far.
            Op::Remove { hash, location, .. } => {
                forgotten.0.remove(&(hash.to_u64(), location.to_bits()));
            }
            Op::Flush { db } => forgotten.0.retain(|_, owner| owner.db != *db),
            Op::Swap { a, b } => forgotten.0.values_mut().for_each(|owner| owner.db = swapped(owner.db, *a, *b)),
            Op::Place { .. }
            | Op::Expire { .. }
            | Op::HeapPut { .. }
            | Op::HeapEdit { .. }
            | Op::HeapRemove { .. }
            | Op::HeapExpire { .. }
            | Op::KeyPut { .. }
            | Op::KeyRemove { .. }
            | Op::KeyExpire { .. }
            | Op::Space { .. }
            | Op::SpaceDrop { .. }
            | Op::Predicate { .. }
            | Op::Swept { .. }
            | Op::Undone { .. }
            | Op::StoreSynced { .. } => {}
        }
    }

    /// Logs what recovery has removed of itself and the log does not say. The places are used again, and the next recovery must not take
    /// what is there then for what was there before.
    pub(crate) fn log_forgotten(&self) {
        let forgotten = std::mem::take(&mut *self.meaning.forgotten.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(log) = self.log.as_ref().filter(|_| !self.logs_keys()) else { return };
        let owners: Vec<Owner> = forgotten.0.into_values().collect();
        for some in owners.chunks(ENTRIES_PER_TURN) {
            let mut frame = Vec::new();
            for Owner { db, hash, location } in some.iter().copied() {
                let stripe = self.lock(hash.stripe);
                let find = |own: &Database| own.table.find_exact(hash.slot, location.to_bits(), SlotKind::Record);
                if stripe.database(db).and_then(find).is_none() {
                    Op::Remove { db, hash, location }.encode(&mut frame);
                }
            }
            if !frame.is_empty()
                && let Err(error) = log.append(&frame)
            {
                tracing::warn!(%error, "what recovery removed could not be logged");
            }
        }
    }

    /// Carries an invalidation by name out in replay, in the stripes that `wants` accepts.
    pub(crate) fn replay_by_name(&self, predicate: &Predicate, wants: &dyn Fn(u8) -> bool) -> u64 {
        let db = predicate.db.load(Ordering::Relaxed);
        let pin = self.pin();
        let mut removed = 0;
        for stripe in (0..=u8::MAX).filter(|stripe| wants(*stripe)) {
            let mut guard = self.lock(stripe);
            let mut covered: Vec<Slot> = Vec::new();
            if let Some(database) = guard.database(db) {
                database.table.for_each(|_, slot| {
                    let covers = match slot.kind() {
                        SlotKind::Record | SlotKind::Annotated => {
                            let record = self.store.record(&pin, Location::from_bits(slot.location()));
                            record.is_some_and(|record| {
                                let hash = KeyHash { stripe, slot: slot.hash() };
                                // The place may have been used again since: then another key is there.
                                (record.is_trusted() || record.verify())
                                    && KeyHash::of(record.key(), self.seed) == hash
                                    && predicate.covers_name(record.key())
                            })
                        }
                        SlotKind::Heap => {
                            let entry = guard.heap.at(slot.location() as u32);
                            entry.is_some_and(|entry| predicate.covers_name(&entry.key))
                        }
                        SlotKind::Empty => false,
                    };
                    if covers {
                        covered.push(slot);
                    }
                });
            }
            for slot in covered {
                removed += 1;
                let hash = KeyHash { stripe, slot: slot.hash() };
                if slot.kind() == SlotKind::Heap {
                    let key = guard.heap.at(slot.location() as u32).map(|entry| entry.key.clone()).unwrap_or_default();
                    self.account(self.remove_heap(&mut guard, db, hash, &key));
                    continue;
                }
                let location = Location::from_bits(slot.location());
                if self.logs_keys() {
                    let bytes = self.store.record(&pin, location).map_or(0, |record| record.bytes());
                    self.store.release(location, bytes);
                }
                self.forget_entry(&mut guard, Owner { db, hash, location });
            }
        }
        removed
    }

    /// The edits from which spaces and invalidations are known again, for a checkpoint.
    pub(crate) fn meaning_edits(&self) -> Vec<Vec<u8>> {
        let mut edits = Vec::new();
        let edit = |op: &Op<'_>| {
            let mut body = Vec::new();
            op.encode(&mut body);
            body
        };
        for space in self.spaces() {
            edits.push(edit(&Op::Space { id: space.id(), body: &space.describe() }));
        }
        // So that the id of a space that was dropped is not given to another, which would inherit its invalidations.
        let last_id = self.meaning.registry.read().unwrap_or_else(PoisonError::into_inner).next_id() - 1;
        if self.space_by_id(last_id).is_none() {
            edits.push(edit(&Op::SpaceDrop { id: last_id }));
        }
        // Under the lock of any stripe no databases are exchanged: the edits behind this one are as of this position.
        let _stripe = self.lock(0);
        let history = self.meaning.history.lock().unwrap_or_else(PoisonError::into_inner);
        if !history.is_empty() {
            let through = self.log.as_ref().map_or(0, |log| log.last().0);
            edits.push(edit(&Op::StoreSynced { through }));
        }
        for predicate in history.iter() {
            let state = if predicate.undone.load(Ordering::Relaxed) {
                PredicateState::Undone
            } else if predicate.swept.load(Ordering::Relaxed) {
                PredicateState::Swept
            } else {
                PredicateState::Active
            };
            let count = predicate.count.load(Ordering::Relaxed);
            edits.push(edit(&Op::Predicate { lsn: predicate.lsn, state, count, body: &predicate.encode() }));
        }
        edits
    }

    /// Whether index and keyspace agree: every annotated entry has one row that names it, and every row is of an entry. For tests.
    ///
    /// # Errors
    /// The first disagreement, in words.
    #[doc(hidden)]
    pub fn check_meaning(&self, now_ms: u64) -> Result<u64, String> {
        let all = self.begin(crate::Scope::All, now_ms);
        let mut entries = 0u64;
        let mut rows = BTreeSet::new();
        for stripe in 0..=u8::MAX {
            let guard = all.stripe(stripe);
            let mut in_stripe = 0;
            for (db, database) in guard.databases() {
                let mut wrong = None;
                database.table.for_each(|_, slot| {
                    if slot.kind() != SlotKind::Annotated {
                        return;
                    }
                    in_stripe += 1;
                    let hash = KeyHash { stripe, slot: slot.hash() };
                    let owner = Owner { db, hash, location: Location::from_bits(slot.location()) };
                    let Some(row) = guard.rows.get(&slot.location()) else {
                        wrong = Some(format!("{owner:?} has no row"));
                        return;
                    };
                    let side = self.space_by_id(row.space).and_then(|space| space.rows.side(row.row));
                    match side {
                        Some(side) if side.owner == owner.pack() => {}
                        Some(side) => {
                            wrong = Some(format!("{row:?} of {owner:?} names {:?}", Owner::unpack(side.owner)))
                        }
                        None => wrong = Some(format!("{row:?} of {owner:?} is free")),
                    }
                    if !rows.insert((row.space, row.row)) {
                        wrong = Some(format!("{row:?} belongs to two entries"));
                    }
                });
                if let Some(wrong) = wrong {
                    return Err(wrong);
                }
            }
            if guard.rows.len() != in_stripe {
                return Err(format!("stripe {stripe} has {} rows for {in_stripe} annotated entries", guard.rows.len()));
            }
            entries += in_stripe as u64;
        }
        let registry = self.meaning.registry.read().unwrap_or_else(PoisonError::into_inner);
        let live: u64 = registry.all().iter().map(|space| space.rows.len()).sum();
        if live == entries { Ok(entries) } else { Err(format!("{live} rows for {entries} annotated entries")) }
    }
}
