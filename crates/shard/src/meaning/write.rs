//! Writing annotated entries: annex, row, hold and lease in one act.

use super::MeaningError;
use super::annex::{Annex, NewAnnex, VectorForm, compress, expand, restamp};
use super::fault::Fault;
use super::rows::{Owner, RowRef, side};
use super::space::{Quantization, Space, UNPLACED};
use crate::api::{Put, WriteError};
use crate::hash::KeyHash;
use crate::shard::Shard;
use crate::slot::SlotKind;
use crate::txn::Txn;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use sutra_guard::Facts;
use sutra_hnsw_index::{Encoded, Side};
use sutra_mmap_store::Location;

/// What a native write says of its entry.
#[derive(Debug, Clone, Copy, Default)]
pub struct Annotations<'a> {
    /// The space of its vector.
    pub space: Option<&'a Arc<Space>>,
    /// Its vector.
    pub vector: VectorOf<'a>,
    /// Labels for invalidation of groups.
    pub tags: &'a [&'a [u8]],
    /// Sources that it was made from, and their versions.
    pub deps: &'a [(&'a [u8], u64)],
    /// JSON, kept as it is.
    pub meta: Option<&'a [u8]>,
    /// Facts of the question that it answers, for the guard.
    pub facts: Option<&'a Facts>,
}

/// Where an entry's vector is, as little-endian f32.
#[derive(Debug, Clone, Copy, Default)]
pub enum VectorOf<'a> {
    /// It has none.
    #[default]
    None,
    /// Here.
    Given(&'a [u8]),
    /// It is the value.
    Value,
}

/// Where a copy of another shard's entry comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// When the entry was written there, in Unix milliseconds.
    pub written_ms: u64,
    /// When it was copied, in Unix milliseconds.
    pub exported_ms: u64,
    /// Facts of the question as they are stored, which take the place of [`Annotations::facts`]: those of a form that is not known here keep the
    /// guard from letting the entry through.
    pub facts: &'a [u8],
}

/// A row that an entry is about to get.
pub(crate) struct ReservedRow {
    space: Arc<Space>,
    codes: Option<Encoded>,
    side: Side,
    row: u32,
    /// The row is the one that the entry has already; it is not yet changed.
    in_place: bool,
}

/// Has the last word on a write, given the annex of the new entry.
pub(super) type Admit<'a> = dyn FnMut(&Txn<'_>, &[u8]) -> Result<(), MeaningError> + 'a;

/// The location of no record: a row that names it is not believed.
const NOWHERE: u64 = u64::MAX;

impl Shard {
    /// The position of the log: every frame up to it came before what is written now.
    pub(crate) fn stamp(&self) -> u64 {
        match &self.log {
            Some(log) => log.last().0,
            None => self.meaning.position.load(Ordering::Relaxed),
        }
    }
}

impl Txn<'_> {
    /// Stores a value with annotations, replacing whatever was there, its expiry included. With a lease, only if nothing that covers the
    /// entry has happened since the lease was granted; the lease then ends.
    ///
    /// # Errors
    /// [`MeaningError::Vector`], [`MeaningError::Stale`], [`MeaningError::Held`], [`MeaningError::SelfRounded`] or
    /// [`MeaningError::Write`]; nothing was changed.
    pub fn put_annotated(
        &mut self,
        db: u8,
        key: &[u8],
        value: &[u8],
        put: Put,
        annotations: &Annotations<'_>,
        lease: Option<&[u8]>,
    ) -> Result<(), MeaningError> {
        let facts = annotations.facts.map(Facts::encode).unwrap_or_default();
        let now_ms = self.now_ms();
        let origin = Origin { written_ms: now_ms, exported_ms: now_ms, facts: &facts };
        let mut is_stale = false;
        let written = self.write_annotated(db, key, value, put, annotations, &origin, &mut |txn, annex| match lease {
            Some(token) => txn.check_lease(db, key, token, annex, value).inspect_err(|_| is_stale = true),
            None => Ok(()),
        });
        // Nothing can be written with a stale one any more: others need not wait for its end.
        if let Some(token) = lease
            && (written.is_ok() || is_stale)
        {
            self.release_lease(db, key, token);
        }
        written
    }

    /// Stores a value with annotations; `admit` has the last word.
    #[expect(clippy::too_many_arguments, reason = "an entry is all of these, and two callers name them once each")]
    pub(super) fn write_annotated(
        &mut self,
        db: u8,
        key: &[u8],
        value: &[u8],
        put: Put,
        annotations: &Annotations<'_>,
        origin: &Origin<'_>,
        admit: &mut Admit<'_>,
    ) -> Result<(), MeaningError> {
        self.shard.writable()?;
        if let Some(space) = annotations.space
            && self.shard.space_by_id(space.id()).is_none()
        {
            return Err(MeaningError::NoSuchSpace(super::text(space.name())));
        }
        let mut compressed = Vec::new();
        let mut codes = None;
        let (form, vector) = match (annotations.space, annotations.vector) {
            (None, _) | (Some(_), VectorOf::None) => (VectorForm::None, &[][..]),
            (Some(space), VectorOf::Value) => {
                if space.options().quantization == Quantization::Int8Only {
                    return Err(MeaningError::SelfRounded(super::text(space.name())));
                }
                codes = Some(encode(space, value)?);
                (VectorForm::Value, &[][..])
            }
            (Some(space), VectorOf::Given(vector)) => {
                let encoded = encode(space, vector)?;
                match space.options().quantization {
                    Quantization::Cascade => {
                        codes = Some(encoded);
                        (VectorForm::Floats, vector)
                    }
                    Quantization::Int8Only => {
                        compressed.extend_from_slice(&compress(vector));
                        // The codes are of what is kept; a vector so tiny that nothing is left of it is refused.
                        codes = Some(encode(space, &expand(&compressed).unwrap_or_default())?);
                        (VectorForm::Bytes, &compressed[..])
                    }
                }
            }
        };
        let annex = NewAnnex {
            stamp: self.shard.stamp(),
            written_ms: origin.written_ms,
            // Without a vector it is in no space: it has no row there by which it could be found and removed.
            space: annotations.space.filter(|_| form != VectorForm::None).map_or(UNPLACED, |space| space.id()),
            form,
            vector,
            tags: annotations.tags,
            deps: annotations.deps,
            facts: origin.facts,
            meta: annotations.meta.unwrap_or_default(),
        }
        .encode();
        self.admit_annotated(db, key, &annex, value)?;
        admit(self, &annex)?;
        let prepared = annotations.space.zip(codes);
        let row = self.reserve_row(db, self.hash_of(key), key, &annex, value, prepared)?;
        Ok(self.put_with_row(db, key, value, put, Some(&annex), row)?)
    }

    /// Whether the space of an annex is there; one that is being dropped is not, and neither are its entries.
    pub(crate) fn knows_space_of(&self, annex: &[u8]) -> bool {
        Annex::parse(annex)
            .is_some_and(|annex| annex.space == UNPLACED || self.shard.space_by_id(annex.space).is_some())
    }

    /// An annex for an entry that is written again as it is.
    pub(crate) fn restamped(&self, annex: &[u8]) -> Vec<u8> {
        let mut annex = annex.to_vec();
        restamp(&mut annex, self.shard.stamp());
        annex
    }

    /// Refuses a write of a plain entry that an invalidation holds off.
    pub(crate) fn admit(&self, db: u8, key: &[u8]) -> Result<(), WriteError> {
        if self.shard.meaning.holds_count.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        self.shard.refuse_held(db, key, None, &[], self.now_ms())
    }

    /// Refuses a write of an annotated entry that an invalidation holds off.
    pub(crate) fn admit_annotated(&self, db: u8, key: &[u8], annex: &[u8], value: &[u8]) -> Result<(), WriteError> {
        if self.shard.meaning.holds_count.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        self.shard.refuse_held(db, key, Annex::parse(annex).as_ref(), value, self.now_ms())
    }

    // ---- rows ----

    /// Takes a row for an entry before its record is written, so that a failure changes nothing. `None` while the log is replayed.
    pub(crate) fn reserve_row(
        &self,
        db: u8,
        hash: KeyHash,
        key: &[u8],
        annex: &[u8],
        value: &[u8],
        prepared: Option<(&Arc<Space>, Encoded)>,
    ) -> Result<Option<ReservedRow>, WriteError> {
        if self.is_replaying() {
            return Ok(None);
        }
        let Some(annex) = Annex::parse(annex) else { return Ok(None) };
        let placed = match prepared {
            Some((space, codes)) => Some((Arc::clone(space), Some(codes))),
            None => self.shard.codes(&annex, value),
        };
        let Some((space, codes)) = placed else { return Ok(None) };
        let nowhere = Owner { db, hash, location: Location::from_bits(0) };
        let mut side = side(nowhere, &annex);
        side.owner[1] = NOWHERE;
        let old = self.find(db, hash, key).and_then(|found| self.stripe(hash.stripe).rows.get(&found.slot.location()));
        let in_place = old.copied().filter(|old| old.space == space.id());
        let row = match in_place {
            Some(old) => old.row,
            None => space
                .rows
                .insert(codes.as_ref(), side)
                .map_err(|error| WriteError::Unavailable(format!("no row for a vector: {error}")))?,
        };
        Ok(Some(ReservedRow { space, codes, side, row, in_place: in_place.is_some() }))
    }

    /// The record could not be written.
    pub(crate) fn give_up_row(&self, reserved: Option<ReservedRow>) {
        if let Some(reserved) = reserved
            && !reserved.in_place
        {
            reserved.space.rows.remove(reserved.row);
        }
    }

    /// The record is written: its row becomes visible with it.
    pub(crate) fn settle_row(&mut self, db: u8, hash: KeyHash, location: Location, reserved: ReservedRow) {
        let ReservedRow { space, codes, mut side, row, in_place } = reserved;
        side.owner = Owner { db, hash, location }.pack();
        if in_place {
            // The codes were made for this space, so that the row takes them.
            if let Err(error) = space.rows.replace(row, codes.as_ref(), side) {
                tracing::error!(%error, row, "a row could not be replaced");
            }
        } else {
            space.rows.update_side(row, |own| *own = side);
        }
        space.graph.note(row);
        self.stripe_mut(hash.stripe).rows.insert(location.to_bits(), RowRef { space: space.id(), row });
    }

    /// The record at a location is no longer an entry's; its row is freed, unless the entry's next record takes it over.
    pub(crate) fn drop_row(&mut self, stripe: u8, location: Location, successor: Option<&ReservedRow>) {
        let Some(row) = self.stripe_mut(stripe).rows.remove(&location.to_bits()) else { return };
        if successor.is_some_and(|next| next.in_place && next.space.id() == row.space && next.row == row.row) {
            return;
        }
        if successor.is_none() && self.shard.meaning.planted.is(Fault::RowLeftBehind) {
            return;
        }
        self.shard.free_row(row);
    }

    /// A record was moved by a merge.
    pub(crate) fn move_row(&mut self, db: u8, hash: KeyHash, from: Location, to: Location) {
        let rows = &mut self.stripe_mut(hash.stripe).rows;
        if let Some(row) = rows.remove(&from.to_bits()) {
            rows.insert(to.to_bits(), row);
            self.shard.readdress_row(row, Owner { db, hash, location: to });
        }
    }

    /// The row of the annotated entry at a slot.
    pub(crate) fn row_of(&self, hash: KeyHash, slot: crate::slot::Slot) -> Option<RowRef> {
        if slot.kind() != SlotKind::Annotated {
            return None;
        }
        self.stripe(hash.stripe).rows.get(&slot.location()).copied()
    }
}

fn encode(space: &Space, vector: &[u8]) -> Result<Encoded, MeaningError> {
    Encoded::new(vector, space.dimension()).map_err(|error| space.refuse(error))
}

impl Shard {
    fn refuse_held(
        &self,
        db: u8,
        key: &[u8],
        annex: Option<&Annex<'_>>,
        value: &[u8],
        now_ms: u64,
    ) -> Result<(), WriteError> {
        let holds = self.meaning.holds.read().unwrap_or_else(PoisonError::into_inner);
        // What is written now is as new as can be: a condition on age never holds it off.
        let held = holds.iter().find(|hold| hold.holds(now_ms) && hold.covers_new(db, key, annex, value, now_ms));
        match held {
            Some(hold) => {
                self.meaning.counts.held_refused.fetch_add(1, Ordering::Relaxed);
                Err(WriteError::Held { lsn: hold.lsn, until_ms: hold.hold_until_ms })
            }
            None => Ok(()),
        }
    }
}
