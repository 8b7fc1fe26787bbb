//! Who may touch which bytes of a region, and when. The one place where records' bytes are read and written.
//!
//! Phases of a region: `Idle → Writing → Readable → Retiring → Idle`.
//! - **Idle**: nothing is committed, nobody has a slice or a shared value: it may be written from the start.
//! - **Writing**: one [`Writer`] appends behind `committed` and moves it forward; below it bytes never change, but for expiry words.
//! - **Readable**: the writer is gone.
//! - **Retiring**: `committed` is zero, so nobody gets a slice any more; those who have one hold a [`Pin`] from before. When the last
//!   of these is gone, the epoch collector makes it idle.
//!
//! A slice therefore lies below a `committed` that was loaded under a pin, and its bytes are not written before that pin is gone.
#![expect(unsafe_code, reason = "slices over memory that other threads append to")]

mod shared;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::format::SEGMENT_HEADER_BYTES;
use crate::region::Region;

pub(crate) use shared::Shared;
pub(crate) use writer::Writer;

const IDLE: u8 = 0;
const WRITING: u8 = 1;
const READABLE: u8 = 2;
const RETIRING: u8 = 3;

/// While a pin exists, no segment that could be looked up is written over or unmapped. Cheap (some nanoseconds, less if the thread has one
/// already), but hold it briefly: segments freed meanwhile stay in memory.
#[derive(Debug)]
pub struct Pin {
    _guard: crossbeam_epoch::Guard,
}

impl Pin {
    #[inline]
    pub(crate) fn new() -> Pin {
        Pin { _guard: crossbeam_epoch::pin() }
    }
}

/// A region with its phase.
pub(crate) struct Memory {
    region: Region,
    is_heap: bool,
    committed: AtomicU32,
    shares: AtomicU32,
    // Shared with the epoch collector, which may run after the region is gone.
    phase: Arc<AtomicU8>,
}

impl Memory {
    /// A region that nobody has written.
    pub(crate) fn fresh(region: Region) -> Memory {
        Memory::new(region, 0, IDLE)
    }

    /// A region from an earlier process, readable up to `readable_bytes` (at most its length).
    pub(crate) fn recovered(region: Region, readable_bytes: u32) -> Memory {
        assert!(readable_bytes as usize <= region.len());
        Memory::new(region, readable_bytes, READABLE)
    }

    fn new(region: Region, committed: u32, phase: u8) -> Memory {
        Memory {
            is_heap: region.is_heap(),
            region,
            committed: AtomicU32::new(committed),
            shares: AtomicU32::new(0),
            phase: Arc::new(AtomicU8::new(phase)),
        }
    }

    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// Bytes that may be read, header included; zero if retired.
    #[inline]
    pub(crate) fn committed(&self) -> u32 {
        self.committed.load(Ordering::Acquire)
    }

    /// Whether it may be written from the start.
    pub(crate) fn is_idle(&self) -> bool {
        // In this order: shares are only added under pins, and those are gone when the phase is idle.
        self.phase.load(Ordering::Acquire) == IDLE && self.is_unshared()
    }

    /// Whether no shared value is left.
    fn is_unshared(&self) -> bool {
        self.shares.load(Ordering::Acquire) == 0
    }

    pub(crate) fn is_writing(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == WRITING
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == READABLE
    }

    /// Has the processor fetch two cache lines from `offset` on, if they lie within the region.
    #[inline]
    pub(crate) fn prefetch(&self, offset: u32) {
        const LINE_BYTES: u32 = 64;
        let line = offset / LINE_BYTES * LINE_BYTES;
        if (line + 2 * LINE_BYTES) as usize > self.region.len() {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: both lines lie within the region, and a prefetch reads nothing that the program could see.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let first = self.region.base().add(line as usize).as_ptr().cast::<i8>();
            _mm_prefetch::<_MM_HINT_T0>(first);
            _mm_prefetch::<_MM_HINT_T0>(first.add(LINE_BYTES as usize));
        }
    }

    /// A committed word of a record's header, or its expiry word.
    #[inline]
    pub(crate) fn word(&self, pin: &Pin, offset: u32) -> Option<u64> {
        Some(u64::from_le(self.atomic(pin, offset)?.load(Ordering::Relaxed)))
    }

    /// Stores an expiry word; `false` if the offset is not within the committed records.
    pub(crate) fn store_word(&self, pin: &Pin, offset: u32, word: u64) -> bool {
        let Some(atomic) = self.atomic(pin, offset) else { return false };
        atomic.store(word.to_le(), Ordering::Relaxed);
        true
    }

    #[inline]
    fn atomic<'g>(&'g self, _pin: &'g Pin, offset: u32) -> Option<&'g AtomicU64> {
        if offset < SEGMENT_HEADER_BYTES || !offset.is_multiple_of(8) || offset.checked_add(8)? > self.committed() {
            return None;
        }
        // SAFETY: within the region (committed never exceeds its length) and aligned, as the region is aligned to pages. Committed bytes
        // are written by nobody but through this atomic until the pin is gone; slices leave expiry words out.
        Some(unsafe { AtomicU64::from_ptr(self.region.base().add(offset as usize).as_ptr().cast()) })
    }

    /// Committed bytes. The range must not contain an expiry word: `record` begins it behind one and ends it at the record's end.
    #[inline]
    pub(crate) fn bytes<'g>(&'g self, _pin: &'g Pin, offset: u32, len: u32) -> Option<&'g [u8]> {
        if offset < SEGMENT_HEADER_BYTES || offset.checked_add(len)? > self.committed() {
            return None;
        }
        // SAFETY: within the region, written before `committed` was (release/acquire), and not written again until the pin is gone: see
        // the phases above.
        Some(unsafe { std::slice::from_raw_parts(self.region.base().add(offset as usize).as_ptr(), len as usize) })
    }

    /// The segment's header, whatever is in it; for regions that have just been opened.
    pub(crate) fn header(region: &mut Region) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        assert!(region.len() >= SEGMENT_HEADER_BYTES as usize);
        // SAFETY: in bounds by the assert; the exclusive borrow says that nobody else is reading or writing.
        unsafe { region.base().cast().read() }
    }

    /// Withdraws a readable region; it becomes idle when every pin of this moment is gone. `false` if it is not readable.
    pub(crate) fn retire(&self) -> bool {
        if self.phase.compare_exchange(READABLE, RETIRING, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        self.committed.store(0, Ordering::SeqCst);
        let phase = Arc::clone(&self.phase);
        crossbeam_epoch::pin().defer(move || phase.store(IDLE, Ordering::Release));
        true
    }
}
