//! A table as a sequence of words: its own checkpoint image.
//!
//! | word | what |
//! | --- | --- |
//! | 0 | capacity: the number of homes |
//! | 1 | number of cells |
//! | 2 | number of slots in use |
//! | 3 + 2n, 4 + 2n | the two words of cell n; both zero for a gap |
//!
//! The version and the checksum are those of the file that holds the image. An image is nevertheless checked against
//! everything the table relies on: a file written by a faulty program has a sound checksum, too.

use super::{CAPACITY_MAX, CAPACITY_MIN, Cells, Table, home, is_overfull};
use crate::slot::Slot;
use std::fmt;

const HEADER_WORDS: usize = 3;
const CELL_WORDS: usize = 2;

/// Why words are not the image of a table. The image is of no use then, whatever the variant; it is for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// The image ends too early or goes on too long.
    Length {
        /// Words that the header asks for.
        expected: u64,
        /// Words there are.
        found: u64,
    },
    /// The capacity is not one that a table has with this number of cells and slots.
    Capacity {
        /// The capacity.
        found: u64,
        /// The number of cells.
        cells: u64,
        /// The number of slots.
        slots: u64,
    },
    /// A gap is not all zero.
    Kind {
        /// The position of the cell.
        position: usize,
    },
    /// A slot's hash is less than the one before it, or a search would not find the slot where it stands.
    Order {
        /// The position of the slot.
        position: usize,
    },
    /// The header counts other than the slots in use.
    Count {
        /// What the header says.
        expected: u64,
        /// Slots in use.
        found: u64,
    },
}

impl Table {
    /// The image of the table. Three words more than twice [`Table::positions`].
    pub fn to_words(&self) -> Vec<u64> {
        let mut words = Vec::new();
        self.append_words(&mut words);
        words
    }

    /// Appends the image of the table to `words`, so that one buffer serves many tables.
    pub fn append_words(&self, words: &mut Vec<u64>) {
        words.reserve_exact(HEADER_WORDS + CELL_WORDS * self.cells.len());
        words.extend([self.capacity as u64, self.cells.len() as u64, self.len as u64]);
        words.extend(self.cells.iter().flat_map(|cells| [cells.head.get(), cells.body.get()]));
    }

    /// The table of an image. Allocates no more than the image itself takes.
    pub fn from_words(words: &[u64]) -> Result<Table, ImageError> {
        let found = words.len() as u64;
        let &[capacity, cells_count, len, ref rest @ ..] = words else {
            return Err(ImageError::Length { expected: HEADER_WORDS as u64, found });
        };
        let expected = cells_count.saturating_mul(CELL_WORDS as u64).saturating_add(HEADER_WORDS as u64);
        if expected != found {
            return Err(ImageError::Length { expected, found });
        }
        let capacity_error = ImageError::Capacity { found: capacity, cells: cells_count, slots: len };
        // No cells, or at least one more than homes: the last cell is a gap. The length check above has bounded the
        // count of cells by what is in memory, so the casts are exact.
        if capacity >= cells_count && cells_count > 0 || capacity > CAPACITY_MAX as u64 || len > cells_count {
            return Err(capacity_error);
        }
        let mut cells = Vec::with_capacity(cells_count as usize);
        for (position, pair) in rest.chunks_exact(CELL_WORDS).enumerate() {
            let slot = Slot::from_words([pair[0], pair[1]]).ok_or(ImageError::Kind { position })?;
            cells.push(Cells::new(slot));
        }
        let table = Table { cells: cells.into_boxed_slice(), capacity: capacity as usize, len: len as usize };
        table.validate()?;
        Ok(table)
    }

    /// Checks all that holds between two calls. For images read back and for tests.
    pub fn validate(&self) -> Result<(), ImageError> {
        let capacity_error = ImageError::Capacity {
            found: self.capacity as u64,
            cells: self.cells.len() as u64,
            slots: self.len as u64,
        };
        let is_empty_form = self.capacity == 0 && self.cells.is_empty();
        if !is_empty_form && (self.capacity < CAPACITY_MIN || self.cells.len() <= self.capacity)
            || is_overfull(self.len, self.capacity)
        {
            return Err(capacity_error);
        }
        let mut used = 0;
        let mut after_gap = 0;
        let mut last_hash = 0;
        for (position, cells) in self.cells.iter().enumerate() {
            let slot = cells.load();
            if slot.is_empty() {
                after_gap = position + 1;
                continue;
            }
            let home = home(slot.hash(), self.capacity);
            if slot.hash() < last_hash || home > position || home < after_gap {
                return Err(ImageError::Order { position });
            }
            last_hash = slot.hash();
            used += 1;
        }
        if used != self.len as u64 {
            return Err(ImageError::Count { expected: self.len as u64, found: used });
        }
        // The last cell is a gap.
        if after_gap != self.cells.len() {
            return Err(ImageError::Order { position: self.cells.len() - 1 });
        }
        Ok(())
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageError::Length { expected, found } => {
                write!(f, "the table's image has {found} words instead of {expected}")
            }
            ImageError::Capacity { found, cells, slots } => {
                write!(f, "a table of {slots} slots in {cells} cells cannot have capacity {found}")
            }
            ImageError::Kind { position } => write!(f, "cell {position} is neither a gap nor a slot"),
            ImageError::Order { position } => write!(f, "the slot at position {position} is out of place"),
            ImageError::Count { expected, found } => {
                write!(f, "the table has {found} slots where its header counts {expected}")
            }
        }
    }
}

impl std::error::Error for ImageError {}
