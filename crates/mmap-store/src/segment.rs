//! One segment: its memory and what is counted about it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::format::{PAGE_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::memory::{Memory, Writer};
use crate::region::Region;

/// What a segment is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentPhase {
    /// Empty; the next open segment may be this one.
    Free,
    /// Records are being appended.
    Open,
    /// Full, closed, or found when the store was opened.
    Sealed,
    /// Nothing in it is wanted, but it may not be written yet: see [`crate::Store::free`].
    Freed,
}

/// A segment at one moment, for choosing what to merge and for metrics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentState {
    /// Its id.
    pub id: u16,
    /// Its length, header included.
    pub capacity_bytes: u32,
    /// Where its records end.
    pub tail_bytes: u32,
    /// Bytes of records that were appended or adopted and not released.
    pub live_bytes: u32,
    /// What it is doing.
    pub phase: SegmentPhase,
    /// The class it was last opened for.
    pub class: u8,
    /// Whether it was made for one large record.
    pub dedicated: bool,
    /// How often it was begun.
    pub generation: u64,
    /// Whether its records need no check at a read.
    pub verified: bool,
}

/// What was found in a segment from an earlier process.
pub(crate) struct Found {
    pub(crate) generation: u64,
    pub(crate) class: u8,
    pub(crate) dedicated: bool,
    pub(crate) readable_bytes: u32,
}

pub(crate) struct Segment {
    memory: Memory,
    id: u16,
    dedicated: bool,
    verified: AtomicBool,
    recovered: AtomicBool,
    freed: AtomicBool,
    expiry_changed: AtomicBool,
    counts: Counts,
    life: Mutex<Life>,
    this: Weak<Segment>,
}

/// On a cache line of its own: it is written by every put and delete, and what stands before it is read by every get.
#[repr(align(64))]
#[derive(Default)]
struct Counts {
    live_bytes: AtomicU32,
    /// End of the furthest record that was adopted.
    adopted_tail: AtomicU32,
}

struct Life {
    generation: u64,
    class: u8,
    /// Bytes from the start that are durable.
    synced_bytes: u32,
}

impl Segment {
    /// A segment over memory that nobody has written.
    pub(crate) fn fresh(id: u16, dedicated: bool, region: Region) -> Arc<Segment> {
        let life = Life { generation: 0, class: 0, synced_bytes: 0 };
        Segment::new(id, dedicated, Memory::fresh(region), life, true)
    }

    /// A segment that was there when the store was opened.
    pub(crate) fn recovered(id: u16, found: &Found, region: Region) -> Arc<Segment> {
        // What an earlier process wrote may be in the kernel's memory only: the first sync makes sure.
        let life = Life { generation: found.generation, class: found.class, synced_bytes: 0 };
        let segment = Segment::new(id, found.dedicated, Memory::recovered(region, found.readable_bytes), life, false);
        segment.recovered.store(true, Ordering::Relaxed);
        segment
    }

    fn new(id: u16, dedicated: bool, memory: Memory, life: Life, verified: bool) -> Arc<Segment> {
        Arc::new_cyclic(|this| Segment {
            memory,
            id,
            dedicated,
            verified: AtomicBool::new(verified),
            recovered: AtomicBool::new(false),
            freed: AtomicBool::new(false),
            expiry_changed: AtomicBool::new(false),
            counts: Counts::default(),
            life: Mutex::new(life),
            this: this.clone(),
        })
    }

    /// Opens an idle segment for appending; `None` if it is not idle (still pinned, or shared).
    pub(crate) fn begin(self: &Arc<Segment>, class: u8) -> Option<Writer> {
        let mut life = self.life();
        let generation = life.generation + 1;
        let header = SegmentHeader {
            id: u32::from(self.id),
            generation,
            capacity: u64::from(self.capacity()),
            class,
            dedicated: self.dedicated,
        };
        let writer = Writer::begin(Arc::clone(self), &header.encode(), generation > 1)?;
        *life = Life { generation, class, synced_bytes: 0 };
        self.counts.live_bytes.store(0, Ordering::Relaxed);
        self.counts.adopted_tail.store(0, Ordering::Relaxed);
        self.verified.store(true, Ordering::Relaxed);
        self.recovered.store(false, Ordering::Relaxed);
        self.freed.store(false, Ordering::Relaxed);
        self.expiry_changed.store(false, Ordering::Relaxed);
        Some(writer)
    }

    /// Begins the way from freed to free; `false` if it is not freed, or on its way already.
    pub(crate) fn retire(&self) -> bool {
        self.is_freed() && self.memory.retire()
    }

    pub(crate) fn this(&self) -> Arc<Segment> {
        self.this.upgrade().expect("a segment that is borrowed has an owner")
    }

    #[inline]
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn capacity(&self) -> u32 {
        self.memory.region().len() as u32
    }

    pub(crate) fn dedicated(&self) -> bool {
        self.dedicated
    }

    #[inline]
    pub(crate) fn is_verified(&self) -> bool {
        self.verified.load(Ordering::Relaxed)
    }

    pub(crate) fn set_verified(&self) {
        self.verified.store(true, Ordering::Relaxed);
    }

    /// Whether its records were written by an earlier process.
    pub(crate) fn is_recovered(&self) -> bool {
        self.recovered.load(Ordering::Relaxed)
    }

    pub(crate) fn is_freed(&self) -> bool {
        self.freed.load(Ordering::Acquire)
    }

    /// Marks a sealed segment as unwanted; `false` if it is not sealed.
    pub(crate) fn set_freed(&self) -> bool {
        self.memory.is_readable() && !self.freed.swap(true, Ordering::AcqRel)
    }

    #[inline]
    pub(crate) fn add_live(&self, bytes: u32) {
        self.counts.live_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes bytes off; stops at zero, so that a count that is wrong once does not become four billion.
    pub(crate) fn sub_live(&self, bytes: u32) {
        let subtract = |live: u32| Some(live.saturating_sub(bytes));
        let _previous = self.counts.live_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, subtract);
    }

    pub(crate) fn set_live(&self, bytes: u32) {
        self.counts.live_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn live_bytes(&self) -> u32 {
        self.counts.live_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn extend_adopted_tail(&self, end: u32) {
        self.counts.adopted_tail.fetch_max(end, Ordering::Relaxed);
    }

    /// Where the records end: for segments from an earlier process, the last that was adopted.
    pub(crate) fn tail_bytes(&self) -> u32 {
        if self.recovered.load(Ordering::Relaxed) {
            self.counts.adopted_tail.load(Ordering::Relaxed).max(SEGMENT_HEADER_BYTES)
        } else {
            self.memory.committed()
        }
    }

    pub(crate) fn set_expiry_changed(&self) {
        // Unconditionally, and after the word: whoever takes this flag has the word in what it syncs.
        self.expiry_changed.store(true, Ordering::Release);
    }

    /// What is not durable yet, if anything. The caller reports back with [`Segment::synced`].
    pub(crate) fn unsynced(&self) -> Option<Unsynced> {
        let life = self.life();
        let end = self.memory.committed();
        let expiry_changed = self.expiry_changed.swap(false, Ordering::AcqRel);
        let start = if expiry_changed { 0 } else { life.synced_bytes };
        (start < end).then_some(Unsynced {
            generation: life.generation,
            start: start / PAGE_BYTES * PAGE_BYTES,
            end: end.next_multiple_of(PAGE_BYTES),
            committed: end,
        })
    }

    /// Bytes of records that no sync has made durable. (Changed expiry words are not counted: eight bytes each.)
    pub(crate) fn unsynced_bytes(&self) -> u32 {
        let life = self.life();
        self.memory.committed().saturating_sub(life.synced_bytes)
    }

    /// The range is durable now, unless the segment was begun anew meanwhile.
    pub(crate) fn synced(&self, range: &Unsynced) {
        let mut life = self.life();
        if life.generation == range.generation {
            life.synced_bytes = life.synced_bytes.max(range.committed);
        }
    }

    pub(crate) fn state(&self) -> SegmentState {
        let life = self.life();
        SegmentState {
            id: self.id,
            capacity_bytes: self.capacity(),
            tail_bytes: self.tail_bytes(),
            live_bytes: self.live_bytes(),
            phase: if self.memory.is_writing() {
                SegmentPhase::Open
            } else if self.memory.is_readable() {
                if self.is_freed() { SegmentPhase::Freed } else { SegmentPhase::Sealed }
            } else if self.memory.is_idle() {
                SegmentPhase::Free
            } else {
                SegmentPhase::Freed
            },
            class: life.class,
            dedicated: self.dedicated,
            generation: life.generation,
            verified: self.is_verified(),
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pages of a segment that are not durable yet.
pub(crate) struct Unsynced {
    generation: u64,
    pub(crate) start: u32,
    pub(crate) end: u32,
    committed: u32,
}
