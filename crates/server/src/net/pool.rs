//! Buffers of a thread, lent to the connections that are at work.
//!
//! An idle connection holds none, so ten thousand of them cost a few KiB each; a busy thread uses the same few again and
//! again, hot in its cache.

use std::cell::RefCell;
use sutra_protocol::{Decoder, Output};

/// Bytes of a read buffer: how much one read takes at most. A larger request gets a buffer of its own.
pub(super) const READ_BYTES: usize = 64 * 1024;
/// Free read buffers a thread keeps.
const BUFFERS_KEPT_MAX: usize = 16;
/// Free kits a thread keeps: as many connections have replies waiting for the log at once.
const KITS_KEPT_MAX: usize = 256;
/// A kit whose output holds more memory is not kept.
const KIT_BYTES_MAX: usize = 256 * 1024;

/// What a connection needs while requests or replies are under way.
#[derive(Debug, Default)]
pub(super) struct Kit {
    pub(super) decoder: Decoder,
    /// Looks ahead of `decoder`.
    pub(super) scout: Decoder,
    pub(super) output: Output,
}

#[derive(Default)]
#[expect(clippy::vec_box, reason = "a kit moves between connections and the pool at every batch: as a pointer")]
struct Pool {
    buffers: Vec<Vec<u8>>,
    kits: Vec<Box<Kit>>,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// A buffer of [`READ_BYTES`] initialised bytes of no meaning.
pub(super) fn take_buffer() -> Vec<u8> {
    POOL.with_borrow_mut(|pool| pool.buffers.pop()).unwrap_or_else(|| vec![0; READ_BYTES])
}

/// Gives a buffer back; one of another size is freed.
pub(super) fn return_buffer(buffer: Vec<u8>) {
    if buffer.len() == READ_BYTES {
        POOL.with_borrow_mut(|pool| {
            if pool.buffers.len() < BUFFERS_KEPT_MAX {
                pool.buffers.push(buffer);
            }
        });
    }
}

/// A kit between requests.
pub(super) fn take_kit() -> Box<Kit> {
    POOL.with_borrow_mut(|pool| pool.kits.pop()).unwrap_or_default()
}

/// Gives a kit back that is between requests and has nothing to send.
pub(super) fn return_kit(mut kit: Box<Kit>) {
    debug_assert!(kit.output.is_empty());
    kit.output.clear();
    if kit.output.capacity_bytes() <= KIT_BYTES_MAX {
        POOL.with_borrow_mut(|pool| {
            if pool.kits.len() < KITS_KEPT_MAX {
                pool.kits.push(kit);
            }
        });
    }
}
