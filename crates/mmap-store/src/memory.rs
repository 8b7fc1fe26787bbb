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

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::format::SEGMENT_HEADER_BYTES;
use crate::region::Region;
use crate::segment::Segment;

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

/// The right to append to one segment. There is at most one for each.
pub(crate) struct Writer {
    segment: Arc<Segment>,
    tail: u32,
}

impl Writer {
    /// Begins an idle segment anew with a header; `None` if it is not idle.
    pub(crate) fn begin(segment: Arc<Segment>, header: &[u8; SEGMENT_HEADER_BYTES as usize]) -> Option<Writer> {
        let memory = segment.memory();
        if !memory.is_idle()
            || memory.phase.compare_exchange(IDLE, WRITING, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return None;
        }
        let mut writer = Writer { segment, tail: 0 };
        writer.append(&[header]).expect("a region holds at least a page");
        Some(writer)
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Where the next append begins.
    #[inline]
    pub(crate) fn tail(&self) -> u32 {
        self.tail
    }

    /// Appends the parts one after the other, zero padded to 8 bytes, and commits them. `None` if they do not fit.
    #[inline]
    pub(crate) fn append(&mut self, parts: &[&[u8]]) -> Option<u32> {
        let memory = self.segment.memory();
        let offset = self.tail;
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let end = (offset as usize).checked_add(len.checked_next_multiple_of(8)?)?;
        if end > memory.region.len() {
            return None;
        }
        // SAFETY: `offset..end` is within the region and behind `committed`, so nobody reads it, and this is its only writer.
        unsafe {
            let to = memory.region.base().add(offset as usize).as_ptr();
            if memory.is_heap { copy_words(to, parts) } else { copy_bytes(to, parts, end - offset as usize) }
        }
        self.tail = end as u32;
        memory.committed.store(self.tail, Ordering::Release);
        Some(offset)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.segment.memory().phase.store(READABLE, Ordering::Release);
    }
}

/// # Safety
/// `to` is valid for `padded` bytes of exclusive writes; `padded` is the parts' length rounded up to 8.
#[inline]
unsafe fn copy_bytes(mut to: *mut u8, parts: &[&[u8]], padded: usize) {
    let mut left = padded;
    for part in parts {
        // SAFETY: the caller's promise; `to` moves by what was copied.
        unsafe {
            std::ptr::copy_nonoverlapping(part.as_ptr(), to, part.len());
            to = to.add(part.len());
        }
        left -= part.len();
    }
    // SAFETY: what is left of the promised bytes.
    unsafe { std::ptr::write_bytes(to, 0, left) };
}

/// The same by atomic stores of whole words, for heap regions, which images look at while they are written.
///
/// # Safety
/// `to` is aligned to 8 and valid for atomic writes of the parts' length rounded up to 8.
unsafe fn copy_words(mut to: *mut u8, parts: &[&[u8]]) {
    let (mut word, mut filled) = ([0; 8], 0);
    let last = parts.iter().map(|part| part.len()).sum::<usize>();
    for (index, byte) in parts.iter().flat_map(|part| part.iter()).enumerate() {
        word[filled] = *byte;
        filled += 1;
        if filled == 8 || index + 1 == last {
            // SAFETY: the caller's promise; one word for every 8 bytes begun.
            unsafe {
                AtomicU64::from_ptr(to.cast()).store(u64::from_ne_bytes(word), Ordering::Relaxed);
                to = to.add(8);
            }
            (word, filled) = ([0; 8], 0);
        }
    }
}

/// Committed bytes that outlive their pin, because the segment is not written again while it exists.
pub(crate) struct Shared {
    segment: Arc<Segment>,
    bytes: *const [u8],
}

// SAFETY: the bytes are immutable for as long as `Shared` exists, so they can be read from any thread.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Shares a range of committed bytes; like [`Memory::bytes`].
    pub(crate) fn new(segment: Arc<Segment>, pin: &Pin, offset: u32, len: u32) -> Option<Shared> {
        // Counted before the look: if it succeeds, the segment cannot become idle before the pin is gone, and then the count is seen.
        segment.memory().shares.fetch_add(1, Ordering::Relaxed);
        let bytes =
            segment.memory().bytes(pin, offset, len).map_or(std::ptr::slice_from_raw_parts(std::ptr::null(), 0), |b| b);
        let shared = Shared { segment, bytes };
        (!bytes.is_null()).then_some(shared)
    }
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `new` returns no `Shared` with a null pointer; the region is alive (`segment`) and not idle while it is counted.
        unsafe { &*self.bytes }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.segment.memory().shares.fetch_sub(1, Ordering::Release);
    }
}
