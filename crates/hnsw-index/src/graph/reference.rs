//! The crate hnsw_rs behind the same trait: what our graph is compared with.
//!
//! It cannot delete: a removed row stays in its graph and is filtered out. It is given row numbers for vectors, so that
//! it asks for distances instead of copying rows. Its own reload is not used.
#![expect(unsafe_code, reason = "hnsw_rs wants a distance that owns what it measures; ours is lent to each call")]

use super::{Distances, Found, Graph, Options, Wanted};
use hnsw_rs::anndists::dist::distances::Distance;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};

/// What hnsw_rs takes for a row when the query is meant.
const QUERY: u32 = u32::MAX;

/// Measured at 384 dimensions and 16 links, without the vector (hnsw_rs cannot say).
const BYTES_A_POINT: usize = 3472;

/// A graph by hnsw_rs.
pub struct HnswRs {
    graph: hnsw_rs::hnsw::Hnsw<'static, u32, Lent>,
    /// The point that stands for a row. Every other point of the row is dead.
    points: HashMap<u32, usize>,
    /// The row of each point, dead or not.
    rows: Vec<u32>,
}

impl std::fmt::Debug for HnswRs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HnswRs").field("points", &self.rows.len()).field("rows", &self.points.len()).finish()
    }
}

impl HnswRs {
    /// An empty graph; `rows` is about how many there will be.
    #[must_use]
    pub fn new(options: Options, rows: usize) -> Self {
        let graph = hnsw_rs::hnsw::Hnsw::new(options.neighbours, rows, 16, options.ef_construction, Lent);
        Self { graph, points: HashMap::new(), rows: Vec::new() }
    }

    fn is_live(&self, point: usize) -> bool {
        self.points.get(&self.rows[point]) == Some(&point)
    }
}

impl<D: Distances> Graph<D> for HnswRs {
    fn insert(&mut self, distances: &D, row: u32) {
        let point = self.rows.len();
        self.rows.push(row);
        self.points.insert(row, point);
        lend(&|a, b| distances.between(a, b), || self.graph.insert((&[row], point)));
    }

    fn remove(&mut self, _distances: &D, row: u32) -> bool {
        self.points.remove(&row).is_some()
    }

    fn search(&self, distances: &D, query: &D::Query, wanted: Wanted, accept: &mut dyn FnMut(u32) -> bool) -> Found {
        let measure = |a: u32, b: u32| match (a, b) {
            (QUERY, row) | (row, QUERY) => distances.to_query(query, row),
            (a, b) => distances.between(a, b),
        };
        let (mut rows, mut offered, mut ef) = (Vec::new(), HashSet::new(), wanted.ef.max(wanted.k).max(1));
        loop {
            let live = |point: &usize| self.is_live(*point);
            let near = lend(&measure, || self.graph.search_filter(&[QUERY], ef, ef, Some(&live)));
            for row in near.iter().map(|near| self.rows[near.d_id]) {
                if rows.len() < wanted.k && offered.insert(row) && accept(row) {
                    rows.push((row, distances.to_query(query, row)));
                }
            }
            let complete = rows.len() == wanted.k || offered.len() == self.points.len();
            if complete || ef >= wanted.ef_max {
                rows.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
                return Found { rows, complete };
            }
            ef = (2 * ef).min(wanted.ef_max);
        }
    }

    fn len(&self) -> usize {
        self.points.len()
    }

    fn contains(&self, row: u32) -> bool {
        self.points.contains_key(&row)
    }

    fn memory_bytes(&self) -> usize {
        self.rows.len() * (BYTES_A_POINT + size_of::<u32>()) + self.points.capacity() * size_of::<(u32, usize)>()
    }
}

type Measure = dyn Fn(u32, u32) -> f32;

thread_local! {
    /// What the call into hnsw_rs that runs on this thread measures with.
    static LENT: Cell<Option<*const Measure>> = const { Cell::new(None) };
}

/// The distance that hnsw_rs owns: it passes on to the one that is lent.
struct Lent;

impl Distance<u32> for Lent {
    /// hnsw_rs wants numbers that are not negative. Only their order matters, and that is kept.
    fn eval(&self, a: &[u32], b: &[u32]) -> f32 {
        let measure = LENT.get().expect("hnsw_rs measures within the calls that we make");
        // SAFETY: `lend` sets the pointer for as long as the reference lives, and on this thread alone; of hnsw_rs only
        // calls are made that measure on the thread they are called on.
        let distance = unsafe { (*measure)(a[0], b[0]) };
        if distance <= 0.0 { 1.0 / (1.0 - distance) } else { (1.0 + distance).min(f32::MAX) }
    }
}

/// Lends a measure to the calls that `work` makes.
fn lend<T>(measure: &(dyn Fn(u32, u32) -> f32 + '_), work: impl FnOnce() -> T) -> T {
    /// Takes the measure back, also when the work panics.
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            LENT.set(None);
        }
    }
    // SAFETY: only the lifetime is changed, and `Back` clears the pointer before the reference ends.
    let measure = unsafe { std::mem::transmute::<*const (dyn Fn(u32, u32) -> f32 + '_), *const Measure>(measure) };
    LENT.set(Some(measure));
    let _back = Back;
    work()
}
