//! Invalidation: publish a predicate, sweep what it covers, retire it.

use super::annex::Annex;
use super::fault::Fault;
use super::predicate::{Conditions, Nearness, Predicate, swapped};
use super::rows::{Owner, RowRef};
use super::space::Space;
use super::{AUDIT_LEN, LEASE_MS_MAX, MeaningError};
use crate::api::{Scope, WriteError};
use crate::hash::{KeyHash, STRIPES};
use crate::ops::{Op, PredicateState};
use crate::shard::Shard;
use crate::slot::{Slot, SlotKind};
use crate::stripe::Stripe;
use crate::txn::Txn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use sutra_hnsw_index::{Candidate, Query};
use sutra_mmap_store::{Location, Record};
use sutra_wal::Lsn;

/// Bins of a dry run's histogram on either side of the threshold, each of [`BIN`] similarity.
const BINS: usize = 10;
const BIN: f32 = 0.01;

/// What to remove: every live entry that meets all conditions that are given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Invalidation<'a> {
    /// The database.
    pub db: u8,
    /// A space, a vector of it, and the least similarity.
    pub meaning: Option<(&'a Arc<Space>, &'a Query, f32)>,
    /// All of a space.
    pub space: Option<&'a Arc<Space>>,
    /// All of these tags.
    pub tags: &'a [&'a [u8]],
    /// Keys that the pattern covers.
    pub glob: Option<&'a [u8]>,
    /// Written at least so many milliseconds ago. Entries of plain commands carry no time of writing and never meet it.
    pub older_ms: Option<u64>,
    /// Made from a version of this source below this one.
    pub dep: Option<(&'a [u8], u64)>,
    /// Writes that it covers are refused for so long.
    pub hold_ms: u64,
    /// For the audit.
    pub reason: &'a [u8],
    /// For the audit.
    pub who: &'a str,
}

/// An invalidation that is published and not yet swept. Dropping it leaves the sweep to [`Shard::tick`].
#[derive(Debug)]
pub struct Published(Arc<Predicate>);

impl Drop for Published {
    fn drop(&mut self) {
        self.0.owned.store(false, Ordering::Relaxed);
    }
}

/// What an invalidation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalidated {
    /// Its LSN (without a log, its position in the order of invalidations).
    pub lsn: u64,
    /// Entries removed.
    pub count: u64,
}

/// What an invalidation would do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DryRun {
    /// Entries that it would remove.
    pub count: u64,
    /// Some of them: the nearest to the threshold first, so that what is removed by a hair's breadth is seen.
    pub samples: Vec<(Vec<u8>, Option<f32>)>,
    /// Entries that meet all other conditions by similarity: lower edge of a bin and entries in it. Empty without a vector.
    pub histogram: Vec<(f32, u64)>,
}

/// A line of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Its LSN.
    pub lsn: u64,
    /// Unix milliseconds.
    pub at_ms: u64,
    /// Who asked for it.
    pub who: String,
    /// The conditions, in words.
    pub predicate: String,
    /// Why, as given.
    pub reason: Vec<u8>,
    /// Entries removed (so far).
    pub count: u64,
    /// Whether everything is removed.
    pub complete: bool,
    /// Whether it was taken back.
    pub undone: bool,
}

impl Conditions {
    fn of(invalidation: &Invalidation<'_>) -> Result<Conditions, MeaningError> {
        let Invalidation { meaning, space, tags, glob, older_ms, dep, .. } = *invalidation;
        let named = meaning.map(|(space, _, _)| space).or(space);
        let conditions = Conditions {
            space: named.map(|space| (space.id(), space.name().to_vec())),
            near: meaning.map(|(_, query, min)| {
                let vector = query.values().iter().flat_map(|x| x.to_le_bytes()).collect();
                Nearness { query: query.clone(), vector, min }
            }),
            tags: tags.iter().map(|tag| tag.to_vec()).collect(),
            glob: glob.map(<[u8]>::to_vec),
            older_ms,
            dep: dep.map(|(name, below)| (name.to_vec(), below)),
        };
        if conditions.names_only() && conditions.glob.is_none() {
            return Err(MeaningError::NoCondition);
        }
        Ok(conditions)
    }
}

impl Shard {
    /// Removes every live entry that meets all conditions, and says how many there were. From the moment at which the predicate is
    /// published nobody sees any of them; the call returns when all are removed and the removal is durable. Takes no long locks, but time
    /// that grows with the entries to be looked at: not for a thread that others wait for.
    ///
    /// # Errors
    /// [`MeaningError::NoCondition`], [`MeaningError::Write`].
    pub fn invalidate(&self, invalidation: &Invalidation<'_>, now_ms: u64) -> Result<Invalidated, MeaningError> {
        let published = self.publish_invalidation(invalidation, now_ms)?;
        self.finish_invalidation(published)
    }

    /// The first part of [`Shard::invalidate`]: some ten microseconds, after which nobody sees what is covered.
    ///
    /// # Errors
    /// As [`Shard::invalidate`]; nothing was published.
    pub fn publish_invalidation(
        &self,
        invalidation: &Invalidation<'_>,
        now_ms: u64,
    ) -> Result<Published, MeaningError> {
        let conditions = Conditions::of(invalidation)?;
        Ok(Published(self.publish(conditions, invalidation, true, now_ms)?))
    }

    /// The second part of [`Shard::invalidate`]: removes, counts, makes durable. If it is never called, a tick does it.
    ///
    /// # Errors
    /// As [`Shard::invalidate`]; what is covered stays unseen, and is removed when the cause is gone.
    pub fn finish_invalidation(&self, published: Published) -> Result<Invalidated, MeaningError> {
        let predicate = Arc::clone(&published.0);
        let swept = self.sweep(&predicate);
        predicate.owned.store(false, Ordering::Relaxed);
        swept?;
        self.sync()?;
        Ok(Invalidated { lsn: predicate.lsn, count: predicate.count.load(Ordering::Relaxed) })
    }

    /// Begins a new generation of a space: everything in it is invalid from now on, and removed in the background.
    ///
    /// # Errors
    /// [`MeaningError::NoSuchSpace`], [`MeaningError::Write`].
    pub fn bump_space(&self, name: &[u8], db: u8, who: &str, now_ms: u64) -> Result<Lsn, MeaningError> {
        let space = self.space(name).ok_or_else(|| MeaningError::NoSuchSpace(super::text(name)))?;
        let invalidation = Invalidation { db, space: Some(&space), reason: b"BUMP", who, ..Invalidation::default() };
        let predicate = self.publish(Conditions::of(&invalidation)?, &invalidation, false, now_ms)?;
        self.sync()?;
        Ok(Lsn(predicate.lsn))
    }

    /// The instant of an invalidation: with every stripe locked, its frame is appended and it is published.
    fn publish(
        &self,
        conditions: Conditions,
        invalidation: &Invalidation<'_>,
        owned: bool,
        now_ms: u64,
    ) -> Result<Arc<Predicate>, MeaningError> {
        self.writable()?;
        let mut predicate = Predicate {
            lsn: 0,
            position: 0,
            db: AtomicU8::new(invalidation.db),
            at_ms: now_ms,
            hold_until_ms: if invalidation.hold_ms == 0 { 0 } else { now_ms.saturating_add(invalidation.hold_ms) },
            conditions,
            who: invalidation.who.to_owned(),
            reason: invalidation.reason.to_vec(),
            count: AtomicU64::new(0),
            swept: AtomicBool::new(false),
            owned: AtomicBool::new(owned),
            undone: AtomicBool::new(false),
        };
        let mut frame = Vec::new();
        Op::Predicate { lsn: 0, state: PredicateState::Active, count: 0, body: &predicate.encode() }.encode(&mut frame);
        let without_locks = self.meaning.planted.is(Fault::PublishWithoutLocks);
        let all = self.begin(if without_locks { Scope::Nothing } else { Scope::All }, now_ms);
        predicate.position = self.meaning.tick_position();
        predicate.lsn = match &self.log {
            Some(log) => log.append(&frame).map_err(|error| WriteError::Unavailable(error.to_string()))?.0,
            // Without a log, stamps are positions.
            None => predicate.position,
        };
        if without_locks {
            (0..100).for_each(|_| std::thread::yield_now());
        }
        let predicate = Arc::new(predicate);
        self.enter(Arc::clone(&predicate));
        drop(all);
        self.meaning.counts.invalidations.fetch_add(1, Ordering::Relaxed);
        if self.log.is_some()
            && let Err(error) = self.flush_log(Lsn(predicate.lsn))
        {
            // It is published, so it must be carried out: by the next tick that can.
            predicate.owned.store(false, Ordering::Relaxed);
            return Err(error.into());
        }
        Ok(predicate)
    }

    /// Makes a predicate known to readers, writers, leases and audit. With every stripe locked, or before anything is served.
    pub(super) fn enter(&self, predicate: Arc<Predicate>) {
        let meaning = &self.meaning;
        meaning.published.fetch_add(1, Ordering::SeqCst);
        if !predicate.swept.load(Ordering::Relaxed) {
            if predicate.conditions.names_only() {
                let mut by_name = meaning.by_name.lock().unwrap_or_else(PoisonError::into_inner);
                let sequence = meaning.by_name_sequence.fetch_add(1, Ordering::Relaxed) + 1;
                by_name.push((sequence, Arc::clone(&predicate)));
            } else {
                let mut active = meaning.active.write().unwrap_or_else(PoisonError::into_inner);
                *active = active.iter().cloned().chain([Arc::clone(&predicate)]).collect();
                meaning.active_count.store(active.len() as u32, Ordering::Relaxed);
            }
        }
        if predicate.hold_until_ms != 0 {
            let mut holds = meaning.holds.write().unwrap_or_else(PoisonError::into_inner);
            holds.push(Arc::clone(&predicate));
            meaning.holds_count.store(holds.len() as u32, Ordering::Relaxed);
        }
        meaning.history.lock().unwrap_or_else(PoisonError::into_inner).push_back(predicate);
    }

    /// Removes what a published predicate covers; afterwards it is retired.
    fn sweep(&self, predicate: &Arc<Predicate>) -> Result<(), MeaningError> {
        if predicate.swept.load(Ordering::Relaxed) {
            return Ok(());
        }
        if predicate.conditions.names_only() {
            // Whoever locks a stripe sweeps it.
            (0..STRIPES).for_each(|stripe| drop(self.lock(stripe as u8)));
        } else {
            let spaces = self.all_spaces();
            for space in spaces.iter().filter(|space| predicate.conditions.concern(space)) {
                self.sweep_space(space, predicate);
            }
        }
        self.retire(predicate)
    }

    fn sweep_space(&self, space: &Arc<Space>, predicate: &Predicate) {
        let filter = predicate.conditions.filter(predicate.at_ms, Some(predicate.lsn));
        let remove = |candidate: &Candidate| {
            if self.meaning.planted.is(Fault::SweepMissesRows) && candidate.row % 16 == 13 {
                return;
            }
            let mut side = candidate.side;
            let row = RowRef { space: space.id(), row: candidate.row };
            // The entry may have moved since the row was read: then the row says where to.
            loop {
                let owner = Owner::unpack(side.owner);
                let mut txn = Txn::begin_stripe(self, owner.hash.stripe, predicate.at_ms);
                match txn.covered_at(owner, row, predicate) {
                    Covered::Yes { slot, live } => {
                        if live {
                            txn.keep_for_undo(owner.hash.stripe, slot, predicate);
                        }
                        if txn.remove_slot_at(owner.db, owner.hash, slot.location(), slot.kind()).is_some() && live {
                            predicate.count.fetch_add(1, Ordering::Relaxed);
                            self.meaning.counts.invalidated.fetch_add(1, Ordering::Relaxed);
                            space.counters.invalidated.fetch_add(1, Ordering::Relaxed);
                        }
                        break;
                    }
                    Covered::No => break,
                    Covered::Moved => {}
                }
                drop(txn);
                match space.rows.side(candidate.row) {
                    Some(now) if now.owner != side.owner => side = now,
                    Some(_) | None => break,
                }
            }
        };
        match &predicate.conditions.near {
            Some(near) => space.each_row_near(&near.query, near.min, &filter, remove),
            None => space.each_row(&filter, remove),
        };
    }

    /// Logs that a predicate is swept and takes it from the readers' way.
    fn retire(&self, predicate: &Arc<Predicate>) -> Result<(), MeaningError> {
        if let Some(log) = &self.log {
            let mut frame = Vec::new();
            let count = predicate.count.load(Ordering::Relaxed);
            Op::Swept { lsn: predicate.lsn, count }.encode(&mut frame);
            log.append(&frame).map_err(|error| WriteError::Unavailable(error.to_string()))?;
        }
        predicate.swept.store(true, Ordering::Relaxed);
        let meaning = &self.meaning;
        if predicate.conditions.names_only() {
            let mut by_name = meaning.by_name.lock().unwrap_or_else(PoisonError::into_inner);
            by_name.retain(|(_, other)| !Arc::ptr_eq(other, predicate));
        } else {
            let mut active = meaning.active.write().unwrap_or_else(PoisonError::into_inner);
            *active = active.iter().filter(|other| !Arc::ptr_eq(other, predicate)).cloned().collect();
            meaning.active_count.store(active.len() as u32, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether an invalidation that is being swept covers a record of an annotated entry.
    #[cold]
    pub(crate) fn is_covered(&self, db: u8, record: &Record<'_>) -> bool {
        self.is_covered_before(u64::MAX, db, record)
    }

    /// As [`Shard::is_covered`], by an invalidation of a lower LSN: to that one the entry belongs.
    pub(super) fn is_covered_before(&self, lsn: u64, db: u8, record: &Record<'_>) -> bool {
        if self.meaning.planted.is(Fault::ReadersIgnoreActive) {
            return false;
        }
        let Some(annex) = record.annex().and_then(Annex::parse) else { return false };
        let active = self.meaning.active.read().unwrap_or_else(PoisonError::into_inner);
        active
            .iter()
            .filter(|predicate| predicate.lsn < lsn)
            .any(|predicate| predicate.covers(db, record.key(), &annex, record.value()))
    }

    /// Removes from a stripe that was just locked what invalidations by name cover in it.
    #[cold]
    pub(crate) fn sweep_by_name<'s>(&'s self, stripe: u8, guard: MutexGuard<'s, Stripe>) -> MutexGuard<'s, Stripe> {
        // Read under the stripe's lock: nothing can be published meanwhile.
        let through = self.meaning.by_name_sequence.load(Ordering::Relaxed);
        let predicates: Vec<Arc<Predicate>> = {
            let by_name = self.meaning.by_name.lock().unwrap_or_else(PoisonError::into_inner);
            by_name
                .iter()
                .filter(|(at, _)| *at > guard.swept_through)
                .map(|(_, predicate)| Arc::clone(predicate))
                .collect()
        };
        let mut guard = guard;
        for predicate in predicates {
            let mut txn = Txn::of_guard(self, stripe, guard, predicate.at_ms);
            let removed = txn.remove_named(stripe, &predicate);
            predicate.count.fetch_add(removed, Ordering::Relaxed);
            self.meaning.counts.invalidated.fetch_add(removed, Ordering::Relaxed);
            guard = txn.into_guard().unwrap_or_else(|| self.lock_unswept(stripe));
        }
        guard.swept_through = through;
        guard
    }

    /// What an invalidation would remove, with up to `count` samples.
    ///
    /// # Errors
    /// [`MeaningError::NoCondition`].
    pub fn dry_run(&self, invalidation: &Invalidation<'_>, count: usize, now_ms: u64) -> Result<DryRun, MeaningError> {
        let conditions = Conditions::of(invalidation)?;
        let db = invalidation.db;
        if conditions.names_only() {
            return Ok(self.dry_run_by_name(&conditions, db, count, now_ms));
        }
        let mut run = DryRun::default();
        let mut samples: Vec<(Vec<u8>, Option<f32>)> = Vec::new();
        let threshold = conditions.near.as_ref().map(|near| near.min);
        let lowest = threshold.map_or(f32::MIN, |min| min - BIN * BINS as f32);
        let mut bins = [0u64; BINS * 2];
        // The histogram also shows what the threshold spares.
        let others = Conditions {
            space: conditions.space.clone(),
            near: None,
            tags: conditions.tags.clone(),
            glob: conditions.glob.clone(),
            older_ms: conditions.older_ms,
            dep: conditions.dep.clone(),
        };
        let filter = conditions.filter(now_ms, None);
        let spaces = self.all_spaces();
        for space in spaces.iter().filter(|space| conditions.concern(space)) {
            let look = |candidate: &Candidate| {
                let found = self.with_row(space, candidate, db, now_ms, |_, _, record| {
                    let annex = record.annex().and_then(Annex::parse)?;
                    if !others.cover(record.key(), &annex, record.value(), now_ms) {
                        return None;
                    }
                    let similarity = match &conditions.near {
                        Some(near) => Some(annex.similarity(&near.query, record.value())?),
                        None => None,
                    };
                    Some((record.key().to_vec(), similarity))
                });
                if let Some((key, similarity)) = found {
                    if let (Some(similarity), Some(min)) = (similarity, threshold) {
                        let bin = ((similarity - lowest) / BIN).floor().max(0.0) as usize;
                        bins[bin.min(BINS * 2 - 1)] += u64::from(similarity >= lowest);
                        if similarity < min {
                            return;
                        }
                    }
                    run.count += 1;
                    samples.push((key, similarity));
                    if samples.len() >= count.saturating_mul(4).max(1024) {
                        nearest_first(&mut samples, count);
                    }
                }
            };
            match &conditions.near {
                Some(near) => space.each_row_near(&near.query, lowest, &filter, look),
                None => space.each_row(&filter, look),
            };
        }
        nearest_first(&mut samples, count);
        run.samples = samples;
        if threshold.is_some() {
            run.histogram = bins.iter().enumerate().map(|(at, n)| (edge(lowest, at), *n)).collect();
        }
        Ok(run)
    }

    fn dry_run_by_name(&self, conditions: &Conditions, db: u8, count: usize, now_ms: u64) -> DryRun {
        let mut run = DryRun::default();
        for stripe in 0..STRIPES {
            let txn = Txn::begin_stripe(self, stripe as u8, now_ms);
            txn.for_each_live(stripe as u8, db, |key| {
                let covers = conditions.glob.as_ref().is_none_or(|glob| crate::glob::matches(glob, key));
                if covers {
                    run.count += 1;
                    if run.samples.len() < count {
                        run.samples.push((key.to_vec(), None));
                    }
                }
            });
        }
        run
    }

    /// The last `n` invalidations, newest first.
    #[must_use]
    pub fn audit(&self, n: usize) -> Vec<Audit> {
        let history = self.meaning.history.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |predicate: &Arc<Predicate>| Audit {
            lsn: predicate.lsn,
            at_ms: predicate.at_ms,
            who: predicate.who.clone(),
            predicate: predicate.conditions.to_string(),
            reason: predicate.reason.clone(),
            count: predicate.count.load(Ordering::Relaxed),
            complete: predicate.swept.load(Ordering::Relaxed),
            undone: predicate.undone.load(Ordering::Relaxed),
        };
        history.iter().rev().take(n).map(line).collect()
    }

    /// The invalidation of an LSN, while it is remembered.
    pub(super) fn remembered(&self, lsn: u64) -> Option<Arc<Predicate>> {
        let history = self.meaning.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.iter().rev().find(|predicate| predicate.lsn == lsn).cloned()
    }

    /// The standing work: sweeps what was published without being swept (a new generation, or before a crash), ends holds, forgets what
    /// is old.
    pub(crate) fn tick_meaning(&self, now_ms: u64) -> Result<(), MeaningError> {
        let meaning = &self.meaning;
        let mut unswept: Vec<Arc<Predicate>> =
            meaning.active.read().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        unswept.extend(
            meaning
                .by_name
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .map(|(_, predicate)| Arc::clone(predicate)),
        );
        for predicate in unswept.iter().filter(|predicate| !predicate.owned.load(Ordering::Relaxed)) {
            self.sweep(predicate)?;
        }
        if meaning.holds_count.load(Ordering::Relaxed) > 0 {
            let mut holds = meaning.holds.write().unwrap_or_else(PoisonError::into_inner);
            holds.retain(|hold| hold.holds(now_ms));
            meaning.holds_count.store(holds.len() as u32, Ordering::Relaxed);
        }
        let mut history = meaning.history.lock().unwrap_or_else(PoisonError::into_inner);
        while history.len() > AUDIT_LEN {
            let Some(oldest) = history.front() else { break };
            if !oldest.swept.load(Ordering::Relaxed) {
                break;
            }
            // A lease that is older than what is forgotten can no longer be judged.
            let may_be_leased = oldest.at_ms.saturating_add(LEASE_MS_MAX) > now_ms;
            if may_be_leased {
                meaning.fence_floor.fetch_max(oldest.position, Ordering::Relaxed);
            }
            history.pop_front();
        }
        drop(history);
        self.forget_undo(now_ms);
        self.end_old_leases(now_ms);
        Ok(())
    }

    /// SWAPDB: predicates follow their entries.
    pub(crate) fn swap_meaning(&self, a: u8, b: u8) {
        let swap = |db: u8| swapped(db, a, b);
        let history = self.meaning.history.lock().unwrap_or_else(PoisonError::into_inner);
        for predicate in history.iter() {
            predicate.db.store(swap(predicate.db.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
        drop(history);
        let spaces = self.all_spaces();
        for space in spaces {
            let mut moved = Vec::new();
            space.each_row(&sutra_hnsw_index::Filter::default(), |candidate| {
                let owner = Owner::unpack(candidate.side.owner);
                if swap(owner.db) != owner.db {
                    moved.push((candidate.row, Owner { db: swap(owner.db), ..owner }));
                }
            });
            for (row, owner) in moved {
                space.rows.update_side(row, |side| side.owner = owner.pack());
            }
        }
    }
}

/// What a stripe says of a row.
enum Covered {
    /// The entry is there and the predicate covers it.
    Yes { slot: Slot, live: bool },
    /// It is there, and the predicate does not cover it.
    No,
    /// It is not where the row was read to say.
    Moved,
}

impl Txn<'_> {
    fn covered_at(&self, owner: Owner, row: RowRef, predicate: &Predicate) -> Covered {
        let stripe = self.stripe(owner.hash.stripe);
        if stripe.rows.get(&owner.location.to_bits()) != Some(&row) {
            return Covered::Moved;
        }
        let slot = stripe.database(owner.db).and_then(|database| {
            let position = database.table.find_exact(owner.hash.slot, owner.location.to_bits(), SlotKind::Annotated)?;
            database.table.slot(position)
        });
        let Some(slot) = slot else { return Covered::No };
        let Some(record) = self.shard.store.record(&self.pin, owner.location) else { return Covered::No };
        let Some(annex) = record.annex().and_then(Annex::parse) else { return Covered::No };
        if !predicate.covers(owner.db, record.key(), &annex, record.value()) {
            return Covered::No;
        }
        let live = record.expires_at_ms().is_ok_and(|at| at.is_none_or(|at| at > self.now_ms()))
            && !self.shard.is_covered_before(predicate.lsn, owner.db, &record);
        Covered::Yes { slot, live }
    }

    /// Removes what an invalidation by name covers in a held stripe; how many live entries there were.
    fn remove_named(&mut self, stripe: u8, predicate: &Predicate) -> u64 {
        let db = predicate.db.load(Ordering::Relaxed);
        let mut covered: Vec<(Slot, bool)> = Vec::new();
        if let Some(database) = self.stripe(stripe).database(db) {
            database.table.for_each(|_, slot| {
                if let Some((key, live)) = self.key_of(db, stripe, slot, predicate.lsn)
                    && predicate.covers_name(key)
                {
                    covered.push((slot, live));
                }
            });
        }
        let mut removed = 0;
        for (slot, live) in covered {
            let hash = KeyHash { stripe, slot: slot.hash() };
            if live {
                self.keep_for_undo(stripe, slot, predicate);
            }
            if self.remove_slot_at(db, hash, slot.location(), slot.kind()).is_some() {
                removed += u64::from(live);
                if self.shard.meaning.leases_out.load(Ordering::Relaxed) > 0 {
                    let position = self.shard.meaning.tick_position();
                    self.stripe_mut(stripe).leases.note(position, db, slot.hash());
                }
            }
        }
        removed
    }

    /// The key of a slot, and whether its entry has neither expired nor been removed by an invalidation of a lower LSN than this.
    fn key_of(&self, db: u8, stripe: u8, slot: Slot, lsn: u64) -> Option<(&[u8], bool)> {
        let (key, expires_at_ms) = match slot.kind() {
            SlotKind::Record | SlotKind::Annotated => {
                let record = self.shard.store.record(&self.pin, Location::from_bits(slot.location()))?;
                if !record.is_trusted() && !record.verify() {
                    return None;
                }
                let is_hidden = slot.kind() == SlotKind::Annotated && self.shard.is_covered_before(lsn, db, &record);
                (record.key(), if is_hidden { Some(0) } else { record.expires_at_ms().ok()? })
            }
            SlotKind::Heap => {
                let entry = self.stripe(stripe).heap.at(slot.location() as u32)?;
                let empty = match &entry.value {
                    crate::heap::HeapValue::Hash(hash) => hash.is_empty(self.now_ms()),
                    crate::heap::HeapValue::Bytes(_) => false,
                };
                (&entry.key[..], if empty { Some(0) } else { entry.expires_at_ms })
            }
            SlotKind::Empty => return None,
        };
        Some((key, expires_at_ms.is_none_or(|at| at > self.now_ms())))
    }

    /// Keys of the live entries of a database in a held stripe.
    fn for_each_live(&self, stripe: u8, db: u8, mut visit: impl FnMut(&[u8])) {
        let Some(database) = self.stripe(stripe).database(db) else { return };
        database.table.for_each(|_, slot| {
            if let Some((key, true)) = self.key_of(db, stripe, slot, u64::MAX) {
                visit(key);
            }
        });
    }
}

/// The lower edge of a bin, without the digits that adding hundredths leaves.
fn edge(lowest: f32, bin: usize) -> f32 {
    (((f64::from(lowest) + f64::from(BIN) * bin as f64) * 1e4).round() / 1e4) as f32
}

fn nearest_first(samples: &mut Vec<(Vec<u8>, Option<f32>)>, count: usize) {
    samples.sort_by(|a, b| a.1.unwrap_or(0.0).total_cmp(&b.1.unwrap_or(0.0)).then_with(|| a.0.cmp(&b.0)));
    samples.truncate(count);
}
