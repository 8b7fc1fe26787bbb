//! The real storage: one directory of the file system, and the lock that keeps a second process out of it.

use std::fmt;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;

use crate::storage::{File, IoError, Storage};

/// The name of the file that is locked. It is never removed: removing it would let two processes hold two locks.
const LOCK_NAME: &str = "LOCK";

/// How many zeros one write carries where the file system cannot reserve blocks.
const ZEROS_BYTES: usize = 64 * 1024;

/// A directory of the file system.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
}

impl Disk {
    /// Uses `directory`, creating it (and its parents) if it is not there.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Disk, IoError> {
        let directory = directory.into();
        if !directory.is_dir() {
            fs::create_dir_all(&directory).map_err(|error| IoError::new("create directory", &directory, error))?;
            if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_directory_at(parent)?;
            }
        }
        Ok(Disk { directory })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Locks the directory against every other process for as long as the result lives. The kernel drops the lock with
    /// the process, however it ends, so a lock is never stale; the process id in the file is only for the message.
    pub fn lock(&self) -> Result<DirectoryLock, LockError> {
        let path = self.directory.join(LOCK_NAME);
        let wrap = |operation, error| LockError::Io(IoError::new(operation, &path, error));
        let mut file = fs::File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| wrap("open", error))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(LockError::Held { directory: self.directory.clone(), pid: read_holder(&file) });
            }
            Err(error) => return Err(wrap("lock", error.into())),
        }
        file.set_len(0).map_err(|error| wrap("write", error))?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(|error| wrap("write", error))?;
        Ok(DirectoryLock { _file: file })
    }

    /// Keeps others from writing for as long as the result lives, without writing anything itself; `None` if the directory was never
    /// locked, so that there is nothing to hold. For tools that only look.
    pub fn lock_for_reading(directory: &Path) -> Result<Option<DirectoryLock>, LockError> {
        let path = directory.join(LOCK_NAME);
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LockError::Io(IoError::new("open", &path, error))),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Some(DirectoryLock { _file: file })),
            Err(Errno::WOULDBLOCK) => Err(LockError::Held { directory: directory.to_owned(), pid: read_holder(&file) }),
            Err(error) => Err(LockError::Io(IoError::new("lock", &path, error.into()))),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The process that wrote its number into the lock file. It may be writing it just now: what cannot be read is simply not named.
fn read_holder(file: &fs::File) -> Option<u32> {
    let mut holder = String::new();
    let _ = file.take(32).read_to_string(&mut holder);
    holder.trim().parse().ok()
}

impl Storage for Disk {
    fn create(&self, name: &str, allocate_bytes: u64) -> Result<Box<dyn File>, IoError> {
        let path = self.path(name);
        let file = fs::File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| IoError::new("create", &path, error))?;
        if let Err(error) = allocate(&file, allocate_bytes) {
            // Half a file is no use to anyone and holds the very space that is missing.
            let _ = fs::remove_file(&path);
            return Err(IoError::new("allocate", &path, error));
        }
        Ok(Box::new(DiskFile { file, path }))
    }

    fn open(&self, name: &str) -> Result<Box<dyn File>, IoError> {
        let path = self.path(name);
        let file = fs::File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| IoError::new("open", &path, error))?;
        Ok(Box::new(DiskFile { file, path }))
    }

    fn list(&self) -> Result<Vec<String>, IoError> {
        let wrap = |error| IoError::new("list", &self.directory, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(wrap)? {
            let entry = entry.map_err(wrap)?;
            // A name that is not UTF-8 is none of ours.
            if let (true, Ok(name)) = (entry.file_type().map_err(wrap)?.is_file(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), IoError> {
        let path = self.path(from);
        fs::rename(&path, self.path(to)).map_err(|error| IoError::new("rename", &path, error))
    }

    fn remove(&self, name: &str) -> Result<(), IoError> {
        let path = self.path(name);
        fs::remove_file(&path).map_err(|error| IoError::new("remove", &path, error))
    }

    fn sync_directory(&self) -> Result<(), IoError> {
        sync_directory_at(&self.directory)
    }
}

/// Proof that this process alone uses a data directory; dropping it gives the directory free.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: fs::File,
}

/// Why a directory could not be locked.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it.
    Held {
        /// The directory.
        directory: PathBuf,
        /// The other process, if it said.
        pid: Option<u32>,
    },
    /// The lock file could not be made.
    Io(IoError),
}

impl fmt::Display for LockError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Held { directory, pid: Some(pid) } => {
                write!(formatter, "data directory {} is in use by process {pid}", directory.display())
            }
            LockError::Held { directory, pid: None } => {
                write!(formatter, "data directory {} is in use by another process", directory.display())
            }
            LockError::Io(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LockError::Held { .. } => None,
            LockError::Io(error) => Some(error),
        }
    }
}

#[derive(Debug)]
struct DiskFile {
    file: fs::File,
    path: PathBuf,
}

impl DiskFile {
    fn wrap(&self, operation: &'static str) -> impl Fn(io::Error) -> IoError + '_ {
        move |error| IoError::new(operation, &self.path, error)
    }
}

impl File for DiskFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, IoError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.wrap("read")(error)),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), IoError> {
        self.file.write_all_at(bytes, offset).map_err(self.wrap("write"))
    }

    fn sync(&self) -> Result<(), IoError> {
        self.file.sync_data().map_err(self.wrap("sync"))
    }

    fn len(&self) -> Result<u64, IoError> {
        Ok(self.file.metadata().map_err(self.wrap("inspect"))?.len())
    }

    fn set_len(&self, bytes: u64) -> Result<(), IoError> {
        self.file.set_len(bytes).map_err(self.wrap("set length of"))
    }
}

fn sync_directory_at(path: &Path) -> Result<(), IoError> {
    fs::File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| IoError::new("sync directory", path, error))
}

fn allocate(file: &fs::File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            // Some file systems (NFS before 4.2, old overlays) cannot reserve: write the blocks instead.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return write_zeros(file, bytes),
            Err(error) => return Err(error.into()),
        }
    }
}

fn write_zeros(file: &fs::File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES];
    let mut offset = 0;
    while offset < bytes {
        let count = (bytes - offset).min(ZEROS_BYTES as u64) as usize;
        file.write_all_at(&zeros[..count], offset)?;
        offset += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::IoErrorKind;

    fn disk() -> (tempfile::TempDir, Disk) {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::open(directory.path().join("a/b")).unwrap();
        (directory, disk)
    }

    #[test]
    fn a_created_file_is_zero_and_as_long_as_asked_for() {
        let (_directory, disk) = disk();
        let file = disk.create("one", 10_000).unwrap();
        let mut bytes = vec![1; 20_000];
        assert_eq!(file.read_at(0, &mut bytes).unwrap(), 10_000);
        assert!(bytes[..10_000].iter().all(|&byte| byte == 0));
        assert_eq!(file.len().unwrap(), 10_000);
        assert!(disk.create("one", 1).is_err(), "an existing file is not replaced");
    }

    #[test]
    fn what_is_written_renamed_and_cut_is_found_again() {
        let (_directory, disk) = disk();
        let file = disk.create("one", 0).unwrap();
        assert!(file.is_empty().unwrap());
        file.write_at(3, b"abc").unwrap();
        file.sync().unwrap();
        disk.rename("one", "two").unwrap();
        disk.sync_directory().unwrap();
        assert_eq!(disk.list().unwrap(), ["two"]);
        let again = disk.open("two").unwrap();
        again.set_len(5).unwrap();
        let mut bytes = [9; 8];
        assert_eq!(again.read_at(0, &mut bytes).unwrap(), 5);
        assert_eq!(&bytes[..5], b"\0\0\0ab");
        disk.remove("two").unwrap();
        assert!(disk.list().unwrap().is_empty());
        assert!(disk.open("two").is_err());
    }

    #[test]
    fn zeros_are_written_where_blocks_cannot_be_reserved() {
        let (_directory, disk) = disk();
        let path = disk.path("zeros");
        let file = fs::File::create(&path).unwrap();
        write_zeros(&file, ZEROS_BYTES as u64 + 5).unwrap();
        assert_eq!(fs::read(&path).unwrap(), vec![0; ZEROS_BYTES + 5]);
    }

    #[test]
    fn an_allocation_that_cannot_succeed_leaves_no_file_behind() {
        let (_directory, disk) = disk();
        let error = disk.create("huge", 1 << 62).err().unwrap();
        assert_eq!(error.operation, "allocate");
        assert!(disk.list().unwrap().is_empty());
    }

    #[test]
    fn a_full_disk_is_told_from_other_errors() {
        let full = IoError::new("write", "x", Errno::NOSPC.into());
        let quota = IoError::new("write", "x", Errno::DQUOT.into());
        let other = IoError::new("write", "x", Errno::IO.into());
        assert_eq!(
            [full.kind, quota.kind, other.kind],
            [IoErrorKind::NoSpace, IoErrorKind::NoSpace, IoErrorKind::Other]
        );
        assert!(full.to_string().starts_with("cannot write x: "));
    }

    #[test]
    fn a_second_lock_is_refused_and_names_the_holder_and_the_directory() {
        let (_directory, disk) = disk();
        let lock = disk.lock().unwrap();
        let message = disk.lock().unwrap_err().to_string();
        assert!(message.contains(&format!("in use by process {}", std::process::id())), "{message}");
        assert!(message.contains(&disk.directory().display().to_string()), "{message}");
        drop(lock);
        disk.lock().unwrap();
    }

    #[test]
    fn who_only_looks_keeps_writers_out_and_writes_nothing() {
        let (_directory, disk) = disk();
        assert!(Disk::lock_for_reading(disk.directory()).unwrap().is_none(), "there was never a lock");
        let lock = disk.lock().unwrap();
        let refused = Disk::lock_for_reading(disk.directory()).unwrap_err();
        assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
        drop(lock);
        let before = fs::read(disk.directory().join(LOCK_NAME)).unwrap();
        let first = Disk::lock_for_reading(disk.directory()).unwrap();
        let second = Disk::lock_for_reading(disk.directory()).unwrap();
        assert!(first.is_some() && second.is_some());
        assert!(disk.lock().is_err());
        assert_eq!(fs::read(disk.directory().join(LOCK_NAME)).unwrap(), before);
        drop((first, second));
        disk.lock().unwrap();
    }
}
