//! Records in memory-mapped segments. Knows no index, no log, no policy.
//!
//! A [`Store`] appends records (key, annex, value, expiry, cost) to segments of one fixed size and hands back a [`Location`] of 36 bits.
//! Whoever keeps the locations decides what is live: segments are never searched. Segments live in a [`SegmentSpace`]:
//! files ([`Directory`]), anonymous memory ([`Anonymous`]), or a simulated disk in tests.
//!
//! # What holds
//! 1. A record is immutable once it has a location, but for its expiry word, which is stored in one atomic 8-byte write.
//! 2. Slices are only formed over committed bytes, only under a [`Pin`], and never over an expiry word.
//! 3. The bytes of a segment are written again only after it was freed, every pin of that time is gone, and no shared value is left.
//! 4. A segment's memory is allocated in full before it is mapped, so neither a full disk nor a short file raises SIGBUS.
//! 5. Damaged bytes become `None`, [`Damaged`] or [`Damage`]; never a panic, never a read out of bounds.
//!
//! # What a caller owes
//! Locations come from [`Store::append`] and its siblings and are looked up until [`Store::release_freed`] took the segment away. Later
//! they are merely stale: they find nothing, or another record. Locations *made up* by the caller stay within bounds as well, but may
//! name the middle of a record; what they find is then undefined as a value, and [`Store::set_expiry`] refuses all but one in 65,536.
//!
//! # Lock order
//! Open segment of a class, then the pool's accounts, then the registry. I/O happens under the first at most.
#![deny(unsafe_code)]

mod allocator;
mod directory;
mod error;
pub mod format;
mod location;
mod memory;
mod open;
mod pool;
mod record;
mod region;
mod registry;
mod segment;
mod snapshot;
mod space;
mod store;

pub use allocator::map_large_allocations;
pub use directory::Directory;
pub use error::{Damage, DamageKind, Damaged, IoError, IoErrorKind, OpenError, StoreError};
pub use location::Location;
pub use memory::Pin;
pub use record::{Appended, NewRecord, Record};
pub use region::{HeapImage, Region};
pub use segment::{SegmentPhase, SegmentState};
pub use snapshot::Snapshot;
pub use space::{Anonymous, SegmentSpace};
pub use store::{Destination, Options, Store};
