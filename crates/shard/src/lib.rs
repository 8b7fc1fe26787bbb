//! The cache shard: keyspace, metadata, expiry, eviction, durability, recovery.
//!
//! Knows no wire, no tokio, no wall clock: `now_ms` (Unix milliseconds) and random seeds are arguments, so a Rust program can
//! embed it and a test can play it deterministically. Everything that reads or changes entries does so through a [`Txn`].
#![forbid(unsafe_code)]

mod api;
mod heap;
mod naive;

pub use api::{DatabaseStats, Entry, Put, Scope, StringRef, Value, ValueKind, WriteError};
pub use heap::{HashValue, HeapValue};
pub use naive::{Options, Shard, Txn, WatchFlag};
