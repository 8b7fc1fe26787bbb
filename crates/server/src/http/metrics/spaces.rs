//! Counts by space, with a bounded number of names, and without ever running backwards.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use sutra_shard::Space;

/// Spaces that have time series of their own: those made first. The rest is summed up as [`OTHER`].
pub(super) const SPACES_MAX: usize = 100;
/// The label of what has no series of its own.
pub(super) const OTHER: &str = "other";

/// What one space, or several together, has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SpaceFigures {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) guarded: u64,
    pub(crate) saved_micro_usd: u64,
    /// Entries now; not a count that only grows.
    pub(crate) vectors: u64,
}

impl SpaceFigures {
    fn of(space: &Space) -> SpaceFigures {
        let counters = &space.counters;
        SpaceFigures {
            hits: counters.hits.load(Ordering::Relaxed),
            misses: counters.misses.load(Ordering::Relaxed),
            guarded: counters.guarded.load(Ordering::Relaxed),
            saved_micro_usd: counters.cost_saved_micro_usd.load(Ordering::Relaxed),
            vectors: space.len() as u64,
        }
    }

    pub(in crate::http) fn add(&mut self, other: SpaceFigures) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.guarded += other.guarded;
        self.saved_micro_usd += other.saved_micro_usd;
        self.vectors += other.vectors;
    }
}

/// Remembers what spaces had counted that have been dropped since, so that sums do not fall. What a space counted between the last look
/// and its end is lost.
#[derive(Debug, Default)]
pub(crate) struct SpaceLedger {
    state: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    /// By the id of each space that was there at the last look.
    seen: BTreeMap<u32, (String, SpaceFigures)>,
    /// What is gone, by label.
    gone: BTreeMap<String, SpaceFigures>,
    /// Labels that have been given, in the order in which they were; at most [`SPACES_MAX`].
    labels: Vec<String>,
}

impl SpaceLedger {
    /// The figures of these spaces and of those that are gone, by label.
    pub(in crate::http) fn look<'s>(&self, spaces: impl Iterator<Item = &'s Space>) -> BTreeMap<String, SpaceFigures> {
        let mut spaces: Vec<&Space> = spaces.collect();
        spaces.sort_by_key(|space| space.id());
        let figures = spaces.into_iter().map(|space| (space.id(), space.name(), SpaceFigures::of(space)));
        self.state.lock().unwrap_or_else(PoisonError::into_inner).look(figures)
    }
}

impl Ledger {
    fn look<'s>(
        &mut self,
        spaces: impl Iterator<Item = (u32, &'s [u8], SpaceFigures)>,
    ) -> BTreeMap<String, SpaceFigures> {
        let mut before = std::mem::take(&mut self.seen);
        for (id, name, figures) in spaces {
            let label = match before.remove(&id) {
                Some((label, _)) => label,
                None => self.label(name),
            };
            self.seen.insert(id, (label, figures));
        }
        for (label, figures) in before.into_values() {
            self.gone.entry(label).or_default().add(SpaceFigures { vectors: 0, ..figures });
        }
        let mut sums = self.gone.clone();
        for (label, figures) in self.seen.values() {
            sums.entry(label.clone()).or_default().add(*figures);
        }
        sums
    }

    /// A label once given stays, even if its space is dropped and made again.
    fn label(&mut self, name: &[u8]) -> String {
        let name = String::from_utf8_lossy(name).into_owned();
        if !self.labels.contains(&name) {
            if self.labels.len() == SPACES_MAX {
                return OTHER.to_owned();
            }
            self.labels.push(name.clone());
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(hits: u64) -> SpaceFigures {
        SpaceFigures { hits, vectors: 1, ..SpaceFigures::default() }
    }

    #[test]
    fn a_dropped_space_takes_its_vectors_but_not_its_counts() {
        let mut ledger = Ledger::default();
        ledger.look([(1, &b"a"[..], hits(5)), (2, b"b", hits(7))].into_iter());
        let after = ledger.look([(2, &b"b"[..], hits(8))].into_iter());
        assert_eq!(after["a"], SpaceFigures { vectors: 0, ..hits(5) });
        assert_eq!(after["b"], hits(8));
        let again = ledger.look([(2, &b"b"[..], hits(8)), (3, b"a", hits(1))].into_iter());
        assert_eq!(again["a"], hits(6));
    }

    #[test]
    fn only_so_many_spaces_have_a_name() {
        let mut ledger = Ledger::default();
        let names: Vec<String> = (0..150).map(|number| format!("space-{number}")).collect();
        let spaces = || names.iter().enumerate().map(|(id, name)| (id as u32, name.as_bytes(), hits(1)));
        let sums = ledger.look(spaces());
        assert_eq!(sums.len(), SPACES_MAX + 1);
        assert_eq!(sums[OTHER].hits, 50);
        // They can be made and dropped for ever without more series.
        let later: Vec<String> = (0..1000).map(|number| format!("later-{number}")).collect();
        for (id, name) in later.iter().enumerate() {
            ledger.look(std::iter::once((1000 + id as u32, name.as_bytes(), hits(1))));
        }
        let sums = ledger.look(std::iter::empty());
        assert_eq!((sums.len(), sums.values().map(|figures| figures.hits).sum::<u64>()), (SPACES_MAX + 1, 1150));
    }
}
