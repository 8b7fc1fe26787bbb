//! Which entries go next: pure policies over facts handed in. No keys, no clocks, no locks.
//!
//! The caller owns entries, time and memory; this crate owns the judgement. It answers four questions:
//!
//! - what is an entry worth keeping ([`rank`]), from the few [`Facts`] that the caller has at hand;
//! - how its access counter moves ([`frequency`]), and what it was before the entry was evicted ([`Ghosts`]);
//! - which segments of a log-structured store are merged next ([`choose_victims`], [`choose_compaction`]) and which of
//!   their entries survive ([`choose_keepers`]);
//! - which of some sampled entries is worth least ([`Pool`]), where there are no segments.
//!
//! Invariants:
//! - a rank is never NaN and never negative; dead bytes are worth 0; infinity means "must not be evicted";
//! - nothing here allocates per entry, and nothing asks for the time or for randomness: both are arguments.
#![forbid(unsafe_code)]

pub mod frequency;
mod ghosts;
mod merge;
mod policy;
mod sample;

pub use ghosts::Ghosts;
pub use merge::{
    COMPACTION_GROUP_MAX, Candidate, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENTS_WANTED, SegmentFacts,
    VICTIMS_PER_GROUP, choose_compaction, choose_keepers, choose_victims, segment_bytes,
};
pub use policy::{Facts, Policy, UnknownPolicy, evicts, needs_record, rank};
pub use sample::{POOL_ENTRIES, Pool};
