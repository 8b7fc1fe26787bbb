#![doc = include_str!("../../../../docs/formats/rows.md")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;

use crate::rows::layout::{BLOCK_ROWS, Layout, PAGE_BYTES};
use crate::rows::region::Region;

/// Why the rows of a file were not taken over. They are gone; the file begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discarded {
    /// Its header is not one, or damaged.
    Damaged,
    /// It was written by another version of the format.
    OtherVersion(u32),
    /// Its rows have another dimension.
    OtherDimension(u32),
}

/// What was in a file of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Rows that were kept.
    pub kept: u64,
    /// Rows that the owner did not want.
    pub refused: u64,
    /// Rows that were not what their checksum says, and so are free now.
    pub damaged: u64,
    /// Why there are no rows, if the file as a whole was no use.
    pub discarded: Option<Discarded>,
}

/// A file of blocks behind a header, open and locked against other processes and other [`crate::Rows`].
#[derive(Debug)]
pub(super) struct RowsFile {
    file: File,
    block_bytes: usize,
}

const MAGIC: [u8; 8] = *b"SUTRAROW";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
/// Blocks begin at the second page, so that they can be mapped.
const BLOCKS_START: u64 = PAGE_BYTES as u64;

impl RowsFile {
    /// Opens or makes a file. Gives the number of whole blocks in it as well.
    pub(super) fn open(path: &Path, layout: &Layout) -> io::Result<(RowsFile, usize, Option<Discarded>)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let found = file.metadata()?.len();
        let rows = RowsFile { file, block_bytes: layout.bytes };
        let discarded = if found == 0 { None } else { rows.check(found, layout)? };
        if found == 0 || discarded.is_some() {
            rows.file.set_len(0)?;
            allocate(&rows.file, 0, BLOCKS_START)?;
            rows.file.write_all_at(&header(layout), 0)?;
            return Ok((rows, 0, discarded));
        }
        let blocks = found.saturating_sub(BLOCKS_START) / layout.bytes as u64;
        Ok((rows, usize::try_from(blocks).expect("blocks fit a file, so their number fits"), None))
    }

    /// A new block of zeros at the end.
    pub(super) fn grow(&self, index: usize) -> io::Result<Region> {
        let start = self.start(index);
        allocate(&self.file, start, self.block_bytes as u64)?;
        // Storing through a mapping into blocks that were never written costs the file system's work at every first touch of a page.
        let zeros = vec![0; self.block_bytes];
        self.file.write_all_at(&zeros, start)?;
        Region::of_file(&self.file, start, self.block_bytes)
    }

    /// A block that was there before.
    pub(super) fn map(&self, index: usize) -> io::Result<Region> {
        let start = self.start(index);
        // A sparse file (a copy, say) would raise SIGBUS on a full disk when a row is written.
        allocate(&self.file, start, self.block_bytes as u64)?;
        Region::of_file(&self.file, start, self.block_bytes)
    }

    fn start(&self, index: usize) -> u64 {
        BLOCKS_START + (index * self.block_bytes) as u64
    }

    fn check(&self, found: u64, layout: &Layout) -> io::Result<Option<Discarded>> {
        let mut bytes = [0; HEADER_BYTES];
        if found < BLOCKS_START {
            return Ok(Some(Discarded::Damaged));
        }
        self.file.read_exact_at(&mut bytes, 0)?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let discarded = if bytes[..8] != MAGIC || word(28) != crc32fast::hash(&bytes[..28]) {
            Some(Discarded::Damaged)
        } else if word(8) != VERSION {
            Some(Discarded::OtherVersion(word(8)))
        } else if word(12) as usize != layout.dimension {
            Some(Discarded::OtherDimension(word(12)))
        } else {
            (bytes != header(layout)).then_some(Discarded::Damaged)
        };
        Ok(discarded)
    }
}

/// Magic, version, dimension, rows of a block, bytes of a block, checksum of all before.
fn header(layout: &Layout) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&(layout.dimension as u32).to_le_bytes());
    bytes[16..20].copy_from_slice(&(BLOCK_ROWS as u32).to_le_bytes());
    bytes[20..28].copy_from_slice(&(layout.bytes as u64).to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..28]);
    bytes[28..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reserves space, so that a full disk is an error here and no SIGBUS later. File systems without the call get zeros, where the file is new.
fn allocate(file: &File, start: u64, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), start, bytes) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP) => {
            let end = file.metadata()?.len().max(start);
            let missing = usize::try_from((start + bytes).saturating_sub(end)).expect("a block fits memory");
            file.write_all_at(&vec![0; missing], end)
        }
        Err(error) => Err(error.into()),
    }
}
