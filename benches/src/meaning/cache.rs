//! A shard as a library with one space of vectors, without any wire.

use crate::process::Scratch;
use crate::random::{KEY_BYTES, key};
use std::io;
use std::sync::Arc;
use sutra_shard::{
    Annotations, Guard, Limits, Lsn, Metric, Options, Put, Quantization, Scope, Shard, Space, SpaceOptions, VectorOf,
};

/// The only moment of these measurements, in Unix milliseconds.
pub(super) const NOW_MS: u64 = 1_800_000_000_000;
/// Bytes of an entry beside its vector, generously, for the limit of memory.
const ENTRY_BYTES: u64 = 512;
const SEED: u64 = 0x5EED;

/// The shard and its space.
#[derive(Debug)]
pub(super) struct Cache {
    pub(super) shard: Shard,
    pub(super) space: Arc<Space>,
    /// The directory of one with a log; it goes when the shard is gone.
    _scratch: Option<Scratch>,
}

impl Cache {
    /// In anonymous memory, without a log, with room for so many rows.
    pub(super) fn in_memory(dim: usize, rows: usize) -> io::Result<Cache> {
        let shard = Shard::in_memory(&limits(dim, rows), SEED).map_err(io::Error::other)?;
        Cache::with(shard, dim, None)
    }

    /// With mapped segments and a log, as the server has them.
    pub(super) fn logged(dim: usize, rows: usize) -> io::Result<Cache> {
        let scratch = Scratch::new("meaning")?;
        let mut options = Options::new(scratch.path().join("data"));
        options.limits = limits(dim, rows);
        options.seed = SEED;
        let (shard, _) = Shard::open(&options, NOW_MS).map_err(io::Error::other)?;
        Cache::with(shard, dim, Some(scratch))
    }

    fn with(shard: Shard, dim: usize, scratch: Option<Scratch>) -> io::Result<Cache> {
        // Until a measurement asks for a graph there is none, whatever the size.
        shard.set_graph_min_rows(0);
        let options = SpaceOptions {
            dimension: dim,
            metric: Metric::Cosine,
            embedder: String::new(),
            quantization: Quantization::Cascade,
            guard: Guard::default(),
        };
        let space = shard.create_space(b"bench", &options).map_err(io::Error::other)?;
        Ok(Cache { shard, space, _scratch: scratch })
    }

    /// Sets the entry of a number, whose value is its key, with its vector; the log's position, if there is a log.
    pub(super) fn put(&self, number: u64, vector: &[u8]) -> io::Result<Option<Lsn>> {
        let name = key(number);
        let annotations =
            Annotations { space: Some(&self.space), vector: VectorOf::Given(vector), ..Annotations::default() };
        let mut txn = self.shard.begin(Scope::Key(&name), NOW_MS);
        txn.put_annotated(0, &name, &name, Put::default(), &annotations, None).map_err(io::Error::other)?;
        txn.commit().map_err(io::Error::other)
    }

    pub(super) fn delete(&self, number: u64) -> bool {
        let name = key(number);
        self.shard.begin(Scope::Key(&name), NOW_MS).delete(0, &name)
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        let name = key(number);
        self.shard.begin(Scope::Key(&name), NOW_MS).peek(0, &name).is_some()
    }
}

/// The number of a key that [`key`] made.
pub(super) fn number_of(key: &[u8]) -> u64 {
    let digits = key.get(KEY_BYTES - 12..).unwrap_or_default();
    digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit.wrapping_sub(b'0')))
}

fn limits(dim: usize, rows: usize) -> Limits {
    let bytes = rows as u64 * (dim as u64 * 4 + ENTRY_BYTES);
    Limits { max_memory_bytes: bytes + bytes / 2 + (256 << 20), ..Limits::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_there_until_it_is_deleted() {
        let cache = Cache::in_memory(4, 10).unwrap();
        cache.put(7, &[0, 0, 128, 63].repeat(4)).unwrap();
        assert!(cache.contains(7) && cache.space.len() == 1);
        assert!(cache.delete(7) && !cache.contains(7));
        assert_eq!(number_of(&key(123_456)), 123_456);
    }
}
