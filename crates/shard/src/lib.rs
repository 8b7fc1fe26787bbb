//! The cache shard: keyspace, metadata, expiry, eviction, durability, recovery.
//!
//! Knows no wire, no tokio, no wall clock: `now_ms` (Unix milliseconds) and random seeds are arguments, so a Rust program can
//! embed it and a test can play it deterministically. Everything that reads or changes entries does so through a [`Txn`].
#![forbid(unsafe_code)]

mod api;
mod boot;
mod check;
mod checkpoint;
pub mod glob;
mod hash;
#[doc(hidden)]
pub mod heap;
mod maintenance;
mod meaning;
mod meta;
mod ops;
mod options;
mod passes;
mod progress;
mod recovery;
mod sampling;
mod shard;
mod slab;
#[doc(hidden)]
pub mod slot;
mod stats;
mod stripe;
#[doc(hidden)]
pub mod table;
mod tracking;
mod txn;

pub use api::{DatabaseStats, Entry, Put, Scope, StringRef, Value, ValueKind, WriteError};
pub use check::{CheckError, CheckReport, check};
pub use heap::{HashValue, HeapValue};
pub use maintenance::TickReport;
#[doc(hidden)]
pub use meaning::Fault;
pub use meaning::{
    Annotations, Audit, DIMENSION_MAX, Details, DryRun, Export, Exported, FeedbackReport, Filters, Hit, Invalidated,
    Invalidation, LEASE_MS_MAX, LeaseGrant, Lookup, MeaningError, MeaningStats, NoRank, Notes, Origin, Published,
    Quantization, Rank, SPACE_NAME_BYTES_MAX, Search, Served, Space, SpaceCounters, SpaceOptions, TopEntry, VectorOf,
    vector_for,
};
pub use options::{Limits, Options};
pub use progress::Progress;
pub use recovery::{OpenError, Recovery};
pub use shard::Shard;
pub use stats::{MemoryReport, PersistenceReport, ShardStats};
pub use sutra_guard::{Facts, Guard};
pub use sutra_hnsw_index::{Metric, Query, VectorError};
pub use sutra_mmap_store::{Pin, map_large_allocations};
pub use sutra_wal::Lsn;
pub use tracking::{Subscriber, Told, TrackingStats};
pub use txn::{HEAP_STRING_BYTES_MIN, Txn, WatchFlag};
