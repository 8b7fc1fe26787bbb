//! Changes to links, worked out beside the graph while others search it.
//!
//! Two rules hold for every change made here. A link runs both ways. And a link is given up only if its two rows have
//! a neighbour in common at that moment, so that the level stays connected.

use super::Distances;
use super::links::Links;
use super::nearness::Nearness;
use super::select::covers;
use std::collections::BTreeMap;

/// Lists that differ from those of the graph.
pub(super) struct Draft<'a, D> {
    links: &'a Links,
    distances: &'a D,
    changed: BTreeMap<(u8, u32), Vec<u32>>,
}

impl<'a, D: Distances> Draft<'a, D> {
    pub(super) fn new(links: &'a Links, distances: &'a D) -> Self {
        Self { links, distances, changed: BTreeMap::new() }
    }

    /// The changed lists by level and row.
    pub(super) fn into_changed(self) -> Vec<((u8, u32), Vec<u32>)> {
        self.changed.into_iter().collect()
    }

    pub(super) fn of(&self, level: u8, row: u32) -> &[u32] {
        self.changed.get(&(level, row)).map_or_else(|| self.links.of(level, row), Vec::as_slice)
    }

    pub(super) fn has_room(&self, level: u8, row: u32) -> bool {
        self.of(level, row).len() < self.links.room(level)
    }

    /// Links two rows, and makes them give up other links where they have too many. If it turns out that they can rather
    /// do without each other, nothing is changed and the answer is false; not so if `insist`ed.
    pub(super) fn link(&mut self, level: u8, a: u32, b: u32, insist: bool) -> bool {
        if self.of(level, a).contains(&b) {
            return true;
        }
        self.join(level, a, b);
        for (row, other) in [(b, a), (a, b)] {
            if self.of(level, row).len() > self.links.room(level) && !self.shed(level, row, other, insist) {
                self.part(level, a, b);
                return false;
            }
        }
        true
    }

    pub(super) fn part(&mut self, level: u8, a: u32, b: u32) {
        for (row, other) in [(a, b), (b, a)] {
            self.list_mut(level, row).retain(|link| *link != other);
        }
    }

    /// The links of a row with their distances, nearest first.
    pub(super) fn near(&self, level: u8, row: u32) -> Vec<Nearness> {
        let links = self.of(level, row);
        links.iter().for_each(|link| self.distances.prefetch(*link));
        let mut near: Vec<_> =
            links.iter().map(|link| Nearness::new(self.distances.between(row, *link), *link)).collect();
        near.sort_unstable();
        near
    }

    fn join(&mut self, level: u8, a: u32, b: u32) {
        for (row, other) in [(a, b), (b, a)] {
            let list = self.list_mut(level, row);
            debug_assert!(row != other && !list.contains(&other), "{row} and {other} are linked already");
            list.push(other);
        }
    }

    /// Gives up one link of a row: the farthest of those that another link covers, else the farthest, as long as there
    /// is a detour. False if the one to give up is the newcomer.
    fn shed(&mut self, level: u8, row: u32, newcomer: u32, insist: bool) -> bool {
        let near = self.near(level, row);
        let mut taken: Vec<Nearness> = Vec::with_capacity(near.len());
        let mut covered = Vec::new();
        for link in near {
            if taken.iter().any(|other| covers(self.distances, *other, link)) {
                covered.push(link.row());
            } else {
                taken.push(link);
            }
        }
        let order = covered.iter().rev().copied().chain(taken.iter().rev().map(|near| near.row()));
        let victim = order.filter(|link| !insist || *link != newcomer).find(|link| self.has_detour(level, row, *link));
        match victim {
            Some(link) if link == newcomer => false,
            Some(link) => {
                self.part(level, row, link);
                true
            }
            None if insist => self.put_between(level, row, newcomer),
            None => false,
        }
    }

    /// Makes the newcomer a stop on the way of one of the row's links, where it has room for that.
    fn put_between(&mut self, level: u8, row: u32, newcomer: u32) -> bool {
        if !self.has_room(level, newcomer) {
            return false;
        }
        let Some(far) = self.of(level, row).iter().copied().find(|link| *link != newcomer) else { return false };
        self.part(level, row, far);
        self.join(level, newcomer, far);
        true
    }

    fn has_detour(&self, level: u8, a: u32, b: u32) -> bool {
        let others = self.of(level, b);
        self.of(level, a).iter().any(|link| others.contains(link))
    }

    fn list_mut(&mut self, level: u8, row: u32) -> &mut Vec<u32> {
        let links = self.links;
        self.changed.entry((level, row)).or_insert_with(|| links.of(level, row).to_vec())
    }
}
