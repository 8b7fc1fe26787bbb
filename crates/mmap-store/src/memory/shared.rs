//! Values that are held beyond a pin, while a slow client takes them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Pin;
use crate::segment::Segment;

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
    /// Shares a range of committed bytes; like [`Memory::bytes`](super::Memory::bytes).
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
