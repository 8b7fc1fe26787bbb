//! A log of frames in one order: append, group commit, sync, replay, trim; and the file-system seam.
//!
//! The log numbers opaque bodies ([`Lsn`]), keeps them in order, and says how far they are written and how far they are
//! durable. It does not know what a body means, has no clock and no thread, and touches files only through [`Storage`].
//!
//! What holds:
//! - What [`Log::flush`] returned for survives the process; what [`Log::sync`] returned for survives a power loss.
//! - Replay hands on a prefix of what was appended. Only damage at or below the durable mark leaves a hole, and every
//!   such hole is reported.
//! - What replay discarded never comes back.
//! - An append is accepted only if its place on the disk is already allocated.

#![forbid(unsafe_code)]

mod buffer;
mod disk;
mod error;
mod frame;
mod header;
mod log;
mod lsn;
mod recovery;
mod repair;
mod replay;
mod scan;
mod storage;
mod writer;

#[doc = include_str!("../../../docs/formats/wal.md")]
pub mod format {}

pub use disk::{DirectoryLock, Disk, LockError};
pub use error::{LogError, OpenError};
pub use log::{Log, LogOptions};
pub use lsn::Lsn;
pub use replay::{Cut, CutReason, Damage, Repaired, Replay, ReplayReport, Verdict};
pub use storage::{File, IoError, IoErrorKind, Storage};

/// The longest body a frame can have, in bytes.
pub const BODY_BYTES_MAX: usize = frame::BODY_BYTES_MAX;

/// The longest log file: one that holds a single frame of the longest body. What lies beyond it in a file is not read.
const LOG_FILE_BYTES_MAX: u64 = (header::HEADER_BYTES + BODY_BYTES_MAX + frame::FRAME_BYTES_MIN) as u64;
