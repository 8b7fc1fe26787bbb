//! Rows follow their entries: whoever places, moves or removes the slot of an annotated entry does the same to its row, under the same
//! lock.

use super::annex::Annex;
use super::space::{Space, UNPLACED};
use crate::hash::KeyHash;
use crate::shard::Shard;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, PoisonError};
use sutra_hnsw_index::{Encoded, Side};
use sutra_mmap_store::Location;

/// The row of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowRef {
    pub(crate) space: u32,
    pub(crate) row: u32,
}

/// The rows of a stripe's annotated entries by the locations of their records.
pub(crate) type RowMap = HashMap<u64, RowRef, BuildHasherDefault<LocationHasher>>;

/// Locations are spread by a multiplication (Fibonacci hashing, Knuth 6.4).
#[derive(Default)]
pub(crate) struct LocationHasher(u64);

impl Hasher for LocationHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte) ^ self.0.rotate_left(8)));
    }

    fn write_u64(&mut self, number: u64) {
        // The table uses the top and the bottom bits: both depend on all bits of the location.
        let product = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = product ^ product >> 32;
    }
}

/// The entry that a row's side data name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) db: u8,
    pub(crate) hash: KeyHash,
    pub(crate) location: Location,
}

impl Owner {
    pub(crate) fn pack(self) -> [u64; 2] {
        [u64::from(self.db) << 40 | self.hash.to_u64(), self.location.to_bits()]
    }

    pub(crate) fn unpack(words: [u64; 2]) -> Owner {
        let hash = KeyHash { stripe: (words[0] >> 32) as u8, slot: words[0] as u32 };
        Owner { db: (words[0] >> 40) as u8, hash, location: Location::from_bits(words[1]) }
    }
}

/// What a row shows of an entry besides its vector.
pub(crate) fn side(owner: Owner, annex: &Annex<'_>) -> Side {
    Side { owner: owner.pack(), written_ms: annex.written_ms, signature: annex.signature(), stamp: annex.stamp }
}

impl Shard {
    pub(crate) fn space_by_id(&self, id: u32) -> Option<Arc<Space>> {
        self.meaning.registry.read().unwrap_or_else(PoisonError::into_inner).by_id(id).cloned()
    }

    /// Counts a hit of an entry by its row.
    pub(crate) fn count_hit(&self, row: RowRef) {
        let registry = self.meaning.registry.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(space) = registry.by_id(row.space) {
            space.rows.count_hit(row.row);
        }
    }

    /// All spaces, that of entries without a vector included. The list is a copy: who goes through it may lock stripes.
    pub(crate) fn all_spaces(&self) -> Vec<Arc<Space>> {
        self.meaning.registry.read().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// Where the row of an annex belongs, and its codes. An entry whose space is gone, or whose vector is none of it, keeps its tags.
    pub(crate) fn codes(&self, annex: &Annex<'_>, value: &[u8]) -> Option<(Arc<Space>, Option<Encoded>)> {
        if let Some(space) = self.space_by_id(annex.space)
            && let Some(vector) = annex.vector(value)
            && let Ok(encoded) = Encoded::new(&vector, space.dimension())
        {
            return Some((space, Some(encoded)));
        }
        Some((self.space_by_id(UNPLACED)?, None))
    }

    /// Frees the row of an entry that is gone.
    pub(crate) fn free_row(&self, row: RowRef) {
        if let Some(space) = self.space_by_id(row.space) {
            space.rows.remove(row.row);
            space.graph.note(row.row);
        }
    }

    /// Tells a row that its entry's record has moved, or that the entry is in another database.
    pub(crate) fn readdress_row(&self, row: RowRef, owner: Owner) {
        if let Some(space) = self.space_by_id(row.space) {
            space.rows.update_side(row.row, |side| side.owner = owner.pack());
        }
    }

    /// Bytes of codes and rows of all spaces.
    pub(crate) fn meaning_bytes(&self) -> u64 {
        self.all_spaces().iter().map(|space| space.memory_bytes()).sum::<u64>() + self.undo_bytes()
    }
}
