//! What a transaction on all stripes can do: iterate, count, flush and exchange whole databases.

use super::{Held, Txn};
use crate::api::{ValueKind, WriteError};
use crate::hash::STRIPES;
use crate::heap::HeapValue;
use crate::ops::Op;
use crate::slot::{Slot, SlotKind};
use crate::stripe::Stripe;
use std::sync::atomic::Ordering;
use sutra_mmap_store::Location;

impl Txn<'_> {
    /// Visits about `count` live entries of a database from `cursor` on (0 = start) and returns the next cursor (0 = done).
    /// An entry that stays for the whole iteration is visited, through every resize: the cursor is a stripe and a hash, and tables
    /// are sorted by hash. Needs [`Scope::All`](crate::Scope::All).
    pub fn scan(&self, db: u8, cursor: u64, count: usize, visit: &mut dyn FnMut(&[u8], ValueKind)) -> u64 {
        let mut stripe_index = (cursor >> 32) as usize;
        let mut from = cursor as u32;
        let mut left = count.max(1);
        while stripe_index < STRIPES {
            let stripe = self.stripe(stripe_index as u8);
            let mut next = None;
            if let Some(database) = stripe.database(db) {
                let mut seen = 0;
                next = database.table.scan(from, left, |_, slot| {
                    seen += 1;
                    if let Some((key, kind, expires_at_ms)) = self.slot_entry(stripe, db, slot)
                        && expires_at_ms.is_none_or(|at| at > self.now_ms)
                    {
                        visit(key, kind);
                    }
                });
                left = left.saturating_sub(seen);
            }
            match next {
                Some(hash) => return (stripe_index as u64) << 32 | u64::from(hash),
                None => {
                    stripe_index += 1;
                    from = 0;
                }
            }
            if left == 0 && stripe_index < STRIPES {
                return (stripe_index as u64) << 32;
            }
        }
        0
    }

    fn slot_entry<'t>(&'t self, stripe: &'t Stripe, db: u8, slot: Slot) -> Option<(&'t [u8], ValueKind, Option<u64>)> {
        match slot.kind() {
            SlotKind::Record | SlotKind::Annotated => {
                let record = self.shard.store.record(&self.pin, Location::from_bits(slot.location()))?;
                if !record.is_trusted() && !record.verify() {
                    return None;
                }
                if slot.kind() == SlotKind::Annotated
                    && self.shard.meaning.active_count.load(Ordering::Relaxed) > 0
                    && self.shard.is_covered(db, &record)
                {
                    return None;
                }
                Some((record.key(), ValueKind::String, record.expires_at_ms().ok()?))
            }
            SlotKind::Heap => {
                let entry = stripe.heap.at(slot.location() as u32)?;
                let kind = match &entry.value {
                    HeapValue::Bytes(_) => ValueKind::String,
                    HeapValue::Hash(hash) if hash.is_empty(self.now_ms) => return None,
                    HeapValue::Hash(_) => ValueKind::Hash,
                };
                Some((&entry.key, kind, entry.expires_at_ms))
            }
            SlotKind::Empty => None,
        }
    }

    /// Entries of a database (may count some that have expired but are not yet removed, as Redis does). Needs [`Scope::All`](crate::Scope::All).
    #[must_use]
    pub fn database_len(&self, db: u8) -> u64 {
        (0..STRIPES).map(|stripe| self.stripe(stripe as u8).database(db).map_or(0, |d| d.table.len() as u64)).sum()
    }

    /// A live key of the database, chosen by a random number. Needs [`Scope::All`](crate::Scope::All).
    #[must_use]
    pub fn random_key(&self, db: u8, number: u64) -> Option<Vec<u8>> {
        let start = (number >> 32) as usize % STRIPES;
        let mut chosen = None;
        // The second turn looks from the beginning of each stripe, so that an entry before the random hash is found too.
        for from in [number as u32, 0] {
            for step in 0..STRIPES {
                let stripe = self.stripe(((start + step) % STRIPES) as u8);
                let Some(database) = stripe.database(db) else { continue };
                let mut cursor = Some(from);
                while let Some(hash) = cursor {
                    cursor = database.table.scan(hash, 1, |_, slot| {
                        if let Some((key, _, expires_at_ms)) = self.slot_entry(stripe, db, slot)
                            && expires_at_ms.is_none_or(|at| at > self.now_ms)
                        {
                            chosen = Some(key.to_vec());
                        }
                    });
                    if chosen.is_some() {
                        return chosen;
                    }
                }
            }
        }
        None
    }

    /// Removes every entry of a database. Needs [`Scope::All`](crate::Scope::All).
    ///
    /// # Errors
    /// [`WriteError::Unavailable`] if the log has failed.
    pub fn flush_database(&mut self, db: u8) -> Result<(), WriteError> {
        self.shard.writable()?;
        Op::Flush { db }.encode(&mut self.frame);
        self.shard.forget_undo_of(db);
        self.tell_everything_at_end();
        for stripe in 0..STRIPES {
            let shard = self.shard;
            let flushed = {
                let pin = &self.pin;
                match &mut self.held {
                    Held::Some(guards) => {
                        let stripe = &mut *guards[stripe].1;
                        stripe.tracked.forget_all(&shard.tracking);
                        shard.flush_stripe(stripe, db, Some(pin))
                    }
                    Held::One { .. } | Held::Nothing => panic!("flushing needs the whole keyspace"),
                }
            };
            shard.account(flushed);
        }
        Ok(())
    }

    /// Exchanges two databases. Needs [`Scope::All`](crate::Scope::All).
    ///
    /// # Errors
    /// [`WriteError::Unavailable`] if the log has failed.
    pub fn swap_databases(&mut self, a: u8, b: u8) -> Result<(), WriteError> {
        self.shard.writable()?;
        if a == b {
            return Ok(());
        }
        Op::Swap { a, b }.encode(&mut self.frame);
        self.tell_everything_at_end();
        let position = self.shard.meaning.tick_position();
        for stripe in 0..STRIPES {
            let shard = self.shard;
            let stripe = self.stripe_mut(stripe as u8);
            stripe.tracked.forget_all(&shard.tracking);
            stripe.swap_databases(a, b);
            stripe.database_changed(a);
            stripe.database_changed(b);
            stripe.leases.forget_before(position);
        }
        self.shard.swap_meaning(a, b);
        Ok(())
    }
}
