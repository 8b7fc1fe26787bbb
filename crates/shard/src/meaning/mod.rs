//! Meaning: entries found and removed by similarity, tags, sources and age; leases against stale answers. The design is in
//! `docs/decisions/0005-meaning.md`.

pub(crate) mod annex;
mod catalog;
mod fault;
mod feedback;
mod graph;
mod invalidate;
mod lease;
mod lookup;
pub(crate) mod predicate;
mod recover;
mod rows;
mod space;
mod undo;
mod warm;
mod write;

pub use fault::Fault;
pub use feedback::FeedbackReport;
pub use invalidate::{Audit, DryRun, Invalidated, Invalidation, Published};
pub use lease::LeaseGrant;
pub use lookup::{Details, Filters, Hit, Lookup, Search, Served, TopEntry};
pub use space::{DIMENSION_MAX, Quantization, SPACE_NAME_BYTES_MAX, Space, SpaceCounters, SpaceOptions};
pub use warm::{Export, Exported, NoRank, Notes, Rank, vector_for};
pub use write::{Annotations, Origin, VectorOf};

pub(crate) use lease::Leases;
pub(crate) use recover::Recovered;
pub(crate) use rows::RowMap;
pub(crate) use write::ReservedRow;

use crate::api::WriteError;
use predicate::Predicate;
use space::Registry;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use sutra_hnsw_index::VectorError;

/// How long an invalidation can be undone, unless the embedding program says otherwise, in milliseconds.
const UNDO_WINDOW_MS: u64 = 60_000;
/// What undoing may cost in memory, unless the embedding program says otherwise, in bytes.
const UNDO_BYTES_MAX: u64 = 64 << 20;
/// The longest life of a lease, in milliseconds: an hour.
pub const LEASE_MS_MAX: u64 = 3_600_000;
/// Invalidations that the audit remembers.
const AUDIT_LEN: usize = 1024;

/// Everything of a shard that concerns meaning and is not in its stripes.
#[derive(Default)]
pub(crate) struct Meaning {
    registry: RwLock<Registry>,
    /// Invalidations of annotated entries that are not swept yet. Changed only with all stripes locked, but for the removal of swept ones.
    active: RwLock<Arc<[Arc<Predicate>]>>,
    pub(crate) active_count: AtomicU32,
    /// Invalidations published since the start; changed with all stripes locked.
    published: AtomicU64,
    /// Invalidations by name that some stripe has not been swept of, with their sequence numbers.
    by_name: Mutex<Vec<(u64, Arc<Predicate>)>>,
    /// The sequence number of the last invalidation by name; a stripe with a lower one is swept by who locks it.
    pub(crate) by_name_sequence: AtomicU64,
    /// Invalidations that still refuse writes.
    holds: RwLock<Vec<Arc<Predicate>>>,
    pub(crate) holds_count: AtomicU32,
    /// All invalidations that are remembered, oldest first: audit, fences for leases, what may be undone.
    history: Mutex<VecDeque<Arc<Predicate>>>,
    /// Invalidations up to this position are forgotten as fences.
    fence_floor: AtomicU64,
    /// The clock of leases: changes of keys while a lease is out, grants, invalidations.
    position: AtomicU64,
    /// Leases that are out; while there are none nothing is noted for them.
    pub(crate) leases_out: AtomicU64,
    questions: lease::Questions,
    undo: Mutex<undo::Undo>,
    forgotten: Mutex<recover::Forgotten>,
    graph_min_rows: AtomicU64,
    /// Held by whoever changes graphs.
    graphs: Mutex<()>,
    planted: fault::Planted,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    invalidations: AtomicU64,
    invalidated: AtomicU64,
    leases_granted: AtomicU64,
    leases_waited: AtomicU64,
    stale_refused: AtomicU64,
    held_refused: AtomicU64,
}

/// Numbers of a shard's meaning, for INFO and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MeaningStats {
    /// Spaces.
    pub spaces: u64,
    /// Entries with a vector.
    pub vectors: u64,
    /// Bytes of codes and row data.
    pub index_bytes: u64,
    /// Invalidations that are being swept.
    pub active_predicates: u64,
    /// Invalidations that refuse writes.
    pub holds: u64,
    /// Invalidations since the start.
    pub invalidations: u64,
    /// Entries that they removed.
    pub invalidated: u64,
    /// Leases that are out.
    pub leases: u64,
    /// Leases granted since the start.
    pub leases_granted: u64,
    /// Callers told to wait for another's lease.
    pub leases_waited: u64,
    /// Writes refused because their lease was stale.
    pub stale_refused: u64,
    /// Writes refused by a hold.
    pub held_refused: u64,
    /// Bytes kept to undo invalidations.
    pub undo_bytes: u64,
}

/// Why something that concerns meaning was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq)]
pub enum MeaningError {
    /// There is no space of this name.
    NoSuchSpace(String),
    /// There is a space of this name already.
    SpaceExists(String),
    /// A space's name is empty or too long.
    SpaceName {
        /// Bytes given.
        bytes: usize,
    },
    /// A dimension that no space may have.
    Dimension(usize),
    /// What the caller takes for granted of a space is not so.
    Mismatch {
        /// The space.
        space: String,
        /// `dimensions` or `embedder`.
        what: &'static str,
        /// What the caller has.
        got: String,
        /// What the space has.
        expected: String,
    },
    /// The vector is none of the space.
    Vector {
        /// The space.
        space: String,
        /// What is wrong with it.
        error: VectorError,
    },
    /// `SELF` in a space that keeps rounded vectors only.
    SelfRounded(String),
    /// The write's lease is unknown, has ended, or something that covers the entry happened since it was granted.
    Stale(&'static str),
    /// An invalidation that covers the entry holds.
    Held {
        /// The invalidation.
        lsn: u64,
        /// Until when, in Unix milliseconds.
        until_ms: u64,
    },
    /// An invalidation without any condition.
    NoCondition,
    /// An invalidation cannot be taken back.
    NotUndoable {
        /// The invalidation.
        lsn: u64,
        /// Why not.
        why: &'static str,
    },
    /// The shard refused the write.
    Write(WriteError),
}

impl MeaningError {
    /// The first word of the error on the wire.
    #[must_use]
    pub fn prefix(&self) -> &'static str {
        match self {
            MeaningError::Stale(_) => "STALELEASE",
            MeaningError::Held { .. } | MeaningError::Write(WriteError::Held { .. }) => "HELD",
            MeaningError::Write(WriteError::OutOfMemory) => "OOM",
            MeaningError::Write(WriteError::Unavailable(_)) => "MISCONF",
            MeaningError::Write(WriteError::WrongType) => "WRONGTYPE",
            MeaningError::NoSuchSpace(_)
            | MeaningError::SpaceExists(_)
            | MeaningError::SpaceName { .. }
            | MeaningError::Dimension(_)
            | MeaningError::Mismatch { .. }
            | MeaningError::Vector { .. }
            | MeaningError::SelfRounded(_)
            | MeaningError::NoCondition
            | MeaningError::NotUndoable { .. }
            | MeaningError::Write(WriteError::TooLarge { .. }) => "ERR",
        }
    }
}

impl fmt::Display for MeaningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MeaningError::NoSuchSpace(name) => write!(f, "no such space '{name}'"),
            MeaningError::SpaceExists(name) => write!(f, "space '{name}' exists already"),
            MeaningError::SpaceName { bytes } => {
                write!(f, "a space's name has 1 to {SPACE_NAME_BYTES_MAX} bytes, this one has {bytes}")
            }
            MeaningError::Dimension(dimension) => {
                write!(f, "a space has 1 to {DIMENSION_MAX} dimensions, not {dimension}")
            }
            MeaningError::Mismatch { space, what, got, expected } => {
                write!(f, "space '{space}' has {what} {expected}, not {got}")
            }
            MeaningError::Vector { space, error: VectorError::WrongDimension { got, expected } } => {
                write!(f, "the vector has {got} dimensions, space '{space}' has {expected}")
            }
            MeaningError::Vector { space, error } => write!(f, "{error} (space '{space}')"),
            MeaningError::SelfRounded(space) => {
                write!(f, "space '{space}' keeps rounded vectors only, so a value cannot be its own vector there")
            }
            MeaningError::Stale(why) => f.write_str(why),
            MeaningError::Held { lsn, until_ms } => {
                write!(f, "the entry is covered by invalidation {lsn}, which refuses writes until {until_ms} ms")
            }
            MeaningError::NoCondition => f.write_str(
                "an invalidation needs at least one condition: IN with a vector and MIN, TAG, MATCH, OLDER or DEP",
            ),
            MeaningError::NotUndoable { lsn, why } => write!(f, "invalidation {lsn} cannot be undone: {why}"),
            MeaningError::Write(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MeaningError {}

impl From<WriteError> for MeaningError {
    fn from(error: WriteError) -> MeaningError {
        match error {
            WriteError::Held { lsn, until_ms } => MeaningError::Held { lsn, until_ms },
            WriteError::WrongType
            | WriteError::TooLarge { .. }
            | WriteError::OutOfMemory
            | WriteError::Unavailable(_) => MeaningError::Write(error),
        }
    }
}

impl Meaning {
    pub(crate) fn new() -> Meaning {
        Meaning { graph_min_rows: AtomicU64::new(graph::GRAPH_MIN_ROWS), ..Meaning::default() }
    }

    /// Whether a test has planted this fault.
    pub(crate) fn has_planted(&self, fault: Fault) -> bool {
        self.planted.is(fault)
    }

    /// The next position of the clock of leases.
    pub(crate) fn tick_position(&self) -> u64 {
        self.position.fetch_add(1, Ordering::Relaxed) + 1
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
