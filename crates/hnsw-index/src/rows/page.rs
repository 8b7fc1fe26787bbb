//! The columns of a block as slices.
//!
//! A page follows Rust's rules for borrows as if it owned its columns as vectors: `&self` reads, `&mut self` writes. The hit counters are
//! the exception. They are in the same memory, but no slice of a page covers them, and they are touched atomically only.
#![expect(unsafe_code, reason = "typed columns in mapped memory")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};

use crate::encoded::{Encoded, as_signed};
use crate::kernel::TILE_ROWS;
use crate::rows::layout::{BLOCK_ROWS, BLOCK_TILES, Layout};
use crate::rows::region::Region;
use crate::rows::side::Side;

#[derive(Debug)]
pub(crate) struct Page {
    region: Region,
    layout: Layout,
    /// Whether rows have checksums, because someone else may have to trust them.
    checked: bool,
}

/// The hit counters of a block, valid for as long as its page lives.
#[derive(Debug)]
pub(super) struct Hits(NonNull<AtomicU32>);

// SAFETY: the counters are touched atomically only.
unsafe impl Send for Hits {}
// SAFETY: as above.
unsafe impl Sync for Hits {}

/// Numbers of which every pattern of bits is one, and which have no padding.
trait Plain: Copy {}
impl Plain for u8 {}
impl Plain for u16 {}
impl Plain for u32 {}
impl Plain for u64 {}
impl Plain for f64 {}
impl Plain for [f32; 2] {}
impl Plain for [u32; 2] {}
impl Plain for [u64; 2] {}

impl Page {
    /// The counters must not outlive the page: a block keeps both.
    pub(super) fn new(region: Region, layout: Layout, checked: bool) -> (Page, Hits) {
        assert!(region.bytes() >= layout.bytes, "a region of {} bytes is no block", region.bytes());
        // SAFETY: within the region by the assert.
        let hits = Hits(unsafe { region.base().add(layout.hits) }.cast());
        (Page { region, layout, checked }, hits)
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A bit for each live row of a tile.
    pub(crate) fn live(&self, tile: usize) -> u64 {
        self.column::<u64>(self.layout.live, BLOCK_TILES)[tile]
    }

    pub(crate) fn is_live(&self, row: usize) -> bool {
        self.live(row / TILE_ROWS) >> (row % TILE_ROWS) & 1 == 1
    }

    pub(crate) fn alphas(&self, tile: usize) -> &[u16; TILE_ROWS] {
        self.tile_of(self.column::<u16>(self.layout.alphas, BLOCK_ROWS), tile)
    }

    pub(crate) fn betas(&self, tile: usize) -> &[u16; TILE_ROWS] {
        self.tile_of(self.column::<u16>(self.layout.betas, BLOCK_ROWS), tile)
    }

    pub(crate) fn norms(&self, tile: usize) -> &[f64; TILE_ROWS] {
        self.tile_of(self.column::<f64>(self.layout.norms, BLOCK_ROWS), tile)
    }

    pub(crate) fn written(&self, tile: usize) -> &[u64; TILE_ROWS] {
        self.tile_of(self.column::<u64>(self.layout.written, BLOCK_ROWS), tile)
    }

    pub(crate) fn signatures(&self, tile: usize) -> &[u64; TILE_ROWS] {
        self.tile_of(self.column::<u64>(self.layout.signatures, BLOCK_ROWS), tile)
    }

    pub(crate) fn stamps(&self, tile: usize) -> &[u64; TILE_ROWS] {
        self.tile_of(self.column::<u64>(self.layout.stamps, BLOCK_ROWS), tile)
    }

    /// The sign bits of a tile, byte by byte across its rows.
    pub(crate) fn bits(&self, tile: usize) -> &[u8] {
        let bytes = TILE_ROWS * self.layout.bit_bytes;
        &self.column::<u8>(self.layout.bits, BLOCK_ROWS * self.layout.bit_bytes)[tile * bytes..][..bytes]
    }

    pub(crate) fn codes(&self, row: usize) -> &[i8] {
        let bytes = self.layout.code_bytes;
        as_signed(&self.column::<u8>(self.layout.codes, BLOCK_ROWS * bytes)[row * bytes..][..bytes])
    }

    /// The codes of all rows.
    pub(crate) fn all_codes(&self) -> &[i8] {
        as_signed(self.column::<u8>(self.layout.codes, BLOCK_ROWS * self.layout.code_bytes))
    }

    /// Scale and residual of all rows.
    pub(crate) fn steps(&self) -> &[[f32; 2]] {
        self.column(self.layout.steps, BLOCK_ROWS)
    }

    pub(crate) fn scale(&self, row: usize) -> f32 {
        self.column::<[f32; 2]>(self.layout.steps, BLOCK_ROWS)[row][0]
    }

    pub(crate) fn norm(&self, row: usize) -> f64 {
        self.column::<f64>(self.layout.norms, BLOCK_ROWS)[row]
    }

    pub(crate) fn side(&self, row: usize) -> Side {
        Side {
            owner: self.column::<[u64; 2]>(self.layout.owners, BLOCK_ROWS)[row],
            written_ms: self.column::<u64>(self.layout.written, BLOCK_ROWS)[row],
            signature: self.column::<u64>(self.layout.signatures, BLOCK_ROWS)[row],
            stamp: self.column::<u64>(self.layout.stamps, BLOCK_ROWS)[row],
        }
    }

    /// Makes a row what is given, and live.
    pub(super) fn set(&mut self, row: usize, encoded: Option<&Encoded>, side: Side) {
        let layout = self.layout;
        if let Some(encoded) = encoded {
            let (code_bytes, bit_bytes) = (layout.code_bytes, layout.bit_bytes);
            let codes =
                &mut self.column_mut::<u8>(layout.codes, BLOCK_ROWS * code_bytes)[row * code_bytes..][..code_bytes];
            for (place, code) in codes.iter_mut().zip(encoded.codes()) {
                *place = code.cast_unsigned();
            }
            let tile_bytes = TILE_ROWS * bit_bytes;
            let tile = &mut self.column_mut::<u8>(layout.bits, BLOCK_ROWS * bit_bytes)[row / TILE_ROWS * tile_bytes..]
                [..tile_bytes];
            for (line, byte) in tile.chunks_exact_mut(TILE_ROWS).zip(encoded.bits()) {
                line[row % TILE_ROWS] = *byte;
            }
            let numbers = encoded.numbers;
            self.column_mut::<u16>(layout.alphas, BLOCK_ROWS)[row] = numbers.alpha;
            self.column_mut::<u16>(layout.betas, BLOCK_ROWS)[row] = numbers.beta;
            self.column_mut::<[f32; 2]>(layout.steps, BLOCK_ROWS)[row] = [numbers.scale, numbers.residual];
            self.column_mut::<f64>(layout.norms, BLOCK_ROWS)[row] = numbers.norm;
        }
        if self.checked {
            self.column_mut::<[u32; 2]>(layout.checksums, BLOCK_ROWS)[row][0] = self.checksum_of_codes(row);
        }
        self.set_side(row, side);
        // A process that is killed here leaves a row that is not live, or one whose checksum holds.
        compiler_fence(Ordering::Release);
        self.column_mut::<u64>(layout.live, BLOCK_TILES)[row / TILE_ROWS] |= 1 << (row % TILE_ROWS);
    }

    pub(super) fn set_side(&mut self, row: usize, side: Side) {
        let layout = self.layout;
        self.column_mut::<[u64; 2]>(layout.owners, BLOCK_ROWS)[row] = side.owner;
        self.column_mut::<u64>(layout.written, BLOCK_ROWS)[row] = side.written_ms;
        self.column_mut::<u64>(layout.signatures, BLOCK_ROWS)[row] = side.signature;
        self.column_mut::<u64>(layout.stamps, BLOCK_ROWS)[row] = side.stamp;
        if self.checked {
            let of_codes = self.column::<[u32; 2]>(layout.checksums, BLOCK_ROWS)[row][0];
            self.column_mut::<[u32; 2]>(layout.checksums, BLOCK_ROWS)[row][1] = self.checksum_of_side(row, of_codes);
        }
    }

    /// Frees a row, if it is live.
    pub(super) fn clear(&mut self, row: usize) -> Option<Side> {
        if !self.is_live(row) {
            return None;
        }
        let layout = self.layout;
        self.column_mut::<u64>(layout.live, BLOCK_TILES)[row / TILE_ROWS] &= !(1 << (row % TILE_ROWS));
        if self.checked {
            // So that the next row here cannot be taken for this one, should its process be killed half-way.
            let checksum = &mut self.column_mut::<[u32; 2]>(layout.checksums, BLOCK_ROWS)[row][1];
            *checksum = !*checksum;
        }
        Some(self.side(row))
    }

    /// Whether a row is what its checksums say.
    pub(super) fn is_intact(&self, row: usize) -> bool {
        let [of_codes, of_side] = self.column::<[u32; 2]>(self.layout.checksums, BLOCK_ROWS)[row];
        of_codes == self.checksum_of_codes(row) && of_side == self.checksum_of_side(row, of_codes)
    }

    fn checksum_of_codes(&self, row: usize) -> u32 {
        let mut checksum = crc32fast::Hasher::new();
        let bytes = self.layout.code_bytes;
        checksum.update(&self.column::<u8>(self.layout.codes, BLOCK_ROWS * bytes)[row * bytes..][..bytes]);
        let bits: Vec<u8> =
            self.bits(row / TILE_ROWS).chunks_exact(TILE_ROWS).map(|line| line[row % TILE_ROWS]).collect();
        checksum.update(&bits);
        checksum.update(&self.column::<u16>(self.layout.alphas, BLOCK_ROWS)[row].to_le_bytes());
        checksum.update(&self.column::<u16>(self.layout.betas, BLOCK_ROWS)[row].to_le_bytes());
        for number in self.steps()[row] {
            checksum.update(&number.to_le_bytes());
        }
        checksum.update(&self.norm(row).to_le_bytes());
        checksum.finalize()
    }

    /// The checksum of the codes goes into that of the side: so a side is only valid with the codes that it was written with.
    fn checksum_of_side(&self, row: usize, of_codes: u32) -> u32 {
        let side = self.side(row);
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&of_codes.to_le_bytes());
        for number in [side.owner[0], side.owner[1], side.written_ms, side.signature, side.stamp, row as u64] {
            checksum.update(&number.to_le_bytes());
        }
        checksum.finalize()
    }

    fn tile_of<'a, T>(&self, column: &'a [T], tile: usize) -> &'a [T; TILE_ROWS] {
        column[tile * TILE_ROWS..].first_chunk().expect("a column has whole tiles")
    }

    fn column<T: Plain>(&self, offset: usize, count: usize) -> &[T] {
        self.assert_column::<T>(offset, count);
        // SAFETY: within the region and aligned by the assert; whoever writes there has `&mut self`; every pattern of bits is a `T`.
        unsafe { std::slice::from_raw_parts(self.region.base().add(offset).cast().as_ptr(), count) }
    }

    fn column_mut<T: Plain>(&mut self, offset: usize, count: usize) -> &mut [T] {
        self.assert_column::<T>(offset, count);
        // SAFETY: as in `column`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.region.base().add(offset).cast().as_ptr(), count) }
    }

    #[inline]
    fn assert_column<T>(&self, offset: usize, count: usize) {
        let end = offset + count * size_of::<T>();
        assert!(end <= self.region.bytes() && offset.is_multiple_of(64), "a column is within its block");
        debug_assert!(end <= self.layout.hits || offset > self.layout.hits, "no column covers the hits");
    }
}

impl Hits {
    pub(super) fn count(&self, row: usize) {
        // A counter that is full stays so: to wrap around would make a favourite look unused.
        let counter = self.counter(row);
        let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |hits| hits.checked_add(1));
    }

    pub(super) fn get(&self, row: usize) -> u32 {
        self.counter(row).load(Ordering::Relaxed)
    }

    pub(super) fn reset(&self, row: usize) {
        self.counter(row).store(0, Ordering::Relaxed);
    }

    fn counter(&self, row: usize) -> &AtomicU32 {
        assert!(row < BLOCK_ROWS, "row {row} is not within a block");
        // SAFETY: the column of counters has that many, aligned, and lives as long as the block that keeps this value.
        unsafe { self.0.add(row).as_ref() }
    }
}
