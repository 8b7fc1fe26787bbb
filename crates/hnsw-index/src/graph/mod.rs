//! The top-k graph: which rows are near a vector, quickly and approximately.
//!
//! A graph is never asked to be right. It returns row numbers; the caller rescores them exactly and checks their
//! entries, and where certainty is needed it scans. What a graph owes is recall that does not decay while rows come and
//! go, and a search that other threads can run while one thread maintains it.
//!
//! [`Hnsw`] is ours: Malkov and Yashunin, *Efficient and robust approximate nearest neighbor search using Hierarchical
//! Navigable Small World graphs* (2018), with two changes. Every edge runs both ways, so a removed row knows who points
//! at it; and an edge is given up only where a detour remains, so every level stays in one piece. `reference::HnswRs`
//! (feature `reference`) is the crate hnsw_rs behind the same trait, which tests and benches compare with.
//!
//! A graph stores row numbers only. What lies in a row it asks of a [`Distances`], in every call anew: the rows have an
//! owner and locks of their own.

mod by_rows;
mod codes;
mod draft;
mod file;
mod hnsw;
mod links;
mod nearness;
mod plan;
mod pool;
#[cfg(feature = "reference")]
pub mod reference;
mod search;
mod select;
mod shape;

pub use by_rows::ByRows;
pub use codes::ByCodes;
pub use file::{LoadError, Loaded};
pub use hnsw::{Hnsw, Options};
pub use links::ROWS_MAX;
pub use plan::{Plan, StalePlan};
pub use shape::Shape;

/// How far apart rows are. **Smaller is nearer**; the unit and the zero are the implementation's own (1 − cosine, a
/// negated dot product, a squared Euclidean distance: all serve).
///
/// Any number may be asked for. A row that does not exist, or no longer, is infinitely far away: a graph may be a
/// little behind its rows, or come from a file, and that may cost recall but nothing else.
pub trait Distances {
    /// What rows are compared with in a search, prepared once.
    type Query: ?Sized;

    /// The distance from a query to a row.
    fn to_query(&self, query: &Self::Query, row: u32) -> f32;

    /// The distance between two rows; the same in both directions.
    fn between(&self, a: u32, b: u32) -> f32;

    /// Begins to fetch a row into the cache, for a call that follows soon.
    fn prefetch(&self, row: u32);
}

/// What a search is to find.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// How many rows.
    pub k: usize,
    /// How many candidates are kept in view: more cost time and find more. At least `k` are.
    pub ef: usize,
    /// Up to how many candidates `ef` may grow while too many of them are refused.
    pub ef_max: usize,
}

impl Wanted {
    /// `k` rows by `ef` candidates; where rows are refused, by up to 16 times as many.
    pub fn new(k: usize, ef: usize) -> Self {
        let ef = ef.max(k);
        Self { k, ef, ef_max: ef.saturating_mul(16) }
    }
}

/// What a search has found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Row and distance, nearest first; rows at one distance in the order of their numbers.
    pub rows: Vec<(u32, f32)>,
    /// False if fewer than `k` rows were accepted although the graph holds more that were not looked at: `ef_max` was
    /// reached. The caller then scans.
    pub complete: bool,
}

/// An index over rows that finds near ones.
pub trait Graph<D: Distances> {
    /// Takes a row in. A row that is in already is taken out first, since its vector may be another one now.
    fn insert(&mut self, distances: &D, row: u32);

    /// Takes a row out; false if it was not in.
    fn remove(&mut self, distances: &D, row: u32) -> bool;

    /// The `k` rows nearest to the query among those that `accept` takes. No row is offered to `accept` twice, and near
    /// ones are offered before far ones; it is called outside of the search's inner loop and may take its time.
    fn search(&self, distances: &D, query: &D::Query, wanted: Wanted, accept: &mut dyn FnMut(u32) -> bool) -> Found;

    /// How many rows are in.
    fn len(&self) -> usize;

    /// Whether none is.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a row is in.
    fn contains(&self, row: u32) -> bool;

    /// How much memory the graph takes, without the rows.
    fn memory_bytes(&self) -> usize;
}
