//! Appending: the one writer of a region, and the two ways of copying.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{IDLE, READABLE, WRITING};
use crate::format::SEGMENT_HEADER_BYTES;
use crate::segment::Segment;

/// The right to append to one segment. There is at most one for each.
pub(crate) struct Writer {
    segment: Arc<Segment>,
    tail: u32,
}

impl Writer {
    /// Begins an idle segment anew with a header; `None` if it is not idle.
    pub(crate) fn begin(
        segment: Arc<Segment>,
        header: &[u8; SEGMENT_HEADER_BYTES as usize],
        is_recycled: bool,
    ) -> Option<Writer> {
        let memory = segment.memory();
        if !memory.is_idle()
            || memory.phase.compare_exchange(IDLE, WRITING, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return None;
        }
        if is_recycled {
            memory.region().renew();
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
