//! Verifying a data directory without changing it.
//!
//! Recovery itself runs, over storages that keep every change in memory; so what is reported is what the next start would find, and
//! there is no second reader of the formats that could disagree with the first. Then every record that the recovered index names is read.

mod overlay;

use crate::hash::{KeyHash, STRIPES};
use crate::meta::Meta;
use crate::options::{Limits, Options};
use crate::recovery::{OpenError, Recovery};
use crate::shard::Shard;
use overlay::Overlay;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use sutra_mmap_store::{Anonymous, Location, SegmentSpace, Snapshot};
use sutra_wal::{Disk, IoError, LockError, Storage};

/// Damages that are described one by one; of a wrecked disk there may be millions, which are counted.
const DESCRIBED_MAX: usize = 1000;

/// What a check found. Displayed as lines for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// The directory.
    pub directory: PathBuf,
    /// What the next start would find and do.
    pub recovery: Recovery,
    /// Records read and verified.
    pub records: u64,
    /// Bytes of them.
    pub record_bytes: u64,
    /// One sentence for each damage, with file and offset; those of recovery first.
    pub damage: Vec<String>,
    /// Damages that were found beyond those described.
    pub further_damages: u64,
}

/// Why a directory could not be checked.
#[derive(Debug)]
pub enum CheckError {
    /// A server has it open.
    InUse(String),
    /// There is no shard in it.
    NoShard,
    /// It cannot be read.
    Io(IoError),
    /// Recovery gives up on it, as the next start would.
    Open(OpenError),
}

impl CheckReport {
    /// Whether nothing is damaged. (A log that ends in a frame that was not written whole is what a crash leaves, and no damage.)
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.further_damages == 0
    }

    fn describe(&mut self, damage: impl FnOnce() -> String) {
        if self.damage.len() < DESCRIBED_MAX {
            self.damage.push(damage());
        } else {
            self.further_damages += 1;
        }
    }
}

/// Verifies the data directory of a shard: the copies of its meta file, segment headers, the checkpoint, every frame of the log behind it,
/// and every record that the recovered index names (checksum, expiry, key). Reads only; while it runs no server can open the directory.
/// `now_ms` is Unix milliseconds.
///
/// # Errors
/// [`CheckError`] if there is nothing that could be checked. Damage is no error but what the report is about.
pub fn check(directory: &Path, now_ms: u64) -> Result<CheckReport, CheckError> {
    let _lock = Disk::lock_for_reading(directory).map_err(|error| match error {
        LockError::Held { .. } => CheckError::InUse(error.to_string()),
        LockError::Io(error) => CheckError::Io(error),
    })?;
    let storage: Arc<dyn Storage> = Arc::new(Overlay::open(directory)?);
    let mut report = CheckReport {
        directory: directory.to_owned(),
        recovery: Recovery::default(),
        records: 0,
        record_bytes: 0,
        damage: Vec::new(),
        further_damages: 0,
    };
    let copies = Meta::copies(&*storage)?.ok_or(CheckError::NoShard)?;
    for (offset, copy) in &copies {
        if copy.is_none() {
            report.describe(|| format!("shard.meta at offset {offset}: this copy is damaged"));
        }
    }
    let mut options = Options::new(directory);
    options.boot_id = crate::boot::current_id();
    options.limits = Limits { max_memory_bytes: 1 << 40, ..Limits::default() };
    options.mapped = copies.iter().find_map(|(_, meta)| *meta).is_none_or(|meta| meta.mapped);
    let space: Box<dyn SegmentSpace> = if options.mapped {
        let snapshot = Snapshot::open(directory.join("segments"));
        Box::new(snapshot.map_err(|error| CheckError::InUse(error.to_string()))?)
    } else {
        Box::new(Anonymous)
    };
    let (shard, recovery) = Shard::open_on(storage, space, &options, now_ms).map_err(CheckError::Open)?;
    for damage in recovery.damage.iter().chain(&recovery.repaired) {
        report.describe(|| damage.clone());
    }
    if let Some(cut) = &recovery.cut
        && recovery.frames_discarded > 0
    {
        report.describe(|| {
            let count = recovery.frames_discarded;
            format!("{cut}: the log has a hole, and {count} frames behind it are discarded (a power failure may leave that, too)")
        });
    }
    report.recovery = recovery;
    shard.verify_all(&mut report);
    Ok(report)
}

impl Shard {
    /// Reads every record that the index names.
    fn verify_all(&self, report: &mut CheckReport) {
        let pin = self.pin();
        for stripe in 0..STRIPES {
            let stripe = stripe as u8;
            let guard = self.lock(stripe);
            for (db, database) in guard.databases() {
                database.table.for_each(|_, slot| {
                    if !slot.kind().is_record() {
                        return;
                    }
                    let location = Location::from_bits(slot.location());
                    let fault = match self.store.record(&pin, location) {
                        None => Some("there is no record"),
                        Some(record) if !record.verify() => Some("the record does not match its checksum"),
                        Some(record) if record.expires_at_ms().is_err() => Some("the record's expiry is damaged"),
                        Some(record) if KeyHash::of(record.key(), self.seed) != (KeyHash { stripe, slot: slot.hash() }) => {
                            Some("the record is of another key than its index entry")
                        }
                        Some(record) => {
                            report.records += 1;
                            report.record_bytes += u64::from(record.bytes());
                            None
                        }
                    };
                    if let Some(fault) = fault {
                        let (segment, offset) = (location.segment(), location.offset_bytes());
                        report.describe(|| {
                            format!("segments/{segment:05}.seg at offset {offset}: {fault}; an entry of database {db} is lost")
                        });
                    }
                });
            }
        }
    }
}

impl From<IoError> for CheckError {
    fn from(error: IoError) -> CheckError {
        CheckError::Io(error)
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckError::InUse(text) => write!(f, "{text}; stop the server first"),
            CheckError::NoShard => f.write_str("it holds no shard: there is no file shard.meta"),
            CheckError::Io(error) => error.fmt(f),
            CheckError::Open(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CheckError {}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recovery = &self.recovery;
        writeln!(f, "{}", self.directory.display())?;
        writeln!(
            f,
            "  {} entries: checkpoint at LSN {}, then {} log frames with {} edits, up to LSN {}",
            recovery.entries, recovery.checkpoint_lsn, recovery.frames, recovery.edits, recovery.last_lsn
        )?;
        writeln!(f, "  {} records of {} bytes read and verified", self.records, self.record_bytes)?;
        if let Some(cut) = recovery.cut.as_ref().filter(|_| recovery.frames_discarded == 0) {
            writeln!(f, "  the log ends in a frame that was not written whole, as after a crash: {cut}")?;
        }
        for damage in &self.damage {
            writeln!(f, "  damage: {damage}")?;
        }
        if self.further_damages > 0 {
            writeln!(f, "  and {} further damages", self.further_damages)?;
        }
        f.write_str(if self.is_sound() { "sound\n" } else { "damaged\n" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Put, Scope};
    use std::collections::BTreeMap;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn options(directory: &Path, mapped: bool) -> Options {
        let mut options = Options::new(directory);
        options.boot_id = crate::boot::current_id();
        options.limits.max_memory_bytes = 32 << 20;
        options.mapped = mapped;
        options
    }

    /// A shard with a checkpoint and a log behind it, closed.
    fn filled(mapped: bool) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let (shard, _) = Shard::open(&options(directory.path(), mapped), NOW_MS).unwrap();
        for number in 0..400_u32 {
            if number == 200 {
                shard.checkpoint(NOW_MS).unwrap();
            }
            let key = format!("key:{number}");
            let mut txn = shard.begin(Scope::Key(key.as_bytes()), NOW_MS);
            txn.put((number % 3) as u8, key.as_bytes(), &[number as u8; 300], Put::default()).unwrap();
            if let Some(lsn) = txn.commit().unwrap() {
                shard.flush_log(lsn).unwrap();
            }
        }
        shard.sync().unwrap();
        directory
    }

    /// Every file of the directory with its content and time of change.
    fn image(directory: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
        let mut files = BTreeMap::new();
        for directory in [directory.to_owned(), directory.join("segments")] {
            for entry in std::fs::read_dir(&directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let changed = std::fs::metadata(&path).unwrap().modified().unwrap();
                    files.insert(path.clone(), (std::fs::read(&path).unwrap(), changed));
                }
            }
        }
        files
    }

    fn flip(path: &Path, offset: usize) {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[offset] ^= 0x10;
        std::fs::write(path, bytes).unwrap();
    }

    fn only_file(directory: &Path, accepts: impl Fn(&str) -> bool) -> PathBuf {
        let mut found: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.retain(|path| accepts(path.file_name().unwrap().to_str().unwrap()));
        found.sort();
        found.remove(0)
    }

    #[test]
    fn a_sound_directory_is_found_sound_and_is_left_as_it_was() {
        for mapped in [true, false] {
            let directory = filled(mapped);
            let before = image(directory.path());
            let report = check(directory.path(), NOW_MS).unwrap();
            assert!(report.is_sound(), "{report}");
            assert_eq!((report.recovery.entries, report.records), (400, 400), "{report}");
            assert!(report.to_string().ends_with("sound\n"));
            assert_eq!(image(directory.path()), before);
            let (shard, _) = Shard::open(&options(directory.path(), mapped), NOW_MS).unwrap();
            assert_eq!(shard.entries(), 400);
        }
    }

    #[test]
    fn a_directory_in_use_is_not_checked() {
        let directory = tempfile::tempdir().unwrap();
        let (_shard, _) = Shard::open(&options(directory.path(), true), NOW_MS).unwrap();
        let refused = check(directory.path(), NOW_MS).unwrap_err();
        assert!(matches!(refused, CheckError::InUse(_)), "{refused}");
    }

    #[test]
    fn a_directory_without_a_shard_is_told_and_nothing_is_made_in_it() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(check(directory.path(), NOW_MS), Err(CheckError::NoShard)));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(matches!(check(&directory.path().join("none"), NOW_MS), Err(CheckError::Io(_))));
        assert!(!directory.path().join("none").exists());
    }

    #[test]
    fn each_damaged_copy_of_the_meta_file_is_named() {
        let directory = filled(true);
        flip(&directory.path().join("shard.meta"), 4096 + 9);
        let report = check(directory.path(), NOW_MS).unwrap();
        assert_eq!(report.damage, ["shard.meta at offset 4096: this copy is damaged"]);
        assert_eq!(report.records, 400);
    }

    #[test]
    fn a_damaged_value_is_named_with_segment_and_offset() {
        let directory = filled(true);
        let segment = only_file(&directory.path().join("segments"), |name| name.ends_with(".seg"));
        let bytes = std::fs::read(&segment).unwrap();
        let at = bytes.windows(40).position(|window| window == [77; 40]).unwrap();
        flip(&segment, at + 20);
        let report = check(directory.path(), NOW_MS).unwrap();
        let name = segment.file_name().unwrap().to_str().unwrap();
        let [damage] = report.damage.as_slice() else { panic!("{report}") };
        let (place, what) = damage.split_once(": ").unwrap();
        assert!(what.starts_with("the record does not match its checksum"), "{damage}");
        let offset = place.strip_prefix(&format!("segments/{name} at offset ")).unwrap();
        let offset: usize = offset.parse().unwrap();
        assert!(offset < at && at - offset < 64, "{damage}, the value is at {at}");
        assert_eq!(report.records, 399);
        assert!(report.to_string().ends_with("damaged\n"));
    }

    #[test]
    fn a_damaged_expiry_word_is_named() {
        let directory = filled(true);
        let segment = only_file(&directory.path().join("segments"), |name| name.ends_with(".seg"));
        // The first record begins behind the segment's header, with its expiry word.
        flip(&segment, 64 + 2);
        let report = check(directory.path(), NOW_MS).unwrap();
        let [damage] = report.damage.as_slice() else { panic!("{report}") };
        assert!(damage.contains("at offset 64: the record's expiry is damaged"), "{damage}");
    }

    #[test]
    fn damage_in_checkpoint_and_log_is_named_even_where_it_can_be_undone() {
        let directory = filled(true);
        let checkpoint = only_file(directory.path(), |name| name.starts_with("checkpoint"));
        flip(&checkpoint, 20);
        let report = check(directory.path(), NOW_MS).unwrap();
        let [damage] = report.damage.as_slice() else { panic!("{report}") };
        assert!(damage.starts_with("checkpoint") && damage.contains("at offset 0: a damaged byte"), "{damage}");
        assert_eq!(report.records, 400, "one byte is set right by its checksum");
        let directory = filled(true);
        let log = only_file(directory.path(), |name| name.ends_with(".wal"));
        let bytes = std::fs::read(&log).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        let mut broken = bytes.clone();
        broken[end / 4 * 3..end / 4 * 3 + 2].iter_mut().for_each(|byte| *byte ^= 0xff);
        std::fs::write(&log, broken).unwrap();
        let report = check(directory.path(), NOW_MS).unwrap();
        assert!(!report.is_sound(), "{report}");
        assert!(report.damage.iter().any(|damage| damage.contains(".wal at offset")), "{report}");
    }
}
