//! Vectors in, row numbers within a distance out. Knows no keys, no log, no clock.
//!
//! [`Rows`] keeps of each vector only codes: one bit and one signed byte for every dimension, with numbers that say how far the codes are
//! from the vector at most. The vector itself stays with the caller. A [`Query`] is answered by a cascade: the bits rule out almost every
//! row, the bytes most of the rest, and the caller computes [`Query::similarity`] of the few that are left.
//!
//! # What holds
//! 1. A row whose similarity meets a threshold is never ruled out. Every bound is a theorem (Cauchy-Schwarz) and is rounded outward.
//! 2. [`Query::similarity`] has the same bits on every machine, so two shards never disagree about a threshold.
//! 3. A reader sees a row before or after a change of it, never in between.
//! 4. Row numbers do not change. A freed row is used again, the lowest first.
//!
//! # Lock order
//! The list of free rows, then one block. No lock is held while a caller's closure runs, but for [`Rows::update_side`].
#![deny(unsafe_code)]

mod bounds;
mod encoded;
mod error;
pub mod graph;
pub mod kernel;
mod metric;
mod query;
mod rows;

pub use encoded::Encoded;
pub use error::{RowsError, VectorError};
pub use metric::Metric;
pub use query::Query;
pub use rows::{Candidate, Codes, Discarded, Filter, Hit, Opened, Rows, Side};

/// The largest number of dimensions.
pub const DIMENSIONS_MAX: usize = 16_384;
