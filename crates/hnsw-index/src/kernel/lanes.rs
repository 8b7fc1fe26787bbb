//! Loops in plain Rust whose order of operations is fixed, so that the compiler may widen them but never change a bit of their result.
//! Each level compiles them anew with its own instructions.

use super::{TILE_ROWS, Tile};
use crate::bounds::{Gauge, Threshold};

/// What must be known of a vector before it can be quantized.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measures {
    /// The sum of the squares: not finite if a value is not.
    pub(crate) square: f64,
    /// The sum of the absolute values.
    pub(crate) absolute: f64,
    /// The largest absolute value.
    pub(crate) largest: f32,
}

#[inline(always)]
pub(super) fn dot(query: &[f32], row: &[u8]) -> (f64, f64) {
    let mut products = [0.0; 8];
    let mut squares = [0.0; 8];
    let (values, rows) = (query.chunks_exact(8), row.chunks_exact(32));
    let rest = (values.remainder(), &row[(row.len().min(query.len() * 4) / 32) * 32..]);
    for (values, bytes) in values.zip(rows) {
        for lane in 0..8 {
            let x = f64::from(value(bytes, lane));
            // The product of two f32 is exact in f64, so it is the same with and without a fused addition.
            products[lane] += f64::from(values[lane]) * x;
            squares[lane] += x * x;
        }
    }
    for (lane, (q, bytes)) in rest.0.iter().zip(rest.1.chunks_exact(4)).enumerate() {
        let x = f64::from(value(bytes, 0));
        products[lane] += f64::from(*q) * x;
        squares[lane] += x * x;
    }
    (fold(products), fold(squares))
}

#[inline(always)]
pub(super) fn distance(query: &[f32], row: &[u8]) -> f64 {
    let mut squares = [0.0; 8];
    let (values, rows) = (query.chunks_exact(8), row.chunks_exact(32));
    let rest = (values.remainder(), &row[(row.len().min(query.len() * 4) / 32) * 32..]);
    for (values, bytes) in values.zip(rows) {
        for lane in 0..8 {
            let apart = f64::from(values[lane]) - f64::from(value(bytes, lane));
            squares[lane] += apart * apart;
        }
    }
    for (lane, (q, bytes)) in rest.0.iter().zip(rest.1.chunks_exact(4)).enumerate() {
        let apart = f64::from(*q) - f64::from(value(bytes, 0));
        squares[lane] += apart * apart;
    }
    fold(squares)
}

/// Which rows of a tile reach the line of their length. A comparison is one byte until the end: such loops are made wide.
#[inline(always)]
pub(super) fn passing_by_length(tile: &Tile<'_>, threshold: &Threshold, gauge: &Gauge) -> u64 {
    let mut reached = [0u8; TILE_ROWS];
    for (row, reached) in reached.iter_mut().enumerate() {
        let line = gauge.line(threshold.cosine(tile.norms[row]));
        let (alpha, beta) = (f32::from(tile.alphas[row]), f32::from(tile.betas[row]));
        let least = alpha * line.alpha - beta * line.beta + line.constant;
        *reached = u8::from(tile.sums[row] as f32 >= least);
    }
    // Eight bytes of 0 or 1 become eight bits: the product moves byte `i` to bit `56 + i`.
    let bits = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    reached.as_chunks::<8>().0.iter().enumerate().fold(0, |mask, (part, bytes)| mask | bits(bytes) << (part * 8))
}

#[inline(always)]
pub(super) fn measure(row: &[u8]) -> Measures {
    let mut sums = Sums { squares: [0.0; 8], absolutes: [0.0; 8], largest: [0.0; 8] };
    let (chunks, rest) = row.as_chunks::<32>();
    for bytes in chunks {
        sums.add(eight(bytes));
    }
    // Zeros behind the last value change nothing.
    sums.add(eight(&padded(rest)));
    let largest = sums.largest.into_iter().fold(0.0, f32::max);
    Measures { square: fold(sums.squares), absolute: fold(sums.absolutes), largest }
}

struct Sums {
    squares: [f64; 8],
    absolutes: [f64; 8],
    largest: [f32; 8],
}

impl Sums {
    // One short loop for each thing, so that each is made wide.
    #[inline(always)]
    fn add(&mut self, values: [f32; 8]) {
        for (square, x) in self.squares.iter_mut().zip(values) {
            *square += f64::from(x) * f64::from(x);
        }
        for (absolute, x) in self.absolutes.iter_mut().zip(values) {
            *absolute += f64::from(x.abs());
        }
        for (largest, x) in self.largest.iter_mut().zip(values) {
            *largest = if x.abs() > *largest { x.abs() } else { *largest };
        }
    }
}

/// Codes and sign bits of `row · factor` in steps of `scale`; gives the square of the length of what the codes miss. A bit is set where the
/// sign is plus. `codes` and `bits` may have places beyond the last value, which become zero.
#[inline(always)]
pub(super) fn quantize(row: &[u8], factor: f64, scale: f32, codes: &mut [i8], bits: &mut [u8]) -> f64 {
    let (step, steps) = (f64::from(scale), factor / f64::from(scale));
    let mut residuals = [0.0f64; 8];
    let (chunks, rest) = row.as_chunks::<32>();
    for (bytes, (codes, bits)) in chunks.iter().zip(codes.as_chunks_mut::<8>().0.iter_mut().zip(bits.iter_mut())) {
        let values = eight(bytes);
        *codes = eight_codes(values, factor, step, steps, &mut residuals);
        *bits = pluses(values);
    }
    if !rest.is_empty() {
        let (count, values) = (rest.len() / 4, eight(&padded(rest)));
        let rest_codes = eight_codes(values, factor, step, steps, &mut residuals);
        codes[chunks.len() * 8..][..count].copy_from_slice(&rest_codes[..count]);
        bits[chunks.len()] = pluses(values) & ((1 << count) - 1);
    }
    fold(residuals)
}

#[inline(always)]
fn eight_codes(values: [f32; 8], factor: f64, step: f64, steps: f64, residuals: &mut [f64; 8]) -> [i8; 8] {
    let (mut shifted, mut codes) = ([0.0f64; 8], [0i8; 8]);
    for lane in 0..8 {
        shifted[lane] = f64::from(values[lane]) * steps + SHIFT;
    }
    for lane in 0..8 {
        let missed = f64::from(values[lane]) * factor - (shifted[lane] - SHIFT) * step;
        residuals[lane] += missed * missed;
    }
    for lane in 0..8 {
        // The lowest byte of such a number is the whole number, in two's complement.
        codes[lane] = shifted[lane].to_bits() as i8;
    }
    codes
}

/// Adding 1.5 · 2^52 to a smaller number leaves no bits for a fraction: it rounds to the nearest, without a call.
const SHIFT: f64 = 6_755_399_441_055_744.0;

/// A bit for each value whose sign is plus.
#[inline(always)]
fn pluses(values: [f32; 8]) -> u8 {
    let mut minus = 0;
    for (lane, value) in values.iter().enumerate() {
        minus |= value.to_bits() >> 31 << lane;
    }
    !minus as u8
}

#[inline(always)]
fn eight(bytes: &[u8; 32]) -> [f32; 8] {
    let mut values = [0.0; 8];
    for (lane, place) in values.iter_mut().enumerate() {
        *place = value(bytes, lane);
    }
    values
}

/// Fewer than 32 bytes, and zeros.
#[inline(always)]
fn padded(rest: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..rest.len()].copy_from_slice(rest);
    bytes
}

#[inline(always)]
fn value(bytes: &[u8], index: usize) -> f32 {
    f32::from_le_bytes([bytes[index * 4], bytes[index * 4 + 1], bytes[index * 4 + 2], bytes[index * 4 + 3]])
}

#[inline(always)]
fn fold(lanes: [f64; 8]) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}
