//! What can go wrong, by what a caller would do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An operation of the operating system that failed. Cheap to clone, so that a store that failed can say why each time.
#[derive(Clone, Debug)]
pub struct IoError {
    operation: &'static str,
    path: PathBuf,
    source: Arc<io::Error>,
}

/// What a caller can do about an [`IoError`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoErrorKind {
    /// The disk or the quota is full: free something and try again.
    NoSpace,
    /// Another process, or another store of this one, uses the directory or segment.
    InUse,
    /// Anything else: treat the disk as broken.
    Other,
}

impl IoError {
    /// An error of `operation` on `path`.
    pub fn new(operation: &'static str, path: impl AsRef<Path>, source: impl Into<io::Error>) -> IoError {
        IoError { operation, path: path.as_ref().to_path_buf(), source: Arc::new(source.into()) }
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> IoErrorKind {
        let is = |kinds: &[io::ErrorKind]| kinds.contains(&self.source.kind());
        if is(&[io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::OutOfMemory]) {
            IoErrorKind::NoSpace
        } else if is(&[io::ErrorKind::WouldBlock, io::ErrorKind::ResourceBusy]) {
            IoErrorKind::InUse
        } else {
            IoErrorKind::Other
        }
    }

    /// What was attempted, for example `"allocate"`.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The file or directory it was attempted on.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.operation, self.path.display(), self.source)
    }
}

impl std::error::Error for IoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// Why a store could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// `segment_bytes` is not a multiple of 4,096 from 64 KiB to 8 MiB.
    SegmentBytes {
        /// What was asked for.
        found: u32,
    },
    /// No class of open segments, or more than [`crate::format::CLASSES_MAX`], or no lane.
    Classes {
        /// What was asked for.
        found: usize,
    },
    /// A sound header of a version that this program does not know; a newer program wrote it.
    Version {
        /// The segment.
        segment: u16,
        /// The version in its header.
        found: u32,
    },
    /// The space could not be read.
    Io(IoError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::SegmentBytes { found } => {
                write!(f, "segment size {found} is not a multiple of 4096 between 65536 and 8388608")
            }
            OpenError::Classes { found } => {
                write!(f, "{found} open segments asked for; 1 to {} are possible", crate::format::CLASSES_MAX)
            }
            OpenError::Version { segment, found } => {
                write!(
                    f,
                    "segment {segment:05} has format version {found}; this program reads up to {}",
                    crate::format::VERSION
                )
            }
            OpenError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Io(error) => Some(error),
            OpenError::SegmentBytes { .. } | OpenError::Classes { .. } | OpenError::Version { .. } => None,
        }
    }
}

impl From<IoError> for OpenError {
    fn from(error: IoError) -> OpenError {
        OpenError::Io(error)
    }
}

/// Why a record was not stored. Nothing was changed.
#[derive(Debug)]
pub enum StoreError {
    /// The limit is reached: evict, or refuse the write. Also while the last free segments are still pinned or shared by readers, so
    /// that a caller who has just freed some should not hold a pin, and may try again.
    NoRoom {
        /// What a new segment would have taken.
        needed_bytes: u64,
        /// The limit in force.
        limit_bytes: u64,
    },
    /// The key is longer than [`crate::format::KEY_BYTES_MAX`].
    KeyTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The value is longer than [`crate::format::VALUE_BYTES_MAX`].
    ValueTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The annex is longer than [`crate::format::ANNEX_BYTES_MAX`].
    AnnexTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A new segment could not be made; earlier records are safe.
    Io(IoError),
    /// An earlier sync failed: nothing is accepted until the store is opened anew.
    Failed(IoError),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::NoRoom { needed_bytes, limit_bytes } => {
                write!(f, "no room for a segment of {needed_bytes} bytes within the limit of {limit_bytes}")
            }
            StoreError::KeyTooLong { bytes } => write!(f, "key of {bytes} bytes is too long"),
            StoreError::ValueTooLong { bytes } => write!(f, "value of {bytes} bytes is too long"),
            StoreError::AnnexTooLong { bytes } => {
                write!(f, "annex of {bytes} bytes is longer than {}", crate::format::ANNEX_BYTES_MAX)
            }
            StoreError::Io(error) => error.fmt(f),
            StoreError::Failed(error) => write!(f, "the store accepts no writes since it failed: {error}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StoreError::Io(error) | StoreError::Failed(error) => Some(error),
            StoreError::NoRoom { .. }
            | StoreError::KeyTooLong { .. }
            | StoreError::ValueTooLong { .. }
            | StoreError::AnnexTooLong { .. } => None,
        }
    }
}

impl From<IoError> for StoreError {
    fn from(error: IoError) -> StoreError {
        StoreError::Io(error)
    }
}

/// A record's bytes are not what was written: its CRC or the check of its expiry word is wrong, or it is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record is damaged")
    }
}

impl std::error::Error for Damaged {}

/// A fault found in a segment when the store was opened. What can be read of the segment is mapped all the same: each record has a CRC
/// of its own, so a damaged header costs no record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The segment, from its name.
    pub segment: u16,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// What is wrong with a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DamageKind {
    /// Too short for any record. It was removed.
    Empty {
        /// Its length.
        found_bytes: u64,
    },
    /// Shorter than its header declares: records beyond its end are lost.
    Short {
        /// What the header declares.
        declared_bytes: u64,
        /// What is there.
        found_bytes: u64,
    },
    /// Longer than its header declares, or than any segment; the rest is not looked at.
    Long {
        /// What the header declares, or the longest segment possible.
        declared_bytes: u64,
        /// What is there.
        found_bytes: u64,
    },
    /// The header is not a segment's, or its CRC is wrong.
    Header,
    /// The header belongs to another segment: a file was renamed or copied.
    Misplaced {
        /// The segment that the header names.
        found: u32,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {:05}: ", self.segment)?;
        match self.kind {
            DamageKind::Empty { found_bytes } => write!(f, "{found_bytes} bytes hold no record; removed"),
            DamageKind::Short { declared_bytes, found_bytes } => {
                write!(f, "cut short at {found_bytes} of {declared_bytes} bytes")
            }
            DamageKind::Long { declared_bytes, found_bytes } => {
                write!(f, "{found_bytes} bytes long where {declared_bytes} are expected")
            }
            DamageKind::Header => f.write_str("the header is damaged"),
            DamageKind::Misplaced { found } => write!(f, "the header is that of segment {found:05}"),
        }
    }
}
