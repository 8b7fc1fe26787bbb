//! Segments as files of one directory: `00001.seg` and so on.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::MmapOptions;
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;

use crate::error::IoError;
use crate::region::Region;
use crate::space::SegmentSpace;

/// Segments as files of one directory, mapped. The directory is locked against other processes and other stores for as long as any of its
/// segments is mapped: a file that someone else writes or cuts short under a mapping would break every promise of this crate.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Open and locked.
    directory: File,
    /// Segments with a region.
    mapped: Mutex<BTreeSet<u16>>,
}

/// What a segment's file is called, in place of `seg`, until it is allocated.
const UNFINISHED: &str = "new";

/// Says that a segment is mapped, until it is dropped.
pub(crate) struct Lease {
    shared: Arc<Shared>,
    id: u16,
}

impl Directory {
    /// Locks a directory of segments; makes it if it is missing.
    ///
    /// # Errors
    /// [`crate::IoErrorKind::InUse`] if someone has it open; otherwise what the operating system says.
    pub fn open(path: impl Into<PathBuf>) -> Result<Directory, IoError> {
        let path = path.into();
        std::fs::create_dir_all(&path).map_err(|source| IoError::new("create", &path, source))?;
        let directory = File::open(&path).map_err(|source| IoError::new("open", &path, source))?;
        rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive)
            .map_err(|source| IoError::new("lock", &path, source))?;
        remove_unfinished(&path)?;
        Ok(Directory { path, shared: Arc::new(Shared { directory, mapped: Mutex::default() }) })
    }

    fn file_path(&self, id: u16) -> PathBuf {
        self.path.join(format!("{id:05}.seg"))
    }

    fn map(&self, path: &Path, file: &File, bytes: u32, lease: Lease) -> Result<Region, IoError> {
        let map = MmapOptions::new().len(bytes as usize).map_raw(file);
        Ok(Region::mapped(map.map_err(|source| IoError::new("map", path, source))?, Some(lease)))
    }
}

impl SegmentSpace for Directory {
    fn create(&self, id: u16, bytes: u32) -> Result<Region, IoError> {
        let path = self.file_path(id);
        let failed = |doing, source| IoError::new(doing, &path, source);
        let lease = Lease::take(&self.shared, id).map_err(|source| failed("create", source))?;
        // Nobody else makes files here: the directory is locked, and the lease is taken.
        if path.exists() {
            return Err(failed("create", io::ErrorKind::AlreadyExists.into()));
        }
        // Under another name until it is allocated, so that whoever finds an empty segment knows that something took its content.
        let unfinished = path.with_extension(UNFINISHED);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&unfinished);
        let file = file.map_err(|source| failed("create", source))?;
        let region = allocate(&file, u64::from(bytes))
            .map_err(|source| failed("allocate", source))
            .and_then(|()| fill(&file, u64::from(bytes)).map_err(|source| failed("write", source)))
            .and_then(|()| self.map(&path, &file, bytes, lease))
            .inspect(Region::populate)
            .and_then(|region| {
                std::fs::rename(&unfinished, &path).map_err(|source| failed("create", source))?;
                Ok(region)
            });
        if region.is_err() {
            // The first error is the one to tell; a file left behind is removed at the next open.
            drop(std::fs::remove_file(&unfinished));
        }
        region
    }

    fn open(&self, id: u16, bytes: u32) -> Result<Region, IoError> {
        let path = self.file_path(id);
        let lease = Lease::take(&self.shared, id).map_err(|source| IoError::new("open", &path, source))?;
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.map_err(|source| IoError::new("open", &path, source))?;
        let found = file.metadata().map_err(|source| IoError::new("measure", &path, source))?.len();
        if found < u64::from(bytes) {
            return Err(IoError::new("map", &path, io::ErrorKind::UnexpectedEof));
        }
        // A sparse file (a copy, say) would raise SIGBUS on a full disk when its expiry words are written or it is recycled.
        allocate(&file, u64::from(bytes)).map_err(|source| IoError::new("allocate", &path, source))?;
        self.map(&path, &file, bytes, lease)
    }

    fn list(&self) -> Result<Vec<(u16, u64)>, IoError> {
        segments_in(&self.path)
    }

    fn sync(&self, id: u16, region: &Region, range: Range<usize>) -> Result<(), IoError> {
        region.flush(range).map_err(|source| IoError::new("sync", self.file_path(id), source))
    }

    fn sync_directory(&self) -> Result<(), IoError> {
        self.shared.directory.sync_all().map_err(|source| IoError::new("sync", &self.path, source))
    }

    fn remove(&self, id: u16) -> Result<(), IoError> {
        let path = self.file_path(id);
        std::fs::remove_file(&path).map_err(|source| IoError::new("remove", &path, source))
    }
}

impl Lease {
    fn take(shared: &Arc<Shared>, id: u16) -> Result<Lease, io::Error> {
        if !shared.mapped().insert(id) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        Ok(Lease { shared: Arc::clone(shared), id })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.mapped().remove(&self.id);
    }
}

impl Shared {
    fn mapped(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the files of segments whose process died before they were allocated: they never held anything.
fn remove_unfinished(path: &Path) -> Result<(), IoError> {
    let error = |source| IoError::new("list", path, source);
    for entry in std::fs::read_dir(path).map_err(error)? {
        let file = entry.map_err(error)?.path();
        if file.extension().is_some_and(|extension| extension == UNFINISHED)
            && file.with_extension("seg").file_name().and_then(id_of).is_some()
        {
            std::fs::remove_file(&file).map_err(|source| IoError::new("remove", &file, source))?;
        }
    }
    Ok(())
}

/// The segments of a directory with their lengths, by id.
pub(crate) fn segments_in(path: &Path) -> Result<Vec<(u16, u64)>, IoError> {
    let error = |source| IoError::new("list", path, source);
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(path).map_err(error)? {
        let entry = entry.map_err(error)?;
        if let Some(id) = id_of(&entry.file_name()) {
            segments.push((id, entry.metadata().map_err(error)?.len()));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// `00001.seg` and nothing else, so that other files in the directory are left alone.
fn id_of(name: &std::ffi::OsStr) -> Option<u16> {
    let digits = name.to_str()?.strip_suffix(".seg")?;
    let id = digits.parse().ok()?;
    (id != 0 && digits.len() == 5 && digits.bytes().all(|digit| digit.is_ascii_digit())).then_some(id)
}

/// Writes zeros over a file that was just allocated. Storing through the mapping into blocks that were allocated but never written costs the
/// file system's work at every first touch of a page; written beforehand, a record of 3 KiB costs half as much in all.
fn fill(file: &File, bytes: u64) -> io::Result<()> {
    static ZEROS: [u8; 1 << 18] = [0; 1 << 18];
    let mut at = 0;
    while at < bytes {
        let chunk = (bytes - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..chunk as usize], at)?;
        at += chunk;
    }
    Ok(())
}

/// Reserves space for the whole file. File systems without the call get zeros written, but only where the file is new.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP) => {
            let zeros = vec![0; 64 << 10];
            let mut end = file.metadata()?.len();
            while end < bytes {
                let step = (bytes - end).min(zeros.len() as u64);
                file.write_all_at(&zeros[..step as usize], end)?;
                end += step;
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IoErrorKind;

    #[test]
    fn a_directory_is_not_shared_while_a_region_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let region = directory.create(1, 65536).unwrap();
        drop(directory);
        assert_eq!(Directory::open(folder.path()).unwrap_err().kind(), IoErrorKind::InUse);
        drop(region);
        let directory = Directory::open(folder.path()).unwrap();
        let _region = directory.open(1, 65536).unwrap();
        assert_eq!(directory.open(1, 65536).err().map(|error| error.kind()), Some(IoErrorKind::InUse));
    }

    /// A process killed between making a file and allocating it left an empty segment, which the next start took for damage.
    #[test]
    fn what_a_process_left_unfinished_is_removed_and_is_no_segment() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("00001.new", &b""[..]), ("00002.new", &[0; 4096]), ("kept.new", b"not ours")] {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let directory = Directory::open(folder.path()).unwrap();
        assert_eq!(directory.list().unwrap(), []);
        let _region = directory.create(1, 65536).unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["00001.seg", "kept.new"]);
    }

    #[test]
    fn a_segment_that_is_there_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        std::fs::write(folder.path().join("00001.seg"), b"content").unwrap();
        assert!(directory.create(1, 65536).is_err());
        assert_eq!(std::fs::read(folder.path().join("00001.seg")).unwrap(), b"content");
        assert!(directory.create(2, 65536).is_ok());
    }

    #[test]
    fn only_whole_names_are_segments() {
        let name = |name: &str| id_of(std::ffi::OsStr::new(name));
        assert_eq!(name("00001.seg"), Some(1));
        assert_eq!(name("65535.seg"), Some(65535));
        for other in ["00000.seg", "65536.seg", "1.seg", "+0001.seg", "00001.seg~", "00001", "LOCK"] {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[test]
    fn a_segment_that_does_not_fit_the_disk_is_an_error_and_leaves_nothing() {
        // No file system takes a file of this length on a quota of zero; the kernel's own limit serves for that.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("00001.seg");
        let file = OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
        assert!(allocate(&file, 1 << 62).is_err());
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
}
