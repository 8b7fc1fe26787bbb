//! The fields of a large hash: a dense list, so that a random one is chosen in constant time, and an index over it.
//!
//! The index is the [`Table`] of the keyspace: its cursor is a hash, which makes HSCAN exact through every resize, and
//! it grows by an eighth instead of doubling. What holds between any two calls:
//! 1. every entry has exactly one slot, whose location is the entry's place in the list;
//! 2. `expiries` has exactly one element per entry that expires: its expiry and its place;
//! 3. `data_bytes` is the sum of the entries' data with the allocator's overhead.

use super::codec::reserve_quarter;
use super::hash::Field;
use crate::slot::{Slot, SlotKind};
use crate::table::Table;
use std::collections::BTreeSet;
use std::num::NonZeroU64;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What an allocation costs beyond its bytes, on average: its header and rounding.
const ALLOCATION_BYTES: usize = 16;
/// A key of a BTreeSet with its share of the node: nodes are two thirds full on average.
const EXPIRY_BYTES: usize = size_of::<(u64, usize)>() * 3 / 2 + 4;
/// The list is cut when it is larger than this and less than half full.
const SPARE_ENTRIES_MAX: usize = 16;

/// The fields of a large hash. See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct FieldTable {
    seed: u64,
    entries: Vec<Entry>,
    index: Table,
    expiries: BTreeSet<(u64, usize)>,
    data_bytes: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Name and value in one allocation.
    data: Box<[u8]>,
    name_bytes: usize,
    expires_at_ms: Option<NonZeroU64>,
}

impl FieldTable {
    pub(super) fn with_room_for(count: usize, seed: u64) -> FieldTable {
        FieldTable {
            seed,
            entries: Vec::with_capacity(count),
            index: Table::with_room_for(count),
            expiries: BTreeSet::new(),
            data_bytes: 0,
        }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// The number of fields, expired ones included.
    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.expiries.first().map(|(at_ms, _)| *at_ms)
    }

    /// Bytes on the heap beyond the struct itself.
    pub(super) fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.data_bytes
            + self.index.memory_bytes()
            + self.expiries.len() * EXPIRY_BYTES
    }

    pub(super) fn live_count(&self, now_ms: u64) -> usize {
        self.entries.len() - self.expiries.range(..=(now_ms, usize::MAX)).count()
    }

    /// All fields, expired ones included.
    pub(super) fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.entries.iter().map(Entry::field)
    }

    pub(super) fn field(&self, name: &[u8]) -> Option<Field<'_>> {
        self.find(name).map(|(_, place)| self.entries[place].field())
    }

    /// A live field, chosen by a random number.
    pub(super) fn random(&self, number: u64, now_ms: u64) -> Option<Field<'_>> {
        let start = number.checked_rem(self.entries.len() as u64)? as usize;
        let (before, from) = self.entries.split_at(start);
        from.iter().chain(before).map(Entry::field).find(|field| field.is_live(now_ms))
    }

    /// Visits all fields with the next hashes, expired ones included. The cursor is a hash.
    pub(super) fn scan<'a>(&'a self, cursor: u64, count: usize, visit: &mut dyn FnMut(Field<'a>)) -> u64 {
        let Ok(from_hash) = u32::try_from(cursor) else { return 0 };
        let next = self.index.scan(from_hash, count, |_, slot| visit(self.entries[place_of(slot)].field()));
        // Never zero by itself: some hash was passed.
        next.map_or(0, u64::from)
    }

    /// Adds a field with its expiry; false, and nothing is changed, if the name is there.
    pub(super) fn insert(&mut self, field: Field<'_>) -> bool {
        if self.find(field.name).is_some() {
            return false;
        }
        let place = self.entries.len();
        let entry = Entry::new(field);
        self.data_bytes += entry.memory_bytes();
        reserve_quarter(&mut self.entries, 1);
        self.entries.push(entry);
        self.index.insert(Slot::new(self.hash(field.name), SlotKind::Record, place as u64));
        self.expiry_changed(place, None, field.expires_at_ms);
        true
    }

    pub(super) fn set(&mut self, name: &[u8], value: &[u8], keep_ttl: bool, now_ms: u64) -> bool {
        let Some((_, place)) = self.find(name) else {
            self.insert(Field { name, value, expires_at_ms: None });
            return true;
        };
        let entry = &mut self.entries[place];
        let old = entry.field();
        let (old_expiry, is_live) = (old.expires_at_ms, old.is_live(now_ms));
        let expires_at_ms = old_expiry.filter(|_| keep_ttl && is_live);
        if old.value.len() == value.len() {
            entry.data[entry.name_bytes..].copy_from_slice(value);
        } else {
            self.data_bytes -= entry.memory_bytes();
            entry.data = [name, value].concat().into_boxed_slice();
            self.data_bytes += entry.memory_bytes();
        }
        self.expiry_changed(place, old_expiry, expires_at_ms);
        !is_live
    }

    pub(super) fn remove(&mut self, name: &[u8], now_ms: u64) -> bool {
        let Some((position, place)) = self.find(name) else { return false };
        self.remove_at(position, place).field().is_live(now_ms)
    }

    /// Gives a field that is there another expiry.
    pub(super) fn set_expiry(&mut self, name: &[u8], expires_at_ms: Option<u64>) {
        if let Some((_, place)) = self.find(name) {
            self.expiry_changed(place, self.entries[place].field().expires_at_ms, expires_at_ms);
        }
    }

    pub(super) fn remove_expired(&mut self, now_ms: u64, limit: usize) -> Vec<Vec<u8>> {
        let mut removed = Vec::new();
        while removed.len() < limit
            && let Some(&(at_ms, place)) = self.expiries.first()
            && at_ms <= now_ms
        {
            let position = self.position_of(place);
            removed.push(self.remove_at(position, place).field().name.to_vec());
        }
        removed
    }

    /// Checks all that holds between two calls.
    #[cfg(test)]
    pub(super) fn validate(&self) {
        self.index.validate().unwrap();
        assert_eq!(self.index.len(), self.entries.len());
        let mut expiries = BTreeSet::new();
        for (place, entry) in self.entries.iter().enumerate() {
            let field = entry.field();
            assert_eq!(self.find(field.name), Some((self.position_of(place), place)), "an entry is not in the index");
            expiries.extend(field.expires_at_ms.map(|at_ms| (at_ms, place)));
        }
        assert_eq!(self.expiries, expiries);
        assert_eq!(self.data_bytes, self.entries.iter().map(Entry::memory_bytes).sum::<usize>());
    }

    fn hash(&self, name: &[u8]) -> u32 {
        (xxh3_64_with_seed(name, self.seed) >> 32) as u32
    }

    /// The position in the index and the place in the list.
    fn find(&self, name: &[u8]) -> Option<(usize, usize)> {
        self.index
            .candidates(self.hash(name))
            .map(|(position, slot)| (position, place_of(slot)))
            .find(|(_, place)| self.entries[*place].field().name == name)
    }

    /// The position in the index of the entry at a place in the list.
    fn position_of(&self, place: usize) -> usize {
        let hash = self.hash(self.entries[place].field().name);
        self.index.find_exact(hash, place as u64, SlotKind::Record).expect("every entry has a slot")
    }

    /// Removes an entry; the last one takes its place.
    fn remove_at(&mut self, position: usize, place: usize) -> Entry {
        let last = self.entries.len() - 1;
        if let Some(at_ms) = self.entries[place].field().expires_at_ms {
            self.expiries.remove(&(at_ms, place));
        }
        if place != last {
            let moved = self.entries[last].field();
            let moved_slot = Slot::new(self.hash(moved.name), SlotKind::Record, place as u64);
            self.index.replace(self.position_of(last), moved_slot);
            if let Some(at_ms) = moved.expires_at_ms {
                self.expiries.remove(&(at_ms, last));
                self.expiries.insert((at_ms, place));
            }
        }
        self.index.remove(position);
        let removed = self.entries.swap_remove(place);
        self.data_bytes -= removed.memory_bytes();
        let len = self.entries.len();
        if self.entries.capacity() > 2 * len + SPARE_ENTRIES_MAX {
            self.entries.shrink_to(len + len / 4);
        }
        removed
    }

    fn expiry_changed(&mut self, place: usize, old: Option<u64>, new: Option<u64>) {
        self.entries[place].expires_at_ms = new.and_then(NonZeroU64::new);
        if let Some(at_ms) = old {
            self.expiries.remove(&(at_ms, place));
        }
        if let Some(at_ms) = new {
            self.expiries.insert((at_ms, place));
        }
    }
}

impl Entry {
    fn new(field: Field<'_>) -> Entry {
        Entry {
            data: [field.name, field.value].concat().into_boxed_slice(),
            name_bytes: field.name.len(),
            expires_at_ms: field.expires_at_ms.and_then(NonZeroU64::new),
        }
    }

    fn field(&self) -> Field<'_> {
        let (name, value) = self.data.split_at(self.name_bytes);
        Field { name, value, expires_at_ms: self.expires_at_ms.map(NonZeroU64::get) }
    }

    fn memory_bytes(&self) -> usize {
        self.data.len() + ALLOCATION_BYTES
    }
}

fn place_of(slot: Slot) -> usize {
    slot.location() as usize
}
