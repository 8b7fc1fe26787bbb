//! The kernels in plain Rust: the reference for the others.

use super::{Kernels, Level, Line, TABLE_BYTES, TILE_ROWS, for_rows, lanes};

pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Scalar,
    dot: |query, row| lanes::dot(query, row),
    distance: |query, row| lanes::distance(query, row),
    dot_i8,
    dots_i8: |query, column, rows, out| for_rows(query, column, rows, out, dot_i8),
    sums,
    passing,
    passing_by_length: |tile, threshold, gauge| lanes::passing_by_length(tile, threshold, gauge),
    measure: |row| lanes::measure(row),
    quantize: |row, factor, scale, codes, bits| lanes::quantize(row, factor, scale, codes, bits),
};

pub(super) fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

fn sums(tile: &[u8], tables: &[u8], sums: &mut [u32; TILE_ROWS]) {
    sums.fill(0);
    for (line, table) in tile.chunks_exact(TILE_ROWS).zip(tables.chunks_exact(TABLE_BYTES)) {
        for (sum, byte) in sums.iter_mut().zip(line) {
            let (low, high) = (usize::from(byte & 15), usize::from(byte >> 4));
            *sum += u32::from(table[low]) + u32::from(table[16 + high]);
        }
    }
}

#[inline(always)]
pub(super) fn passing(sums: &[u32; TILE_ROWS], alphas: &[u16; TILE_ROWS], betas: &[u16; TILE_ROWS], line: Line) -> u64 {
    let mut mask = 0;
    for row in 0..TILE_ROWS {
        let least = f32::from(alphas[row]) * line.alpha - f32::from(betas[row]) * line.beta + line.constant;
        mask |= u64::from(sums[row] as f32 >= least) << row;
    }
    mask
}
