//! Where things lie in a block.

use crate::DIMENSIONS_MAX;
use crate::encoded::{bit_bytes, code_bytes};
use crate::kernel::TILE_ROWS;

/// Rows of a block.
pub(crate) const BLOCK_ROWS: usize = 4096;

/// Tiles of a block.
pub(crate) const BLOCK_TILES: usize = BLOCK_ROWS / TILE_ROWS;

/// Blocks are whole pages.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Offsets of a block's columns, from its first byte. Every column begins at a multiple of 64 bytes.
///
/// What a scan reads of every row comes first: whether it is live, the two numbers of its angle, its length, and its sign bits. Bits lie in
/// tiles of 64 rows, byte by byte across the tile: byte `i` of row `r` is at `i * 64 + r`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) dimension: usize,
    /// Bytes of a row's sign bits.
    pub(crate) bit_bytes: usize,
    /// Bytes of a row's codes.
    pub(crate) code_bytes: usize,
    /// A `u64` for each tile.
    pub(crate) live: usize,
    /// `u16` each.
    pub(crate) alphas: usize,
    /// `u16` each.
    pub(crate) betas: usize,
    /// `f64` each.
    pub(crate) norms: usize,
    /// Scale and residual, two `f32`.
    pub(crate) steps: usize,
    /// Two `u64` each.
    pub(crate) owners: usize,
    /// `u64` each.
    pub(crate) written: usize,
    /// `u64` each.
    pub(crate) signatures: usize,
    /// `u64` each.
    pub(crate) stamps: usize,
    /// `u32` each.
    pub(crate) hits: usize,
    /// Two `u32` each.
    pub(crate) checksums: usize,
    pub(crate) bits: usize,
    pub(crate) codes: usize,
    /// The whole block, in whole pages.
    pub(crate) bytes: usize,
}

impl Layout {
    pub(crate) fn new(dimension: usize) -> Layout {
        assert!(dimension <= DIMENSIONS_MAX, "{dimension} dimensions are more than {DIMENSIONS_MAX}");
        let (bit_bytes, code_bytes) = (bit_bytes(dimension), code_bytes(dimension));
        let mut end = 0;
        let mut column = |bytes: usize| {
            let start = end;
            end += bytes.next_multiple_of(64);
            start
        };
        Layout {
            dimension,
            bit_bytes,
            code_bytes,
            live: column(BLOCK_TILES * 8),
            alphas: column(BLOCK_ROWS * 2),
            betas: column(BLOCK_ROWS * 2),
            norms: column(BLOCK_ROWS * 8),
            steps: column(BLOCK_ROWS * 8),
            owners: column(BLOCK_ROWS * 16),
            written: column(BLOCK_ROWS * 8),
            signatures: column(BLOCK_ROWS * 8),
            stamps: column(BLOCK_ROWS * 8),
            hits: column(BLOCK_ROWS * 4),
            checksums: column(BLOCK_ROWS * 8),
            bits: column(BLOCK_ROWS * bit_bytes),
            codes: column(BLOCK_ROWS * code_bytes),
            bytes: end.next_multiple_of(PAGE_BYTES),
        }
    }

    /// Bytes of one row, rounded up.
    pub(crate) fn row_bytes(&self) -> usize {
        self.bytes.div_ceil(BLOCK_ROWS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_384_dimensions_costs_little_more_than_its_codes() {
        let row = Layout::new(384).row_bytes();
        assert!(row as f64 <= 1.2 * (384.0 / 8.0 + 384.0), "{row} bytes");
    }

    #[test]
    fn every_column_is_aligned() {
        for dimension in [0, 1, 7, 63, 64, 65, 384, 16384] {
            let layout = Layout::new(dimension);
            for offset in [layout.norms, layout.owners, layout.stamps, layout.hits, layout.bits, layout.codes] {
                assert!(offset.is_multiple_of(64), "{dimension}");
            }
        }
    }
}
