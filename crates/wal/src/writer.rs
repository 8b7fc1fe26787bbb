//! The files that frames are written to, in order.

use std::mem;
use std::sync::Arc;

use crate::buffer::{Allocated, Taken};
use crate::frame;
use crate::header::{FileHeader, HEADER_BYTES, salt};
use crate::lsn::Lsn;
use crate::recovery::LogFile;
use crate::storage::{File, IoError};

/// A value behind a mutex that is held while a write is under way.
pub(crate) struct Writer {
    seed: u64,
    current: Option<Current>,
    /// Files that are full but not yet synced.
    full: Vec<Arc<dyn File>>,
    /// Every file that holds frames, in order, the current one last.
    files: Vec<LogFile>,
    /// The last frame that is written.
    written: Lsn,
    /// What a failed write left; nothing is written again before a restart.
    unwritten: Option<Taken>,
    /// An empty buffer to exchange for a full one.
    spare_buffer: Vec<u8>,
}

struct Current {
    file: Arc<dyn File>,
    salt: u32,
    offset: u64,
}

impl Writer {
    pub(crate) fn new(seed: u64, files: Vec<LogFile>, written: Lsn) -> Writer {
        let (spare_buffer, full) = (Vec::new(), Vec::new());
        Writer { seed, current: None, full, files, written, unwritten: None, spare_buffer }
    }

    /// Writes everything that was taken: one write for each file that it spreads over, as a rule one. After an error
    /// [`written`](Self::written) says how far it came and the rest is kept.
    pub(crate) fn write(&mut self, mut taken: Taken, durable: Lsn, buffer_bytes_max: usize) -> Result<(), IoError> {
        let mut start = 0;
        let mut done = 0;
        while start < taken.bytes.len() || done < taken.splits.len() {
            if let Some(split) = taken.splits.get(done).filter(|split| split.at == start) {
                let (file, first) = (split.file.clone(), split.first);
                if let Err(error) = self.begin(&file, first, durable) {
                    self.keep_unwritten(taken, start, done);
                    return Err(error);
                }
                done += 1;
            }
            let (end, last) = match taken.splits.get(done) {
                Some(split) => (split.at, split.first.previous()),
                None => (taken.bytes.len(), taken.last),
            };
            let Some(current) = &mut self.current else {
                unreachable!("the first frame after opening or restarting is placed in a new file");
            };
            let chunk = &mut taken.bytes[start..end];
            frame::seal(chunk, current.salt, durable);
            if let Err(error) = current.file.write_at(current.offset, chunk) {
                self.keep_unwritten(taken, start, done);
                return Err(error);
            }
            current.offset += chunk.len() as u64;
            self.written = last;
            start = end;
        }
        self.spare_buffer = taken.bytes;
        self.spare_buffer.clear();
        // One huge frame must not hold its memory for ever.
        self.spare_buffer.shrink_to(2 * buffer_bytes_max);
        Ok(())
    }

    pub(crate) fn written(&self) -> Lsn {
        self.written
    }

    pub(crate) fn spare_buffer(&mut self) -> Vec<u8> {
        mem::take(&mut self.spare_buffer)
    }

    /// The files that must be synced to make everything written so far durable. The full ones are handed over for good.
    pub(crate) fn unsynced(&mut self) -> Vec<Arc<dyn File>> {
        let mut files = mem::take(&mut self.full);
        files.extend(self.current.as_ref().map(|current| Arc::clone(&current.file)));
        files
    }

    /// After a failure: leaves the present file behind and gives back what is not written. A file whose sync failed is
    /// not synced again, since a later success would prove nothing.
    pub(crate) fn abandon(&mut self, sync_failed: bool) -> Taken {
        let current = self.current.take();
        if sync_failed {
            self.full.clear();
        } else {
            self.full.extend(current.map(|current| current.file));
        }
        self.unwritten.take().unwrap_or_default()
    }

    /// How many bytes a failed write left unwritten; `None` if no write has failed.
    pub(crate) fn unwritten_bytes(&self) -> Option<usize> {
        self.unwritten.as_ref().map(|taken| taken.bytes.len())
    }

    /// Takes the files off the list that hold nothing at or above `below`.
    pub(crate) fn take_files_below(&mut self, below: Lsn) -> Vec<LogFile> {
        // A file ends where the next one begins; the last one, as long as it is written to, has no end.
        let end_of_last = if self.current.is_some() { None } else { Some(self.written.next()) };
        let ends = self.files.iter().skip(1).map(|file| Some(file.base)).chain([end_of_last]);
        let files_and_ends = self.files.iter().zip(ends);
        let count = files_and_ends.take_while(|(_, end)| end.is_some_and(|end| end <= below)).count();
        self.files.drain(..count).collect()
    }

    /// Puts files back that could not be removed.
    pub(crate) fn put_files_back(&mut self, files: Vec<LogFile>) {
        self.files.splice(..0, files);
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    fn begin(&mut self, allocated: &Allocated, base: Lsn, durable: Lsn) -> Result<(), IoError> {
        let sequence = allocated.sequence;
        let header = FileHeader { salt: salt(self.seed, sequence), sequence, base, durable };
        allocated.file.write_at(0, &header.encode())?;
        let file = Arc::clone(&allocated.file);
        let begun = Current { file, salt: header.salt, offset: HEADER_BYTES as u64 };
        self.full.extend(self.current.replace(begun).map(|current| current.file));
        self.files.push(LogFile { sequence, base, bytes: allocated.bytes, ours: true });
        Ok(())
    }

    /// Keeps the bytes from `start` on and the splits from `done` on.
    fn keep_unwritten(&mut self, mut taken: Taken, start: usize, done: usize) {
        taken.bytes.drain(..start);
        taken.splits.drain(..done);
        for split in &mut taken.splits {
            split.at -= start;
        }
        self.unwritten = Some(taken);
    }
}
