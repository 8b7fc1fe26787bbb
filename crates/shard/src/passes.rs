//! What the shard's own passes do inside a transaction: by slot and location, not by key.

use crate::hash::KeyHash;
use crate::heap::HeapValue;
use crate::maintenance::Moved;
use crate::ops::{Edit, Op};
use crate::slot::{ExpiryHint, LOOK_INTERVAL_MS, Slot, SlotKind};
use crate::stripe::Database;
use crate::txn::Txn;
use sutra_mmap_store::{Destination, Location};

/// Parts of a turn in which every far expiry is looked up once: few records are read by one pass, and a pass takes less than a part.
const TURN_PARTS: u64 = 4096;
/// A turn is half the time in which a hint must be looked at, so that one missed part is no harm.
const TURN_PART_MS: u64 = LOOK_INTERVAL_MS / 2 / TURN_PARTS;

impl Txn<'_> {
    /// Calls with each database of a held stripe.
    pub(crate) fn for_each_database(&self, stripe: u8, mut visit: impl FnMut(u8, &Database)) {
        self.stripe(stripe).databases().for_each(|(db, database)| visit(db, database));
    }

    /// Slots of a held stripe.
    pub(crate) fn stripe_len(&self, stripe: u8) -> usize {
        self.stripe(stripe).len()
    }

    /// Time to live (`None`: persistent), bytes and cost of the entry of a slot, as a policy wants them.
    pub(crate) fn slot_facts(&self, stripe: u8, slot: Slot, now_ms: u64) -> (Option<u64>, u32, f32) {
        let (expires_at_ms, bytes, cost) = match slot.kind() {
            SlotKind::Record | SlotKind::Annotated => {
                match self.shard.store.record(&self.pin, Location::from_bits(slot.location())) {
                    Some(record) => {
                        (record.expires_at_ms().unwrap_or(Some(0)), record.bytes(), record.cost().unwrap_or(1.0))
                    }
                    None => (Some(0), 1, 0.0),
                }
            }
            SlotKind::Heap => match self.stripe(stripe).heap.at(slot.location() as u32) {
                Some(entry) => {
                    (entry.expires_at_ms, u32::try_from(entry.accounted_bytes).unwrap_or(u32::MAX), entry.cost)
                }
                None => (Some(0), 1, 0.0),
            },
            SlotKind::Empty => (Some(0), 1, 0.0),
        };
        (expires_at_ms.map(|at| at.saturating_sub(now_ms)), bytes, cost)
    }

    /// Removes the entry whose slot has this location, if it is still there, and logs it. Returns its access counter.
    pub(crate) fn remove_slot_at(&mut self, db: u8, hash: KeyHash, location: u64, kind: SlotKind) -> Option<u8> {
        let database = self.stripe(hash.stripe).database(db)?;
        let position = database.table.find_exact(hash.slot, location, kind)?;
        let slot = database.table.slot(position)?;
        match kind {
            SlotKind::Record | SlotKind::Annotated => {
                let location = Location::from_bits(location);
                let record = self.shard.store.record(&self.pin, location);
                let bytes = record.map_or(0, |record| record.bytes());
                let key = record.map(|record| record.key());
                if self.shard.logs_keys() {
                    if let Some(key) = key {
                        Op::KeyRemove { db, key }.encode(&mut self.frame);
                    }
                } else {
                    Op::Remove { db, hash, location }.encode(&mut self.frame);
                }
                // The key is read and copied only if somebody wants to know it.
                let is_tracked = self.shard.tracking.is_on();
                let is_watched = self.stripe(hash.stripe).is_watched();
                let key = key.filter(|_| is_tracked || is_watched).map(<[u8]>::to_vec);
                if is_watched && let Some(key) = &key {
                    self.stripe_mut(hash.stripe).changed(db, key);
                }
                self.remove_slot(db, hash, position);
                self.shard.store.release(location, bytes);
                if is_tracked {
                    self.tell_removed(hash, key.as_deref());
                }
            }
            SlotKind::Heap => {
                let index = location as u32;
                let key = self.stripe(hash.stripe).heap.at(index)?.key.clone();
                self.drop_heap(db, hash, &key, position, index);
                self.changed(db, hash, &key);
            }
            SlotKind::Empty => return None,
        }
        Some(slot.frequency())
    }

    /// Copies the record at a location into a merge's destination and points the slot to it; access data stay.
    pub(crate) fn move_record(
        &mut self,
        db: u8,
        hash: KeyHash,
        from: Location,
        destination: &mut Destination,
    ) -> Moved {
        let Some(database) = self.stripe(hash.stripe).database(db) else { return Moved::Gone };
        let Some(position) = database.table.find_exact(hash.slot, from.to_bits(), SlotKind::Record) else {
            return Moved::Gone;
        };
        let Some(slot) = database.table.slot(position) else { return Moved::Gone };
        let Some(record) = self.shard.store.record(&self.pin, from) else {
            self.remove_slot_at(db, hash, from.to_bits(), SlotKind::Record);
            return Moved::Gone;
        };
        // A damaged record must not be given a new, valid checksum.
        let Ok(expires_at_ms) = record.expires_at_ms() else {
            self.remove_slot_at(db, hash, from.to_bits(), SlotKind::Record);
            return Moved::Gone;
        };
        if !record.is_trusted() && !record.verify() {
            self.remove_slot_at(db, hash, from.to_bits(), SlotKind::Record);
            return Moved::Gone;
        }
        if expires_at_ms.is_some_and(|at| at <= self.now_ms()) {
            self.remove_slot_at(db, hash, from.to_bits(), SlotKind::Record);
            return Moved::Expired;
        }
        let appended = match destination.append_copy(&record) {
            Ok(Some(appended)) => appended,
            Ok(None) => return Moved::NoRoom,
            Err(_) => {
                self.remove_slot_at(db, hash, from.to_bits(), SlotKind::Record);
                return Moved::Gone;
            }
        };
        let bytes = record.bytes();
        if self.shard.log.is_some() && !self.shard.logs_keys() {
            Op::Place {
                db,
                hash,
                old: Some(from),
                new: appended.location,
                bytes: appended.bytes,
                crc: appended.crc,
                expires_at_ms: expires_at_ms.unwrap_or(0),
                moved: true,
                annotated: slot.kind() == SlotKind::Annotated,
            }
            .encode(&mut self.frame);
        }
        let moved = slot.with_location(appended.location.to_bits());
        self.stripe_mut(hash.stripe).database_or_new(db).replace(position, slot, moved);
        if slot.kind() == SlotKind::Annotated {
            self.move_row(db, hash, from, appended.location);
        }
        self.shard.store.release(from, bytes);
        Moved::To(appended.bytes)
    }

    /// Removes what has expired in a held stripe, hash fields included; returns how many entries went. Keeps old clocks from wrapping
    /// and renews expiry hints that were too far away to be told.
    pub(crate) fn expire_stripe(&mut self, stripe: u8) -> u64 {
        let now_ms = self.now_ms();
        let mut due = Vec::new();
        let mut renewed = Vec::new();
        for (db, database) in self.stripe(stripe).databases() {
            database.table.for_each(|position, slot| {
                let hint = slot.expiry_hint();
                let kept = slot.with_clock_kept_old(now_ms);
                if kept != slot {
                    database.table.refresh(position, kept);
                }
                let is_far = hint == ExpiryHint::FAR && has_turn(slot, now_ms);
                if is_far || hint.may_be_expired(now_ms) {
                    let (ttl_ms, _, _) = self.slot_facts(stripe, slot, now_ms);
                    match ttl_ms {
                        Some(0) => due.push((db, slot)),
                        ttl => renewed.push((db, slot, ttl)),
                    }
                }
            });
        }
        for (db, slot, ttl_ms) in renewed {
            let hint = ExpiryHint::new(ttl_ms.map(|ttl| now_ms.saturating_add(ttl)), now_ms);
            let database = self.stripe_mut(stripe).database_or_new(db);
            if let Some(position) = database.table.find_exact(slot.hash(), slot.location(), slot.kind()) {
                let old = database.table.slot(position).unwrap_or(slot);
                database.replace(position, old, old.with_expiry_hint(hint));
            }
        }
        let mut expired = 0;
        for (db, slot) in due {
            let hash = KeyHash { stripe, slot: slot.hash() };
            expired += u64::from(self.remove_slot_at(db, hash, slot.location(), slot.kind()).is_some());
        }
        expired + self.expire_fields(stripe)
    }

    /// Removes expired fields of the stripe's hashes; returns how many hashes went with their last field.
    fn expire_fields(&mut self, stripe: u8) -> u64 {
        let now_ms = self.now_ms();
        let mut due = Vec::new();
        for entry in self.stripe(stripe).heap.iter() {
            if let HeapValue::Hash(hash) = &entry.value
                && hash.next_expiry().is_some_and(|at| at <= now_ms)
            {
                due.push((entry.db, entry.key.clone(), hash.is_empty(now_ms)));
            }
        }
        let mut gone = 0;
        for (db, key, empty) in due {
            let hash = KeyHash::of(&key, self.shard.seed);
            self.edit(db, hash, &key, &Edit::HashExpired { now_ms });
            if empty {
                self.remove_entry(db, hash, &key);
                self.changed(db, hash, &key);
                gone += 1;
            } else {
                self.tell(hash, &key);
            }
        }
        gone
    }
}

/// Whether now is the time to look up when an entry expires whose slot only knows that it is far away.
fn has_turn(slot: Slot, now_ms: u64) -> bool {
    now_ms / TURN_PART_MS % TURN_PARTS == u64::from(slot.hash()) % TURN_PARTS
}
