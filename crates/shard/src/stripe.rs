//! One part of the keyspace: its tables, its heap values, its watches. A plain `&mut self` value; the lock is around it.
//!
//! Invariants: every slot of kind `Record` points to a record whose key hashes to the slot's hash; every slot of kind `Heap` is the
//! index of a filled place in `heap`; no two slots of a database are of the same key.

use crate::heap::HeapValue;
use crate::meaning::{Leases, RowMap};
use crate::slab::Slab;
use crate::slot::{ExpiryHint, Slot, SlotKind};
use crate::table::Table;
use crate::tracking::Tracked;
use std::cell::Cell;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};

/// A value on the heap with what a record would carry.
#[derive(Debug)]
pub(crate) struct HeapEntry {
    pub(crate) key: Box<[u8]>,
    pub(crate) db: u8,
    pub(crate) expires_at_ms: Option<u64>,
    pub(crate) cost: f32,
    pub(crate) value: HeapValue,
    /// What the memory account holds for this entry.
    pub(crate) accounted_bytes: u64,
}

impl HeapEntry {
    /// Bytes the entry occupies now.
    pub(crate) fn memory_bytes(&self) -> u64 {
        (size_of::<HeapEntry>() + self.key.len() + self.value.memory_bytes()) as u64
    }
}

struct Watch {
    db: u8,
    key: Box<[u8]>,
    flag: Weak<AtomicBool>,
}

/// The entries of one database in this stripe.
#[derive(Default)]
pub(crate) struct Database {
    pub(crate) table: Table,
    /// Slots with an expiry.
    pub(crate) expires: u64,
}

/// One part of the keyspace.
pub(crate) struct Stripe {
    databases: Vec<Option<Box<Database>>>,
    pub(crate) heap: Slab<HeapEntry>,
    watches: Vec<Watch>,
    /// The rows of annotated entries.
    pub(crate) rows: RowMap,
    pub(crate) leases: Leases,
    /// Who is told when a key changes.
    pub(crate) tracked: Tracked,
    /// The last invalidation by name that this stripe was swept of.
    pub(crate) swept_through: u64,
    pub(crate) hits: Cell<u64>,
    pub(crate) misses: Cell<u64>,
    pub(crate) appended_bytes: Cell<u64>,
    random: Cell<u64>,
}

impl Stripe {
    pub(crate) fn new(seed: u64) -> Stripe {
        Stripe {
            databases: Vec::new(),
            heap: Slab::default(),
            watches: Vec::new(),
            rows: RowMap::default(),
            leases: Leases::default(),
            tracked: Tracked::default(),
            swept_through: 0,
            hits: Cell::new(0),
            misses: Cell::new(0),
            appended_bytes: Cell::new(0),
            random: Cell::new(seed | 1),
        }
    }

    /// The next of a stream of random numbers (xorshift64, Marsaglia 2003).
    pub(crate) fn random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x
    }

    pub(crate) fn database(&self, db: u8) -> Option<&Database> {
        self.databases.get(db as usize)?.as_deref()
    }

    /// The database, made if it is not there.
    pub(crate) fn database_or_new(&mut self, db: u8) -> &mut Database {
        let index = db as usize;
        if self.databases.len() <= index {
            self.databases.resize_with(index + 1, || None);
        }
        self.databases[index].get_or_insert_with(Box::default)
    }

    pub(crate) fn databases(&self) -> impl Iterator<Item = (u8, &Database)> {
        self.databases.iter().enumerate().filter_map(|(db, d)| Some((db as u8, d.as_deref()?)))
    }

    /// Takes a whole database out.
    pub(crate) fn take_database(&mut self, db: u8) -> Option<Box<Database>> {
        self.databases.get_mut(db as usize)?.take()
    }

    /// Exchanges two databases.
    pub(crate) fn swap_databases(&mut self, a: u8, b: u8) {
        let len = usize::from(a.max(b)) + 1;
        if self.databases.len() < len {
            self.databases.resize_with(len, || None);
        }
        self.databases.swap(a as usize, b as usize);
        for entry in self.heap.iter_mut() {
            if entry.db == a {
                entry.db = b;
            } else if entry.db == b {
                entry.db = a;
            }
        }
    }

    /// The slot of a heap value.
    pub(crate) fn find_heap(&self, db: u8, slot_hash: u32, key: &[u8]) -> Option<(usize, Slot)> {
        self.database(db)?.table.candidates(slot_hash).find(|(_, slot)| {
            slot.kind() == SlotKind::Heap
                && self.heap.at(slot.location() as u32).is_some_and(|entry| *entry.key == *key)
        })
    }

    /// Slots of all databases.
    pub(crate) fn len(&self) -> usize {
        self.databases().map(|(_, d)| d.table.len()).sum()
    }

    pub(crate) fn watch(&mut self, db: u8, key: &[u8], flag: Weak<AtomicBool>) {
        self.watches.retain(|watch| watch.flag.strong_count() > 0);
        self.watches.push(Watch { db, key: key.into(), flag });
    }

    /// Whether anybody watches anything here: the cheap question before [`Stripe::changed`].
    pub(crate) fn is_watched(&self) -> bool {
        !self.watches.is_empty()
    }

    /// Raises the flags of those who watch the key.
    pub(crate) fn changed(&mut self, db: u8, key: &[u8]) {
        self.raise(|watch| watch.db == db && *watch.key == *key);
    }

    /// Raises the flags of those who watch any key of the database.
    pub(crate) fn database_changed(&mut self, db: u8) {
        self.raise(|watch| watch.db == db);
    }

    fn raise(&mut self, covers: impl Fn(&Watch) -> bool) {
        self.watches.retain(|watch| {
            let Some(flag) = watch.flag.upgrade() else { return false };
            let raised = covers(watch);
            if raised {
                flag.store(true, Ordering::Relaxed);
            }
            !raised
        });
    }
}

impl Database {
    /// Inserts a slot and counts its expiry.
    pub(crate) fn insert(&mut self, slot: Slot) {
        self.expires += u64::from(slot.expiry_hint() != ExpiryHint::NONE);
        self.table.insert(slot);
    }

    /// Removes the slot at a position and counts its expiry.
    pub(crate) fn remove(&mut self, position: usize) -> Slot {
        let slot = self.table.remove(position);
        self.expires -= u64::from(slot.expiry_hint() != ExpiryHint::NONE);
        slot
    }

    /// Replaces a slot by one of the same hash.
    pub(crate) fn replace(&mut self, position: usize, old: Slot, new: Slot) {
        self.expires -= u64::from(old.expiry_hint() != ExpiryHint::NONE);
        self.expires += u64::from(new.expiry_hint() != ExpiryHint::NONE);
        self.table.replace(position, new);
    }
}
