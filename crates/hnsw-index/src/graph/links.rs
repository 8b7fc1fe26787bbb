//! Who is linked with whom: flat lists of row numbers, in blocks.
//!
//! A row's lists stand where its number says. On the bottom level every row has room for twice as many links as above;
//! with 16 above that is 128 bytes, two cache lines. The level up to which a row reaches is a function of its number, so
//! a block knows when it is made how many upper lists its rows will ever need, and a row that comes back takes the place
//! that it had. Blocks never move: growing never copies lists while searches wait.
//!
//! A list ends at the first [`NONE`] or at its room's end.

/// Row numbers are smaller than this.
pub const ROWS_MAX: u32 = 1 << 30;

/// The end of a list that does not fill its room.
pub(super) const NONE: u32 = u32::MAX;

/// No row reaches a higher level. With 4 links and a billion rows, level 15 is the highest to be expected.
pub(super) const LEVEL_MAX: u8 = 15;

/// Rows of a block.
pub(super) const BLOCK_ROWS: usize = 4096;

/// Blocks begin at a cache line's start.
const LINE_BYTES: usize = 64;

#[derive(Debug)]
pub(super) struct Links {
    neighbours: usize,
    seed: u64,
    blocks: Vec<Block>,
    present: usize,
}

impl Links {
    /// Lists of `neighbours` links, twice as many on the bottom level.
    pub(super) fn new(neighbours: usize, seed: u64) -> Self {
        Self { neighbours, seed, blocks: Vec::new(), present: 0 }
    }

    /// How many links a row can have on a level.
    #[inline]
    pub(super) fn room(&self, level: u8) -> usize {
        if level == 0 { 2 * self.neighbours } else { self.neighbours }
    }

    /// How many rows have lists, in the graph or not.
    pub(super) fn rows(&self) -> usize {
        self.blocks.len() * BLOCK_ROWS
    }

    /// How many rows are in the graph.
    pub(super) fn len(&self) -> usize {
        self.present
    }

    #[inline]
    pub(super) fn contains(&self, row: u32) -> bool {
        let (block, within) = place(row);
        self.blocks.get(block).is_some_and(|block| block.present[within / 64] >> (within % 64) & 1 == 1)
    }

    /// The rows of the graph in the order of their numbers.
    pub(super) fn each(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.rows() as u32).filter(|row| self.contains(*row))
    }

    /// The highest level that a row has lists on. Levels fall off geometrically (section 4.1 of the paper), by a hash of
    /// the number instead of a random generator: the same rows have the same levels in every process.
    pub(super) fn level_of(&self, row: u32) -> u8 {
        let bits = mix(self.seed ^ u64::from(row));
        let uniform = ((bits >> 11) + 1) as f64 * (1.0 / (1_u64 << 53) as f64);
        let level = -uniform.ln() / (self.neighbours as f64).ln();
        level.min(f64::from(LEVEL_MAX)) as u8
    }

    /// The whole room of a row's list; empty if the row has none on that level.
    #[inline]
    pub(super) fn list(&self, level: u8, row: u32) -> &[u32] {
        let (block, within) = place(row);
        let Some(block) = self.blocks.get(block) else { return &[] };
        if level == 0 {
            let room = 2 * self.neighbours;
            let start = block.base_start + within * room;
            &block.base[start..start + room]
        } else {
            block.upper(within, level, self.neighbours).map_or(&[], |range| &block.upper[range])
        }
    }

    /// The links of a row.
    #[inline]
    pub(super) fn of(&self, level: u8, row: u32) -> &[u32] {
        let list = self.list(level, row);
        let end = list.iter().position(|link| *link == NONE).unwrap_or(list.len());
        &list[..end]
    }

    /// Replaces the links of a row.
    ///
    /// # Panics
    /// If there are more than the level has room for, or the row has no list there: a wrong program.
    pub(super) fn set(&mut self, level: u8, row: u32, links: &[u32]) {
        let (block, within) = place(row);
        let (neighbours, block) = (self.neighbours, &mut self.blocks[block]);
        let list = if level == 0 {
            let start = block.base_start + within * 2 * neighbours;
            &mut block.base[start..start + 2 * neighbours]
        } else {
            let range = block.upper(within, level, neighbours).expect("a row has lists up to its level");
            &mut block.upper[range]
        };
        let (used, free) = list.split_at_mut(links.len());
        used.copy_from_slice(links);
        free.fill(NONE);
    }

    /// Marks a row as being in the graph or not.
    pub(super) fn set_present(&mut self, row: u32, present: bool) {
        let (block, within) = place(row);
        let word = &mut self.blocks[block].present[within / 64];
        let bit = 1 << (within % 64);
        match (*word & bit != 0, present) {
            (false, true) => self.present += 1,
            (true, false) => self.present -= 1,
            (true, true) | (false, false) => {}
        }
        *word = if present { *word | bit } else { *word & !bit };
    }

    /// Makes lists for all rows up to this one.
    pub(super) fn make_room_for(&mut self, row: u32) {
        assert!(row < ROWS_MAX, "row {row} is beyond the {ROWS_MAX} that a graph can number");
        while self.rows() <= row as usize {
            let first = self.rows() as u32;
            let levels = (first..first + BLOCK_ROWS as u32).map(|row| self.level_of(row));
            let block = Block::new(self.neighbours, levels);
            self.blocks.push(block);
        }
    }

    /// Which rows of a block are in the graph: a bit for each.
    pub(super) fn present(&self, block: usize) -> &[u64] {
        &self.blocks[block].present
    }

    /// All room of a block's lists: that of the bottom level, then that of the upper ones.
    pub(super) fn lists(&self, block: usize) -> impl Iterator<Item = &[u32]> {
        let block = &self.blocks[block];
        let base = &block.base[block.base_start..block.base_start + BLOCK_ROWS * 2 * self.neighbours];
        [base, &*block.upper].into_iter()
    }

    /// As [`Links::lists`].
    pub(super) fn lists_mut(&mut self, block: usize) -> impl Iterator<Item = &mut [u32]> {
        let block = &mut self.blocks[block];
        let base = &mut block.base[block.base_start..block.base_start + BLOCK_ROWS * 2 * self.neighbours];
        [base, &mut *block.upper].into_iter()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.blocks.iter().map(Block::memory_bytes).sum()
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[expect(unsafe_code, reason = "the standard library offers prefetching as an intrinsic only")]
    pub(super) fn prefetch(&self, row: u32) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for line in self.list(0, row).chunks(LINE_BYTES / size_of::<u32>()) {
            // SAFETY: prefetching reads nothing; any address is allowed.
            unsafe { _mm_prefetch(line.as_ptr().cast::<i8>(), _MM_HINT_T0) };
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[inline]
    pub(super) fn prefetch(&self, _row: u32) {}
}

#[derive(Debug)]
struct Block {
    /// Bottom lists of all rows, from `base_start` on.
    base: Box<[u32]>,
    base_start: usize,
    /// Upper lists, one row's after another's.
    upper: Box<[u32]>,
    /// The number of lists in `upper` before each row's own; one more at the end.
    upper_at: Box<[u16]>,
    /// A bit for each row: whether it is in the graph.
    present: [u64; BLOCK_ROWS / 64],
}

const _: () = assert!(BLOCK_ROWS * LEVEL_MAX as usize <= u16::MAX as usize, "upper lists are counted in 16 bits");

impl Block {
    fn new(neighbours: usize, levels: impl Iterator<Item = u8>) -> Self {
        let mut upper_at = Vec::with_capacity(BLOCK_ROWS + 1);
        let mut lists = 0_u16;
        upper_at.push(lists);
        for level in levels {
            lists += u16::from(level);
            upper_at.push(lists);
        }
        let spare = LINE_BYTES / size_of::<u32>();
        let base = vec![NONE; BLOCK_ROWS * 2 * neighbours + spare].into_boxed_slice();
        Self {
            base_start: base.as_ptr().align_offset(LINE_BYTES).min(spare),
            base,
            upper: vec![NONE; usize::from(lists) * neighbours].into_boxed_slice(),
            upper_at: upper_at.into_boxed_slice(),
            present: [0; BLOCK_ROWS / 64],
        }
    }

    fn upper(&self, within: usize, level: u8, neighbours: usize) -> Option<std::ops::Range<usize>> {
        let list = usize::from(self.upper_at[within]) + usize::from(level) - 1;
        (list < usize::from(self.upper_at[within + 1])).then(|| list * neighbours..(list + 1) * neighbours)
    }

    fn memory_bytes(&self) -> usize {
        size_of_val(self) + size_of_val(&*self.base) + size_of_val(&*self.upper) + size_of_val(&*self.upper_at)
    }
}

#[inline]
fn place(row: u32) -> (usize, usize) {
    (row as usize / BLOCK_ROWS, row as usize % BLOCK_ROWS)
}

/// Steele, Lea and Flood's splitmix64: every bit of the number moves every bit of the result.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_in_sixteen_reaches_each_next_level() {
        let links = Links::new(16, 7);
        let mut reaching = [0_usize; 4];
        for row in 0..1_000_000 {
            for count in reaching.iter_mut().take(usize::from(links.level_of(row)) + 1) {
                *count += 1;
            }
        }
        assert_eq!(reaching[0], 1_000_000);
        for pair in reaching.windows(2) {
            let share = pair[1] as f64 / pair[0] as f64;
            assert!((0.045..0.08).contains(&share), "{reaching:?}");
        }
    }

    #[test]
    fn every_row_has_lists_of_its_own_up_to_its_level() {
        let mut links = Links::new(8, 3);
        links.make_room_for(BLOCK_ROWS as u32);
        assert_eq!(links.rows(), 2 * BLOCK_ROWS);
        let rows = 0..links.rows() as u32;
        for row in rows.clone() {
            for level in 0..=links.level_of(row) {
                links.set(level, row, &[row, u32::from(level)]);
            }
            assert!(links.of(links.level_of(row) + 1, row).is_empty());
        }
        for row in rows {
            for level in 0..=links.level_of(row) {
                assert_eq!(links.of(level, row), [row, u32::from(level)]);
                assert_eq!(links.list(level, row).len(), links.room(level));
            }
        }
        assert_eq!(links.list(0, 0).as_ptr().align_offset(LINE_BYTES), 0);
        assert!(links.list(0, 2 * BLOCK_ROWS as u32).is_empty());
    }

    #[test]
    fn presence_is_counted_once() {
        let mut links = Links::new(8, 3);
        links.make_room_for(100);
        links.set_present(70, true);
        links.set_present(70, true);
        assert!(links.contains(70) && !links.contains(69) && !links.contains(ROWS_MAX));
        assert_eq!((links.len(), links.each().collect::<Vec<_>>()), (1, vec![70]));
        links.set_present(70, false);
        links.set_present(70, false);
        assert_eq!(links.len(), 0);
    }
}
