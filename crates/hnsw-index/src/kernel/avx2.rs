//! The kernels with AVX2: thirty-two rows or thirty-two dimensions at a time.
#![expect(unsafe_code, reason = "intrinsics that only some machines have")]

use std::arch::x86_64::*;

use super::{Kernels, Level, Line, Measures, TABLE_BYTES, TILE_ROWS, Tile, for_rows, lanes};
use crate::bounds::{Gauge, Threshold};

// SAFETY (for every block in this table): the table is handed out only where `is_available` says that the machine has these instructions.
pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Avx2,
    // SAFETY: see above.
    dot: |query, row| unsafe { dot(query, row) },
    // SAFETY: see above.
    distance: |query, row| unsafe { distance(query, row) },
    // SAFETY: see above.
    dot_i8: |a, b| unsafe { dot_i8(a, b) },
    // SAFETY: see above.
    dots_i8: |query, column, rows, out| unsafe { dots_i8(query, column, rows, out) },
    // SAFETY: see above.
    sums: |tile, tables, out| unsafe { sums(tile, tables, out) },
    // SAFETY: see above.
    passing: |sums, alphas, betas, line| unsafe { passing(sums, alphas, betas, line) },
    // SAFETY: see above.
    passing_by_length: |tile, threshold, gauge| unsafe { passing_by_length(tile, threshold, gauge) },
    // SAFETY: see above.
    measure: |row| unsafe { measure(row) },
    // SAFETY: see above.
    quantize: |row, factor, scale, codes, bits| unsafe { quantize(row, factor, scale, codes, bits) },
};

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
}

#[inline]
pub(super) fn prefetch<T>(slice: &[T]) {
    let (base, bytes) = (slice.as_ptr().cast::<i8>(), size_of_val(slice));
    for offset in (0..bytes).step_by(64) {
        // SAFETY: every x86-64 has the instruction, the address is within the slice, and nothing is read through it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(base.add(offset)) };
    }
}

#[target_feature(enable = "avx2")]
fn dot(query: &[f32], row: &[u8]) -> (f64, f64) {
    lanes::dot(query, row)
}

#[target_feature(enable = "avx2")]
fn distance(query: &[f32], row: &[u8]) -> f64 {
    lanes::distance(query, row)
}

#[target_feature(enable = "avx2")]
fn measure(row: &[u8]) -> Measures {
    lanes::measure(row)
}

#[target_feature(enable = "avx2")]
fn quantize(row: &[u8], factor: f64, scale: f32, codes: &mut [i8], bits: &mut [u8]) -> f64 {
    lanes::quantize(row, factor, scale, codes, bits)
}

#[target_feature(enable = "avx2")]
fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let mut sum = _mm256_setzero_si256();
    let (a_chunks, b_chunks) = (a.chunks_exact(32), b.chunks_exact(32));
    let whole = a_chunks.len().min(b_chunks.len()) * 32;
    for (a, b) in a_chunks.zip(b_chunks) {
        // SAFETY: both chunks are 32 bytes long.
        let (a, b) = unsafe { (_mm256_loadu_si256(a.as_ptr().cast()), _mm256_loadu_si256(b.as_ptr().cast())) };
        let low = _mm256_madd_epi16(
            _mm256_cvtepi8_epi16(_mm256_castsi256_si128(a)),
            _mm256_cvtepi8_epi16(_mm256_castsi256_si128(b)),
        );
        let high = _mm256_madd_epi16(
            _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(a)),
            _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(b)),
        );
        sum = _mm256_add_epi32(sum, _mm256_add_epi32(low, high));
    }
    let mut lanes = [0i32; 8];
    // SAFETY: eight lanes are 32 bytes.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
    let sum = lanes.iter().sum();
    if whole == a.len() { sum } else { sum + super::scalar::dot_i8(&a[whole..], &b[whole.min(b.len())..]) }
}

#[target_feature(enable = "avx2")]
fn dots_i8(query: &[i8], column: &[i8], rows: &[u16], out: &mut [i32]) {
    for_rows(query, column, rows, out, |a, b| dot_i8(a, b));
}

#[target_feature(enable = "avx2")]
fn sums(tile: &[u8], tables: &[u8], sums: &mut [u32; TILE_ROWS]) {
    sums.fill(0);
    let low_half = _mm256_set1_epi8(15);
    // 256 lines of at most 255 each fit sixteen bits.
    for (tile, tables) in tile.chunks(256 * TILE_ROWS).zip(tables.chunks(256 * TABLE_BYTES)) {
        // `all` adds pairs of rows as one number of sixteen bits, the even row below; `odd` the odd row alone.
        let (mut all, mut odd) = ([_mm256_setzero_si256(); 2], [_mm256_setzero_si256(); 2]);
        for (line, table) in tile.chunks_exact(TILE_ROWS).zip(tables.chunks_exact(TABLE_BYTES)) {
            // SAFETY: the table is twice 16 bytes long.
            let (low_table, high_table) = unsafe {
                (
                    _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())),
                    _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().add(16).cast())),
                )
            };
            for half in 0..2 {
                // SAFETY: the line is twice 32 bytes long.
                let line = unsafe { _mm256_loadu_si256(line.as_ptr().add(half * 32).cast()) };
                let low = _mm256_shuffle_epi8(low_table, _mm256_and_si256(line, low_half));
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(line), low_half);
                let both = _mm256_add_epi8(low, _mm256_shuffle_epi8(high_table, high));
                all[half] = _mm256_add_epi16(all[half], both);
                odd[half] = _mm256_add_epi16(odd[half], _mm256_srli_epi16::<8>(both));
            }
        }
        for half in 0..2 {
            let even = _mm256_sub_epi16(all[half], _mm256_slli_epi16::<8>(odd[half]));
            let (mut evens, mut odds) = ([0u16; 16], [0u16; 16]);
            // SAFETY: sixteen numbers of sixteen bits are 32 bytes.
            unsafe {
                _mm256_storeu_si256(evens.as_mut_ptr().cast(), even);
                _mm256_storeu_si256(odds.as_mut_ptr().cast(), odd[half]);
            }
            for (pair, (even, odd)) in sums[half * 32..].chunks_exact_mut(2).zip(evens.iter().zip(&odds)) {
                pair[0] += u32::from(*even);
                pair[1] += u32::from(*odd);
            }
        }
    }
}

#[target_feature(enable = "avx2")]
fn passing(sums: &[u32; TILE_ROWS], alphas: &[u16; TILE_ROWS], betas: &[u16; TILE_ROWS], line: Line) -> u64 {
    let (a, b, c) = (_mm256_set1_ps(line.alpha), _mm256_set1_ps(line.beta), _mm256_set1_ps(line.constant));
    let mut mask = 0;
    for (part, ((sums, alphas), betas)) in
        sums.chunks_exact(8).zip(alphas.chunks_exact(8)).zip(betas.chunks_exact(8)).enumerate()
    {
        // SAFETY: eight sums are 32 bytes, eight alphas or betas 16.
        let (sums, alphas, betas) = unsafe {
            (
                _mm256_loadu_si256(sums.as_ptr().cast()),
                _mm_loadu_si128(alphas.as_ptr().cast()),
                _mm_loadu_si128(betas.as_ptr().cast()),
            )
        };
        let alpha = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(alphas));
        let beta = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(betas));
        let least = _mm256_add_ps(_mm256_sub_ps(_mm256_mul_ps(alpha, a), _mm256_mul_ps(beta, b)), c);
        let reached = _mm256_cmp_ps::<_CMP_GE_OQ>(_mm256_cvtepi32_ps(sums), least);
        mask |= u64::from(_mm256_movemask_ps(reached) as u32) << (part * 8);
    }
    mask
}

#[target_feature(enable = "avx2")]
fn passing_by_length(tile: &Tile<'_>, threshold: &Threshold, gauge: &Gauge) -> u64 {
    lanes::passing_by_length(tile, threshold, gauge)
}
