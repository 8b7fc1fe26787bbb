//! The graph of a large space: kept up in the background, searched where it is worth it, never believed.
//!
//! Writers only note which rows have changed. Until the graph has caught up with them these few are scored one by one, so that what was
//! written is found at once.

use super::space::Space;
use crate::shard::Shard;
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use sutra_hnsw_index::Query;
use sutra_hnsw_index::graph::{ByRows, Graph, Hnsw, Options, Wanted};

/// Rows that a lookup scores one by one because the graph has not caught up with them; with more it scans.
const BEHIND_MAX: usize = 4096;
/// Candidates in view at 100,000 rows unless a lookup says otherwise; more rows want more, about as the square root of their number, for the
/// same recall of ten (0.99).
const EF: f64 = 192.0;
/// Candidates in view at most, unless a lookup says otherwise.
const EF_MAX: f64 = 1024.0;
/// From how many rows on a space has a graph, unless the embedding program says otherwise.
pub(super) const GRAPH_MIN_ROWS: u64 = 200_000;
/// The least number of candidates that are asked of the graph: some may be gone or expired.
const CANDIDATES_MIN: usize = 16;

/// The graph of one space.
#[derive(Debug, Default)]
pub(super) struct SpaceGraph {
    /// `None` below the size from which there is one.
    index: RwLock<Option<Hnsw>>,
    /// Writers note what they change.
    is_on: AtomicBool,
    /// Every row is in it, but for those noted.
    is_ready: AtomicBool,
    behind: Mutex<Behind>,
}

/// Rows that the graph has to look at.
#[derive(Debug, Default)]
struct Behind {
    changed: VecDeque<u32>,
    noted: HashSet<u32>,
    /// The row that is being worked on.
    in_work: Option<u32>,
    /// Rows that were there before the graph, up to `old_end`, are taken in one after the other.
    next_old: u32,
    old_end: u32,
}

impl Behind {
    fn next(&mut self) -> Option<u32> {
        self.in_work = if let Some(row) = self.changed.pop_front() {
            self.noted.remove(&row);
            Some(row)
        } else if self.next_old < self.old_end {
            self.next_old += 1;
            Some(self.next_old - 1)
        } else {
            None
        };
        self.in_work
    }
}

impl SpaceGraph {
    /// A row was written or freed.
    pub(super) fn note(&self, row: u32) {
        if self.is_on.load(Ordering::Relaxed) {
            let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
            if behind.noted.insert(row) {
                behind.changed.push_back(row);
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        if !self.is_on.load(Ordering::Relaxed) {
            return 0;
        }
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.as_ref().map_or(0, |graph| Graph::<ByRows<'_>>::memory_bytes(graph) as u64)
    }

    /// Rows in the graph.
    pub(super) fn rows(&self) -> u64 {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.as_ref().map_or(0, |graph| Graph::<ByRows<'_>>::len(graph) as u64)
    }

    fn switch_on(&self, space: &Space) {
        // From here on writers note what they change; what was there before is taken in by its number.
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        *index = Some(Hnsw::new(Options::default()));
        self.is_on.store(true, Ordering::SeqCst);
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        let old_end = u32::try_from(space.rows.capacity_rows()).unwrap_or(u32::MAX);
        *behind = Behind { old_end, ..Behind::default() };
    }

    fn switch_off(&self) {
        self.is_on.store(false, Ordering::SeqCst);
        self.is_ready.store(false, Ordering::SeqCst);
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = None;
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = Behind::default();
    }

    /// Takes the next row that has changed into account; false if there is none.
    fn catch_up(&self, space: &Space) -> bool {
        let next = self.behind.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(row) = next else {
            self.is_ready.store(true, Ordering::Release);
            return false;
        };
        let distances = ByRows::new(&space.rows, space.options().metric);
        self.change(|graph| graph.plan_remove(&distances, row));
        if space.rows.is_live(row) {
            self.change(|graph| {
                (!Graph::<ByRows<'_>>::contains(graph, row)).then(|| graph.plan_insert(&distances, row))
            });
        }
        self.behind.lock().unwrap_or_else(PoisonError::into_inner).in_work = None;
        true
    }

    /// Plans under the shared lock and writes under the exclusive one. Only one thread changes the graph, so no plan is ever stale.
    fn change(&self, plan: impl Fn(&Hnsw) -> Option<sutra_hnsw_index::graph::Plan>) {
        let planned = self.index.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(plan);
        let Some(planned) = planned else { return };
        if let Some(graph) = self.index.write().unwrap_or_else(PoisonError::into_inner).as_mut()
            && graph.apply(planned).is_err()
        {
            tracing::warn!("a change of the graph came too late; its row is found by scans only");
        }
    }

    /// Rows that may be the nearest, or `None` if a scan is to be asked.
    pub(super) fn candidates(&self, space: &Space, query: &Query, k: usize, ef: Option<usize>) -> Option<Vec<u32>> {
        if !self.is_ready.load(Ordering::Acquire) {
            return None;
        }
        // Read before the graph is searched: a row that is caught up with in between is found in one of both.
        let mut rows: Vec<u32> = {
            let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
            if behind.changed.len() > BEHIND_MAX {
                return None;
            }
            behind.changed.iter().copied().chain(behind.in_work).collect()
        };
        let k = (k * 2).max(CANDIDATES_MIN);
        let wanted = Wanted::new(k, ef.unwrap_or_else(|| default_ef(space.rows.len())));
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let graph = index.as_ref()?;
        let distances = ByRows::new(&space.rows, space.options().metric);
        let found = Graph::search(graph, &distances, query, wanted, &mut |row| space.rows.is_live(row));
        drop(index);
        rows.extend(found.rows.iter().map(|(row, _)| *row));
        rows.sort_unstable();
        rows.dedup();
        Some(rows)
    }
}

fn default_ef(rows: u64) -> usize {
    (EF * (rows as f64 / 100_000.0).sqrt()).clamp(EF, EF_MAX) as usize
}

impl Shard {
    /// Sets from how many rows on a space has a graph; 0: never.
    pub fn set_graph_min_rows(&self, rows: u64) {
        self.meaning.graph_min_rows.store(rows, Ordering::Relaxed);
    }

    /// Takes up to `rows` changed rows into the graphs of large spaces; returns how many it took. One thread at a time, and one that nobody
    /// waits for: a row takes some tenths of a millisecond.
    pub fn maintain_graphs(&self, rows: usize) -> usize {
        let _alone = self.meaning.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        let min = self.meaning.graph_min_rows.load(Ordering::Relaxed);
        let mut done = 0;
        for space in self.spaces() {
            let graph = &space.graph;
            let len = space.len() as u64;
            let is_on = graph.is_on.load(Ordering::Relaxed);
            if !is_on && min > 0 && len >= min {
                graph.switch_on(&space);
            } else if is_on && (min == 0 || len < min / 2) {
                graph.switch_off();
            }
            if graph.is_on.load(Ordering::Relaxed) {
                while done < rows && graph.catch_up(&space) {
                    done += 1;
                }
            }
        }
        done
    }

    /// Rows in graphs, and rows that the graphs have not caught up with.
    #[must_use]
    pub fn graph_rows(&self) -> (u64, u64) {
        let behind = |space: &Space| {
            let behind = space.graph.behind.lock().unwrap_or_else(PoisonError::into_inner);
            (behind.changed.len() + (behind.old_end - behind.next_old) as usize) as u64
        };
        self.spaces().iter().fold((0, 0), |(rows, late), space| (rows + space.graph.rows(), late + behind(space)))
    }
}
