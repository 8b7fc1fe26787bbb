//! What a search holds in its hands: the candidates in view, what fell out of view, and which rows it has seen.

use super::nearness::Nearness;

/// The nearest candidates so far, sorted, at most `ef` of them.
///
/// One sorted array is both heaps of the paper: the candidates to expand are its entries without the mark, and the
/// worst result is its last. A few hundred words are moved faster than two heaps are kept.
#[derive(Debug, Default)]
pub(super) struct Pool {
    near: Vec<Nearness>,
    capacity: usize,
    /// All entries before this one are expanded.
    next: usize,
    /// What was seen and had no place: what a growing pool goes on with.
    pushed_out: Vec<Nearness>,
}

impl Pool {
    pub(super) fn clear(&mut self, capacity: usize) {
        self.near.clear();
        self.near.reserve(capacity + 1);
        self.pushed_out.clear();
        self.capacity = capacity;
        self.next = 0;
    }

    #[inline]
    pub(super) fn offer(&mut self, candidate: Nearness) {
        if self.near.len() == self.capacity {
            if self.near.last().is_none_or(|last| candidate > *last) {
                self.pushed_out.push(candidate);
                return;
            }
            self.pushed_out.extend(self.near.pop());
        }
        let place = self.near.partition_point(|near| *near < candidate);
        self.near.insert(place, candidate);
        self.next = self.next.min(place);
    }

    /// The nearest row whose neighbours have not been looked at; it counts as looked at from now on.
    #[inline]
    pub(super) fn expand_next(&mut self) -> Option<u32> {
        while let Some(near) = self.near.get_mut(self.next) {
            self.next += 1;
            if !near.is_expanded() {
                *near = near.expanded();
                return Some(near.row());
            }
        }
        None
    }

    /// The row that is expanded next unless a nearer one turns up.
    #[inline]
    pub(super) fn peek(&self) -> Option<u32> {
        self.near.get(self.next).map(|near| near.row())
    }

    /// Makes room for more, and takes the nearest of what had been pushed out back in. They are farther than all that
    /// stayed, since the worst that stays only ever gets nearer.
    pub(super) fn grow(&mut self, capacity: usize) {
        let count = capacity.saturating_sub(self.near.len()).min(self.pushed_out.len());
        if count > 0 && count < self.pushed_out.len() {
            self.pushed_out.select_nth_unstable(count);
        }
        self.near.extend(self.pushed_out.drain(..count));
        self.near.sort_unstable();
        self.capacity = capacity;
        self.next = 0;
    }

    /// The nearest of what is farther than all in view, if all in view is equally far: copies of one vector, behind which
    /// nothing else can be seen.
    pub(super) fn behind_copies(&mut self, count: usize) -> &[Nearness] {
        let (Some(first), Some(last)) = (self.near.first(), self.near.last()) else { return &[] };
        if self.near.len() < self.capacity || first.distance() < last.distance() {
            return &[];
        }
        let distance = last.distance();
        self.pushed_out.retain(|seen| seen.distance() > distance);
        self.pushed_out.sort_unstable();
        &self.pushed_out[..count.min(self.pushed_out.len())]
    }

    /// Whether there was a place for all that was seen.
    pub(super) fn is_roomy(&self) -> bool {
        self.pushed_out.is_empty()
    }

    pub(super) fn near(&self) -> &[Nearness] {
        &self.near
    }

    pub(super) fn near_mut(&mut self) -> &mut [Nearness] {
        &mut self.near
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }
}

/// Rows seen by the search that runs: a byte for each, which holds the search's number. After 255 searches the bytes are
/// cleared; one byte rather than four keeps a million rows within the second-level cache.
#[derive(Debug, Default)]
pub(super) struct Seen {
    marks: Vec<u8>,
    search: u8,
}

impl Seen {
    pub(super) fn begin(&mut self, rows: usize) {
        if self.marks.len() < rows {
            self.marks.resize(rows, 0);
        }
        self.search = self.search.wrapping_add(1);
        if self.search == 0 {
            self.marks.fill(0);
            self.search = 1;
        }
    }

    /// Marks a row; true if it was not marked. A number beyond all rows counts as seen, so that nobody follows it.
    #[inline]
    pub(super) fn mark(&mut self, row: u32) -> bool {
        let Some(mark) = self.marks.get_mut(row as usize) else { return false };
        let first = *mark != self.search;
        *mark = self.search;
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(pool: &Pool) -> Vec<u32> {
        pool.near().iter().map(|near| near.row()).collect()
    }

    #[test]
    fn the_nearest_stay_and_the_nearest_of_the_others_come_back_when_there_is_room() {
        let mut pool = Pool::default();
        pool.clear(3);
        for (row, distance) in [(1, 5.0), (2, 1.0), (3, 4.0), (4, 2.0), (5, 6.0), (6, 3.0)] {
            pool.offer(Nearness::new(distance, row));
        }
        assert_eq!(rows(&pool), [2, 4, 6]);
        pool.grow(5);
        assert_eq!(rows(&pool), [2, 4, 6, 3, 1]);
        assert!(!pool.is_roomy());
        pool.grow(6);
        assert_eq!(rows(&pool), [2, 4, 6, 3, 1, 5]);
        assert!(pool.is_roomy());
    }

    #[test]
    fn each_is_expanded_once_and_the_nearest_first_even_if_it_comes_late() {
        let mut pool = Pool::default();
        pool.clear(8);
        pool.offer(Nearness::new(2.0, 2));
        pool.offer(Nearness::new(3.0, 3));
        assert_eq!(pool.expand_next(), Some(2));
        pool.offer(Nearness::new(1.0, 1));
        assert_eq!(pool.peek(), Some(1));
        assert_eq!([pool.expand_next(), pool.expand_next(), pool.expand_next()], [Some(1), Some(3), None]);
    }

    #[test]
    fn what_one_search_has_seen_is_new_to_the_next_one_also_when_numbers_wrap() {
        let mut seen = Seen::default();
        for _ in 0..600 {
            seen.begin(10);
            assert!(seen.mark(9) && !seen.mark(9) && !seen.mark(10));
        }
    }
}
