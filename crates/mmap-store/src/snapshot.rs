//! Segments of a directory as they are on disk, for tools that only look: whatever is written to them stays in memory.
#![expect(unsafe_code, reason = "a private mapping of a file, for which memmap2 asks that nobody changes the file")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::MmapOptions;
use rustix::fs::FlockOperation;

use crate::directory::segments_in;
use crate::error::IoError;
use crate::region::Region;
use crate::space::{Anonymous, SegmentSpace};

/// Segments of a directory, mapped privately. Nothing on disk is changed, whatever a store does with them; pages that it writes are copied,
/// the others are the page cache's own. The directory is locked against whoever would write it.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    /// Locked for as long as the snapshot lives; `None`: there is no such directory.
    directory: Option<File>,
}

impl Snapshot {
    /// Looks at a directory of segments; one that does not exist has none.
    ///
    /// # Errors
    /// [`crate::IoErrorKind::InUse`] if a store has it open; otherwise what the operating system says.
    pub fn open(path: impl Into<PathBuf>) -> Result<Snapshot, IoError> {
        let path = path.into();
        let directory = match File::open(&path) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Snapshot { path, directory: None }),
            Err(error) => return Err(IoError::new("open", &path, error)),
        };
        rustix::fs::flock(&directory, FlockOperation::NonBlockingLockShared)
            .map_err(|source| IoError::new("lock", &path, source))?;
        Ok(Snapshot { path, directory: Some(directory) })
    }

    fn file_path(&self, id: u16) -> PathBuf {
        self.path.join(format!("{id:05}.seg"))
    }
}

impl SegmentSpace for Snapshot {
    /// In anonymous memory: what a store adds is not part of what is looked at.
    fn create(&self, id: u16, bytes: u32) -> Result<Region, IoError> {
        Anonymous.create(id, bytes)
    }

    fn open(&self, id: u16, bytes: u32) -> Result<Region, IoError> {
        let path = self.file_path(id);
        map_privately(&path, bytes).map_err(|source| IoError::new("map", &path, source))
    }

    fn list(&self) -> Result<Vec<(u16, u64)>, IoError> {
        if self.directory.is_none() { Ok(Vec::new()) } else { segments_in(&self.path) }
    }

    fn sync(&self, _id: u16, _region: &Region, _range: Range<usize>) -> Result<(), IoError> {
        Ok(())
    }

    fn sync_directory(&self) -> Result<(), IoError> {
        Ok(())
    }

    /// Forgotten by the store, but the file stays.
    fn remove(&self, _id: u16) -> Result<(), IoError> {
        Ok(())
    }
}

fn map_privately(path: &Path, bytes: u32) -> io::Result<Region> {
    let file = File::open(path)?;
    if file.metadata()?.len() < u64::from(bytes) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // SAFETY: stores that would write or cut the file lock its directory exclusively, which the snapshot's shared lock excludes. All access to
    // the region is by raw pointer and checked, so that even a file changed by someone who ignores locks yields wrong bytes at worst, as a
    // damaged disk would.
    let map = unsafe { MmapOptions::new().len(bytes as usize).map_copy(&file) }?;
    Ok(Region::mapped(map.into(), None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Directory, IoErrorKind, NewRecord, Options, Store};

    fn options() -> Options {
        Options { segment_bytes: 65536, limit_bytes: 1 << 20, overdraft_bytes: 1 << 20, classes: 1, lanes: 1 }
    }

    #[test]
    fn what_a_store_does_with_a_snapshot_changes_nothing_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let record = NewRecord { key: b"k", value: b"value", expires_at_ms: None, cost: None, annex: None };
        let location = {
            let (store, _) = Store::open(Box::new(Directory::open(folder.path()).unwrap()), options()).unwrap();
            let location = store.append(0, &record).unwrap().location;
            store.sync().unwrap();
            location
        };
        let path = folder.path().join("00001.seg");
        let before = std::fs::read(&path).unwrap();
        let (store, damage) = Store::open(Box::new(Snapshot::open(folder.path()).unwrap()), options()).unwrap();
        assert_eq!(damage, []);
        assert!(store.adopt(location, 40));
        store.finish_recovery();
        let pin = store.pin();
        store.set_expiry(&pin, location, Some(5)).unwrap();
        assert_eq!(store.record(&pin, location).unwrap().expires_at_ms(), Ok(Some(5)));
        store.append(0, &record).unwrap();
        store.sync().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_a_store_has_open_is_not_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        assert_eq!(Snapshot::open(folder.path()).unwrap_err().kind(), IoErrorKind::InUse);
        drop(directory);
        let _snapshot = Snapshot::open(folder.path()).unwrap();
        let _another = Snapshot::open(folder.path()).unwrap();
        assert_eq!(Directory::open(folder.path()).unwrap_err().kind(), IoErrorKind::InUse);
    }

    #[test]
    fn a_directory_that_is_not_there_has_no_segments_and_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segments");
        assert_eq!(Snapshot::open(&path).unwrap().list().unwrap(), []);
        assert!(!path.exists());
    }
}
