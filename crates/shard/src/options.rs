//! What an embedding program chooses.

use crate::progress::Progress;
use std::path::PathBuf;
use std::sync::Arc;
use sutra_eviction::Policy;

/// Limits that may change while the shard runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Bytes for everything: keys, values, index, metadata, buffers.
    pub max_memory_bytes: u64,
    /// Entries; 0: no limit.
    pub max_entries: u64,
    /// Which entries go first.
    pub policy: Policy,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_memory_bytes: 1 << 30, max_entries: 0, policy: Policy::AllkeysLru }
    }
}

/// How a shard is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The data directory.
    pub directory: PathBuf,
    /// Limits at the start.
    pub limits: Limits,
    /// Payloads in memory-mapped files; otherwise in anonymous memory, and the log carries them.
    pub mapped: bool,
    /// Whether there is a log. Without one nothing survives the process, and the directory's content is discarded at the start.
    pub log: bool,
    /// Bytes of log after which a checkpoint is due.
    pub checkpoint_log_bytes: u64,
    /// Bytes of one log file.
    pub log_file_bytes: u64,
    /// The seed of the keys' hash for a new directory: any unpredictable number, so that nobody can choose keys that collide.
    pub seed: u64,
    /// Names the present start of the machine, if it is known: a directory that was last used in the same one has lost nothing to a power
    /// failure. [`crate::Shard::open`] asks the system when it is `None`.
    pub boot_id: Option<String>,
    /// Shows how far [`crate::Shard::open`] has come.
    pub progress: Arc<Progress>,
}

impl Options {
    /// The defaults for a directory.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Options {
        Options {
            directory: directory.into(),
            limits: Limits::default(),
            mapped: true,
            log: true,
            checkpoint_log_bytes: 32 << 20,
            log_file_bytes: 16 << 20,
            seed: 0,
            boot_id: None,
            progress: Arc::default(),
        }
    }
}
