//! Rows of codes, in blocks that readers and writers share.

mod block;
mod candidate;
mod codes;
mod file;
mod filter;
mod free;
mod layout;
mod list;
mod page;
mod region;
mod scan;
mod side;
mod single;
mod top;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use candidate::{Candidate, Hit};
pub use codes::Codes;
pub use file::{Discarded, Opened};
pub use filter::Filter;
pub use side::Side;

use crate::encoded::Encoded;
use crate::error::RowsError;
use block::Block;
use file::RowsFile;
use free::Free;
use layout::{BLOCK_ROWS, Layout};
use list::BlockList;
use region::Region;

/// Codes of vectors of one dimension, each with what its owner wants to know when a scan finds it.
///
/// Every method may be called from any thread at any time. A change is seen whole or not at all.
/// Dimension 0 means that there are no vectors: a row is only its [`Side`].
#[derive(Debug)]
pub struct Rows {
    layout: Layout,
    blocks: BlockList,
    free: Mutex<Free>,
    live: AtomicU64,
    /// Where blocks come from; `None` for memory that is gone with the process.
    file: Option<RowsFile>,
}

impl Rows {
    /// No rows yet, in memory that is gone with the process.
    ///
    /// # Panics
    /// If the dimension is above [`crate::DIMENSIONS_MAX`].
    #[must_use]
    pub fn new(dimension: usize) -> Rows {
        Rows {
            layout: Layout::new(dimension),
            blocks: BlockList::new(),
            free: Mutex::default(),
            live: AtomicU64::new(0),
            file: None,
        }
    }

    /// The rows of a mapped file, which is made if it is missing. Of the rows that another process left there, those stay whose checksum holds
    /// and for whom `keep` says yes; the others are free. A file that is no use as a whole begins anew.
    ///
    /// The owner judges a row by its side. After the loss of power a row may be of any time, but its codes and its side are of the same;
    /// so a side must say which vector it belongs to, and whether that is still current.
    ///
    /// # Errors
    /// What the operating system says, also if another process has the file open.
    ///
    /// # Panics
    /// If the dimension is above [`crate::DIMENSIONS_MAX`].
    pub fn open(dimension: usize, path: &Path, keep: &mut dyn FnMut(u32, &Side) -> bool) -> io::Result<(Rows, Opened)> {
        let layout = Layout::new(dimension);
        let (file, count, discarded) = RowsFile::open(path, &layout)?;
        let rows = Rows::new(dimension);
        let mut opened = Opened { discarded, ..Opened::default() };
        let mut free = Free::default();
        for index in 0..count {
            let block = Block::over(file.map(index)?, layout, true);
            {
                let mut page = block.write();
                for within in 0..BLOCK_ROWS {
                    let row = row_number(index, within);
                    if !page.is_live(within) {
                        continue;
                    }
                    let intact = page.is_intact(within);
                    if intact && keep(row, &page.side(within)) {
                        opened.kept += 1;
                        free.use_up_to(row);
                        continue;
                    }
                    opened.damaged += u64::from(!intact);
                    opened.refused += u64::from(intact);
                    page.clear(within);
                }
            }
            rows.blocks.push(block);
        }
        rows.live.store(opened.kept, Ordering::Relaxed);
        Ok((Rows { free: Mutex::new(free), file: Some(file), ..rows }, opened))
    }

    /// How many dimensions the vectors have.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.layout.dimension
    }

    /// Stores a row at the lowest number that is free.
    ///
    /// # Errors
    /// If the codes are of another dimension, or there is no room.
    pub fn insert(&self, encoded: Option<&Encoded>, side: Side) -> Result<u32, RowsError> {
        self.check(encoded)?;
        let row = {
            let mut free = self.free();
            let row = free.lowest().ok_or(RowsError::Full)?;
            if self.blocks.get(block_of(row)).is_none() {
                self.blocks.push(self.new_block()?);
            }
            free.take(row);
            row
        };
        let block = self.blocks.get(block_of(row)).expect("made above if it was missing");
        block.reset_hits(within(row));
        block.write().set(within(row), encoded, side);
        self.live.fetch_add(1, Ordering::Relaxed);
        Ok(row)
    }

    /// Puts another vector and side in the place of a row: a reader sees all of the old or all of the new. `false` if the row is not live.
    ///
    /// # Errors
    /// If the codes are of another dimension.
    pub fn replace(&self, row: u32, encoded: Option<&Encoded>, side: Side) -> Result<bool, RowsError> {
        self.check(encoded)?;
        let Some(block) = self.blocks.get(block_of(row)) else { return Ok(false) };
        let mut page = block.write();
        let live = page.is_live(within(row));
        if live {
            page.set(within(row), encoded, side);
        }
        Ok(live)
    }

    /// Changes a row's side under its lock: the closure is short and takes no other lock. `false` if the row is not live.
    pub fn update_side(&self, row: u32, change: impl FnOnce(&mut Side)) -> bool {
        let Some(block) = self.blocks.get(block_of(row)) else { return false };
        let mut page = block.write();
        let live = page.is_live(within(row));
        if live {
            let mut side = page.side(within(row));
            change(&mut side);
            page.set_side(within(row), side);
        }
        live
    }

    /// Frees a row; what its side was, if it was live.
    pub fn remove(&self, row: u32) -> Option<Side> {
        let block = self.blocks.get(block_of(row))?;
        let side = block.write().clear(within(row))?;
        self.live.fetch_sub(1, Ordering::Relaxed);
        self.free().give_back(row);
        Some(side)
    }

    /// A row's side, if it is live.
    #[must_use]
    pub fn side(&self, row: u32) -> Option<Side> {
        let page = self.blocks.get(block_of(row))?.read();
        page.is_live(within(row)).then(|| page.side(within(row)))
    }

    /// Counts a hit of a row. Nothing happens if there is no such row.
    pub fn count_hit(&self, row: u32) {
        if let Some(block) = self.blocks.get(block_of(row)) {
            block.count_hit(within(row));
        }
    }

    /// How many hits were counted since the row was inserted.
    #[must_use]
    pub fn hits(&self, row: u32) -> u32 {
        self.blocks.get(block_of(row)).map_or(0, |block| block.hits(within(row)))
    }

    /// How many rows are live.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// Whether no row is live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For how many rows there are blocks.
    #[must_use]
    pub fn capacity_rows(&self) -> u64 {
        (self.blocks.len() * BLOCK_ROWS) as u64
    }

    /// Bytes of memory that rows have ever touched: a block's pages come into being when its rows are used, the lowest first.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let free = self.free();
        u64::from(free.used()) * self.layout.row_bytes() as u64 + free.memory_bytes()
    }

    fn new_block(&self) -> io::Result<Block> {
        let region = match &self.file {
            Some(file) => file.grow(self.blocks.len())?,
            None => Region::anonymous(self.layout.bytes)?,
        };
        Ok(Block::over(region, self.layout, self.file.is_some()))
    }

    fn check(&self, encoded: Option<&Encoded>) -> Result<(), RowsError> {
        let (got, expected) = (encoded.map_or(0, Encoded::dimension), self.layout.dimension);
        if got == expected { Ok(()) } else { Err(RowsError::WrongDimension { got, expected }) }
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn block_of(row: u32) -> usize {
    row as usize / BLOCK_ROWS
}

fn within(row: u32) -> usize {
    row as usize % BLOCK_ROWS
}

fn row_number(block: usize, within: usize) -> u32 {
    u32::try_from(block * BLOCK_ROWS + within).expect("blocks hold no more rows than a u32 can number")
}
