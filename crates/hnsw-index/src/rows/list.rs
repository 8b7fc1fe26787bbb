//! Blocks by number. The list grows while others read it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::rows::block::Block;

/// Bucket `k` holds 2^k blocks and is made when the first of them is; so nothing ever moves. Twenty-one hold more than a `u32` numbers rows.
const BUCKETS: usize = 21;

#[derive(Debug)]
pub(super) struct BlockList {
    buckets: [OnceLock<Box<[OnceLock<Block>]>>; BUCKETS],
    count: AtomicUsize,
}

impl BlockList {
    pub(super) fn new() -> BlockList {
        BlockList { buckets: [const { OnceLock::new() }; BUCKETS], count: AtomicUsize::new(0) }
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&Block> {
        let (bucket, place) = place(index);
        self.buckets.get(bucket)?.get()?.get(place)?.get()
    }

    /// Appends a block. One caller at a time: whoever holds the lock on free rows.
    pub(super) fn push(&self, block: Block) {
        let index = self.len();
        let (bucket, place) = place(index);
        let slots = self.buckets[bucket].get_or_init(|| (0..1 << bucket).map(|_| OnceLock::new()).collect());
        assert!(slots[place].set(block).is_ok(), "block {index} is there already");
        self.count.store(index + 1, Ordering::Release);
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// The blocks that are there now, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Block)> {
        (0..self.len()).filter_map(|index| Some((index, self.get(index)?)))
    }
}

fn place(index: usize) -> (usize, usize) {
    let bucket = (index + 1).ilog2() as usize;
    (bucket, index + 1 - (1 << bucket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        assert_eq!((0..7).map(place).collect::<Vec<_>>(), [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)]);
        assert!(place((1 << 20) - 1).0 < BUCKETS);
    }
}
