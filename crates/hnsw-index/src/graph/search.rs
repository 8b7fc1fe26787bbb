//! The two walks of the paper: greedily down the upper levels, then by best-first search on one level.

use super::links::{Links, NONE};
use super::nearness::Nearness;
use super::pool::{Pool, Seen};
use super::{Distances, Found, Wanted};
use std::sync::{Mutex, PoisonError};

/// So many rows ahead of the one that is being scored are fetched. Queries a second at 60,000 × 384 and 64 candidates:
/// none 13,300, one 16,800, two 17,400, four 21,300, six 24,700, eight 22,700.
const PREFETCH_AHEAD: usize = 6;

/// What is scored against: a query, or a row that is being placed.
pub(super) trait Origin {
    fn distance(&self, row: u32) -> f32;
    fn prefetch(&self, row: u32);
}

pub(super) struct FromQuery<'a, D: Distances> {
    pub(super) distances: &'a D,
    pub(super) query: &'a D::Query,
}

impl<D: Distances> Origin for FromQuery<'_, D> {
    #[inline]
    fn distance(&self, row: u32) -> f32 {
        self.distances.to_query(self.query, row)
    }

    #[inline]
    fn prefetch(&self, row: u32) {
        self.distances.prefetch(row);
    }
}

pub(super) struct FromRow<'a, D: Distances> {
    pub(super) distances: &'a D,
    pub(super) row: u32,
}

impl<D: Distances> Origin for FromRow<'_, D> {
    #[inline]
    fn distance(&self, row: u32) -> f32 {
        self.distances.between(self.row, row)
    }

    #[inline]
    fn prefetch(&self, row: u32) {
        self.distances.prefetch(row);
    }
}

/// The memory of one search, used again by the next one.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) pool: Pool,
    seen: Seen,
    fresh: Vec<u32>,
}

/// As many scratches as searches have ever run at once.
#[derive(Debug, Default)]
pub(super) struct Scratches(Mutex<Vec<Scratch>>);

impl Scratches {
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        // A panic elsewhere leaves the list whole: it is only pushed and popped.
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut scratch = taken.unwrap_or_default();
        let result = work(&mut scratch);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        result
    }
}

/// From `start` to the nearest row that going only nearer leads to, on the levels from `from` down to `to`.
pub(super) fn descend(links: &Links, origin: &impl Origin, start: u32, from: u8, to: u8) -> Nearness {
    let mut best = Nearness::new(origin.distance(start), start);
    for level in (to..=from).rev() {
        loop {
            let here = links.of(level, best.row());
            here.iter().for_each(|row| origin.prefetch(*row));
            let next = here.iter().map(|row| (origin.distance(*row), *row));
            let next = next.filter(|(_, row)| links.contains(*row)).map(|(distance, row)| Nearness::new(distance, row));
            match next.min() {
                Some(next) if next < best => best = next,
                Some(_) | None => break,
            }
        }
    }
    best
}

/// Begins a best-first search with `ef` candidates on one level; the pool is left with what was found.
pub(super) fn explore(
    links: &Links,
    origin: &impl Origin,
    level: u8,
    starts: &[Nearness],
    ef: usize,
    scratch: &mut Scratch,
) {
    scratch.seen.begin(links.rows());
    scratch.pool.clear(ef);
    for start in starts {
        if scratch.seen.mark(start.row()) {
            scratch.pool.offer(start.plain());
        }
    }
    expand_all(links, origin, level, scratch);
}

/// Expands until no candidate in view is left unexpanded.
fn expand_all(links: &Links, origin: &impl Origin, level: u8, scratch: &mut Scratch) {
    let Scratch { pool, seen, fresh } = scratch;
    while let Some(row) = pool.expand_next() {
        fresh.clear();
        for link in links.list(level, row) {
            if *link == NONE {
                break;
            }
            if seen.mark(*link) {
                fresh.push(*link);
            }
        }
        fresh.iter().take(PREFETCH_AHEAD).for_each(|row| origin.prefetch(*row));
        if level == 0
            && let Some(next) = pool.peek()
        {
            links.prefetch(next);
        }
        for (at, row) in fresh.iter().enumerate() {
            if let Some(ahead) = fresh.get(at + PREFETCH_AHEAD) {
                origin.prefetch(*ahead);
            }
            pool.offer(Nearness::new(origin.distance(*row), *row));
        }
    }
}

/// A whole search: down from the top, through the bottom level, and on while too few are accepted.
pub(super) fn search(
    links: &Links,
    top: Option<(u32, u8)>,
    origin: &impl Origin,
    wanted: Wanted,
    scratch: &mut Scratch,
    accept: &mut dyn FnMut(u32) -> bool,
) -> Found {
    let Some((entry, level)) = top else { return Found { rows: Vec::new(), complete: true } };
    let start = descend(links, origin, entry, level, 1);
    let ef = wanted.ef.max(wanted.k).max(1);
    explore(links, origin, 0, &[start], ef, scratch);
    let mut accepted = Vec::with_capacity(wanted.k);
    loop {
        choose(scratch.pool.near_mut(), wanted.k, &mut accepted, accept);
        if accepted.len() >= wanted.k || scratch.pool.is_roomy() {
            break;
        }
        let capacity = scratch.pool.capacity();
        if capacity >= wanted.ef_max {
            break;
        }
        scratch.pool.grow((2 * capacity).min(wanted.ef_max));
        expand_all(links, origin, 0, scratch);
    }
    let complete = accepted.len() >= wanted.k || scratch.pool.is_roomy();
    Found { rows: accepted.iter().map(|near| (near.row(), near.distance())).collect(), complete }
}

/// Offers candidates, nearest first, until none that has not been offered could be among the `k` nearest accepted.
fn choose(near: &mut [Nearness], k: usize, accepted: &mut Vec<Nearness>, accept: &mut dyn FnMut(u32) -> bool) {
    for candidate in near.iter_mut().filter(|candidate| !candidate.is_offered()) {
        if accepted.len() >= k && accepted.last().is_none_or(|worst| candidate.plain() > *worst) {
            break;
        }
        *candidate = candidate.offered();
        if accept(candidate.row()) {
            let place = accepted.partition_point(|near| *near < candidate.plain());
            accepted.insert(place, candidate.plain());
            accepted.truncate(k);
        }
    }
}
