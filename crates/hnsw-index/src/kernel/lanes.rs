//! Loops in plain Rust whose order of operations is fixed, so that the compiler may widen them but never change a bit of their result.
//! Each level compiles them anew with its own instructions.

/// What came out of quantizing one vector of unit length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantized {
    /// The length of one step of the codes.
    pub(crate) scale: f32,
    /// The square of the length of what the codes miss.
    pub(crate) residual_squared: f64,
    /// The sum of the absolute values.
    pub(crate) absolute_sum: f64,
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

/// Codes and sign bits of `row · factor`, which has unit length. A bit is set where the value is not negative.
/// `codes` may be longer than the row, and `bits` has a bit for each value; what they have beyond stays as it is (zero).
#[inline(always)]
pub(super) fn quantize(row: &[u8], factor: f64, codes: &mut [i8], bits: &mut [u8]) -> Quantized {
    let mut largest = [0.0f32; 8];
    let mut sums = [0.0f64; 8];
    let chunks = row.chunks_exact(32);
    let rest = chunks.remainder();
    for bytes in chunks {
        for lane in 0..8 {
            let x = value(bytes, lane).abs();
            largest[lane] = if x > largest[lane] { x } else { largest[lane] };
            sums[lane] += f64::from(x);
        }
    }
    for (lane, bytes) in rest.chunks_exact(4).enumerate() {
        let x = value(bytes, 0).abs();
        largest[lane] = if x > largest[lane] { x } else { largest[lane] };
        sums[lane] += f64::from(x);
    }
    let largest = largest.into_iter().fold(0.0, f32::max);
    // A step that is too long by a bit costs nothing: the residual is measured with the step as it is stored.
    let scale = ((f64::from(largest) * factor / 127.0) as f32).next_up();
    let (step, steps) = (f64::from(scale), factor / f64::from(scale));
    let mut residuals = [0.0f64; 8];
    let chunks = row.chunks_exact(32);
    let whole = chunks.len();
    for ((bytes, codes), bits) in chunks.zip(codes.chunks_exact_mut(8)).zip(bits.iter_mut()) {
        let mut signs = 0;
        for lane in 0..8 {
            let x = f64::from(value(bytes, lane));
            let rounded = round(x * steps);
            codes[lane] = rounded as i32 as i8;
            let missed = x * factor - rounded * step;
            residuals[lane] += missed * missed;
            signs |= u8::from(x >= 0.0) << lane;
        }
        *bits = signs;
    }
    for (lane, bytes) in rest.chunks_exact(4).enumerate() {
        let x = f64::from(value(bytes, 0));
        let rounded = round(x * steps);
        codes[whole * 8 + lane] = rounded as i32 as i8;
        let missed = x * factor - rounded * step;
        residuals[lane] += missed * missed;
        bits[whole] |= u8::from(x >= 0.0) << lane;
    }
    Quantized { scale, residual_squared: fold(residuals), absolute_sum: fold(sums) * factor }
}

#[inline(always)]
fn value(bytes: &[u8], index: usize) -> f32 {
    f32::from_le_bytes([bytes[index * 4], bytes[index * 4 + 1], bytes[index * 4 + 2], bytes[index * 4 + 3]])
}

/// To the nearest whole number, without a call: adding 1.5 · 2⁵² leaves no bits for a fraction. For values up to 2⁵⁰.
#[inline(always)]
fn round(x: f64) -> f64 {
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    (x + SHIFT) - SHIFT
}

#[inline(always)]
fn fold(lanes: [f64; 8]) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}
