//! Entries on their way from one shard into another: the most used first, with all that is known of them.
//!
//! An export goes over the whole index for every part of the answer, and remembers nothing in between: where it goes on is in the rank of the
//! last entry given. An entry that is used between two parts may rise past that place and be missed, or be given twice; one that is left
//! alone is given once. That is right for filling a cache, and wrong for a backup.
//!
//! **Lock order:** one stripe at a time, for a bounded number of slots, or for one entry.

use super::annex::Annex;
use super::space::{Space, UNPLACED};
use super::write::{Origin, VectorOf};
use super::{Annotations, MeaningError};
use crate::api::{Put, Value};
use crate::glob;
use crate::hash::{KeyHash, STRIPES};
use crate::shard::Shard;
use crate::slot::{IDLE_MS_MAX, Slot, SlotKind};
use crate::txn::Txn;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use sutra_mmap_store::Location;

/// Slots that are looked at under one lock: some tens of microseconds.
const SLOTS_AT_ONCE: usize = 2048;

/// Which entries are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// The database.
    pub db: u8,
    /// At most so many.
    pub count: usize,
    /// Written by a native command after this instant, in Unix milliseconds; entries of Redis's commands carry no such time.
    pub since_ms: Option<u64>,
    /// Keys that the pattern covers.
    pub glob: Option<&'a [u8]>,
    /// Only those behind this one.
    pub after: Option<Rank>,
}

/// Where an entry stands among all: first by the hits of native commands, then by the access counter (where the eviction policy keeps one), then by
/// its last use. The rest only tells entries apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    hits: u32,
    frequency: u8,
    /// Unix milliseconds; 0: longer ago than slots can tell.
    used_ms: u64,
    stripe: u8,
    hash: u32,
    location: u64,
}

/// As clients hand it back: six numbers in hexadecimal.
impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rank { hits, frequency, used_ms, stripe, hash, location } = self;
        write!(f, "{hits:x}-{frequency:x}-{used_ms:x}-{stripe:x}-{hash:x}-{location:x}")
    }
}

/// A text that is no rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRank;

impl FromStr for Rank {
    type Err = NoRank;

    fn from_str(text: &str) -> Result<Rank, NoRank> {
        let mut parts = text.split('-');
        let mut number = |max: u64| {
            let part = parts.next().filter(|part| !part.starts_with('+')).ok_or(NoRank)?;
            u64::from_str_radix(part, 16).ok().filter(|number| *number <= max).ok_or(NoRank)
        };
        let (word, byte) = (u64::from(u32::MAX), u64::from(u8::MAX));
        let rank = Rank {
            hits: number(word)? as u32,
            frequency: number(byte)? as u8,
            used_ms: number(u64::MAX)?,
            stripe: number(byte)? as u8,
            hash: number(word)? as u32,
            location: number(u64::MAX)?,
        };
        if parts.next().is_some() { Err(NoRank) } else { Ok(rank) }
    }
}

/// An entry as it is given away.
#[derive(Debug, Clone)]
pub struct Exported<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: Value<'a>,
    /// Its expiry and cost.
    pub put: Put,
    /// What a native command wrote beside it.
    pub notes: Option<Notes<'a>>,
}

/// What a native command has written beside a value.
#[derive(Debug, Clone)]
pub struct Notes<'a> {
    /// When, in Unix milliseconds.
    pub written_ms: u64,
    /// The space of its vector.
    pub space: Option<Arc<Space>>,
    /// Whether the value is the vector.
    pub is_vector: bool,
    /// The vector as little-endian f32, if there is one and the value is not it.
    pub vector: Cow<'a, [u8]>,
    /// Its tags.
    pub tags: Vec<&'a [u8]>,
    /// Its sources and their versions.
    pub deps: Vec<(&'a [u8], u64)>,
    /// Facts of the question that it answers, encoded; or empty.
    pub facts: &'a [u8],
    /// JSON, or empty.
    pub meta: &'a [u8],
}

impl Shard {
    /// Calls with the most used live entries, most first, each under its stripe's lock, until `take` breaks off (the entry that it breaks off
    /// with counts as given). Returns behind which rank to go on; `None`: there are no more.
    ///
    /// Looks at every slot of the database.
    pub fn export(
        &self,
        export: &Export<'_>,
        now_ms: u64,
        take: &mut dyn FnMut(&Exported<'_>) -> ControlFlow<()>,
    ) -> Option<Rank> {
        let (ranks, are_all) = self.most_used(export, now_ms);
        for rank in &ranks {
            if self.give(export, rank, now_ms, take).is_break() {
                return Some(*rank);
            }
        }
        if are_all { None } else { ranks.last().copied() }
    }

    /// The best ranks behind where the export goes on, best first, and whether there are no others.
    fn most_used(&self, export: &Export<'_>, now_ms: u64) -> (Vec<Rank>, bool) {
        let spaces: HashMap<u32, Arc<Space>> = self.all_spaces().into_iter().map(|space| (space.id(), space)).collect();
        let mut best: BinaryHeap<Reverse<Rank>> = BinaryHeap::new();
        let mut are_all = true;
        for stripe in 0..STRIPES {
            let stripe = stripe as u8;
            let mut from_hash = Some(0);
            while let Some(hash) = from_hash {
                let txn = Txn::begin_stripe(self, stripe, now_ms);
                let Some(database) = txn.stripe(stripe).database(export.db) else { break };
                from_hash = database.table.scan(hash, SLOTS_AT_ONCE, |_, slot| {
                    let rank = txn.rank(stripe, slot, &spaces);
                    let is_full = best.len() >= export.count;
                    let is_beaten = is_full && best.peek().is_none_or(|Reverse(worst)| rank <= *worst);
                    // The record is looked at last: it may have to be fetched from the disk.
                    if export.after.is_some_and(|after| rank >= after) || (is_beaten && !are_all) {
                        return;
                    }
                    if !txn.is_wanted(stripe, slot, export) {
                        return;
                    }
                    are_all &= !is_full;
                    if is_beaten {
                        return;
                    }
                    if is_full {
                        best.pop();
                    }
                    best.push(Reverse(rank));
                });
            }
        }
        let mut ranks: Vec<Rank> = best.into_iter().map(|Reverse(rank)| rank).collect();
        ranks.sort_unstable_by_key(|rank| Reverse(*rank));
        (ranks, are_all)
    }

    /// Calls with the live entry of a rank. If its record has moved or was written anew meanwhile, with whatever has its hash.
    fn give(
        &self,
        export: &Export<'_>,
        rank: &Rank,
        now_ms: u64,
        take: &mut dyn FnMut(&Exported<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let txn = Txn::begin_stripe(self, rank.stripe, now_ms);
        let Some(database) = txn.stripe(rank.stripe).database(export.db) else { return ControlFlow::Continue(()) };
        let slots: Vec<Slot> = database.table.candidates(rank.hash).map(|(_, slot)| slot).collect();
        let is_there = slots.iter().any(|slot| slot.location() == rank.location);
        let hash = KeyHash { stripe: rank.stripe, slot: rank.hash };
        for slot in slots.into_iter().filter(|slot| !is_there || slot.location() == rank.location) {
            let Some(key) = txn.key_at(rank.stripe, slot).filter(|_| txn.is_wanted(rank.stripe, slot, export)) else {
                continue;
            };
            // Found by its key, so that its record is checked like that of any read.
            let Some(found) = txn.find(export.db, hash, key).filter(|found| txn.is_live(found)) else { continue };
            let (cost, notes) = match found.record() {
                Some(record) => {
                    let Some(notes) = self.notes(record.annex(), record.value()) else { continue };
                    (record.cost(), notes)
                }
                None => (txn.peek(export.db, key).and_then(|entry| entry.as_put().cost), None),
            };
            let put = Put { expires_at_ms: found.expires_at_ms(), cost };
            take(&Exported { key, value: txn.value(&found), put, notes })?;
        }
        ControlFlow::Continue(())
    }

    /// What stands in an annex; `None` if its space is gone, and with it the entry.
    fn notes<'a>(&self, annex: Option<&'a [u8]>, value: &'a [u8]) -> Option<Option<Notes<'a>>> {
        let Some(annex) = annex.and_then(Annex::parse) else { return Some(None) };
        let space = match annex.space {
            UNPLACED => None,
            id => Some(self.space_by_id(id)?),
        };
        let is_vector = annex.form == super::annex::VectorForm::Value;
        let vector = annex.vector(value).filter(|_| !is_vector).unwrap_or_default();
        let (tags, deps) = (annex.tags().collect(), annex.deps().collect());
        let (written_ms, facts, meta) = (annex.written_ms, annex.facts, annex.meta);
        Some(Some(Notes { written_ms, space, is_vector, vector, tags, deps, facts, meta }))
    }

    /// Whether a remembered invalidation has covered such an entry since then: a copy that was made before is of what was removed. By the
    /// clocks of two machines, the only ones that both have.
    fn is_outdated(&self, db: u8, key: &[u8], annex: Option<&Annex<'_>>, value: &[u8], exported_ms: u64) -> bool {
        let history = self.meaning.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.iter().rev().any(|predicate| {
            predicate.at_ms >= exported_ms
                && !predicate.undone.load(Ordering::Relaxed)
                && predicate.covers_new(db, key, annex, value, annex.map_or(exported_ms, |annex| annex.written_ms))
        })
    }
}

/// Why a copy is not stored that is older than an invalidation.
const OUTDATED: &str = "an invalidation has covered the entry since it was exported";

impl Txn<'_> {
    /// Stores a copy of another shard's entry that has no notes, unless an invalidation here says that it is out of date. `store` writes it.
    ///
    /// # Errors
    /// [`MeaningError::Stale`] if it is out of date, and those of `store`.
    pub fn import<E: From<MeaningError>>(
        &mut self,
        db: u8,
        key: &[u8],
        exported_ms: u64,
        store: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.shard.is_outdated(db, key, None, &[], exported_ms) {
            return Err(MeaningError::Stale(OUTDATED).into());
        }
        store(self)
    }

    /// [`Txn::put_annotated`] of a copy of another shard's entry, which keeps its time of writing.
    ///
    /// # Errors
    /// As [`Txn::put_annotated`]; [`MeaningError::Stale`] if an invalidation has covered the entry since it was exported.
    pub fn import_annotated(
        &mut self,
        db: u8,
        key: &[u8],
        value: &[u8],
        put: Put,
        annotations: &Annotations<'_>,
        origin: &Origin<'_>,
    ) -> Result<(), MeaningError> {
        self.write_annotated(db, key, value, put, annotations, origin, &mut |txn, annex| {
            let is_outdated = Annex::parse(annex)
                .is_some_and(|annex| txn.shard.is_outdated(db, key, Some(&annex), value, origin.exported_ms));
            if is_outdated { Err(MeaningError::Stale(OUTDATED)) } else { Ok(()) }
        })
    }

    fn rank(&self, stripe: u8, slot: Slot, spaces: &HashMap<u32, Arc<Space>>) -> Rank {
        let row = self.row_of(KeyHash { stripe, slot: slot.hash() }, slot);
        let hits = row.and_then(|row| Some(spaces.get(&row.space)?.rows.hits(row.row))).unwrap_or(0);
        let frequency = if self.shard.counts_frequency() { slot.frequency() } else { 0 };
        let idle_ms = slot.idle_ms(self.now_ms());
        let used_ms = if idle_ms >= IDLE_MS_MAX { 0 } else { self.now_ms().saturating_sub(idle_ms) };
        Rank { hits, frequency, used_ms, stripe, hash: slot.hash(), location: slot.location() }
    }

    fn key_at(&self, stripe: u8, slot: Slot) -> Option<&[u8]> {
        match slot.kind() {
            SlotKind::Record | SlotKind::Annotated => {
                Some(self.shard.store.record(&self.pin, Location::from_bits(slot.location()))?.key())
            }
            SlotKind::Heap => Some(&self.stripe(stripe).heap.at(slot.location() as u32)?.key),
            SlotKind::Empty => None,
        }
    }

    fn is_wanted(&self, stripe: u8, slot: Slot, export: &Export<'_>) -> bool {
        if export.since_ms.is_some_and(|since_ms| self.written_ms(slot).is_none_or(|written| written <= since_ms)) {
            return false;
        }
        export.glob.is_none_or(|glob| self.key_at(stripe, slot).is_some_and(|key| glob::matches(glob, key)))
    }

    fn written_ms(&self, slot: Slot) -> Option<u64> {
        if slot.kind() != SlotKind::Annotated {
            return None;
        }
        let record = self.shard.store.record(&self.pin, Location::from_bits(slot.location()))?;
        Some(Annex::parse(record.annex()?)?.written_ms)
    }
}

/// The vector of a copy for a space that may keep rounded vectors only, where no value can be its own vector.
#[must_use]
pub fn vector_for<'a>(space: &Space, vector: VectorOf<'a>, value: &'a [u8]) -> VectorOf<'a> {
    match (vector, space.options().quantization) {
        (VectorOf::Value, super::Quantization::Int8Only) => VectorOf::Given(value),
        (vector, _) => vector,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_is_read_as_it_was_written() {
        let rank = Rank { hits: u32::MAX, frequency: 255, used_ms: 7, stripe: 0, hash: 9, location: u64::MAX };
        assert_eq!(rank.to_string().parse(), Ok(rank));
        for text in
            ["", "0", "1-2-3-4-5", "1-2-3-4-5-6-7", "1-100-3-4-5-6", "1-2-3-4-5-x", "+1-2-3-4-5-6", "1--3-4-5-6"]
        {
            assert_eq!(text.parse::<Rank>(), Err(NoRank), "{text}");
        }
    }

    #[test]
    fn hits_count_more_than_the_last_use() {
        let rank = |hits, frequency, used_ms| Rank { hits, frequency, used_ms, stripe: 9, hash: 9, location: 9 };
        let mut ranks = [rank(0, 0, 9), rank(1, 0, 1), rank(0, 2, 1), rank(1, 0, 2)];
        ranks.sort_by_key(|rank| Reverse(*rank));
        assert_eq!(
            ranks.map(|rank| (rank.hits, rank.frequency, rank.used_ms)),
            [(1, 0, 2), (1, 0, 1), (0, 2, 1), (0, 0, 9)]
        );
    }
}
