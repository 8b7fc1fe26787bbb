//! The log: any number of threads append, flush and sync; one order comes out.
//!
//! Locks, in the order in which they may be held together: `syncing`, `writer`, `allocation`, `buffer`. The buffer's is
//! held for one copy; the writer's for one write, during which appends go on into a second buffer; the allocation's
//! while a file is created; the sync's while files are synced, during which appends and writes go on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::buffer::{Allocated, Buffer, Pushed};
use crate::error::{LogError, OpenError};
use crate::frame;
use crate::header::{HEADER_BYTES, file_name};
use crate::lsn::Lsn;
use crate::recovery::recover;
use crate::replay::{Replay, ReplayReport};
use crate::storage::{File, IoError, IoErrorKind, Storage};
use crate::writer::Writer;
use crate::{BODY_BYTES_MAX, LOG_FILE_BYTES_MAX};

/// How a log is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The length of a log file, allocated whole. A frame that is longer gets a file of its own length.
    pub file_bytes: u64,
    /// How many appended bytes may wait to be written: an append beyond it writes first. The memory in use is at most
    /// twice this and the longest frame.
    pub buffer_bytes_max: usize,
    /// What the files' salts are made from. Best a number that clients cannot know, such as the data directory's seed:
    /// then they cannot write values that pass for frames should a damaged log be searched for its next frame.
    pub seed: u64,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions { file_bytes: 16 << 20, buffer_bytes_max: 1 << 20, seed: 0 }
    }
}

/// The shortest file that is worth its header and its place in the directory.
const FILE_BYTES_MIN: u64 = 1024;

/// An open log. Dropping it writes nothing: what was not flushed is gone, as when the process dies.
pub struct Log {
    storage: Arc<dyn Storage>,
    options: LogOptions,
    buffer: Mutex<Buffer>,
    allocation: Mutex<Allocation>,
    writer: Mutex<Writer>,
    syncing: Mutex<Syncing>,
    written: AtomicU64,
    synced: AtomicU64,
    durable: AtomicU64,
    /// What was appended and replayed before the last trim, to subtract.
    trimmed_bytes: AtomicU64,
    replayed_bytes: u64,
    /// A name was made or changed since the directory was synced.
    directory_changed: AtomicBool,
    failed: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Allocation {
    next_sequence: u64,
    /// A file of the ordinary length that this process made and trimmed, under its old name: to be renamed rather than a new one allocated.
    spare: Option<String>,
}

#[derive(Debug, Default)]
struct Syncing {
    failed: bool,
    /// Frames up to here may be lost because a sync failed. Nothing is called durable until a checkpoint covers them.
    suspect: Option<Lsn>,
}

impl Log {
    /// Opens the log in `storage`, or creates it. Frames behind `after`, the position of the caller's checkpoint, are
    /// handed to the visitor in order. When this returns, everything that was replayed is durable in the log, what was
    /// discarded is durably gone, and the next append continues the numbers.
    ///
    /// A full disk is no error here: the log then opens latched ([`failed`](Self::failed)), so that reads can go on.
    pub fn open(
        storage: Arc<dyn Storage>,
        options: LogOptions,
        after: Lsn,
        visitor: &mut dyn Replay,
    ) -> Result<(Log, ReplayReport), OpenError> {
        if !(FILE_BYTES_MIN..=LOG_FILE_BYTES_MAX).contains(&options.file_bytes) {
            return Err(OpenError::Options("file_bytes must be from 1 KiB to the longest log file"));
        }
        if options.buffer_bytes_max == 0 {
            return Err(OpenError::Options("buffer_bytes_max must not be 0"));
        }
        let recovered = recover(storage.as_ref(), after, visitor)?;
        let (last, report) = (recovered.report.last, recovered.report);
        let buffer = Buffer::new(last);
        let log = Log {
            failed: buffer.failure_flag(),
            buffer: Mutex::new(buffer),
            allocation: Mutex::new(Allocation { next_sequence: recovered.next_sequence, spare: None }),
            writer: Mutex::new(Writer::new(options.seed, recovered.files, last)),
            syncing: Mutex::default(),
            written: AtomicU64::new(last.0),
            synced: AtomicU64::new(last.0),
            durable: AtomicU64::new(report.durable.min(last).0),
            trimmed_bytes: AtomicU64::new(0),
            replayed_bytes: report.bytes,
            directory_changed: AtomicBool::new(false),
            storage,
            options,
        };
        match log.allocate_next(0) {
            Ok(()) => {}
            Err(error) if error.kind == IoErrorKind::NoSpace => {
                log.latched(error);
            }
            Err(error) => return Err(error.into()),
        }
        Ok((log, report))
    }

    /// Appends one frame to the buffer and returns its number: nothing is written yet. Refused once the log has failed.
    pub fn append(&self, body: &[u8]) -> Result<Lsn, LogError> {
        if body.len() > BODY_BYTES_MAX {
            return Err(LogError::TooLarge { bytes: body.len(), bytes_max: BODY_BYTES_MAX });
        }
        let bytes = frame::frame_bytes(body.len());
        if let Some(lsn) = lock(&self.buffer).push_fast(body, bytes, self.options.buffer_bytes_max) {
            return Ok(lsn);
        }
        self.append_slowly(body, bytes)
    }

    /// Writes every frame through `through` to the file: they then survive the death of the process. Returns at once if
    /// that has happened; otherwise writes all that is appended, so that threads that wait for the same write share it.
    pub fn flush(&self, through: Lsn) -> Result<(), LogError> {
        if self.written() >= through {
            return Ok(());
        }
        let mut writer = lock(&self.writer);
        if writer.written() >= through {
            return Ok(());
        }
        let room = self.write_out(&mut writer)?;
        drop(writer);
        if room < self.options.file_bytes / 4 {
            self.prepare_ahead();
        }
        Ok(())
    }

    /// Flushes, then makes everything that is written durable in the log, and returns how far that is. Threads that
    /// wait while another one syncs share the next sync.
    ///
    /// After a failed sync and a restart this returns a number below what was appended until [`trim`](Self::trim) says
    /// that a checkpoint covers what may be lost: compare before replying.
    pub fn sync(&self) -> Result<Lsn, LogError> {
        let target = self.last();
        let syncing = lock(&self.syncing);
        if self.synced() < target {
            self.sync_locked(syncing, target)?;
        } else {
            drop(syncing);
        }
        self.prepare_ahead();
        Ok(self.synced())
    }

    /// Records that the stores as well as the log are synced through `lsn` (at most what [`sync`](Self::sync) returned).
    /// Later frames carry it, and tell replay what must be there.
    pub fn mark_durable(&self, lsn: Lsn) {
        self.durable.fetch_max(lsn.min(self.synced()).0, Ordering::AcqRel);
    }

    /// Gives up all files that hold only frames below `below`. To be called once a checkpoint of everything below is
    /// durable; one file is kept to be begun again. Returns how many files were given up.
    pub fn trim(&self, below: Lsn) -> Result<usize, IoError> {
        self.durable.fetch_max(below.previous().min(self.last()).0, Ordering::AcqRel);
        {
            let mut syncing = lock(&self.syncing);
            syncing.suspect = syncing.suspect.filter(|&suspect| suspect >= below);
        }
        let mut files = lock(&self.writer).take_files_below(below);
        let count = files.len();
        while let Some(file) = files.first() {
            let name = file_name(file.sequence);
            let given_up = if file.ours { self.give_up(name, file.bytes) } else { self.storage.remove(&name) };
            if let Err(error) = given_up {
                lock(&self.writer).put_files_back(files);
                return Err(error);
            }
            files.remove(0);
        }
        let total = self.replayed_bytes + lock(&self.buffer).appended_bytes();
        self.trimmed_bytes.store(total, Ordering::Release);
        Ok(count)
    }

    /// Allocates the next file if the present one is half full, so that no append has to wait for it. `flush` does so
    /// when three quarters are full and `sync` always; a caller with a thread to spare may do so in between. A failure
    /// latches: a full disk is noticed while there is still room for all that is appended.
    pub fn prepare_ahead(&self) {
        {
            let buffer = lock(&self.buffer);
            if buffer.has_next(0) || buffer.room() >= self.options.file_bytes / 2 || buffer.failure().is_some() {
                return;
            }
        }
        if let Err(error) = self.allocate_next(0) {
            self.latched(error);
        }
    }

    /// The last frame appended.
    pub fn last(&self) -> Lsn {
        lock(&self.buffer).last()
    }

    /// The last frame written: it and all before survive the process.
    pub fn written(&self) -> Lsn {
        Lsn(self.written.load(Ordering::Acquire))
    }

    /// The last frame durable in the log: it and all before survive a power loss, though what they refer to may not.
    pub fn synced(&self) -> Lsn {
        Lsn(self.synced.load(Ordering::Acquire))
    }

    /// The last frame that is durable in log and stores, as told by [`mark_durable`](Self::mark_durable).
    pub fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// How many bytes of frames were replayed or appended since the last trim: what replay would read, roughly.
    pub fn bytes(&self) -> u64 {
        let total = self.replayed_bytes + lock(&self.buffer).appended_bytes();
        total.saturating_sub(self.trimmed_bytes.load(Ordering::Acquire))
    }

    /// How many bytes are appended but not yet being written.
    pub fn buffered_bytes(&self) -> usize {
        lock(&self.buffer).buffered_bytes()
    }

    /// How many bytes the log's files take on the disk, without the spare and the next one.
    pub fn file_bytes(&self) -> u64 {
        lock(&self.writer).file_bytes()
    }

    /// The first failure since the log was opened or restarted, for which appends are refused.
    pub fn failed(&self) -> Option<LogError> {
        lock(&self.buffer).failure()
    }

    /// Whether [`failed`](Self::failed) has an answer, without taking a lock: asked before every write.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Lifts the refusal once space or disk are back: writes what is still unwritten, into a new file unless it was
    /// only the allocation that had failed. On an error the log stays as it was.
    ///
    /// After a failed sync the disk may have lost any frame that was not durable: the caller then takes a checkpoint
    /// and calls [`trim`](Self::trim), and [`sync`](Self::sync) promises nothing before.
    pub fn restart(&self) -> Result<(), LogError> {
        let mut syncing = lock(&self.syncing);
        let mut writer = lock(&self.writer);
        if self.failed().is_none() {
            return Ok(());
        }
        if writer.unwritten_bytes().is_none() && !syncing.failed {
            self.allocate_next(0)?;
            lock(&self.buffer).unlatch();
            return Ok(());
        }
        // Appends are refused and the writer is ours, so this cannot change.
        let bytes = writer.unwritten_bytes().unwrap_or(0) + self.buffered_bytes();
        self.allocate_next(bytes as u64)?;
        let first = writer.written().next();
        let unwritten = writer.abandon(syncing.failed);
        let unused = lock(&self.buffer)
            .place_anew(unwritten, first)
            .expect("the file was allocated for these bytes, and only an accepted append could have taken it");
        if syncing.failed {
            *syncing = Syncing { failed: false, suspect: Some(writer.written()) };
        }
        for file in unused {
            // A file that stays behind was never begun: the next open takes it for a spare.
            let _ = self.give_up(file_name(file.sequence), file.bytes);
        }
        self.write_out(&mut writer)?;
        Ok(())
    }

    #[cold]
    fn append_slowly(&self, body: &[u8], bytes: usize) -> Result<Lsn, LogError> {
        let bytes_max = self.options.buffer_bytes_max;
        loop {
            let (pushed, last) = {
                let mut buffer = lock(&self.buffer);
                (buffer.push(body, bytes, bytes_max), buffer.last())
            };
            match pushed {
                Pushed::Placed(lsn) => return Ok(lsn),
                Pushed::Full => self.flush(last)?,
                Pushed::NoFile => {
                    self.allocate_next(bytes as u64).map_err(|error| self.latched(error))?;
                }
                Pushed::Refused(error) => return Err(error),
            }
        }
    }

    /// Writes everything appended so far; returns the room left behind it.
    fn write_out(&self, writer: &mut Writer) -> Result<u64, LogError> {
        // Behind a failed write nothing is written: frames must not follow a hole.
        if let (Some(_), Some(error)) = (writer.unwritten_bytes(), self.failed()) {
            return Err(error);
        }
        let spare = writer.spare_buffer();
        let (taken, room) = {
            let mut buffer = lock(&self.buffer);
            (buffer.take(spare), buffer.room())
        };
        let result = writer.write(taken, self.durable(), self.options.buffer_bytes_max);
        self.written.store(writer.written().0, Ordering::Release);
        match result {
            Ok(()) => Ok(room),
            Err(error) => Err(self.latched(error)),
        }
    }

    fn sync_locked(&self, mut syncing: MutexGuard<'_, Syncing>, target: Lsn) -> Result<(), LogError> {
        if let (true, Some(error)) = (syncing.failed, self.failed()) {
            return Err(error);
        }
        self.flush(target)?;
        let (files, through) = {
            let mut writer = lock(&self.writer);
            (writer.unsynced(), writer.written())
        };
        if let Err(error) = self.sync_files(&files) {
            syncing.failed = true;
            self.directory_changed.store(true, Ordering::Release);
            return Err(self.latched(error));
        }
        if syncing.suspect.is_none() {
            self.synced.fetch_max(through.0, Ordering::AcqRel);
        }
        Ok(())
    }

    fn sync_files(&self, files: &[Arc<dyn File>]) -> Result<(), IoError> {
        if self.directory_changed.swap(false, Ordering::AcqRel) {
            self.storage.sync_directory()?;
        }
        files.iter().try_for_each(|file| file.sync())
    }

    /// Sees to it that the next file is there and can hold `frame_bytes`. The directory is synced with the next sync.
    fn allocate_next(&self, frame_bytes: u64) -> Result<(), IoError> {
        let mut allocation = lock(&self.allocation);
        if lock(&self.buffer).has_next(frame_bytes) {
            return Ok(());
        }
        let bytes = self.options.file_bytes.max(HEADER_BYTES as u64 + frame_bytes);
        let sequence = allocation.next_sequence;
        let name = file_name(sequence);
        allocation.next_sequence += 1;
        let spare = if bytes == self.options.file_bytes { allocation.spare.take() } else { None };
        let file = match spare {
            Some(spare) => {
                self.storage.rename(&spare, &name)?;
                self.storage.open(&name)?
            }
            None => self.storage.create(&name, bytes)?,
        };
        self.directory_changed.store(true, Ordering::Release);
        let next = Allocated { sequence, bytes, file: Arc::from(file) };
        let replaced = lock(&self.buffer).set_next(next);
        if let Some(short) = replaced {
            // Too short, and now out of order: it will be the one after, under a new name.
            self.give_up_locked(&mut allocation, file_name(short.sequence), short.bytes)?;
        }
        Ok(())
    }

    fn give_up(&self, name: String, bytes: u64) -> Result<(), IoError> {
        self.give_up_locked(&mut lock(&self.allocation), name, bytes)
    }

    fn give_up_locked(&self, allocation: &mut Allocation, name: String, bytes: u64) -> Result<(), IoError> {
        if allocation.spare.is_none() && bytes == self.options.file_bytes {
            allocation.spare = Some(name);
            return Ok(());
        }
        self.storage.remove(&name)
    }

    /// Refuses all further appends with this error, unless an earlier one does so already.
    fn latched(&self, error: IoError) -> LogError {
        let error = LogError::from(error);
        lock(&self.buffer).latch(error.clone());
        error
    }
}

/// A panic while a lock was held leaves nothing half done that the next holder could not bear: go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
