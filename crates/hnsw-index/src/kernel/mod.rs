//! The inner loops, once for each instruction set, chosen when the program runs.
//!
//! Every kernel gives the same result on every [`Level`]: the integer ones because integers are exact, the floating ones because the order of
//! their additions is fixed (eight lanes, element `i` in lane `i % 8`) and no step is contracted. Only [`Kernels::passing`] may differ
//! in the last bit; whoever uses it leaves room for that.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use std::sync::OnceLock;

use crate::bounds::{Gauge, Threshold};
pub(crate) use lanes::Measures;

/// Rows of one tile: their sign bits are stored byte by byte across the tile, so that one instruction looks at all of them.
pub const TILE_ROWS: usize = 64;

/// Bytes of lookup tables for one byte of a row's sign bits: sixteen for its low half, sixteen for its high half.
pub const TABLE_BYTES: usize = 32;

/// The environment variable that names the level to use, for tests and comparisons.
pub const LEVEL_VARIABLE: &str = "SUTRA_KERNEL";

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What every machine has.
    Scalar,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL and VNNI.
    Avx512,
    /// AArch64.
    Neon,
}

impl Level {
    /// All of them, the fastest first.
    pub const ALL: [Level; 4] = [Level::Avx512, Level::Avx2, Level::Neon, Level::Scalar];

    /// The name that [`LEVEL_VARIABLE`] takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Neon => "neon",
        }
    }
}

/// A straight line in a row's `alpha` and `beta`: the least sum of table entries at which the row is not ruled out.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Times `alpha`.
    pub alpha: f32,
    /// Times `beta`, subtracted.
    pub beta: f32,
    /// Added.
    pub constant: f32,
}

/// What `passing_by_length` looks at: the sums of a tile's rows and their numbers.
pub(crate) struct Tile<'a> {
    pub(crate) sums: &'a [u32; TILE_ROWS],
    pub(crate) alphas: &'a [u16; TILE_ROWS],
    pub(crate) betas: &'a [u16; TILE_ROWS],
    pub(crate) norms: &'a [f64; TILE_ROWS],
}

/// Query, column, rows, products.
pub type DotsI8 = fn(&[i8], &[i8], &[u16], &mut [i32]);

/// Row, factor, scale, codes, bits.
type Quantize = fn(&[u8], f64, f32, &mut [i8], &mut [u8]) -> f64;

/// The inner loops of one level.
pub struct Kernels {
    /// Which one it is.
    pub level: Level,
    /// `(q · x, x · x)` for a row of little-endian `f32`, computed in `f64`. Both must have as many values.
    pub dot: fn(&[f32], &[u8]) -> (f64, f64),
    /// `|q - x|²`, likewise.
    pub distance: fn(&[f32], &[u8]) -> f64,
    /// The inner product of two codes.
    pub dot_i8: fn(&[i8], &[i8]) -> i32,
    /// The inner product of a query's codes with those of some rows of a column, whose rows are as long as the query.
    pub dots_i8: DotsI8,
    /// For each of a tile's 64 rows the sum of the table entries that its bits select. The tile has 64 bytes for each 32 bytes of tables;
    /// the largest entries of the two halves of a table add up to 255 at most.
    pub sums: fn(&[u8], &[u8], &mut [u32; TILE_ROWS]),
    /// Which rows of a tile reach the line: a bit for each.
    pub passing: fn(&[u32; TILE_ROWS], &[u16; TILE_ROWS], &[u16; TILE_ROWS], Line) -> u64,
    /// As `passing`, with a line for each row that depends on the row's length.
    pub(crate) passing_by_length: fn(&Tile<'_>, &Threshold, &Gauge) -> u64,
    /// Measures a vector of little-endian `f32`.
    pub(crate) measure: fn(&[u8]) -> Measures,
    /// Quantizes a vector of little-endian `f32`: factor to unit length, length of a step, places for codes and sign bits. Gives the square
    /// of the length of what the codes miss.
    pub(crate) quantize: Quantize,
}

impl Kernels {
    /// The kernels of a level, if this machine can run them.
    #[must_use]
    pub fn at(level: Level) -> Option<&'static Kernels> {
        match level {
            Level::Scalar => Some(&scalar::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::is_available().then_some(&avx2::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::is_available().then_some(&avx512::KERNELS),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => Some(&neon::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Level::Neon => None,
            #[cfg(target_arch = "aarch64")]
            Level::Avx2 | Level::Avx512 => None,
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            Level::Avx2 | Level::Avx512 | Level::Neon => None,
        }
    }

    /// The fastest kernels that this machine can run, or those that the environment asks for.
    #[must_use]
    pub fn get() -> &'static Kernels {
        static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
        CHOSEN.get_or_init(|| {
            let asked = std::env::var(LEVEL_VARIABLE).unwrap_or_default();
            let forced = Level::ALL.into_iter().find(|level| level.name() == asked).and_then(Kernels::at);
            forced.or_else(|| Level::ALL.into_iter().find_map(Kernels::at)).unwrap_or(&scalar::KERNELS)
        })
    }
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kernels").field(&self.level).finish()
    }
}

/// How many rows ahead the codes of scattered rows are asked for.
const AHEAD: usize = 8;

/// The codes of one row of a column.
#[inline(always)]
fn row_of(column: &[i8], row: u16, length: usize) -> &[i8] {
    &column[usize::from(row) * length..][..length]
}

/// Calls `dot` for each of some rows, and asks for the codes of the rows to come.
#[inline(always)]
fn for_rows(query: &[i8], column: &[i8], rows: &[u16], out: &mut [i32], dot: impl Fn(&[i8], &[i8]) -> i32) {
    for row in rows.iter().take(AHEAD) {
        prefetch(row_of(column, *row, query.len()));
    }
    for (place, (row, out)) in rows.iter().zip(out).enumerate() {
        if let Some(next) = rows.get(place + AHEAD) {
            prefetch(row_of(column, *next, query.len()));
        }
        *out = dot(query, row_of(column, *row, query.len()));
    }
}

/// Asks for the cache lines of a slice ahead of use. Only a hint.
#[inline]
pub(crate) fn prefetch<T>(slice: &[T]) {
    #[cfg(target_arch = "x86_64")]
    avx2::prefetch(slice);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = slice;
}

#[cfg(test)]
mod tests;
