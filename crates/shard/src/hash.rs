//! Where a key belongs: its stripe and its place in the stripe's tables.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Parts of the keyspace, each behind its own lock.
pub(crate) const STRIPES: usize = 256;

/// The 40 bits of a key's hash that the index keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct KeyHash {
    /// Which stripe: the top 8 bits.
    pub(crate) stripe: u8,
    /// Order within the stripe's tables: the next 32 bits.
    pub(crate) slot: u32,
}

impl KeyHash {
    /// XXH3 (Yann Collet) of the key with the data directory's seed: fast at key lengths, the same on every machine.
    pub(crate) fn of(key: &[u8], seed: u64) -> KeyHash {
        KeyHash::from_u64(xxh3_64_with_seed(key, seed))
    }

    fn from_u64(hash: u64) -> KeyHash {
        KeyHash { stripe: (hash >> 56) as u8, slot: (hash >> 24) as u32 }
    }

    /// The 40 bits as one number, for the ghosts of evicted entries.
    pub(crate) fn to_u64(self) -> u64 {
        u64::from(self.stripe) << 32 | u64::from(self.slot)
    }
}
