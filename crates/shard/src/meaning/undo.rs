//! Taking an invalidation back: what a sweep removes is kept for a while, within a bound of memory, and set again by ordinary writes.

use super::annex::Annex;
use super::predicate::Predicate;
use super::{MeaningError, UNDO_BYTES_MAX, UNDO_WINDOW_MS};
use crate::api::{Put, Scope};
use crate::heap::HeapValue;
use crate::ops::Op;
use crate::shard::Shard;
use crate::slot::{Slot, SlotKind};
use crate::txn::Txn;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use sutra_mmap_store::Location;

/// An entry as it was.
struct Kept {
    key: Vec<u8>,
    put: Put,
    body: KeptBody,
}

enum KeptBody {
    Record { value: Vec<u8>, annex: Option<Vec<u8>> },
    Heap(HeapValue),
}

/// What the invalidations of the last time removed.
pub(super) struct Undo {
    window_ms: u64,
    bytes_max: u64,
    bytes: u64,
    kept: BTreeMap<u64, Vec<Kept>>,
    /// Invalidations of which not everything could be kept.
    overflowed: BTreeSet<u64>,
}

impl Default for Undo {
    fn default() -> Undo {
        Undo {
            window_ms: UNDO_WINDOW_MS,
            bytes_max: UNDO_BYTES_MAX,
            bytes: 0,
            kept: BTreeMap::new(),
            overflowed: BTreeSet::new(),
        }
    }
}

impl Kept {
    fn bytes(&self) -> u64 {
        let body = match &self.body {
            KeptBody::Record { value, annex } => value.len() + annex.as_ref().map_or(0, Vec::len),
            KeptBody::Heap(value) => value.memory_bytes(),
        };
        (size_of::<Kept>() + self.key.len() + body) as u64
    }
}

impl Undo {
    fn forget(&mut self, lsn: u64) {
        drop(self.take(lsn));
    }

    fn take(&mut self, lsn: u64) -> Vec<Kept> {
        let kept = self.kept.remove(&lsn).unwrap_or_default();
        self.bytes -= kept.iter().map(Kept::bytes).sum::<u64>();
        kept
    }
}

impl Txn<'_> {
    /// Keeps the entry of a slot that an invalidation is about to remove.
    pub(super) fn keep_for_undo(&self, stripe: u8, slot: Slot, predicate: &Predicate) {
        let mut undo = self.shard.meaning.undo.lock().unwrap_or_else(PoisonError::into_inner);
        if undo.window_ms == 0 || undo.bytes_max == 0 || undo.overflowed.contains(&predicate.lsn) {
            return;
        }
        let kept = match slot.kind() {
            SlotKind::Record | SlotKind::Annotated => {
                let Some(record) = self.shard.store.record(&self.pin, Location::from_bits(slot.location())) else {
                    return;
                };
                let Ok(expires_at_ms) = record.expires_at_ms() else { return };
                let (value, annex) = (record.value().to_vec(), record.annex().map(<[u8]>::to_vec));
                let put = Put { expires_at_ms, cost: record.cost() };
                Kept { key: record.key().to_vec(), put, body: KeptBody::Record { value, annex } }
            }
            SlotKind::Heap => {
                let Some(entry) = self.stripe(stripe).heap.at(slot.location() as u32) else { return };
                let put = Put { expires_at_ms: entry.expires_at_ms, cost: Some(entry.cost) };
                Kept { key: entry.key.to_vec(), put, body: KeptBody::Heap(entry.value.clone()) }
            }
            SlotKind::Empty => return,
        };
        let bytes = kept.bytes();
        if undo.bytes + bytes > undo.bytes_max {
            // All or nothing: an invalidation taken back in part would be neither.
            undo.forget(predicate.lsn);
            undo.overflowed.insert(predicate.lsn);
            return;
        }
        undo.bytes += bytes;
        undo.kept.entry(predicate.lsn).or_default().push(kept);
    }
}

impl Shard {
    /// Sets how long an invalidation can be taken back, in milliseconds, and what that may cost in memory, in bytes; 0 in either: it cannot.
    pub fn set_undo_limits(&self, window_ms: u64, bytes_max: u64) {
        let mut undo = self.meaning.undo.lock().unwrap_or_else(PoisonError::into_inner);
        (undo.window_ms, undo.bytes_max) = (window_ms, bytes_max);
    }

    /// Takes an invalidation back: what it removed is set again as it was, but for keys that were set anew and entries that have expired
    /// meanwhile. Returns how many entries there are again.
    ///
    /// # Errors
    /// [`MeaningError::NotUndoable`], [`MeaningError::Write`].
    pub fn undo(&self, lsn: u64, now_ms: u64) -> Result<u64, MeaningError> {
        let refuse = |why| Err(MeaningError::NotUndoable { lsn, why });
        let Some(predicate) = self.remembered(lsn) else { return refuse("no invalidation of this LSN is remembered") };
        if !predicate.swept.load(Ordering::Relaxed) {
            return refuse("it is still being carried out");
        }
        let mut kept = {
            let mut undo = self.meaning.undo.lock().unwrap_or_else(PoisonError::into_inner);
            if undo.overflowed.contains(&lsn) {
                return refuse("it removed more than is kept for undoing");
            }
            if predicate.at_ms.saturating_add(undo.window_ms) < now_ms {
                return refuse("its time is over");
            }
            if predicate.undone.load(Ordering::Relaxed) {
                return refuse("it was undone already");
            }
            if !undo.kept.contains_key(&lsn) && predicate.count.load(Ordering::Relaxed) > 0 {
                return refuse("what it removed is not kept any more");
            }
            predicate.undone.store(true, Ordering::Relaxed);
            undo.take(lsn)
        };
        let mut again = 0;
        while let Some(last) = kept.last() {
            match self.set_again(last, &predicate, now_ms) {
                Ok(is_back) => again += u64::from(is_back),
                Err(error) => {
                    // What is not back yet can be asked for again.
                    let mut undo = self.meaning.undo.lock().unwrap_or_else(PoisonError::into_inner);
                    undo.bytes += kept.iter().map(Kept::bytes).sum::<u64>();
                    undo.kept.insert(lsn, kept);
                    predicate.undone.store(false, Ordering::Relaxed);
                    return Err(error);
                }
            }
            kept.pop();
        }
        if let Some(log) = &self.log {
            let mut frame = Vec::new();
            Op::Undone { lsn }.encode(&mut frame);
            log.append(&frame).map_err(|error| crate::WriteError::Unavailable(error.to_string()))?;
        }
        self.sync()?;
        Ok(again)
    }

    /// Sets an entry again as it was; whether it is back.
    fn set_again(&self, kept: &Kept, predicate: &Predicate, now_ms: u64) -> Result<bool, MeaningError> {
        let Kept { key, put, body } = kept;
        if put.expires_at_ms.is_some_and(|at| at <= now_ms) {
            return Ok(false);
        }
        self.make_room(kept.bytes(), now_ms)?;
        let mut txn = self.begin(Scope::Key(key), now_ms);
        // SWAPDB takes the invalidation along.
        let db = predicate.db.load(Ordering::Relaxed);
        if txn.peek(db, key).is_some() || self.is_gone_otherwise(kept, predicate, db) {
            return Ok(false);
        }
        match body {
            KeptBody::Record { annex: Some(annex), .. } if !txn.knows_space_of(annex) => return Ok(false),
            KeptBody::Record { value, annex: Some(annex) } => {
                let annex = txn.restamped(annex);
                txn.put_record(db, key, value, *put, Some(&annex))?;
            }
            KeptBody::Record { value, annex: None } => txn.put_record(db, key, value, *put, None)?,
            KeptBody::Heap(value) => txn.put_heap(db, key, value.clone(), *put)?,
        }
        txn.commit()?;
        Ok(true)
    }

    /// Whether another invalidation that stands would have removed the entry, too: setting it again would undo that one as well.
    fn is_gone_otherwise(&self, kept: &Kept, predicate: &Predicate, db: u8) -> bool {
        let history = self.meaning.history.lock().unwrap_or_else(PoisonError::into_inner);
        let mut others =
            history.iter().filter(|other| other.lsn != predicate.lsn && !other.undone.load(Ordering::Relaxed));
        let annex = match &kept.body {
            KeptBody::Record { value, annex: Some(annex) } => Annex::parse(annex).map(|annex| (annex, value)),
            KeptBody::Record { annex: None, .. } | KeptBody::Heap(_) => None,
        };
        match annex {
            Some((annex, value)) => others.any(|other| other.covers(db, &kept.key, &annex, value)),
            None => others.any(|other| {
                let is_later = other.lsn > predicate.lsn;
                is_later && other.is_of(db) && other.conditions.names_only() && other.covers_name(&kept.key)
            }),
        }
    }

    /// A database is emptied: that is not undone with an invalidation before it.
    pub(crate) fn forget_undo_of(&self, db: u8) {
        let mut undo = self.meaning.undo.lock().unwrap_or_else(PoisonError::into_inner);
        let lsns: Vec<u64> = undo.kept.keys().copied().collect();
        for lsn in lsns {
            if self.remembered(lsn).is_none_or(|predicate| predicate.is_of(db)) {
                undo.forget(lsn);
            }
        }
    }

    pub(super) fn forget_undo(&self, now_ms: u64) {
        let mut undo = self.meaning.undo.lock().unwrap_or_else(PoisonError::into_inner);
        if undo.kept.is_empty() && undo.overflowed.is_empty() {
            return;
        }
        let window_ms = undo.window_ms;
        let old: Vec<u64> = undo
            .kept
            .keys()
            .chain(&undo.overflowed)
            .copied()
            .filter(|lsn| {
                self.remembered(*lsn).is_none_or(|predicate| predicate.at_ms.saturating_add(window_ms) < now_ms)
            })
            .collect();
        for lsn in old {
            undo.forget(lsn);
            undo.overflowed.remove(&lsn);
        }
    }

    pub(crate) fn undo_bytes(&self) -> u64 {
        self.meaning.undo.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}
