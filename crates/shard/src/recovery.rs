//! Opening a shard: meta file, segments, newest sound checkpoint, then the log after it. Serves at once; records are checked at their
//! first read and in the background.

use crate::boot;
use crate::checkpoint::{self, Chunk};
use crate::hash::{KeyHash, STRIPES};
use crate::meaning::Recovered;
use crate::meta::Meta;
use crate::ops::{Op, Ops};
use crate::options::{Limits, Options};
use crate::progress::{Progress, Stage};
use crate::shard::{Replayed, Shard};
use crate::slot::{ExpiryHint, Slot, SlotKind};
use crate::stripe::Database;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use sutra_mmap_store::{Anonymous, Directory, Location, Options as StoreOptions, SegmentSpace, Store};
use sutra_wal::{Damage, Disk, IoError, Log, LogOptions, Lsn, Replay, Storage, Verdict};

/// What the store may take beyond its limit for a moment: a merge writes before it frees, and threads that were let in together may bring
/// more than there was room for. Small enough to go unnoticed beside the buffers of a process.
const OVERDRAFT_BYTES_MIN: u64 = 4 << 20;

/// Classes of time to live that are kept apart: none, minutes, hours, longer.
const CLASSES: usize = 4;

/// What recovery found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Entries after recovery.
    pub entries: u64,
    /// Where the checkpoint's replay began; 0: there was none.
    pub checkpoint_lsn: u64,
    /// Frames replayed.
    pub frames: u64,
    /// Edits replayed.
    pub edits: u64,
    /// The last LSN.
    pub last_lsn: u64,
    /// Where and why the log was cut at its end, if it was.
    pub cut: Option<String>,
    /// Sound frames behind the cut, which were discarded: there is a hole before them, as a power failure leaves it, or damage.
    pub frames_discarded: u64,
    /// One sentence for each damage found, with file and offset.
    pub damage: Vec<String>,
    /// One sentence for each damaged byte that its checksum has set right, with file and offset: nothing was lost, but the disk is not sound.
    pub repaired: Vec<String>,
}

/// Why a shard could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has the directory, or it cannot be used.
    Directory(String),
    /// An operation on a file failed.
    Io(IoError),
    /// The segments could not be opened.
    Store(sutra_mmap_store::OpenError),
    /// The log could not be opened.
    Log(sutra_wal::OpenError),
    /// The directory was written with the other setting of `mapped`.
    OtherMode {
        /// How it was written.
        mapped: bool,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Directory(text) => f.write_str(text),
            OpenError::Io(error) => error.fmt(f),
            OpenError::Store(error) => error.fmt(f),
            OpenError::Log(error) => error.fmt(f),
            OpenError::OtherMode { mapped } => write!(
                f,
                "the data directory was written with MMAP_ENABLED={mapped}: start with that setting, or with an empty directory"
            ),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<IoError> for OpenError {
    fn from(error: IoError) -> OpenError {
        OpenError::Io(error)
    }
}

/// Stripes are filled by replay and verified against their image's LSN.
struct Replayer<'s> {
    shard: &'s Shard,
    stripe_lsn: Box<[Lsn; STRIPES]>,
    now_ms: u64,
    report: Recovery,
    missing: u64,
    /// Through this LSN records had arrived; those of earlier frames may have been overwritten since.
    store_synced: Lsn,
    /// The machine has not been started anew since the directory was last used, so no record is missing for want of a sync.
    same_boot: bool,
    /// Spaces and invalidations.
    meaning: Recovered,
    /// An invalidation by name was carried out again: what its sweep had logged finds nothing.
    swept_again: bool,
    /// Expiry words to be set at the end, for records that are still where they were.
    expiries: HashMap<Location, (KeyHash, Option<u64>)>,
    progress: &'s Progress,
}

impl Replay for Replayer<'_> {
    fn preview(&mut self, lsn: Lsn, body: &[u8]) {
        let first = Ops::new(body).next().and_then(Result::ok);
        self.meaning.preview(lsn, first.as_ref());
        if let Some(Op::StoreSynced { through }) = first {
            self.store_synced = self.store_synced.max(Lsn(through));
        }
    }

    fn frame(&mut self, lsn: Lsn, body: &[u8], durable: bool) -> Verdict {
        if !durable && !self.same_boot && lsn > self.store_synced && !self.payloads_arrived(lsn, body) {
            return Verdict::Cut;
        }
        self.report.frames += 1;
        self.progress.note(self.shard.entries(), self.report.frames);
        for op in Ops::new(body) {
            let Ok(op) = op else {
                self.report.damage.push(format!("log frame {}: its content is not understood", lsn.0));
                break;
            };
            self.shard.note_forgotten(&op);
            let stripe_lsn = &self.stripe_lsn;
            let wants = |stripe: u8| lsn > stripe_lsn[stripe as usize];
            if let Some(predicate) = self.meaning.note(lsn, &op) {
                self.swept_again |= self.shard.replay_by_name(&predicate, &wants) > 0;
            }
            match self.shard.replay(&op, self.now_ms, &wants) {
                Replayed::Done => {
                    self.report.edits += 1;
                    self.note_expiry(&op);
                }
                Replayed::Skipped => {}
                Replayed::Missing => {
                    tracing::debug!(lsn = lsn.0, ?op, "an edit names an entry that is not there");
                    self.missing += 1;
                }
            }
        }
        Verdict::Accept
    }

    /// What the lost frames changed is unknown, so nothing older than them may be served: a deleted or replaced entry could be among it.
    fn damaged(&mut self, damage: &Damage) {
        self.report.damage.push(format!(
            "{} at offset {}: frames {} to {} are damaged; every entry older than the damage is dropped, since it may have been changed or deleted there",
            damage.file, damage.offset, damage.first.0, damage.last.0
        ));
        for stripe in 0..STRIPES {
            if damage.last > self.stripe_lsn[stripe] {
                let mut guard = self.shard.lock(stripe as u8);
                let databases: Vec<u8> = guard.databases().map(|(db, _)| db).collect();
                for db in databases {
                    let pin = self.shard.logs_keys().then(|| self.shard.pin());
                    let change = self.shard.flush_stripe(&mut guard, db, pin.as_ref());
                    self.shard.account(change);
                }
            }
        }
    }
}

impl Replayer<'_> {
    fn note_expiry(&mut self, op: &Op<'_>) {
        match op {
            Op::Expire { hash, location, expires_at_ms, .. } => {
                self.expiries.insert(*location, (*hash, (*expires_at_ms != 0).then_some(*expires_at_ms)));
            }
            Op::Place { old, new, .. } => {
                self.expiries.remove(new);
                if let Some(old) = old {
                    self.expiries.remove(old);
                }
            }
            Op::Remove { location, .. } => {
                self.expiries.remove(location);
            }
            Op::HeapPut { .. }
            | Op::HeapEdit { .. }
            | Op::HeapRemove { .. }
            | Op::HeapExpire { .. }
            | Op::Flush { .. }
            | Op::Swap { .. }
            | Op::KeyPut { .. }
            | Op::KeyRemove { .. }
            | Op::KeyExpire { .. }
            | Op::Space { .. }
            | Op::SpaceDrop { .. }
            | Op::Predicate { .. }
            | Op::Swept { .. }
            | Op::Undone { .. }
            | Op::StoreSynced { .. } => {}
        }
    }

    /// Sets the expiry words that the log's EXPIREs left.
    fn set_expiries(&mut self) {
        let pin = self.shard.pin();
        for (location, (hash, expires_at_ms)) in self.expiries.drain() {
            // A flush names no locations: what it took may be another record by now.
            let stripe = self.shard.lock(hash.stripe);
            let points_here = |database: &Database| {
                database.table.find_exact(hash.slot, location.to_bits(), SlotKind::Record).is_some()
            };
            if !stripe.databases().any(|(_, database)| points_here(database)) {
                continue;
            }
            if self.shard.store.set_expiry(&pin, location, expires_at_ms).is_err() {
                tracing::warn!(
                    segment = location.segment(),
                    offset = location.offset_bytes(),
                    "an expiry could not be set: the record is damaged"
                );
            }
        }
    }

    /// Whether the records that a frame names are there: its log may have reached the disk before its segments did.
    fn payloads_arrived(&self, lsn: Lsn, body: &[u8]) -> bool {
        let pin = self.shard.pin();
        Ops::new(body).all(|op| match op {
            Ok(Op::Place { hash, new, bytes, crc, .. }) if lsn > self.stripe_lsn[hash.stripe as usize] => self
                .shard
                .store
                .record(&pin, new)
                .is_some_and(|record| record.bytes() == bytes && record.crc() == crc && record.verify()),
            Ok(_) | Err(_) => true,
        })
    }
}

impl Shard {
    /// Opens or makes the shard in `options.directory`. `now_ms` is Unix milliseconds.
    ///
    /// # Errors
    /// [`OpenError`] if the directory is in use, cannot be read or written, or was written in the other mode. Damage is no error: what is
    /// damaged is dropped and named in [`Recovery::damage`].
    pub fn open(options: &Options, now_ms: u64) -> Result<(Shard, Recovery), OpenError> {
        let boot_id = options.boot_id.clone().or_else(boot::current_id);
        let options = Options { boot_id, ..options.clone() };
        let disk = Disk::open(&options.directory)?;
        let lock = disk.lock().map_err(|error| OpenError::Directory(error.to_string()))?;
        let space: Box<dyn SegmentSpace> = if options.mapped {
            Box::new(
                Directory::open(options.directory.join("segments")).map_err(|e| OpenError::Directory(e.to_string()))?,
            )
        } else {
            Box::new(Anonymous)
        };
        let rows = (options.mapped && options.log).then(|| options.directory.join("spaces"));
        let (mut shard, recovery) = Shard::open_with(Arc::new(disk), space, rows, &options, now_ms)?;
        shard.directory_lock = Some(lock);
        Ok((shard, recovery))
    }

    /// A shard in anonymous memory, without log or directory: nothing survives it.
    ///
    /// # Errors
    /// [`OpenError::Store`] if the limits allow no segment.
    pub fn in_memory(limits: &Limits, seed: u64) -> Result<Shard, OpenError> {
        let (store, _) = Store::open(Box::new(Anonymous), store_options(limits)).map_err(OpenError::Store)?;
        let shard = Shard::assemble(store, None, seed, false, limits);
        shard.adopt_records();
        Ok(shard)
    }

    /// Opens the shard on a storage and a segment space of the caller's: the simulator's, in tests.
    ///
    /// # Errors
    /// As [`Shard::open`].
    pub fn open_on(
        storage: Arc<dyn Storage>,
        space: Box<dyn SegmentSpace>,
        options: &Options,
        now_ms: u64,
    ) -> Result<(Shard, Recovery), OpenError> {
        Shard::open_with(storage, space, None, options, now_ms)
    }

    /// `rows`: the directory for files of rows.
    fn open_with(
        storage: Arc<dyn Storage>,
        space: Box<dyn SegmentSpace>,
        rows: Option<PathBuf>,
        options: &Options,
        now_ms: u64,
    ) -> Result<(Shard, Recovery), OpenError> {
        let mut damage = Vec::new();
        let meta = match Meta::load(&*storage)? {
            Some(Some(meta)) if options.log => meta,
            Some(Some(meta)) => {
                discard(&*storage, &*space)?;
                meta
            }
            Some(None) => {
                damage.push("shard.meta: no copy is sound; the shard starts empty".to_owned());
                discard(&*storage, &*space)?;
                let meta = Meta { seed: options.seed, mapped: options.mapped };
                meta.store(&*storage)?;
                meta
            }
            None => {
                // Segments without a meta file: the first start died before it was durable.
                discard(&*storage, &*space)?;
                let meta = Meta { seed: options.seed, mapped: options.mapped };
                meta.store(&*storage)?;
                meta
            }
        };
        let meta = if meta.mapped == options.mapped {
            meta
        } else if options.log {
            return Err(OpenError::OtherMode { mapped: meta.mapped });
        } else {
            let meta = Meta { mapped: options.mapped, ..meta };
            meta.store(&*storage)?;
            meta
        };
        let (store, store_damage) = Store::open(space, store_options(&options.limits)).map_err(OpenError::Store)?;
        damage.extend(store_damage.iter().map(ToString::to_string));
        let mut shard = Shard::assemble(store, Some(Arc::clone(&storage)), meta.seed, options.mapped, &options.limits);
        shard.checkpoint_log_bytes = options.checkpoint_log_bytes;
        let mut replayer = Replayer {
            shard: &shard,
            stripe_lsn: Box::new([Lsn(0); STRIPES]),
            now_ms,
            report: Recovery { damage, ..Recovery::default() },
            missing: 0,
            store_synced: Lsn(0),
            same_boot: options.boot_id.is_some() && boot::last_id(&*storage)? == options.boot_id,
            meaning: Recovered::default(),
            swept_again: false,
            expiries: HashMap::new(),
            progress: &options.progress,
        };
        options.progress.begin(Stage::Checkpoint);
        let start = if options.log { replayer.load_checkpoint(&*storage)? } else { Lsn(0) };
        let mut log = None;
        options.progress.begin(Stage::Log);
        if options.log {
            let log_options =
                LogOptions { file_bytes: options.log_file_bytes, seed: meta.seed, ..LogOptions::default() };
            let (opened, replayed) =
                Log::open(Arc::clone(&storage), log_options, start, &mut replayer).map_err(OpenError::Log)?;
            if let Some(cut) = &replayed.cut {
                replayer.report.cut = Some(format!("{} at offset {}: {:?}", cut.file, cut.offset, cut.reason));
                replayer.report.frames_discarded = cut.frames_discarded;
            }
            for repaired in &replayed.repaired {
                let place = format!("{} at offset {}", repaired.file, repaired.offset);
                replayer
                    .report
                    .repaired
                    .push(format!("{place}: a damaged byte of the log was corrected by its checksum"));
            }
            replayer.report.last_lsn = opened.last().0;
            log = Some(opened);
        }
        options.progress.begin(Stage::Records);
        replayer.set_expiries();
        let (missing, same_boot, swept_again) = (replayer.missing, replayer.same_boot, replayer.swept_again);
        let meaning = std::mem::take(&mut replayer.meaning);
        let mut report = replayer.report;
        // Replaying payloads may evict, as the live path did; what is then said of the evicted entries finds nothing, rightly.
        let evicted = shard.tally.evicted_memory.load(Ordering::Relaxed) > 0;
        if missing > 0 && !evicted && !swept_again && report.damage.is_empty() {
            report.damage.push(format!("{missing} edits of the log name entries that are not there"));
        }
        if let Some(id) = &options.boot_id
            && !same_boot
        {
            boot::note(&*storage, id)?;
        }
        shard.adopt_records();
        shard.rows_directory = rows;
        report.damage.extend(shard.finish_meaning(meaning, same_boot));
        shard.log = log;
        shard.log_forgotten();
        report.entries = shard.entries();
        Ok((shard, report))
    }

    /// Tells the store which records are live, without reading them: sizes are set right when the records are verified.
    fn adopt_records(&self) {
        let mut counts = vec![0u32; 1 << 16];
        let mut lost = Vec::new();
        let each = |visit: &mut dyn FnMut(Location)| {
            for stripe in 0..=u8::MAX {
                let stripe = self.lock(stripe);
                for (_, database) in stripe.databases() {
                    database.table.for_each(|_, slot| {
                        if slot.kind().is_record() {
                            visit(Location::from_bits(slot.location()));
                        }
                    });
                }
            }
        };
        if self.mapped {
            each(&mut |location| counts[usize::from(location.segment())] += 1);
            let capacity: HashMap<u16, u32> =
                self.store.segments().iter().map(|segment| (segment.id, segment.capacity_bytes)).collect();
            each(&mut |location| {
                let id = location.segment();
                let room = capacity.get(&id).map_or(0, |bytes| bytes.saturating_sub(location.offset_bytes()));
                let share = capacity.get(&id).map_or(0, |bytes| bytes / counts[usize::from(id)].max(1)) & !7;
                if !self.store.adopt(location, share.min(room)) {
                    lost.push(location);
                }
            });
        }
        self.store.finish_recovery();
    }
}

impl Replayer<'_> {
    /// Loads the newest checkpoint that has its end; returns where the log's replay begins.
    fn load_checkpoint(&mut self, storage: &dyn Storage) -> Result<Lsn, OpenError> {
        let mut names: Vec<(Lsn, String)> =
            storage.list()?.into_iter().filter_map(|name| Some((checkpoint::file_lsn(&name)?, name))).collect();
        names.sort();
        let Some((start, name)) = names.pop() else { return Ok(Lsn(0)) };
        let mut begun = [false; STRIPES];
        let mut expected = 0;
        let mut seen = 0u64;
        let (damage, ended) = checkpoint::read(storage, &name, &mut |chunk| match chunk {
            Chunk::Stripe { stripe, lsn } => {
                seen += 1;
                begun[stripe as usize] = true;
                self.stripe_lsn[stripe as usize] = lsn;
            }
            Chunk::Slots { stripe, db, words } => {
                seen += 1;
                self.load_slots(stripe, db, &words);
                self.progress.note(self.shard.entries(), 0);
            }
            Chunk::Ops { body } => {
                seen += 1;
                for op in Ops::new(&body).flatten() {
                    self.meaning.note(Lsn(0), &op);
                    self.shard.replay(&op, self.now_ms, &|_| true);
                }
            }
            Chunk::End { chunks } => expected = chunks,
        })?;
        let (corrected, damage): (Vec<_>, Vec<_>) = damage.into_iter().partition(|damage| damage.corrected);
        for damage in &corrected {
            let place = format!("{name} at offset {}", damage.offset);
            self.report.repaired.push(format!("{place}: a damaged byte of the index was corrected by its checksum"));
        }
        for damage in &damage {
            self.report.damage.push(format!(
                "{name} at offset {}: a part of the index is damaged; its entries are dropped",
                damage.offset
            ));
        }
        if !ended {
            self.report.damage.push(format!("{name}: its end is missing; entries behind it are dropped"));
        } else if expected > seen + damage.len() as u64 {
            self.report.damage.push(format!("{name}: {} parts are missing", expected - seen));
        }
        // A stripe whose beginning is damaged: its LSN stands in its other chunks, but if all are gone, its log is replayed from the start
        // of the trimmed log, which edits entries that are lost; they are counted as missing and dropped.
        for (stripe, begun) in begun.iter().enumerate() {
            if !begun {
                self.stripe_lsn[stripe] = start;
            }
        }
        self.report.checkpoint_lsn = start.0;
        Ok(start)
    }

    fn load_slots(&self, stripe: u8, db: u8, words: &[u64]) {
        let mut guard = self.shard.lock(stripe);
        let database = guard.database_or_new(db);
        let before = database.table.memory_bytes() as i64;
        let mut entries = 0;
        for pair in words.chunks_exact(2) {
            if let Some(slot) = Slot::from_words([pair[0], pair[1]])
                && slot.kind().is_record()
            {
                database.expires += u64::from(slot.expiry_hint() != ExpiryHint::NONE);
                database.table.insert(slot);
                entries += 1;
            }
        }
        let after = database.table.memory_bytes() as i64;
        self.shard.account_slot(entries, after - before);
    }
}

fn store_options(limits: &Limits) -> StoreOptions {
    let segment_bytes = sutra_eviction::segment_bytes(limits.max_memory_bytes);
    StoreOptions {
        segment_bytes,
        limit_bytes: limits.max_memory_bytes,
        overdraft_bytes: (u64::from(segment_bytes) * 2).max(OVERDRAFT_BYTES_MIN),
        classes: CLASSES,
        lanes: 1,
    }
}

/// Removes whatever an earlier shard left: files of the log, checkpoints, segments.
fn discard(storage: &dyn Storage, space: &dyn SegmentSpace) -> Result<(), OpenError> {
    for name in storage.list()? {
        if name.ends_with(".wal") || name.starts_with("checkpoint") {
            storage.remove(&name)?;
        }
    }
    for (id, _) in space.list().map_err(|error| OpenError::Directory(error.to_string()))? {
        space.remove(id).map_err(|error| OpenError::Directory(error.to_string()))?;
    }
    Ok(())
}
