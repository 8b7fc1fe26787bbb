//! A stripe's index: slots sorted by hash, with gaps.
//!
//! Ordered linear probing (O. Amble and D. E. Knuth, "Ordered hash tables", The Computer Journal 17(2), 1974) with a
//! home position that grows with the hash: `home = hash * capacity >> 32`. The slots therefore stand in the order of
//! their hashes, and the table can grow by an eighth instead of doubling, by one sequential pass over the old array.
//!
//! What holds between any two calls:
//! 1. Hashes never fall from one slot to a later one.
//! 2. A slot stands at its home or later, and no gap lies between its home and its place. So a search begins at the
//!    home and ends at the first gap or greater hash, whether it finds its slot or not.
//! 3. Nothing wraps around: beyond the last home there is overflow room, and the last cell is always a gap.
//! 4. At most nine tenths of the homes are in use by count; an empty table has no cells at all.
//!
//! Several slots may have the same hash: the table never sees keys, so the caller compares those of each candidate.
//! Every insert or removal may move other slots: a position is good until the next `&mut` call.
//!
//! Clock and frequency of a slot may be changed through `&Table` ([`Table::refresh`]), which is why the words are
//! `Cell`s: a table may be sent to another thread but not shared by several, and its stripe's lock sees to that.
//!
//! At a load of 0.85 a search looks at 3.8 slots on average (half of one plus 1 / (1 - load)), that is 61 bytes.

mod image;
#[cfg(test)]
mod tests;

pub use image::ImageError;

use crate::slot::{Slot, SlotKind};
use std::cell::Cell;
use std::fmt;
use std::iter::FusedIterator;

/// The smallest capacity of a table that is not empty, and the smallest step by which it grows.
const CAPACITY_MIN: usize = 8;
/// Hash times capacity must fit 64 bits.
const CAPACITY_MAX: usize = 1 << 32;
/// Spare cells beyond the last home. A queue of 32 forms there about once in a thousand tables at load 0.9; it costs
/// only an early growth.
const OVERFLOW_MIN: usize = 4;
const OVERFLOW_MAX: usize = 32;

/// The slots of one stripe and database. See the module's documentation.
#[derive(Clone, Default)]
pub struct Table {
    cells: Box<[Cells]>,
    capacity: usize,
    len: usize,
}

/// The two words of a slot. Sixteen bytes aligned to sixteen, so that no slot straddles two cache lines.
#[derive(Clone, Default)]
#[repr(C, align(16))]
struct Cells {
    head: Cell<u64>,
    body: Cell<u64>,
}

impl Table {
    /// An empty table, which allocates nothing.
    pub fn new() -> Table {
        Table::default()
    }

    /// An empty table that takes `count` slots without growing.
    pub fn with_room_for(count: usize) -> Table {
        let mut table = Table::new();
        if count > 0 {
            table.rebuild(capacity_for(count), 0);
        }
        table
    }

    /// The number of slots in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if no slot is in use.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One more than the greatest position that may be in use.
    pub fn positions(&self) -> usize {
        self.cells.len()
    }

    /// Bytes on the heap.
    pub fn memory_bytes(&self) -> usize {
        size_of_val::<[Cells]>(&self.cells)
    }

    /// Every slot with this hash, with its position.
    #[inline]
    pub fn candidates(&self, hash: u32) -> Candidates<'_> {
        Candidates { cells: &self.cells, position: home(hash, self.capacity), hash }
    }

    /// The position of the one slot with this hash, location and kind; records with and without an annex count as one kind, since a
    /// location is of one record.
    pub fn find_exact(&self, hash: u32, location: u64, kind: SlotKind) -> Option<usize> {
        self.candidates(hash)
            .find(|(_, slot)| slot.location() == location && slot.kind().is_record() == kind.is_record())
            .map(|(position, _)| position)
    }

    /// The slot at a position; `None` for a gap and beyond the end.
    #[inline]
    pub fn slot(&self, position: usize) -> Option<Slot> {
        self.cells.get(position).map(Cells::load).filter(|slot| !slot.is_empty())
    }

    /// Adds a slot, whatever others have its hash, and returns its position. Slots of one hash stay in the order of
    /// their insertion. Panics if the slot is a gap.
    pub fn insert(&mut self, slot: Slot) -> usize {
        assert!(!slot.is_empty(), "a gap is not inserted");
        if is_overfull(self.len + 1, self.capacity) {
            self.rebuild(grown(self.capacity), 0);
        }
        loop {
            let position = self.place_of(slot.hash());
            if let Some(gap) = self.gap_from(position) {
                self.cells[position..=gap].rotate_right(1);
                self.cells[position].store(slot);
                self.len += 1;
                return position;
            }
            self.widen_overflow();
        }
    }

    /// Puts another slot in the place of one. Panics if the position is a gap, or if the hashes differ, since the slot
    /// would then stand where no search finds it.
    pub fn replace(&mut self, position: usize, slot: Slot) {
        let old = self.cells[position].load();
        assert!(!old.is_empty() && !slot.is_empty(), "replace works on slots in use");
        assert_eq!(old.hash(), slot.hash(), "a replaced slot keeps its hash");
        self.cells[position].store(slot);
    }

    /// Takes over clock and frequency of `slot`, a changed copy of the slot at `position`: the part of an access that
    /// needs no `&mut`. All else must be as it is in the table.
    #[inline]
    pub fn refresh(&self, position: usize, slot: Slot) {
        let cells = &self.cells[position];
        debug_assert!(
            cells.load().with_clock(0).with_frequency(0) == slot.with_clock(0).with_frequency(0),
            "refresh changes clock and frequency alone"
        );
        cells.store(slot);
    }

    /// Removes the slot at a position and returns it; slots after it that are away from home move back by one. Panics
    /// if the position is a gap.
    pub fn remove(&mut self, position: usize) -> Slot {
        let removed = self.cells[position].load();
        assert!(!removed.is_empty(), "a gap is not removed");
        let mut last = position;
        while let Some(next) = self.slot(last + 1)
            && home(next.hash(), self.capacity) <= last
        {
            last += 1;
        }
        self.cells[position..=last].rotate_left(1);
        self.cells[last].store(Slot::EMPTY);
        self.len -= 1;
        self.shrink_if_sparse();
        removed
    }

    /// Keeps the slots of which `keep` says true, in one sequential pass, and shrinks if many are gone.
    pub fn retain(&mut self, mut keep: impl FnMut(Slot) -> bool) {
        let mut next = 0;
        for position in 0..self.cells.len() {
            let Some(slot) = self.slot(position) else { continue };
            self.cells[position].store(Slot::EMPTY);
            if keep(slot) {
                // Never beyond `position`: fewer slots than before stand in front of this one.
                let to = next.max(home(slot.hash(), self.capacity));
                self.cells[to].store(slot);
                next = to + 1;
            } else {
                self.len -= 1;
            }
        }
        self.shrink_if_sparse();
    }

    /// Removes every slot and frees the memory.
    pub fn clear(&mut self) {
        *self = Table::new();
    }

    /// Visits slots in the order of their hashes, from `from_hash` on, until at least `limit` (and at least one) were
    /// visited and the next has another hash. Returns the hash to go on from; `None` at the end.
    ///
    /// A scan that is continued in this way visits every slot that is there from its first call to its last, however
    /// often the table is changed or resized between the calls: a hash is passed only with all of its slots.
    pub fn scan(&self, from_hash: u32, limit: usize, mut visit: impl FnMut(usize, Slot)) -> Option<u32> {
        let start = home(from_hash, self.capacity);
        let mut visited = 0;
        let mut last_hash = from_hash;
        for (position, slot) in self.position_range(start, usize::MAX) {
            let hash = slot.hash();
            if hash < from_hash {
                continue;
            }
            if visited >= limit.max(1) && hash != last_hash {
                return Some(hash);
            }
            visit(position, slot);
            visited += 1;
            last_hash = hash;
        }
        None
    }

    /// Visits every slot in the order of the hashes.
    pub fn for_each(&self, mut visit: impl FnMut(usize, Slot)) {
        self.position_range(0, usize::MAX).for_each(|(position, slot)| visit(position, slot));
    }

    /// The slots at `count` positions from `start` on, for samples: gaps are left out, positions beyond the end are
    /// allowed. A pass that must not miss a slot while others come and go uses [`Table::scan`].
    pub fn position_range(&self, start: usize, count: usize) -> impl Iterator<Item = (usize, Slot)> {
        let end = start.saturating_add(count).min(self.cells.len());
        let start = start.min(end);
        (start..end).zip(&self.cells[start..end]).filter_map(|(position, cells)| {
            let slot = cells.load();
            (!slot.is_empty()).then_some((position, slot))
        })
    }

    /// Where a new slot with this hash belongs: before the first gap or greater hash.
    fn place_of(&self, hash: u32) -> usize {
        let home = home(hash, self.capacity);
        let ahead = self.cells[home..].iter().take_while(|cells| {
            let slot = cells.load();
            !slot.is_empty() && slot.hash() <= hash
        });
        home + ahead.count()
    }

    /// The first gap at or after a position, unless that is the last cell, which must stay a gap.
    fn gap_from(&self, position: usize) -> Option<usize> {
        let used = self.cells[position..].iter().take_while(|cells| !cells.load().is_empty()).count();
        let gap = position + used;
        (gap + 1 < self.cells.len()).then_some(gap)
    }

    /// The overflow room is used up. Growing helps unless many slots have the very same great hash: then the capacity
    /// stays and the room grows by half, so that such slots cannot blow up the table.
    fn widen_overflow(&mut self) {
        if self.len >= self.capacity / 4 * 3 {
            self.rebuild(grown(self.capacity), 0);
        } else {
            self.rebuild(self.capacity, (self.cells.len() - self.capacity) / 2);
        }
    }

    /// Shrinks below half load to three quarters: a third of what is left must go, or a fifth come, before the next
    /// rebuilding.
    fn shrink_if_sparse(&mut self) {
        if self.len == 0 {
            self.clear();
        } else if self.capacity > CAPACITY_MIN && self.len < self.capacity / 2 {
            self.rebuild((self.len + self.len.div_ceil(3)).max(CAPACITY_MIN), 0);
        }
    }

    /// Copies all slots into new cells for `capacity` homes, in one sequential pass, with at least `spare` cells more
    /// than they take.
    fn rebuild(&mut self, capacity: usize, spare: usize) {
        assert!(capacity <= CAPACITY_MAX, "a table has at most 2^32 homes");
        let spare = spare.max((capacity / 4).clamp(OVERFLOW_MIN, OVERFLOW_MAX));
        let mut cells = Vec::with_capacity(capacity + spare);
        self.for_each(|_, slot| {
            let home = home(slot.hash(), capacity);
            if cells.len() < home {
                cells.resize(home, Cells::default());
            }
            cells.push(Cells::new(slot));
        });
        let cells_count = cells.len().max(capacity) + spare;
        cells.resize(cells_count, Cells::default());
        self.cells = cells.into_boxed_slice();
        self.capacity = capacity;
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("len", &self.len)
            .field("capacity", &self.capacity)
            .field("positions", &self.cells.len())
            .finish()
    }
}

impl Cells {
    fn new(slot: Slot) -> Cells {
        let [head, body] = slot.words();
        Cells { head: Cell::new(head), body: Cell::new(body) }
    }

    #[inline]
    fn load(&self) -> Slot {
        Slot::from_sound_words(self.head.get(), self.body.get())
    }

    #[inline]
    fn store(&self, slot: Slot) {
        let [head, body] = slot.words();
        self.head.set(head);
        self.body.set(body);
    }
}

/// Iterator over the slots of one hash; see [`Table::candidates`].
#[derive(Clone)]
pub struct Candidates<'a> {
    cells: &'a [Cells],
    position: usize,
    hash: u32,
}

impl Iterator for Candidates<'_> {
    type Item = (usize, Slot);

    #[inline]
    fn next(&mut self) -> Option<(usize, Slot)> {
        loop {
            let slot = self.cells.get(self.position)?.load();
            if slot.is_empty() || slot.hash() > self.hash {
                return None;
            }
            let position = self.position;
            self.position += 1;
            if slot.hash() == self.hash {
                return Some((position, slot));
            }
        }
    }
}

/// The search ends at a gap or a greater hash and stays there.
impl FusedIterator for Candidates<'_> {}

/// Monotonic in the hash, and less than the capacity (or zero if there is none).
#[inline]
fn home(hash: u32, capacity: usize) -> usize {
    ((u64::from(hash) * capacity as u64) >> 32) as usize
}

fn is_overfull(len: usize, capacity: usize) -> bool {
    len as u64 * 10 > capacity as u64 * 9
}

/// The next greater capacity: an eighth more.
fn grown(capacity: usize) -> usize {
    capacity + (capacity / 8).max(CAPACITY_MIN)
}

/// The least capacity that holds `count` slots.
fn capacity_for(count: usize) -> usize {
    (count + count.div_ceil(9)).max(CAPACITY_MIN)
}

const _: () = assert!(size_of::<Cells>() == 16);
