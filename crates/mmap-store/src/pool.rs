//! The accounts of the segments: how many bytes there are, which may be used, which ids are unused.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::segment::Segment;

/// Highest id of a segment; 0 is never one, so that no sound location is all zeros.
const ID_MAX: u16 = u16::MAX;

/// What a new segment would need: a decision of [`Pool::reserve`].
pub(crate) enum Reserved {
    /// This one, which nobody uses.
    Idle(Arc<Segment>),
    /// One that must be made, under this id; its bytes are booked.
    New(u16),
}

/// Kept behind one lock, which is never held during I/O.
pub(crate) struct Pool {
    limit_bytes: u64,
    mapped_bytes: u64,
    /// All of the pool's size, and retired: idle now or when the last pin from before is gone.
    free: Vec<Arc<Segment>>,
    segment_bytes: u32,
    /// Ids above this were never used.
    highest_id: u16,
    /// Ids at or below it that are unused.
    unused_ids: BTreeSet<u16>,
}

impl Pool {
    pub(crate) fn new(segment_bytes: u32, limit_bytes: u64) -> Pool {
        Pool {
            limit_bytes,
            mapped_bytes: 0,
            free: Vec::new(),
            segment_bytes,
            highest_id: 0,
            unused_ids: BTreeSet::new(),
        }
    }

    /// Books a segment that exists already.
    pub(crate) fn found(&mut self, id: u16, bytes: u32) {
        self.mapped_bytes += u64::from(bytes);
        self.unused_ids.remove(&id);
        if id > self.highest_id {
            self.unused_ids.extend(self.highest_id + 1..id);
            self.highest_id = id;
        }
    }

    /// Finds a segment of the pool's size within the limit and `overdraft_bytes`, preferring one that exists.
    pub(crate) fn reserve(&mut self, overdraft_bytes: u64) -> Option<Reserved> {
        let (bytes, limit) = (u64::from(self.segment_bytes), self.limit_bytes.saturating_add(overdraft_bytes));
        if self.in_use_bytes() + bytes > limit {
            return None;
        }
        if let Some(index) = self.free.iter().position(|segment| segment.memory().is_idle()) {
            return Some(Reserved::Idle(self.free.swap_remove(index)));
        }
        if self.mapped_bytes + bytes > limit {
            return None;
        }
        self.reserve_id(bytes).map(Reserved::New)
    }

    /// Books a new segment of any size. The caller removes the idle segments that it gets, to make room.
    pub(crate) fn reserve_new(&mut self, bytes: u64, overdraft_bytes: u64) -> (Option<u16>, Vec<Arc<Segment>>) {
        let limit = self.limit_bytes.saturating_add(overdraft_bytes);
        let mut surplus = Vec::new();
        if self.in_use_bytes() + bytes <= limit {
            surplus = self.take_idle(limit - bytes);
        }
        if self.mapped_bytes + bytes > limit {
            return (None, surplus);
        }
        (self.reserve_id(bytes), surplus)
    }

    fn reserve_id(&mut self, bytes: u64) -> Option<u16> {
        // Ids not used before come first: an old one's memory may still be on its way out.
        let id = if self.highest_id < ID_MAX {
            self.highest_id += 1;
            self.highest_id
        } else {
            self.unused_ids.pop_first()?
        };
        self.mapped_bytes += bytes;
        Some(id)
    }

    /// Takes idle segments out until at most `mapped_bytes` are left, as far as there are any.
    pub(crate) fn take_idle(&mut self, mapped_bytes: u64) -> Vec<Arc<Segment>> {
        let mut taken = Vec::new();
        while self.mapped_bytes > mapped_bytes
            && let Some(index) = self.free.iter().position(|segment| segment.memory().is_idle())
        {
            self.mapped_bytes -= u64::from(self.segment_bytes);
            taken.push(self.free.swap_remove(index));
        }
        taken
    }

    /// Takes idle segments out while more is mapped than the limit allows.
    pub(crate) fn take_surplus(&mut self) -> Vec<Arc<Segment>> {
        self.take_idle(self.limit_bytes)
    }

    /// Puts a segment among the free ones.
    pub(crate) fn put(&mut self, segment: Arc<Segment>) {
        self.free.push(segment);
    }

    /// A reserved segment could not be made, or a segment's memory is gone: its id and bytes are free again.
    pub(crate) fn give_back(&mut self, id: u16, bytes: u64) {
        self.unused_ids.insert(id);
        self.mapped_bytes = self.mapped_bytes.saturating_sub(bytes);
    }

    pub(crate) fn has_idle(&self) -> bool {
        self.free.iter().any(|segment| segment.memory().is_idle())
    }

    pub(crate) fn set_limit_bytes(&mut self, bytes: u64) {
        self.limit_bytes = bytes;
    }

    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    pub(crate) fn mapped_bytes(&self) -> u64 {
        self.mapped_bytes
    }

    /// Mapped and not free.
    pub(crate) fn in_use_bytes(&self) -> u64 {
        self.mapped_bytes.saturating_sub(self.free.len() as u64 * u64::from(self.segment_bytes))
    }
}
