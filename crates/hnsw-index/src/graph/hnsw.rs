//! The graph itself: links, the row on top, and the order of changes.

use super::links::{Links, ROWS_MAX};
use super::plan::{self, Plan, StalePlan};
use super::search::{FromQuery, Scratches, search};
use super::{Distances, Found, Graph, Wanted};

/// How a graph is built. The defaults are measured at 100,000 × 384.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Links that a row has on the upper levels and seeks when it comes; twice as many fit on the bottom level. From 4
    /// to [`NEIGHBOURS_MAX`](Self::NEIGHBOURS_MAX).
    pub neighbours: usize,
    /// Candidates in view while a row's place is sought.
    pub ef_construction: usize,
    /// Distinguishes the levels of one graph's rows from another's.
    pub seed: u64,
}

impl Options {
    /// A list of the bottom level holds up to twice as many, and places in it are counted in 8 bits.
    pub const NEIGHBOURS_MAX: usize = 64;

    /// Whether a graph can be built so.
    pub(super) fn is_sound(&self) -> bool {
        (4..=Self::NEIGHBOURS_MAX).contains(&self.neighbours) && self.ef_construction > 0
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { neighbours: 16, ef_construction: 128, seed: 0x5EED }
    }
}

/// A navigable small world of rows. Searches share it; one thread at a time changes it.
///
/// An insertion or removal has two halves: planning searches and measures and may run beside searches, applying only
/// writes a few dozen short lists. An owner behind a lock reads while it plans and writes while it applies.
#[derive(Debug)]
pub struct Hnsw {
    links: Links,
    /// A row on the highest level in use, and that level. A search starts there.
    top: Option<(u32, u8)>,
    /// Counts changes, so that a plan cannot be applied to another graph than it was made for.
    version: u64,
    options: Options,
    scratches: Scratches,
}

impl Hnsw {
    /// An empty graph.
    ///
    /// # Panics
    /// If the number of neighbours is out of its range, or no candidates are to be seen: a wrong program.
    pub fn new(options: Options) -> Self {
        assert!(options.is_sound(), "{options:?}");
        Self::over(Links::new(options.neighbours, options.seed), None, options)
    }

    pub(super) fn over(links: Links, top: Option<(u32, u8)>, options: Options) -> Self {
        Self { links, top, version: 0, options, scratches: Scratches::default() }
    }

    /// Works out where a row belongs. A row that is in already is not planned for: remove it first.
    ///
    /// # Panics
    /// If the row is in, or its number is not below [`ROWS_MAX`].
    pub fn plan_insert<D: Distances>(&self, distances: &D, row: u32) -> Plan {
        assert!(row < ROWS_MAX, "row {row} is beyond the {ROWS_MAX} that a graph can number");
        assert!(!self.links.contains(row), "row {row} is in the graph");
        plan::insertion(self, distances, row)
    }

    /// Works out how the neighbours of a row do without it; None if it is not in. The row's own vector is not asked for:
    /// it may be gone, or another one already.
    pub fn plan_remove<D: Distances>(&self, distances: &D, row: u32) -> Option<Plan> {
        self.links.contains(row).then(|| plan::removal(self, distances, row))
    }

    /// Carries out a plan: writes lists, measures nothing.
    ///
    /// # Errors
    /// [`StalePlan`] if the graph has changed since.
    pub fn apply(&mut self, plan: Plan) -> Result<(), StalePlan> {
        if plan.version != self.version {
            return Err(StalePlan);
        }
        self.links.make_room_for(plan.row);
        for ((level, row), links) in &plan.changed {
            self.links.set(*level, *row, links);
        }
        self.links.set_present(plan.row, plan.present);
        self.top = plan.top;
        self.version += 1;
        Ok(())
    }

    /// The rows that are in, in the order of their numbers.
    pub fn rows(&self) -> impl Iterator<Item = u32> + '_ {
        self.links.each()
    }

    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    pub(super) fn top(&self) -> Option<(u32, u8)> {
        self.top
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// How the graph is built.
    pub fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn scratches(&self) -> &Scratches {
        &self.scratches
    }
}

impl<D: Distances> Graph<D> for Hnsw {
    fn insert(&mut self, distances: &D, row: u32) {
        self.remove_row(distances, row);
        let plan = self.plan_insert(distances, row);
        self.apply(plan).expect("nobody changed the graph in between");
    }

    fn remove(&mut self, distances: &D, row: u32) -> bool {
        self.remove_row(distances, row)
    }

    fn search(&self, distances: &D, query: &D::Query, wanted: Wanted, accept: &mut dyn FnMut(u32) -> bool) -> Found {
        let origin = FromQuery { distances, query };
        self.scratches.with(|scratch| search(&self.links, self.top, &origin, wanted, scratch, accept))
    }

    fn len(&self) -> usize {
        self.links.len()
    }

    fn contains(&self, row: u32) -> bool {
        self.links.contains(row)
    }

    fn memory_bytes(&self) -> usize {
        self.links.memory_bytes()
    }
}

impl Hnsw {
    fn remove_row<D: Distances>(&mut self, distances: &D, row: u32) -> bool {
        let Some(plan) = self.plan_remove(distances, row) else { return false };
        self.apply(plan).expect("nobody changed the graph in between");
        true
    }
}
