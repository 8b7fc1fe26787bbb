//! The native commands: entries with vectors, tags and sources; lookup and invalidation by meaning; leases.
//!
//! `CACHE.SET`, `GET`, `LEASE`, `RELEASE` and `EMB.*` work on keys that dispatch has locked, and so inside MULTI. The others look at many
//! entries, which they lock by themselves: they leave a job, which dispatch runs once nothing is locked, or gives to a background thread if it
//! takes long.

mod answer;
pub mod ask;
pub mod emb;
pub mod get;
mod group;
pub mod invalidate;
pub mod lease;
pub mod lookup;
mod noted;
pub mod overview;
pub mod search;
pub mod set;
pub mod space;
pub mod stats;
mod text;
mod vector;
pub mod warm;
mod words;

pub(crate) use stats::{Tally, found};
pub(crate) use text::embed_error;
