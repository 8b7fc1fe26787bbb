//! Rank-merge: eviction, expiry and compaction of a log-structured store in one pass.
//!
//! A few segments of low worth are read together, the best of their entries are written into one segment, and the rest
//! is dropped with the segments. Merging four into one writes a third of what it frees, so every byte stored costs 1.33
//! bytes written. (Segcache, Yang et al. 2021, merges neighbours in time; choosing by worth needs no order.)
//!
//! Segments are compared by the mean rank of their entries in which dead and expired bytes count as 0, so a segment goes
//! early because its entries are cold, because they are dead, or for a little of both. Young segments need no protection
//! of their own: their entries were just used.

use std::cmp::Ordering;

use crate::policy::{Policy, evicts};

/// How many segments a memory should be divided into. With fewer, those that wait to be filled are too large a share of
/// it; with more, the ends into which no record fits are.
pub const SEGMENTS_WANTED: u64 = 256;

/// The smallest segment: some records must fit into one.
pub const SEGMENT_BYTES_MIN: u32 = 64 * 1024;

/// The largest segment.
pub const SEGMENT_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// How many segments are merged into one. Hit ratios hardly depend on it (3 to 6 differ by 0.3 points under `lru`); three
/// write 1.47 bytes for each byte put, four 1.31, six 1.19, and each more frees more live bytes at once.
pub const VICTIMS_PER_GROUP: usize = 4;

/// At most this many segments are compacted together: a group frees one, so more would write too much for it.
pub const COMPACTION_GROUP_MAX: usize = 16;

/// The part of a segment, as a divisor, that compaction expects to lose at its end where no further record fits.
const TAIL_DIVISOR: u64 = 32;

/// How many more entries are sought for the room that the first one that does not fit leaves.
const FILL_TRIES: usize = 4;

/// The segment size for a memory of this many bytes.
#[must_use]
pub fn segment_bytes(memory_bytes: u64) -> u32 {
    let wanted = memory_bytes / SEGMENTS_WANTED / 4096 * 4096;
    u32::try_from(wanted).unwrap_or(u32::MAX).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
}

/// What is known of a sealed segment. Entries that have expired count as dead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentFacts {
    /// Which segment: handed back in the groups.
    pub segment: u32,
    /// How much a segment holds: the same for all that are handed in together.
    pub capacity_bytes: u32,
    /// Bytes of live records.
    pub live_bytes: u32,
    /// Sum of the finite ranks of its live entries, or of a sample of them.
    pub rank_sum: f64,
    /// How many ranks were summed.
    pub ranked: u32,
    /// How many entries, seen beside those, have rank infinity.
    pub unevictable: u32,
}

impl SegmentFacts {
    /// Bytes that no merge can drop, by the share of unevictable entries.
    fn pinned_bytes(&self) -> f64 {
        let entries = f64::from(self.ranked) + f64::from(self.unevictable);
        if self.unevictable == 0 { 0.0 } else { f64::from(self.live_bytes) * f64::from(self.unevictable) / entries }
    }

    /// Mean rank of what a merge could free, dead bytes counting 0. `None`: nothing could be freed.
    fn worth(&self) -> Option<f64> {
        let pinned = self.pinned_bytes();
        let freeable = f64::from(self.capacity_bytes) - pinned;
        if freeable < 1.0 {
            return None;
        }
        let mean = if self.ranked == 0 { 0.0 } else { self.rank_sum / f64::from(self.ranked) };
        Some(mean * (f64::from(self.live_bytes) - pinned) / freeable)
    }
}

/// Up to `groups` groups of up to `per_group` segments, those of lowest worth first. Of each group, what
/// [`choose_keepers`] keeps within the capacity of one segment goes into one segment; the rest is evicted.
///
/// A group has fewer segments where more would hold too much that cannot be evicted. Segments that would free nothing are
/// left out; under `noeviction` that is all of them: see [`choose_compaction`].
#[must_use]
pub fn choose_victims(policy: Policy, segments: &[SegmentFacts], groups: usize, per_group: usize) -> Vec<Vec<u32>> {
    if !evicts(policy) {
        return Vec::new();
    }
    let mut waiting: Vec<(f64, &SegmentFacts)> =
        segments.iter().filter_map(|facts| facts.worth().map(|worth| (worth, facts))).collect();
    waiting.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.segment.cmp(&b.1.segment)));

    let mut chosen = Vec::new();
    while chosen.len() < groups {
        let mut group = Vec::new();
        let (mut pinned, mut live) = (0.0, 0_u64);
        waiting.retain(|(_, facts)| {
            let fits = group.is_empty() || pinned + facts.pinned_bytes() <= f64::from(facts.capacity_bytes);
            let taken = group.len() < per_group && fits;
            if taken {
                group.push(facts.segment);
                pinned += facts.pinned_bytes();
                live += u64::from(facts.live_bytes);
            }
            !taken
        });
        if group.is_empty() {
            break;
        }
        // One segment rewritten into one frees nothing.
        if group.len() > 1 || live == 0 {
            chosen.push(group);
        }
    }
    chosen
}

/// Up to `groups` groups of segments whose live bytes, all of them kept, fit into one segment less than there are in the
/// group: those with the most dead bytes first. Empty if none would pay.
///
/// A group goes on as long as its survivors fit into the same segments: the more go in, the less is copied for each that is freed.
///
/// This is how `noeviction` gets room, and how dead bytes are collected below the limit.
#[must_use]
pub fn choose_compaction(segments: &[SegmentFacts], groups: usize) -> Vec<Vec<u32>> {
    let mut waiting: Vec<&SegmentFacts> = segments.iter().collect();
    waiting.sort_unstable_by_key(|facts| {
        (std::cmp::Reverse(facts.capacity_bytes.saturating_sub(facts.live_bytes)), facts.segment)
    });

    let mut chosen = Vec::new();
    let mut group: Vec<u32> = Vec::new();
    let mut live = 0_u64;
    let mut waiting = waiting.into_iter().peekable();
    while let Some(facts) = waiting.next() {
        if chosen.len() >= groups {
            break;
        }
        group.push(facts.segment);
        live += u64::from(facts.live_bytes);
        let capacity = u64::from(facts.capacity_bytes);
        let usable = (capacity - capacity / TAIL_DIVISOR).max(1);
        let pays = live <= (group.len() as u64 - 1) * usable;
        let is_full = group.len() == COMPACTION_GROUP_MAX;
        let next_needs_more = waiting
            .peek()
            .is_none_or(|next| (live + u64::from(next.live_bytes)).div_ceil(usable) > live.div_ceil(usable).max(1));
        if pays && (is_full || next_needs_more) {
            chosen.push(std::mem::take(&mut group));
            live = 0;
        } else if is_full {
            break;
        }
    }
    chosen
}

/// A live entry of the segments that are merged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// What it is worth: see [`crate::rank`].
    pub rank: f32,
    /// What its record takes in the new segment.
    pub bytes: u32,
    /// Which entry: for the caller.
    pub index: u32,
}

/// Reorders the candidates so that the first `n` are those to keep, and returns `n`: the best by rank that fit into
/// `budget_bytes` together, in no particular order, and a few of the next best that still fit into the room left over.
///
/// Entries of rank infinity are kept whatever the budget. So if the kept bytes exceed the budget, all that is kept is
/// unevictable, and the caller needs a second segment. Equal ranks go by index, lower ones kept: the outcome depends on
/// nothing but the arguments. Takes linear time.
#[must_use]
pub fn choose_keepers(candidates: &mut [Candidate], budget_bytes: u64) -> usize {
    let mut left = budget_bytes;
    let mut kept = 0;
    for next in 0..candidates.len() {
        if candidates[next].rank == f32::INFINITY {
            left = left.saturating_sub(u64::from(candidates[next].bytes));
            candidates.swap(kept, next);
            kept += 1;
        }
    }
    // Quickselect by bytes: halve the range in which the last keeper stands, until it is empty.
    let mut end = candidates.len();
    while kept < end {
        let half = (end - kept).div_ceil(2);
        candidates[kept..end].select_nth_unstable_by(half - 1, best_first);
        let bytes: u64 = candidates[kept..kept + half].iter().map(|candidate| u64::from(candidate.bytes)).sum();
        if bytes <= left {
            left -= bytes;
            kept += half;
        } else {
            end = kept + half - 1; // the worst of these does not fit
        }
    }
    for _ in 0..FILL_TRIES {
        let fitting = (kept..candidates.len()).filter(|&at| u64::from(candidates[at].bytes) <= left);
        let Some(best) = fitting.min_by(|&a, &b| best_first(&candidates[a], &candidates[b])) else { break };
        left -= u64::from(candidates[best].bytes);
        candidates.swap(kept, best);
        kept += 1;
    }
    kept
}

fn best_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.rank.total_cmp(&a.rank).then(a.index.cmp(&b.index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAPACITY: u32 = 1_000;

    fn segment(segment: u32, live_bytes: u32, mean: f64, unevictable: u32) -> SegmentFacts {
        SegmentFacts { segment, capacity_bytes: CAPACITY, live_bytes, rank_sum: mean * 10.0, ranked: 10, unevictable }
    }

    #[test]
    fn segments_of_lowest_mean_go_first_and_dead_bytes_count_nothing() {
        let segments = [
            segment(0, 1_000, 0.5, 0),
            segment(1, 1_000, 0.1, 0),
            segment(2, 100, 0.9, 0), // hot, but nine tenths are dead: 0.09
            segment(3, 1_000, 0.3, 0),
            segment(4, 0, 0.0, 0),
            segment(5, 1_000, 0.2, 0),
        ];
        assert_eq!(choose_victims(Policy::AllkeysLru, &segments, 1, 4), [vec![4, 2, 1, 5]]);
        assert_eq!(choose_victims(Policy::AllkeysLru, &segments, 9, 3), [vec![4, 2, 1], vec![5, 3, 0]]);
        assert!(choose_victims(Policy::NoEviction, &segments, 9, 3).is_empty());
    }

    #[test]
    fn a_group_never_holds_more_unevictable_bytes_than_one_segment_takes() {
        // Half of the entries of each are persistent: two fill a segment.
        let segments: Vec<_> = (0..5).map(|id| segment(id, 1_000, f64::from(id), 10)).collect();
        assert_eq!(choose_victims(Policy::VolatileLru, &segments, 9, 4), [vec![0, 1], vec![2, 3]]);
    }

    #[test]
    fn segments_that_free_nothing_are_no_victims() {
        let pinned = SegmentFacts { rank_sum: 0.0, ranked: 0, ..segment(0, 1_000, 0.0, 10) };
        let alone = segment(1, 1_000, 1.0, 0);
        assert!(choose_victims(Policy::VolatileLru, &[pinned, alone], 9, 4).is_empty());
        assert_eq!(choose_victims(Policy::VolatileLru, &[segment(2, 0, 0.0, 0)], 9, 4), [vec![2]]);
    }

    #[test]
    fn choosing_victims_ends_on_empty_wishes() {
        let segments = [segment(0, 1_000, 1.0, 0), segment(1, 0, 0.0, 0)];
        assert!(choose_victims(Policy::AllkeysLru, &[], 3, 4).is_empty());
        assert!(choose_victims(Policy::AllkeysLru, &segments, 0, 4).is_empty());
        assert!(choose_victims(Policy::AllkeysLru, &segments, 3, 0).is_empty());
    }

    #[test]
    fn compaction_takes_the_deadest_segments_as_many_as_fit_into_one() {
        let segments = [
            segment(0, 990, 1.0, 0),
            segment(1, 0, 0.0, 0),
            segment(2, 400, 1.0, 0),
            segment(3, 500, 1.0, 0),
            segment(4, 800, 1.0, 0),
        ];
        assert_eq!(choose_compaction(&segments, 9), [vec![1, 2, 3]]);
        assert_eq!(choose_compaction(&segments[2..], 1), [vec![2, 3]]);
    }

    #[test]
    fn compaction_leaves_segments_alone_that_are_full_but_for_their_ends() {
        let segments: Vec<_> = (0..200).map(|id| segment(id, 950, 1.0, 0)).collect();
        assert!(choose_compaction(&segments, 9).is_empty());
    }

    #[test]
    fn keepers_are_the_best_that_fit_and_small_ones_fill_the_room_left() {
        let candidate = |index: u32, rank, bytes| Candidate { rank, bytes, index };
        let mut candidates = [
            candidate(0, 0.1, 10),
            candidate(1, 0.9, 60),
            candidate(2, 0.8, 50),
            candidate(3, 0.7, 30),
            candidate(4, 0.2, 10),
        ];
        let kept = choose_keepers(&mut candidates, 100);
        let mut indices: Vec<u32> = candidates[..kept].iter().map(|candidate| candidate.index).collect();
        indices.sort_unstable();
        assert_eq!(indices, [1, 3, 4]);
    }

    #[test]
    fn equal_ranks_keep_the_lower_indices() {
        let mut candidates: Vec<_> = (0..100).rev().map(|index| Candidate { rank: 0.5, bytes: 1, index }).collect();
        assert_eq!(choose_keepers(&mut candidates, 30), 30);
        assert!(candidates[..30].iter().all(|candidate| candidate.index < 30));
    }

    #[test]
    fn segments_are_a_256th_of_the_memory_within_their_bounds() {
        assert_eq!(segment_bytes(0), SEGMENT_BYTES_MIN);
        assert_eq!(segment_bytes(256 * 1024 * 1024), 1024 * 1024);
        assert_eq!(segment_bytes(u64::MAX), SEGMENT_BYTES_MAX);
    }

    prop_compose! {
        fn candidates()(parts in prop::collection::vec((0_u8..20, 1_u32..500), 0..200)) -> Vec<Candidate> {
            let rank = |rank| if rank == 19 { f32::INFINITY } else { f32::from(rank) };
            parts.iter().zip(0..).map(|((r, bytes), index)| Candidate { rank: rank(*r), bytes: *bytes, index }).collect()
        }
    }

    proptest! {
        #[test]
        fn keepers_respect_the_budget_and_are_never_displaced_by_worse_ones(
            mut given in candidates(), budget in 0_u64..60_000,
        ) {
            let mut before: Vec<u32> = given.iter().map(|candidate| candidate.index).collect();
            let kept = choose_keepers(&mut given, budget);
            let (keepers, dropped) = given.split_at(kept);
            let bytes: u64 = keepers.iter().map(|candidate| u64::from(candidate.bytes)).sum();
            let all_pinned = keepers.iter().all(|candidate| candidate.rank == f32::INFINITY);
            prop_assert!(bytes <= budget || all_pinned);
            prop_assert!(dropped.iter().all(|candidate| candidate.rank < f32::INFINITY));
            // What was dropped in front of a keeper would not have fitted together with all that rank above it.
            for lost in dropped {
                let above: u64 = given.iter().filter(|other| best_first(other, lost).is_le()).map(|c| u64::from(c.bytes)).sum();
                prop_assert!(above > budget);
            }
            let mut after: Vec<u32> = given.iter().map(|candidate| candidate.index).collect();
            before.sort_unstable();
            after.sort_unstable();
            prop_assert_eq!(before, after);
        }

        #[test]
        fn victims_are_distinct_and_never_worth_more_than_those_left(
            lives in prop::collection::vec((0_u32..=CAPACITY, 0.0_f64..10.0), 0..60), groups in 0_usize..6,
        ) {
            let segments: Vec<_> =
                lives.iter().zip(0..).map(|((live, mean), id)| segment(id, *live, *mean, 0)).collect();
            let chosen: Vec<u32> = choose_victims(Policy::Cost, &segments, groups, 4).concat();
            let worth = |id: &u32| segments[*id as usize].worth().expect("nothing is pinned");
            prop_assert!(chosen.is_sorted_by(|a, b| a != b && worth(a) <= worth(b)));
            let worst_left = (0..segments.len() as u32).filter(|id| !chosen.contains(id)).map(|id| worth(&id));
            if let Some(last) = chosen.last() {
                prop_assert!(worst_left.fold(f64::INFINITY, f64::min) >= worth(last));
            }
            prop_assert_eq!(chosen.len().div_ceil(4) <= groups, true);
        }

        #[test]
        fn compacted_groups_fit_into_one_segment_less(
            lives in prop::collection::vec(0_u32..=CAPACITY, 0..100), groups in 0_usize..6,
        ) {
            let segments: Vec<_> = lives.iter().zip(0..).map(|(live, id)| segment(id, *live, 1.0, 0)).collect();
            for group in choose_compaction(&segments, groups) {
                let live: u32 = group.iter().map(|id| lives[*id as usize]).sum();
                prop_assert!(live <= (group.len() as u32 - 1) * CAPACITY);
                prop_assert!(group.len() <= COMPACTION_GROUP_MAX);
            }
        }
    }
}
