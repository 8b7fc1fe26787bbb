//! What can go wrong with a log, by what the caller would do about it.

use std::fmt;
use std::sync::Arc;

use crate::storage::{IoError, IoErrorKind};

/// Why the log refused or failed. The first `NoSpace` or `Failed` latches: every append is refused with it until
/// [`Log::restart`](crate::Log::restart).
#[derive(Clone, Debug)]
pub enum LogError {
    /// There is no space for the next log file. Everything appended before is still written and synced; free space,
    /// then restart.
    NoSpace(Arc<IoError>),
    /// A write, a sync or another operation on the log's files failed. What was appended but not known durable may be
    /// lost by a power loss: restart, then checkpoint, then trim.
    Failed(Arc<IoError>),
    /// The body is larger than a frame may be. Nothing latches.
    TooLarge {
        /// The body's length.
        bytes: usize,
        /// The longest that is accepted.
        bytes_max: usize,
    },
}

impl From<IoError> for LogError {
    fn from(error: IoError) -> LogError {
        match error.kind {
            IoErrorKind::NoSpace => LogError::NoSpace(Arc::new(error)),
            IoErrorKind::Other => LogError::Failed(Arc::new(error)),
        }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::NoSpace(error) => write!(formatter, "no space for the log: {error}"),
            LogError::Failed(error) => write!(formatter, "the log has failed: {error}"),
            LogError::TooLarge { bytes, bytes_max } => {
                write!(formatter, "a log frame of {bytes} bytes is over the limit of {bytes_max}")
            }
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LogError::NoSpace(error) | LogError::Failed(error) => Some(error.as_ref()),
            LogError::TooLarge { .. } => None,
        }
    }
}

/// Why a log could not be opened. Damage is not among the reasons: it is reported and replay goes on.
#[derive(Debug)]
pub enum OpenError {
    /// The storage failed.
    Io(IoError),
    /// A file is sound but of a version that this program does not know: it was written by a newer one.
    Version {
        /// The file's name.
        file: String,
        /// The version it states.
        found: u32,
        /// The newest version that can be read.
        supported: u32,
    },
    /// Reading a file a second time gave other bytes than the first time: nothing can be built on that.
    Unstable {
        /// The file's name.
        file: String,
        /// Where the bytes differ from what was checked before.
        offset: u64,
    },
    /// The options contradict each other.
    Options(&'static str),
}

impl From<IoError> for OpenError {
    fn from(error: IoError) -> OpenError {
        OpenError::Io(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Io(error) => write!(formatter, "cannot open the log: {error}"),
            OpenError::Version { file, found, supported } => {
                write!(formatter, "log file {file} has version {found}; this program reads up to {supported}")
            }
            OpenError::Unstable { file, offset } => {
                write!(formatter, "log file {file} read differently the second time at byte {offset}")
            }
            OpenError::Options(reason) => write!(formatter, "the log's options are wrong: {reason}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Io(error) => Some(error),
            OpenError::Version { .. } | OpenError::Unstable { .. } | OpenError::Options(_) => None,
        }
    }
}
