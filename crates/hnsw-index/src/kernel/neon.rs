//! The kernels with NEON, which every AArch64 has: sixteen rows or sixteen dimensions at a time.
#![expect(unsafe_code, reason = "intrinsics that only some machines have")]

use std::arch::aarch64::*;

use super::{Kernels, Level, TABLE_BYTES, TILE_ROWS, for_rows, lanes, scalar};

pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Neon,
    dot: |query, row| lanes::dot(query, row),
    distance: |query, row| lanes::distance(query, row),
    // SAFETY: every AArch64 that Rust's standard library runs on has NEON.
    dot_i8: |a, b| unsafe { dot_i8(a, b) },
    // SAFETY: as above.
    dots_i8: |query, column, rows, out| for_rows(query, column, rows, out, |a, b| unsafe { dot_i8(a, b) }),
    // SAFETY: as above.
    sums: |tile, tables, out| unsafe { sums(tile, tables, out) },
    passing: scalar::passing,
    passing_by_length: |tile, threshold, gauge| lanes::passing_by_length(tile, threshold, gauge),
    measure: |row| lanes::measure(row),
    quantize: |row, factor, scale, codes, bits| lanes::quantize(row, factor, scale, codes, bits),
};

#[target_feature(enable = "neon")]
fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let mut sum = vdupq_n_s32(0);
    let (a_chunks, b_chunks) = (a.chunks_exact(16), b.chunks_exact(16));
    let whole = a_chunks.len().min(b_chunks.len()) * 16;
    for (a, b) in a_chunks.zip(b_chunks) {
        // SAFETY: both chunks are 16 bytes long.
        let (a, b) = unsafe { (vld1q_s8(a.as_ptr()), vld1q_s8(b.as_ptr())) };
        sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
        sum = vpadalq_s16(sum, vmull_high_s8(a, b));
    }
    let sum = vaddvq_s32(sum);
    if whole == a.len() { sum } else { sum + scalar::dot_i8(&a[whole..], &b[whole.min(b.len())..]) }
}

#[target_feature(enable = "neon")]
fn sums(tile: &[u8], tables: &[u8], sums: &mut [u32; TILE_ROWS]) {
    sums.fill(0);
    let low_half = vdupq_n_u8(15);
    // 256 lines of at most 255 each fit sixteen bits.
    for (tile, tables) in tile.chunks(256 * TILE_ROWS).zip(tables.chunks(256 * TABLE_BYTES)) {
        let mut rows = [vdupq_n_u16(0); 8];
        for (line, table) in tile.chunks_exact(TILE_ROWS).zip(tables.chunks_exact(TABLE_BYTES)) {
            // SAFETY: the table is twice 16 bytes long.
            let (low_table, high_table) = unsafe { (vld1q_u8(table.as_ptr()), vld1q_u8(table.as_ptr().add(16))) };
            for quarter in 0..4 {
                // SAFETY: the line is four times 16 bytes long.
                let line = unsafe { vld1q_u8(line.as_ptr().add(quarter * 16)) };
                let low = vqtbl1q_u8(low_table, vandq_u8(line, low_half));
                let both = vaddq_u8(low, vqtbl1q_u8(high_table, vshrq_n_u8::<4>(line)));
                rows[quarter * 2] = vaddw_u8(rows[quarter * 2], vget_low_u8(both));
                rows[quarter * 2 + 1] = vaddw_high_u8(rows[quarter * 2 + 1], both);
            }
        }
        for (sums, rows) in sums.chunks_exact_mut(8).zip(rows) {
            let mut added = [0u16; 8];
            // SAFETY: eight numbers of sixteen bits are 16 bytes.
            unsafe { vst1q_u16(added.as_mut_ptr(), rows) };
            for (sum, added) in sums.iter_mut().zip(added) {
                *sum += u32::from(added);
            }
        }
    }
}
