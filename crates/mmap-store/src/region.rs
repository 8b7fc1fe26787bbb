//! The memory of one segment: mapped, or on the heap for tests and Miri.
//!
//! All access is by raw pointer: several threads use one region at once, so no reference to it as a whole may ever exist.
//! Who may touch which bytes when is [`crate::memory`]'s business; this file only keeps the memory alive, aligned and in bounds.
#![expect(unsafe_code, reason = "raw memory shared between threads")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::MmapRaw;

use crate::directory::Lease;
use crate::format::PAGE_BYTES;

/// The memory of one segment, whole pages, aligned to a page. Not `Clone`: two regions never share bytes.
pub struct Region {
    base: NonNull<u8>,
    bytes: usize,
    // Dropped in this order: the memory is unmapped before the lease lets another region map the file.
    backing: Backing,
    _lease: Option<Lease>,
}

enum Backing {
    Mapped(MmapRaw),
    Heap(Arc<Heap>),
}

struct Heap {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the pointers are to memory that the region owns (or shares with images that only load atomically), and every access through
// them is either atomic or ordered by the protocol in `memory`.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}
// SAFETY: a `Heap` hands out its bytes only by atomic loads, and to the one region over it.
unsafe impl Send for Heap {}
// SAFETY: as above.
unsafe impl Sync for Heap {}

impl Region {
    /// Zeroed memory on the heap, in place of a file. Writes to it are atomic word stores, so that a [`HeapImage`] may look at any time.
    ///
    /// # Panics
    /// If `bytes` is not a positive multiple of 4,096.
    #[must_use]
    pub fn heap(bytes: u32) -> Region {
        assert!(bytes > 0 && bytes.is_multiple_of(PAGE_BYTES), "{bytes} bytes are not whole pages");
        let layout = Layout::from_size_align(bytes as usize, PAGE_BYTES as usize).expect("at most 4 GiB");
        // SAFETY: the layout has a size above zero.
        let Some(base) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
        let heap = Arc::new(Heap { base, layout });
        Region { base, bytes: layout.size(), backing: Backing::Heap(heap), _lease: None }
    }

    /// Memory on the heap that begins with `content`, as a file that was read.
    ///
    /// # Panics
    /// If the content's length is not a positive multiple of 4,096 below 4 GiB.
    #[must_use]
    pub fn heap_from(content: &[u8]) -> Region {
        let region = Region::heap(u32::try_from(content.len()).expect("a segment is below 4 GiB"));
        // SAFETY: the region is new and as long as the content, and nobody else knows it.
        unsafe { std::ptr::copy_nonoverlapping(content.as_ptr(), region.base.as_ptr(), content.len()) };
        region
    }

    /// A mapping that nobody else uses for as long as the lease lasts.
    pub(crate) fn mapped(map: MmapRaw, lease: Option<Lease>) -> Region {
        let base = NonNull::new(map.as_mut_ptr()).expect("a mapping is not at address zero");
        Region { base, bytes: map.len(), backing: Backing::Mapped(map), _lease: lease }
    }

    /// A second look at a heap region, for a simulated disk; `None` if it is mapped.
    #[must_use]
    pub fn image(&self) -> Option<HeapImage> {
        match &self.backing {
            Backing::Heap(heap) => Some(HeapImage(Arc::clone(heap))),
            Backing::Mapped(_) => None,
        }
    }

    /// How long it is, in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub fn len(&self) -> usize {
        self.bytes
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Whether writes must be atomic words because images may look on.
    pub(crate) fn is_heap(&self) -> bool {
        match self.backing {
            Backing::Heap(_) => true,
            Backing::Mapped(_) => false,
        }
    }

    /// Writes the range back to the file and waits until it is durable (msync); nothing to do on the heap.
    pub(crate) fn flush(&self, range: Range<usize>) -> std::io::Result<()> {
        match &self.backing {
            Backing::Mapped(map) => map.flush_range(range.start, range.len()),
            Backing::Heap(_) => Ok(()),
        }
    }

    /// Has the kernel fault in every page for writing, so that appends do not; a hint, so failing is fine.
    pub(crate) fn populate(&self) {
        if let Backing::Mapped(map) = &self.backing {
            // Kernels before 5.14 refuse; then appends take the faults themselves.
            drop(map.advise(memmap2::Advice::PopulateWrite));
        }
    }

    /// Has the kernel forget its page tables for the region and make them anew, writable. After a sync every page is write-protected, and
    /// the fault that lifts it costs ten times as much for a page that is mapped as for one that is not (measured: 3.1 against 0.5 us for a
    /// record of 3 KiB). A hint, so failing is fine.
    pub(crate) fn renew(&self) {
        if let Backing::Mapped(map) = &self.backing {
            // SAFETY: a shared mapping of a file: its content is in the page cache and comes back at the next touch.
            drop(unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) });
            drop(map.advise(memmap2::Advice::PopulateWrite));
        }
    }

    /// Has the kernel read the pages ahead of use; a hint, so failing is fine.
    pub(crate) fn will_need(&self) {
        if let Backing::Mapped(map) = &self.backing {
            drop(map.advise(memmap2::Advice::WillNeed));
        }
    }
}

/// A look at a heap region's bytes at any time, even while it is written. Keeps the memory alive.
#[derive(Clone)]
pub struct HeapImage(Arc<Heap>);

impl HeapImage {
    /// A copy of a range; a word that is being written is either old or new.
    ///
    /// # Panics
    /// If the range is not within the region, or does not begin and end at multiples of 8.
    #[must_use]
    pub fn copy(&self, range: Range<usize>) -> Vec<u8> {
        assert!(range.start <= range.end && range.end <= self.0.layout.size(), "range {range:?} is out of bounds");
        assert!(range.start.is_multiple_of(8) && range.end.is_multiple_of(8), "range {range:?} is not whole words");
        let mut copy = Vec::with_capacity(range.len());
        for offset in range.step_by(8) {
            // SAFETY: in bounds and aligned by the asserts; every store to heap regions that others can see is an atomic word too.
            let word = unsafe { AtomicU64::from_ptr(self.0.base.add(offset).as_ptr().cast()) }.load(Ordering::Relaxed);
            copy.extend_from_slice(&word.to_ne_bytes());
        }
        copy
    }

    /// How long the region is, in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub fn len(&self) -> usize {
        self.0.layout.size()
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and freed once: the last owner is gone.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}
