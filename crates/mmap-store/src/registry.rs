//! The segments by id: one indexed load from a location to its segment.
//!
//! The registry owns every segment. The table's pointers are looked up under a pin; a segment that is taken out of the table is kept
//! until every pin of that moment, and every shared value, is gone.
#![expect(unsafe_code, reason = "pointers instead of reference counts on the hot path")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::memory::Pin;
use crate::segment::Segment;

const SEGMENTS_MAX: usize = 1 << 16;

pub(crate) struct Registry {
    table: Box<[AtomicPtr<Segment>]>,
    owned: Mutex<Owned>,
}

#[derive(Default)]
struct Owned {
    /// What the table points to.
    listed: BTreeMap<u16, Arc<Segment>>,
    /// What it pointed to.
    retired: Vec<Retired>,
}

struct Retired {
    segment: Arc<Segment>,
    /// Set when no pin from that time is left.
    unseen: Arc<AtomicBool>,
    booked_bytes: u64,
}

impl Registry {
    pub(crate) fn new() -> Registry {
        Registry { table: null_pointers(), owned: Mutex::default() }
    }

    /// The segment of this id, for as long as the pin and the registry last.
    #[inline]
    pub(crate) fn segment<'g>(&'g self, _pin: &'g Pin, id: u16) -> Option<&'g Segment> {
        let pointer = self.table[usize::from(id)].load(Ordering::Acquire);
        // SAFETY: null, or a segment that `owned` keeps: while it is listed, and after that until all pins that may have seen the pointer
        // are gone (the flag is set by the epoch collector). The registry itself outlives 'g.
        unsafe { pointer.as_ref() }
    }

    /// Lists a segment; its id must be unused.
    pub(crate) fn insert(&self, segment: Arc<Segment>) {
        let id = segment.id();
        let pointer = Arc::as_ptr(&segment).cast_mut();
        let mut owned = self.owned();
        assert!(owned.listed.insert(id, segment).is_none(), "segment {id} is listed already");
        self.table[usize::from(id)].store(pointer, Ordering::Release);
    }

    /// Takes a segment out; its memory goes in a later [`Registry::collect`], which reports `booked_bytes`. `false` if it
    /// is not listed.
    pub(crate) fn remove(&self, id: u16, booked_bytes: u64) -> bool {
        let mut owned = self.owned();
        let Some(segment) = owned.listed.remove(&id) else { return false };
        self.table[usize::from(id)].store(std::ptr::null_mut(), Ordering::SeqCst);
        let unseen = Arc::new(AtomicBool::new(false));
        owned.retired.push(Retired { segment, unseen: Arc::clone(&unseen), booked_bytes });
        crossbeam_epoch::pin().defer(move || unseen.store(true, Ordering::Release));
        true
    }

    /// Drops what nobody can see any more: ids that are free again, with the bytes that were booked for them.
    pub(crate) fn collect(&self) -> Vec<(u16, u64)> {
        let gone: Vec<Retired> = {
            let mut owned = self.owned();
            // Shared values hold the segment itself; without pins nobody can make one more.
            let is_gone = |it: &mut Retired| it.unseen.load(Ordering::Acquire) && Arc::strong_count(&it.segment) == 1;
            owned.retired.extract_if(.., is_gone).collect()
        };
        // Unmapping a large segment takes a while: outside the lock.
        gone.into_iter().map(|it| (it.segment.id(), it.booked_bytes)).collect()
    }

    /// Every listed segment, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Segment>> {
        self.owned().listed.values().cloned().collect()
    }

    /// A listed segment, to be kept without a pin.
    pub(crate) fn owned_segment(&self, id: u16) -> Option<Arc<Segment>> {
        self.owned().listed.get(&id).cloned()
    }

    fn owned(&self) -> MutexGuard<'_, Owned> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As many null pointers as there are ids, in memory that is not touched (and so not resident) before it is used.
fn null_pointers() -> Box<[AtomicPtr<Segment>]> {
    const {
        assert!(
            size_of::<usize>() == size_of::<AtomicPtr<Segment>>()
                && align_of::<usize>() == align_of::<AtomicPtr<Segment>>()
        )
    };
    let zeros = Box::into_raw(vec![0usize; SEGMENTS_MAX].into_boxed_slice());
    // SAFETY: the box's own pointer with its own length; the types have one layout, and zero is the null pointer.
    unsafe { Box::from_raw(zeros as *mut [AtomicPtr<Segment>]) }
}
