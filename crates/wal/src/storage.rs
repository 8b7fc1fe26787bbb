//! The seam between the log and the file system: as much of a file system as a log and a checkpoint need.
//!
//! Two implementations exist: [`Disk`](crate::Disk) and the simulated storage of the test kit, which crashes, tears and
//! forgets within the limits of what is written here. What a method does not promise to be durable may be lost, torn
//! or kept by a power loss, independently of every other write; the death of the process loses nothing that returned.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A flat directory of files. Names are plain: no separators, no `.` or `..`.
pub trait Storage: Send + Sync {
    /// Creates a file of `allocate_bytes` zero bytes whose blocks are all reserved, so that writing inside it cannot
    /// run out of space. Fails if the name exists. The name is durable after [`sync_directory`](Self::sync_directory),
    /// the length after [`File::sync`].
    fn create(&self, name: &str, allocate_bytes: u64) -> Result<Box<dyn File>, IoError>;

    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> Result<Box<dyn File>, IoError>;

    /// The names of all files, in no particular order.
    fn list(&self) -> Result<Vec<String>, IoError>;

    /// Renames, replacing a file that has the name `to`: a crash leaves the one name or the other, never neither.
    /// Durable after [`sync_directory`](Self::sync_directory).
    fn rename(&self, from: &str, to: &str) -> Result<(), IoError>;

    /// Removes a name; the content lives on while a [`File`] of it is open. Durable after
    /// [`sync_directory`](Self::sync_directory); until then a power loss may bring the file back.
    fn remove(&self, name: &str) -> Result<(), IoError>;

    /// Makes every creation, renaming and removal that returned before this call durable.
    fn sync_directory(&self) -> Result<(), IoError>;
}

/// One open file.
pub trait File: Send + Sync {
    /// Reads at `offset` until `buffer` is full or the file ends; returns how many bytes were read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, IoError>;

    /// Writes all of `bytes` at `offset`, growing the file if it must. Survives the process once it returned, a power
    /// loss after [`sync`](Self::sync). An error leaves any part of it written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), IoError>;

    /// Makes every write and length change that returned before this call durable (fdatasync). After an error it is
    /// unknown what is durable, and a second call that succeeds proves nothing: the kernel may have forgotten the
    /// pages that failed.
    fn sync(&self) -> Result<(), IoError>;

    /// The length in bytes.
    fn len(&self) -> Result<u64, IoError>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> Result<bool, IoError> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file or grows it with zeros (without reserving blocks). Durable after [`sync`](Self::sync).
    fn set_len(&self, bytes: u64) -> Result<(), IoError>;
}

/// What a caller can do about a failed operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoErrorKind {
    /// The device or the quota is full: free space and try again.
    NoSpace,
    /// Anything else: the device, the permissions or the path are wrong.
    Other,
}

/// A failed operation on a file: what was tried, where, and what the system said.
#[derive(Debug)]
pub struct IoError {
    /// The operation, as a verb: "create", "write".
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What a caller can do about it.
    pub kind: IoErrorKind,
    /// What the system said.
    pub source: io::Error,
}

impl IoError {
    /// Wraps what the system said and tells a full disk from everything else.
    pub fn new(operation: &'static str, path: impl AsRef<Path>, source: io::Error) -> IoError {
        let full = source.kind() == io::ErrorKind::StorageFull || source.kind() == io::ErrorKind::QuotaExceeded;
        let kind = if full { IoErrorKind::NoSpace } else { IoErrorKind::Other };
        IoError { operation, path: path.as_ref().to_path_buf(), kind, source }
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cannot {} {}: {}", self.operation, self.path.display(), self.source)
    }
}

impl std::error::Error for IoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
