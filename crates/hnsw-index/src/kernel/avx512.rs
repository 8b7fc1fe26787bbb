//! The kernels with AVX-512: sixty-four rows or sixty-four dimensions at a time.
#![expect(unsafe_code, reason = "intrinsics that only some machines have")]

use std::arch::x86_64::*;

use super::{AHEAD, Kernels, Level, Line, Measures, TABLE_BYTES, TILE_ROWS, Tile, for_rows, lanes, prefetch, row_of};
use crate::bounds::{Gauge, Threshold};

// SAFETY (for every block in this table): the table is handed out only where `is_available` says that the machine has these instructions.
pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Avx512,
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
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vnni")
}

#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
fn dot(query: &[f32], row: &[u8]) -> (f64, f64) {
    lanes::dot(query, row)
}

#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
fn distance(query: &[f32], row: &[u8]) -> f64 {
    lanes::distance(query, row)
}

#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
fn measure(row: &[u8]) -> Measures {
    lanes::measure(row)
}

#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
fn quantize(row: &[u8], factor: f64, scale: f32, codes: &mut [i8], bits: &mut [u8]) -> f64 {
    lanes::quantize(row, factor, scale, codes, bits)
}

/// The instruction multiplies unsigned by signed bytes. So `a` is raised by 128, and what that adds, 128 times the sum of `b`, is
/// computed beside it and taken away.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let raise = _mm512_set1_epi8(i8::MIN);
    let (mut raised, mut excess) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    let (a_chunks, b_chunks) = (a.chunks_exact(64), b.chunks_exact(64));
    let whole = a_chunks.len().min(b_chunks.len()) * 64;
    for (a, b) in a_chunks.zip(b_chunks) {
        // SAFETY: both chunks are 64 bytes long.
        let (a, b) = unsafe { (_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast())) };
        raised = _mm512_dpbusd_epi32(raised, _mm512_xor_si512(a, raise), b);
        excess = _mm512_dpbusd_epi32(excess, raise, b);
    }
    let sum = _mm512_reduce_add_epi32(_mm512_sub_epi32(raised, excess));
    if whole == a.len() { sum } else { sum + super::scalar::dot_i8(&a[whole..], &b[whole.min(b.len())..]) }
}

/// As `dot_i8`; what raising a row adds depends on the query alone, so it is computed once.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dots_i8(query: &[i8], column: &[i8], rows: &[u16], out: &mut [i32]) {
    let length = query.len();
    if !length.is_multiple_of(64) {
        return for_rows(query, column, rows, out, |a, b| dot_i8(a, b));
    }
    let raise = _mm512_set1_epi8(i8::MIN);
    let excess = query.iter().map(|code| i32::from(*code)).sum::<i32>() * 128;
    for row in rows.iter().take(AHEAD) {
        prefetch(row_of(column, *row, length));
    }
    for (place, (row, out)) in rows.iter().zip(out).enumerate() {
        if let Some(next) = rows.get(place + AHEAD) {
            prefetch(row_of(column, *next, length));
        }
        // Two sums, so that one addition need not wait for the other.
        let mut raised = [_mm512_setzero_si512(); 2];
        let chunks = row_of(column, *row, length).chunks_exact(64).zip(query.chunks_exact(64));
        for (chunk, (codes, query)) in chunks.enumerate() {
            // SAFETY: both chunks are 64 bytes long.
            let (codes, query) =
                unsafe { (_mm512_loadu_si512(codes.as_ptr().cast()), _mm512_loadu_si512(query.as_ptr().cast())) };
            let sum = &mut raised[chunk % 2];
            *sum = _mm512_dpbusd_epi32(*sum, _mm512_xor_si512(codes, raise), query);
        }
        *out = _mm512_reduce_add_epi32(_mm512_add_epi32(raised[0], raised[1])) - excess;
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn sums(tile: &[u8], tables: &[u8], sums: &mut [u32; TILE_ROWS]) {
    sums.fill(0);
    let low_half = _mm512_set1_epi8(15);
    // 256 lines of at most 255 each fit sixteen bits.
    for (tile, tables) in tile.chunks(256 * TILE_ROWS).zip(tables.chunks(256 * TABLE_BYTES)) {
        // `all` adds pairs of rows as one number of sixteen bits, the even row below; `odd` the odd row alone.
        let (mut all, mut odd) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for (line, table) in tile.chunks_exact(TILE_ROWS).zip(tables.chunks_exact(TABLE_BYTES)) {
            // SAFETY: the line is 64 bytes long, and the table twice 16.
            let (line, low_table, high_table) = unsafe {
                (
                    _mm512_loadu_si512(line.as_ptr().cast()),
                    _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())),
                    _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().add(16).cast())),
                )
            };
            let low = _mm512_shuffle_epi8(low_table, _mm512_and_si512(line, low_half));
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(line), low_half);
            let both = _mm512_add_epi8(low, _mm512_shuffle_epi8(high_table, high));
            all = _mm512_add_epi16(all, both);
            odd = _mm512_add_epi16(odd, _mm512_srli_epi16::<8>(both));
        }
        let even = _mm512_sub_epi16(all, _mm512_slli_epi16::<8>(odd));
        // Each half of a register, as pairs of (even, odd) in the order of the rows.
        let pairs = |even: __m256i, odd: __m256i| (_mm512_cvtepu16_epi32(even), _mm512_cvtepu16_epi32(odd));
        let (even_low, odd_low) = pairs(_mm512_castsi512_si256(even), _mm512_castsi512_si256(odd));
        let (even_high, odd_high) = pairs(_mm512_extracti64x4_epi64::<1>(even), _mm512_extracti64x4_epi64::<1>(odd));
        let first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let second = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        let rows = [
            _mm512_permutex2var_epi32(even_low, first, odd_low),
            _mm512_permutex2var_epi32(even_low, second, odd_low),
            _mm512_permutex2var_epi32(even_high, first, odd_high),
            _mm512_permutex2var_epi32(even_high, second, odd_high),
        ];
        for (sums, rows) in sums.chunks_exact_mut(16).zip(rows) {
            // SAFETY: sixteen sums are 64 bytes.
            unsafe {
                let before = _mm512_loadu_si512(sums.as_ptr().cast());
                _mm512_storeu_si512(sums.as_mut_ptr().cast(), _mm512_add_epi32(before, rows));
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn passing(sums: &[u32; TILE_ROWS], alphas: &[u16; TILE_ROWS], betas: &[u16; TILE_ROWS], line: Line) -> u64 {
    let (a, b, c) = (_mm512_set1_ps(line.alpha), _mm512_set1_ps(line.beta), _mm512_set1_ps(line.constant));
    let mut mask = 0;
    for (part, ((sums, alphas), betas)) in
        sums.chunks_exact(16).zip(alphas.chunks_exact(16)).zip(betas.chunks_exact(16)).enumerate()
    {
        // SAFETY: sixteen sums are 64 bytes, sixteen alphas or betas 32.
        let (sums, alphas, betas) = unsafe {
            (
                _mm512_loadu_si512(sums.as_ptr().cast()),
                _mm256_loadu_si256(alphas.as_ptr().cast()),
                _mm256_loadu_si256(betas.as_ptr().cast()),
            )
        };
        let alpha = _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(alphas));
        let beta = _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(betas));
        let least = _mm512_fmadd_ps(alpha, a, _mm512_fnmadd_ps(beta, b, c));
        let reached = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(_mm512_cvtepi32_ps(sums), least);
        mask |= u64::from(reached) << (part * 16);
    }
    mask
}

#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
fn passing_by_length(tile: &Tile<'_>, threshold: &Threshold, gauge: &Gauge) -> u64 {
    lanes::passing_by_length(tile, threshold, gauge)
}
