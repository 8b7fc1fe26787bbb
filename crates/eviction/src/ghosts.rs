//! Counters of entries that were evicted, so that a key that comes back is not taken for a new one.
//!
//! A table of buckets of four (tag, counter) pairs, 3 bytes each, newest first: what is remembered last pushes the oldest
//! of its bucket out. There are no keys: a 16-bit tag mistakes one new key in 16,000 for a remembered one, which costs a
//! little accuracy and nothing else.

const WAYS: usize = 4;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    tags: [u16; WAYS],
    /// 0: the way is empty.
    counters: [u8; WAYS],
}

/// Remembers the counters of evicted entries by the 64-bit hash of their key, in fixed memory.
#[derive(Clone, Debug)]
pub struct Ghosts {
    /// A power of two of them, or none.
    buckets: Vec<Bucket>,
}

impl Ghosts {
    /// A table for about `entries` ghosts. 0 entries remember nothing and take no memory.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        Self { buckets: vec![Bucket::default(); bucket_count(entries)] }
    }

    /// Notes the counter of an entry that is evicted. A counter of 0 is not worth remembering.
    pub fn remember(&mut self, hash: u64, counter: u8) {
        let Some((index, tag)) = self.place(hash) else { return };
        let bucket = &mut self.buckets[index];
        forget(bucket, tag);
        if counter != 0 {
            bucket.tags.copy_within(..WAYS - 1, 1);
            bucket.counters.copy_within(..WAYS - 1, 1);
            bucket.tags[0] = tag;
            bucket.counters[0] = counter;
        }
    }

    /// Takes out what is remembered of a key that comes back: from here on its entry carries the counter.
    pub fn recall(&mut self, hash: u64) -> Option<u8> {
        let (index, tag) = self.place(hash)?;
        forget(&mut self.buckets[index], tag)
    }

    /// How many ghosts there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buckets.len() * WAYS
    }

    /// What the table takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    /// Makes room for about `entries` ghosts and keeps what is remembered as far as it fits. Does nothing if the capacity
    /// is right already, so it may be called with every growth of the index.
    pub fn resize(&mut self, entries: usize) {
        let (old, new) = (self.buckets.len(), bucket_count(entries));
        if new == old {
            return;
        }
        let buckets = if old == 0 || new == 0 {
            vec![Bucket::default(); new]
        } else if new > old {
            // The place of a bucket is the leading bits of its hashes, so its ghosts belong into one of the new buckets that
            // begin alike. The tag does not say which; all get a copy, and those that are wrong age out.
            (0..new).map(|index| self.buckets[index / (new / old)]).collect()
        } else {
            self.buckets.chunks(old / new).map(newest).collect()
        };
        self.buckets = buckets;
    }

    /// Bucket and tag of a hash. The hash is mixed first: a caller may keep one table for each of its parts, whose hashes
    /// agree in some bits.
    fn place(&self, hash: u64) -> Option<(usize, u16)> {
        if self.buckets.is_empty() {
            return None;
        }
        // The finishing steps of MurmurHash3 (Appleby): every bit of the input reaches the leading bits and the tag.
        let mut mixed = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
        mixed ^= mixed >> 33;
        let index = (u128::from(mixed) * self.buckets.len() as u128) >> 64;
        Some((index as usize, mixed as u16))
    }
}

/// A power of two, so that the table can be doubled and halved without the hashes.
fn bucket_count(entries: usize) -> usize {
    if entries == 0 { 0 } else { entries.div_ceil(WAYS).next_power_of_two() }
}

/// Removes the ghost with this tag, closing the gap so that the order stays newest first.
fn forget(bucket: &mut Bucket, tag: u16) -> Option<u8> {
    let way = (0..WAYS).find(|&way| bucket.counters[way] != 0 && bucket.tags[way] == tag)?;
    let counter = bucket.counters[way];
    bucket.tags.copy_within(way + 1.., way);
    bucket.counters.copy_within(way + 1.., way);
    bucket.counters[WAYS - 1] = 0;
    Some(counter)
}

/// One bucket out of several, with the newest of each first.
fn newest(buckets: &[Bucket]) -> Bucket {
    let mut merged = Bucket::default();
    let ghosts = (0..WAYS).flat_map(|way| buckets.iter().map(move |bucket| (bucket.tags[way], bucket.counters[way])));
    for (way, (tag, counter)) in ghosts.filter(|(_, counter)| *counter != 0).take(WAYS).enumerate() {
        merged.tags[way] = tag;
        merged.counters[way] = counter;
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spread like the hashes of keys.
    fn hash(key: u64) -> u64 {
        (key + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    }

    fn recalled(ghosts: &mut Ghosts, keys: std::ops::Range<u64>) -> usize {
        keys.filter(|key| ghosts.recall(hash(*key)) == Some((key % 255) as u8 + 1)).count()
    }

    fn filled(entries: usize, keys: u64) -> Ghosts {
        let mut ghosts = Ghosts::new(entries);
        (0..keys).for_each(|key| ghosts.remember(hash(key), (key % 255) as u8 + 1));
        ghosts
    }

    #[test]
    fn a_ghost_is_recalled_once_with_its_last_counter() {
        let mut ghosts = Ghosts::new(100);
        ghosts.remember(hash(1), 7);
        ghosts.remember(hash(1), 9);
        assert_eq!(ghosts.recall(hash(2)), None);
        assert_eq!(ghosts.recall(hash(1)), Some(9));
        assert_eq!(ghosts.recall(hash(1)), None);
    }

    #[test]
    fn taking_ghosts_out_of_a_full_bucket_leaves_no_copies() {
        let mut ghosts = filled(4, 4);
        assert_eq!([0, 3, 1, 2].map(|key| ghosts.recall(hash(key))), [Some(1), Some(4), Some(2), Some(3)]);
        assert_eq!(recalled(&mut ghosts, 0..4), 0);
    }

    #[test]
    fn the_newest_ghosts_survive_in_fixed_memory() {
        let mut ghosts = filled(4_096, 40_960);
        assert_eq!((ghosts.capacity(), ghosts.bytes()), (4_096, 12_288));
        assert!(recalled(&mut ghosts, 38_912..40_960) > 1_700);
        assert!(recalled(&mut ghosts, 0..20_480) < 100);
    }

    #[test]
    fn hashes_that_share_their_leading_bits_use_the_whole_table() {
        let mut ghosts = Ghosts::new(4_096);
        (0..2_048).for_each(|key| ghosts.remember(hash(key) >> 8, 9));
        assert!((0..2_048).filter(|key| ghosts.recall(hash(*key) >> 8).is_some()).count() > 1_900);
    }

    #[test]
    fn strangers_are_rarely_taken_for_ghosts() {
        let mut ghosts = filled(4_096, 40_960);
        assert!((1_000_000..1_100_000).filter(|key| ghosts.recall(hash(*key)).is_some()).count() < 30);
    }

    #[test]
    fn growing_keeps_what_is_remembered_and_shrinking_keeps_the_newest() {
        let mut ghosts = filled(1_024, 512);
        let before = recalled(&mut ghosts.clone(), 0..512);
        ghosts.resize(16_384);
        assert_eq!(ghosts.capacity(), 16_384);
        assert_eq!(recalled(&mut ghosts.clone(), 0..512), before);
        ghosts.resize(1_024);
        assert!(recalled(&mut ghosts, 0..512) > before / 4);
    }

    #[test]
    fn an_empty_table_takes_no_memory_and_remembers_nothing() {
        let mut ghosts = filled(0, 10);
        assert_eq!((ghosts.bytes(), ghosts.recall(hash(1))), (0, None));
        ghosts.resize(8);
        ghosts.remember(hash(1), 3);
        assert_eq!(ghosts.recall(hash(1)), Some(3));
        ghosts.resize(0);
        assert_eq!(ghosts.bytes(), 0);
    }
}
