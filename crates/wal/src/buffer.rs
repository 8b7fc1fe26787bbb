//! Frames that are appended but not yet written, and the promise of a place on the disk for each of them.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::LogError;
use crate::frame;
use crate::header::HEADER_BYTES;
use crate::lsn::Lsn;
use crate::storage::File;

/// A value behind one short mutex. A frame is placed as it is pushed: into the rest of the file that earlier frames go
/// to, or into the next file, which must be allocated by then. So no frame is accepted that the disk cannot hold.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    splits: Vec<Split>,
    last: Lsn,
    /// How many bytes fit behind the last frame in its file. Zero while latched, so that one comparison decides the
    /// common case.
    room: u64,
    next: Option<Allocated>,
    latch: Option<Latch>,
    /// Whether there is a latch, for those who ask without the lock.
    latched: Arc<AtomicBool>,
    appended_bytes: u64,
}

/// An allocated file that holds no frame yet.
#[derive(Clone)]
pub(crate) struct Allocated {
    pub(crate) sequence: u64,
    pub(crate) bytes: u64,
    pub(crate) file: Arc<dyn File>,
}

/// From `at` in the buffered bytes on, frames go to another file.
#[derive(Clone)]
pub(crate) struct Split {
    pub(crate) at: usize,
    /// The first frame of the file.
    pub(crate) first: Lsn,
    pub(crate) file: Allocated,
}

/// Frames on their way to the disk.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) bytes: Vec<u8>,
    pub(crate) splits: Vec<Split>,
    pub(crate) last: Lsn,
}

/// The first failure, which refuses all appends.
#[derive(Clone)]
struct Latch {
    error: LogError,
    /// The room that there was, for going on in the present file.
    room: u64,
}

/// What became of a push.
pub(crate) enum Pushed {
    Placed(Lsn),
    /// The buffer is full: write it first.
    Full,
    /// The next file is missing or too short: allocate one.
    NoFile,
    Refused(LogError),
}

impl Allocated {
    pub(crate) fn holds(&self, bytes: u64) -> bool {
        HEADER_BYTES as u64 + bytes <= self.bytes
    }
}

impl Buffer {
    pub(crate) fn new(last: Lsn) -> Buffer {
        Buffer { last, ..Buffer::default() }
    }

    /// The common case of [`push`](Self::push), and nothing else.
    #[inline]
    pub(crate) fn push_fast(&mut self, body: &[u8], bytes: usize, bytes_max: usize) -> Option<Lsn> {
        if bytes as u64 <= self.room && self.bytes.len() < bytes_max { Some(self.place(body, bytes)) } else { None }
    }

    pub(crate) fn push(&mut self, body: &[u8], bytes: usize, bytes_max: usize) -> Pushed {
        if let Some(latch) = &self.latch {
            return Pushed::Refused(latch.error.clone());
        }
        if self.bytes.len() >= bytes_max {
            return Pushed::Full;
        }
        if bytes as u64 > self.room {
            let Some(next) = self.next.take_if(|next| next.holds(bytes as u64)) else { return Pushed::NoFile };
            self.room = next.bytes - HEADER_BYTES as u64;
            self.splits.push(Split { at: self.bytes.len(), first: self.last.next(), file: next });
        }
        Pushed::Placed(self.place(body, bytes))
    }

    /// Hands over everything pushed so far and goes on with the emptied `spare`.
    pub(crate) fn take(&mut self, spare: Vec<u8>) -> Taken {
        debug_assert!(spare.is_empty());
        Taken { bytes: mem::replace(&mut self.bytes, spare), splits: mem::take(&mut self.splits), last: self.last }
    }

    /// After a failed write: everything unwritten, in order, placed anew into the next file, which must be long enough.
    /// Returns the files that are no longer needed; `None` if the next file is too short after all.
    pub(crate) fn place_anew(&mut self, unwritten: Taken, first: Lsn) -> Option<Vec<Allocated>> {
        let bytes = (unwritten.bytes.len() + self.bytes.len()) as u64;
        let file = self.next.take_if(|next| next.holds(bytes))?;
        let rest = mem::replace(&mut self.bytes, unwritten.bytes);
        self.bytes.extend_from_slice(&rest);
        let old = unwritten.splits.into_iter().chain(mem::take(&mut self.splits)).map(|split| split.file).collect();
        self.room = file.bytes - HEADER_BYTES as u64 - bytes;
        self.splits.push(Split { at: 0, first, file });
        self.latch = None;
        self.latched.store(false, Ordering::Release);
        Some(old)
    }

    pub(crate) fn latch(&mut self, error: LogError) {
        if self.latch.is_none() {
            self.latch = Some(Latch { error, room: mem::take(&mut self.room) });
            self.latched.store(true, Ordering::Release);
        }
    }

    /// Goes on in the present file.
    pub(crate) fn unlatch(&mut self) {
        if let Some(latch) = self.latch.take() {
            self.room = latch.room;
            self.latched.store(false, Ordering::Release);
        }
    }

    /// The flag that says whether there is a failure.
    pub(crate) fn failure_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.latched)
    }

    pub(crate) fn failure(&self) -> Option<LogError> {
        self.latch.as_ref().map(|latch| latch.error.clone())
    }

    /// Installs the next file; returns the one it replaces.
    pub(crate) fn set_next(&mut self, next: Allocated) -> Option<Allocated> {
        self.next.replace(next)
    }

    pub(crate) fn has_next(&self, bytes: u64) -> bool {
        self.next.as_ref().is_some_and(|next| next.holds(bytes))
    }

    pub(crate) fn room(&self) -> u64 {
        self.room
    }

    pub(crate) fn last(&self) -> Lsn {
        self.last
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn appended_bytes(&self) -> u64 {
        self.appended_bytes
    }

    #[inline]
    fn place(&mut self, body: &[u8], bytes: usize) -> Lsn {
        let lsn = self.last.next();
        frame::push(&mut self.bytes, lsn, body);
        self.last = lsn;
        self.room -= bytes as u64;
        self.appended_bytes += bytes as u64;
        lsn
    }
}
