//! The file `shard.meta`: what must never change in a data directory. Three copies of one block, 4 KiB apart, each with its own CRC.

use sutra_wal::{IoError, Storage};

const NAME: &str = "shard.meta";
const MAGIC: [u8; 8] = *b"SMETA\x01\0\0";
const BLOCK_BYTES: usize = 32;
const COPY_STRIDE: u64 = 4096;
const COPIES: u64 = 3;

/// A copy of the block: its offset in the file, and what it says if it is sound.
pub(crate) type MetaCopy = (u64, Option<Meta>);

/// What is fixed when a data directory is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Seed of the keys' hash.
    pub(crate) seed: u64,
    /// Whether payloads are in mapped segments.
    pub(crate) mapped: bool,
}

impl Meta {
    fn encode(self) -> [u8; BLOCK_BYTES] {
        let mut block = [0u8; BLOCK_BYTES];
        block[..8].copy_from_slice(&MAGIC);
        block[8..16].copy_from_slice(&self.seed.to_le_bytes());
        block[16] = u8::from(self.mapped);
        let crc = crc32fast::hash(&block[..28]);
        block[28..].copy_from_slice(&crc.to_le_bytes());
        block
    }

    fn decode(block: &[u8; BLOCK_BYTES]) -> Option<Meta> {
        let seed = u64::from_le_bytes(*block[8..].first_chunk()?);
        let meta = Meta { seed, mapped: block[16] != 0 };
        (meta.encode() == *block).then_some(meta)
    }

    /// The first sound copy; `None` if there is no file. A file without a sound copy is `Some(None)`.
    pub(crate) fn load(storage: &dyn Storage) -> Result<Option<Option<Meta>>, IoError> {
        let copies = Meta::copies(storage)?;
        Ok(copies.map(|copies| copies.into_iter().find_map(|(_, meta)| meta)))
    }

    /// All copies with their offsets, those that are not sound as `None`; `None` if there is no file.
    pub(crate) fn copies(storage: &dyn Storage) -> Result<Option<Vec<MetaCopy>>, IoError> {
        if !storage.list()?.iter().any(|name| name == NAME) {
            return Ok(None);
        }
        let file = storage.open(NAME)?;
        let mut copies = Vec::new();
        for copy in 0..COPIES {
            let mut block = [0u8; BLOCK_BYTES];
            let whole = file.read_at(copy * COPY_STRIDE, &mut block)? == BLOCK_BYTES;
            copies.push((copy * COPY_STRIDE, whole.then(|| Meta::decode(&block)).flatten()));
        }
        Ok(Some(copies))
    }

    /// Writes all copies, durably, under a temporary name first.
    pub(crate) fn store(self, storage: &dyn Storage) -> Result<(), IoError> {
        const TEMPORARY: &str = "shard.meta.tmp";
        if storage.list()?.iter().any(|name| name == TEMPORARY) {
            storage.remove(TEMPORARY)?;
        }
        let file = storage.create(TEMPORARY, COPY_STRIDE * COPIES)?;
        for copy in 0..COPIES {
            file.write_at(copy * COPY_STRIDE, &self.encode())?;
        }
        file.sync()?;
        storage.rename(TEMPORARY, NAME)?;
        storage.sync_directory()
    }
}
