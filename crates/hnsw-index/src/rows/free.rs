//! Which row numbers are not in use.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Rows that were used and freed, and where those begin that never were. The lowest free row is used first, so that
/// scans of a set that has shrunk stay short of its end, and pages that were never touched stay so.
#[derive(Debug, Default)]
pub(super) struct Free {
    freed: BinaryHeap<Reverse<u32>>,
    /// The first row that was never used.
    fresh: u32,
}

impl Free {
    /// The row to be used next, which stays free.
    pub(super) fn lowest(&self) -> Option<u32> {
        match self.freed.peek() {
            Some(Reverse(row)) => Some(*row),
            None => (self.fresh < u32::MAX).then_some(self.fresh),
        }
    }

    /// Takes the row that `lowest` named.
    pub(super) fn take(&mut self, row: u32) {
        if self.freed.peek() == Some(&Reverse(row)) {
            self.freed.pop();
        } else {
            assert_eq!(row, self.fresh, "only the lowest free row is taken");
            self.fresh += 1;
        }
    }

    pub(super) fn give_back(&mut self, row: u32) {
        debug_assert!(row < self.fresh, "row {row} was never taken");
        self.freed.push(Reverse(row));
    }

    /// Of rows that are told in ascending order: everything up to this one was used at some time, and those that were not told are free.
    pub(super) fn use_up_to(&mut self, row: u32) {
        self.freed.extend((self.fresh..row).map(Reverse));
        self.fresh = row + 1;
    }

    /// How many rows were ever in use.
    pub(super) fn used(&self) -> u32 {
        self.fresh
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        (self.freed.capacity() * size_of::<u32>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_between_those_in_use_are_free() {
        let mut free = Free::default();
        for row in [1, 2, 4] {
            free.use_up_to(row);
        }
        let taken: Vec<u32> = (0..4)
            .map(|_| {
                let row = free.lowest().unwrap();
                free.take(row);
                row
            })
            .collect();
        assert_eq!(taken, [0, 3, 5, 6]);
    }

    #[test]
    fn the_lowest_row_is_used_first() {
        let mut free = Free::default();
        let next = |free: &mut Free| {
            let row = free.lowest().unwrap();
            free.take(row);
            row
        };
        assert_eq!([next(&mut free), next(&mut free), next(&mut free)], [0, 1, 2]);
        free.give_back(1);
        free.give_back(0);
        assert_eq!([next(&mut free), next(&mut free), next(&mut free)], [0, 1, 3]);
        assert_eq!(free.used(), 4);
    }
}
