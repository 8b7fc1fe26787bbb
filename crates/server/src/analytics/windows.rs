//! What reads have found, space by space, between two instants: the differences of the counters, looked at about once a second.
//!
//! Reads pay nothing for it. Only what has changed between two looks is kept: every look of the last hour, and minutes of the last day, within
//! `CHANGES_MAX`. A window is as long as the looks that it is made of, and says so; its counts are exact.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Looks that are kept one by one.
const LOOKS_MS: u64 = 3_600_000;
const MINUTE_MS: u64 = 60_000;
/// How long anything is kept.
const KEPT_MS: u64 = 24 * 3_600_000;
/// Changes of one space at one look that are kept: some 6 MB.
const CHANGES_MAX: usize = 64 * 1024;
/// Where native reads by key are counted, which have no space.
pub const BY_KEY: u32 = u32::MAX;

/// What was found, since the start or in a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Reads that found an entry: lookups of a space, or reads by key.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Of these, lookups for which a guard refused the only candidates.
    pub guarded: u64,
    /// What the hits would have cost to compute, in millionths of a dollar.
    pub saved_micro_usd: u64,
    /// Embeddings of the space's model that were found by their texts.
    pub embedding_hits: u64,
    /// Embeddings that were not.
    pub embedding_misses: u64,
    /// What those found would have cost, in millionths of a dollar; reads by key count it too.
    pub embedding_saved_micro_usd: u64,
}

impl Found {
    fn zip(self, other: Found, with: impl Fn(u64, u64) -> u64) -> Found {
        Found {
            hits: with(self.hits, other.hits),
            misses: with(self.misses, other.misses),
            guarded: with(self.guarded, other.guarded),
            saved_micro_usd: with(self.saved_micro_usd, other.saved_micro_usd),
            embedding_hits: with(self.embedding_hits, other.embedding_hits),
            embedding_misses: with(self.embedding_misses, other.embedding_misses),
            embedding_saved_micro_usd: with(self.embedding_saved_micro_usd, other.embedding_saved_micro_usd),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Found) -> Found {
        self.zip(other, |a, b| a + b)
    }

    /// What came on top of `before`; a counter that is lower has begun anew (CONFIG RESETSTAT).
    fn since(self, before: Found) -> Found {
        self.zip(before, |now, before| now.checked_sub(before).unwrap_or(now))
    }
}

/// What was found in a window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// When it begins, in Unix milliseconds: at what was asked for, or the look before that, or where what is remembered begins.
    pub from_ms: u64,
    /// Since when all is remembered, in Unix milliseconds.
    pub known_ms: u64,
    /// By space; those of which nothing was read are not there.
    pub found: HashMap<u32, Found>,
}

/// Looks at the counters.
#[derive(Debug)]
pub struct Windows(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    known_ms: u64,
    looked_ms: u64,
    counted: HashMap<u32, Found>,
    minutes: VecDeque<Step>,
    looks: VecDeque<Step>,
    changes: usize,
}

/// What changed from one look to another.
#[derive(Debug)]
struct Step {
    from_ms: u64,
    to_ms: u64,
    changes: Vec<(u32, Found)>,
}

impl Windows {
    /// Remembers from now on, while all counters are 0.
    #[must_use]
    pub fn new(now_ms: u64) -> Windows {
        Windows(Mutex::new(Kept {
            known_ms: now_ms,
            looked_ms: now_ms,
            counted: HashMap::new(),
            minutes: VecDeque::new(),
            looks: VecDeque::new(),
            changes: 0,
        }))
    }

    /// Takes a look: the counters of every space as they stand.
    pub fn look(&self, at_ms: u64, counted: HashMap<u32, Found>) {
        let mut kept = self.lock();
        let changes: Vec<(u32, Found)> = counted
            .iter()
            .map(|(space, now)| (*space, now.since(kept.counted.get(space).copied().unwrap_or_default())))
            .filter(|(_, change)| *change != Found::default())
            .collect();
        // A clock that was set back has found nothing in the past.
        let from_ms = kept.looked_ms;
        let to_ms = at_ms.max(from_ms);
        kept.counted = counted;
        kept.looked_ms = to_ms;
        if !changes.is_empty() {
            kept.push(Step { from_ms, to_ms, changes });
        }
        kept.thin(to_ms);
    }

    /// What was found since an instant (Unix milliseconds), up to the last look.
    #[must_use]
    pub fn since(&self, since_ms: u64) -> Window {
        let kept = self.lock();
        let mut window =
            Window { from_ms: since_ms.max(kept.known_ms), known_ms: kept.known_ms, found: HashMap::new() };
        for step in kept.minutes.iter().chain(&kept.looks).filter(|step| step.to_ms > since_ms) {
            window.from_ms = window.from_ms.min(step.from_ms);
            for (space, change) in &step.changes {
                let found = window.found.entry(*space).or_default();
                *found = found.plus(*change);
            }
        }
        window
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn push(&mut self, step: Step) {
        self.changes += step.changes.len();
        // Looks at one instant are one.
        match self.looks.back_mut().filter(|last| last.to_ms == step.to_ms) {
            Some(last) => self.changes -= last.absorb(step),
            None => self.looks.push_back(step),
        }
    }

    /// Makes minutes of what is older than an hour, and forgets what is older than a day or more than may be kept.
    fn thin(&mut self, now_ms: u64) {
        while self.looks.front().is_some_and(|first| first.to_ms + LOOKS_MS <= now_ms)
            && let Some(oldest) = self.looks.pop_front()
        {
            let minute = oldest.to_ms / MINUTE_MS;
            match self.minutes.back_mut().filter(|last| last.to_ms / MINUTE_MS == minute) {
                Some(last) => self.changes -= last.absorb(oldest),
                None => self.minutes.push_back(oldest),
            }
        }
        let is_over = |kept: &Kept| {
            let oldest = kept.minutes.front().or(kept.looks.front());
            kept.changes > CHANGES_MAX || oldest.is_some_and(|oldest| oldest.to_ms + KEPT_MS <= now_ms)
        };
        while is_over(self)
            && let Some(oldest) = self.minutes.pop_front().or_else(|| self.looks.pop_front())
        {
            self.changes -= oldest.changes.len();
            self.known_ms = oldest.to_ms;
        }
    }
}

impl Step {
    /// Takes a later one in; how many of its changes needed no place of their own.
    fn absorb(&mut self, later: Step) -> usize {
        let before = self.changes.len() + later.changes.len();
        self.to_ms = later.to_ms;
        for (space, change) in later.changes {
            match self.changes.iter_mut().find(|(own, _)| *own == space) {
                Some((_, own)) => *own = own.plus(change),
                None => self.changes.push((space, change)),
            }
        }
        before - self.changes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hits(counts: &[(u32, u64)]) -> HashMap<u32, Found> {
        counts.iter().map(|(space, hits)| (*space, Found { hits: *hits, ..Found::default() })).collect()
    }

    fn found(windows: &Windows, since_ms: u64) -> (u64, Vec<(u32, u64)>) {
        let window = windows.since(since_ms);
        let mut found: Vec<(u32, u64)> = window.found.iter().map(|(space, found)| (*space, found.hits)).collect();
        found.sort_unstable();
        (window.from_ms, found)
    }

    #[test]
    fn a_window_holds_what_was_counted_in_it_and_says_where_it_begins() {
        let windows = Windows::new(1000);
        windows.look(2000, hits(&[(1, 5)]));
        windows.look(3000, hits(&[(1, 5)]));
        windows.look(4000, hits(&[(1, 7), (2, 1)]));
        assert_eq!(found(&windows, 0), (1000, vec![(1, 7), (2, 1)]));
        assert_eq!(found(&windows, 1500), (1000, vec![(1, 7), (2, 1)]));
        // Between two looks without a change it may begin anywhere.
        assert_eq!(found(&windows, 2700), (2700, vec![(1, 2), (2, 1)]));
        assert_eq!(found(&windows, 3500), (3000, vec![(1, 2), (2, 1)]));
        assert_eq!(found(&windows, 4000), (4000, vec![]));
    }

    #[test]
    fn counters_that_begin_anew_lose_nothing_that_was_seen() {
        let windows = Windows::new(0);
        windows.look(1000, hits(&[(1, 5)]));
        windows.look(2000, hits(&[(1, 2)]));
        assert_eq!(found(&windows, 0), (0, vec![(1, 7)]));
    }

    #[test]
    fn a_clock_that_is_set_back_or_stands_still_counts_on() {
        let windows = Windows::new(5000);
        windows.look(6000, hits(&[(1, 1)]));
        windows.look(3000, hits(&[(1, 2)]));
        windows.look(6000, hits(&[(1, 3)]));
        assert_eq!(found(&windows, 5999), (5000, vec![(1, 3)]));
    }

    #[test]
    fn a_day_is_kept_and_what_is_older_is_known_to_be_missing() {
        let windows = Windows::new(0);
        for second in 1..=100_000 {
            windows.look(second * 1000, hits(&[(1, second)]));
        }
        let now_ms = 100_000_000;
        // The last hour by the second, the day by the minute.
        assert_eq!(found(&windows, now_ms - 1_800_000), (now_ms - 1_800_000, vec![(1, 1800)]));
        let (from_ms, hits) = found(&windows, now_ms - 7_200_500);
        assert!((now_ms - 7_200_500 - MINUTE_MS..=now_ms - 7_200_500).contains(&from_ms), "{from_ms}");
        assert_eq!(hits, vec![(1, (now_ms - from_ms) / 1000)]);
        let all = windows.since(0);
        assert_eq!(all.from_ms, all.known_ms);
        assert!(
            (now_ms - KEPT_MS - MINUTE_MS..=now_ms - KEPT_MS + MINUTE_MS).contains(&all.known_ms),
            "{}",
            all.known_ms
        );
        assert_eq!(all.found[&1].hits, (now_ms - all.known_ms) / 1000);
    }

    #[test]
    fn many_spaces_are_remembered_for_a_shorter_time() {
        let windows = Windows::new(0);
        for second in 1..=100 {
            windows.look(
                second * 1000,
                (0..2000).map(|space| (space, Found { misses: second, ..Found::default() })).collect(),
            );
        }
        let window = windows.since(0);
        assert_eq!(window.from_ms, window.known_ms);
        assert_eq!(window.known_ms, 68_000);
        assert!(window.found.values().all(|found| found.misses == 32));
        assert!(windows.lock().changes <= CHANGES_MAX);
    }

    proptest! {
        #[test]
        fn every_window_is_the_difference_of_two_looks(
            steps in prop::collection::vec((1u64..200_000, prop::collection::vec(0u64..3, 3)), 1..200),
            ask in any::<prop::sample::Index>(),
        ) {
            let windows = Windows::new(0);
            let (mut now_ms, mut counts, mut looks) = (0, vec![0; 3], vec![(0, vec![0; 3])]);
            for (pause_ms, more) in &steps {
                now_ms += pause_ms;
                counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
                let counted: Vec<(u32, u64)> = (0..).zip(counts.iter().copied()).collect();
                windows.look(now_ms, hits(&counted));
                looks.push((now_ms, counts.clone()));
            }
            let since_ms = ask.index(now_ms as usize + 1) as u64;
            let window = windows.since(since_ms);
            prop_assert!(window.from_ms <= since_ms.max(window.known_ms));
            // What was counted up to the last look not after its beginning is not in it, everything else is.
            let before = &looks[looks.partition_point(|(at_ms, _)| *at_ms <= window.from_ms) - 1].1;
            for space in 0..3 {
                let found = window.found.get(&(space as u32)).map_or(0, |found| found.hits);
                prop_assert_eq!(found, counts[space] - before[space]);
            }
        }
    }
}
