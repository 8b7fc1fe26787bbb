//! A vector's codes, made before any lock is taken.

use crate::error::VectorError;
use crate::kernel::Kernels;
use crate::{DIMENSIONS_MAX, bounds};

/// The codes of one vector, what they miss at most, and the vector's length. The vector itself is not kept.
///
/// With `u` the vector at unit length and `d` its dimension:
/// - `bits` are the signs of `u`. As a vector, `b = ±1/sqrt(d)`, they make an angle with `u` whose cosine is `alpha` and whose sine is `beta`;
/// - `codes` times `scale` is `u` but for a rest of length `residual`.
#[derive(Clone, Debug)]
pub struct Encoded {
    dimension: usize,
    /// The codes, then the bits.
    bytes: Box<[u8]>,
    pub(crate) numbers: Numbers,
}

/// What is known of a row beside its codes. Each is rounded to the side on which no row is ruled out wrongly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Numbers {
    /// In units of 1/65,536, rounded down.
    pub(crate) alpha: u16,
    /// In units of 1/65,536, rounded up.
    pub(crate) beta: u16,
    /// The length of one step of the codes.
    pub(crate) scale: f32,
    /// Rounded up.
    pub(crate) residual: f32,
    /// The length of the vector as it was given.
    pub(crate) norm: f64,
}

impl Encoded {
    /// Encodes a vector of little-endian `f32`, which may lie at any address.
    ///
    /// # Errors
    /// If the bytes are not `dimension` finite numbers, or all of them are zero.
    pub fn new(bytes: &[u8], dimension: usize) -> Result<Encoded, VectorError> {
        Encoded::with(Kernels::get(), bytes, dimension)
    }

    pub(crate) fn with(kernels: &Kernels, bytes: &[u8], dimension: usize) -> Result<Encoded, VectorError> {
        let unit = Unit::of(kernels, bytes, dimension)?;
        let code_bytes = code_bytes(dimension);
        let mut encoded = vec![0; code_bytes + bit_bytes(dimension)].into_boxed_slice();
        let (codes, bits) = encoded.split_at_mut(code_bytes);
        let residual = unit.quantize(kernels, bytes, as_signed_mut(codes), bits);
        let (alpha, beta) = bounds::angle(unit.alpha);
        let numbers = Numbers { alpha, beta, scale: unit.scale, residual: bounds::up(residual), norm: unit.norm };
        Ok(Encoded { dimension, bytes: encoded, numbers })
    }

    /// How many dimensions the vector has.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The length of the vector as it was given.
    #[must_use]
    pub fn norm(&self) -> f64 {
        self.numbers.norm
    }

    pub(crate) fn codes(&self) -> &[i8] {
        as_signed(&self.bytes[..code_bytes(self.dimension)])
    }

    pub(crate) fn bits(&self) -> &[u8] {
        &self.bytes[code_bytes(self.dimension)..]
    }
}

/// Bytes of the one-byte codes: whole cache lines.
pub(crate) fn code_bytes(dimension: usize) -> usize {
    dimension.next_multiple_of(64)
}

/// Bytes of the sign bits.
pub(crate) fn bit_bytes(dimension: usize) -> usize {
    dimension.div_ceil(8)
}

/// How a vector is brought to unit length and quantized.
pub(crate) struct Unit {
    /// The length of the vector as it was given.
    pub(crate) norm: f64,
    /// The length of one step of the codes, at unit length.
    pub(crate) scale: f32,
    /// The cosine of its angle to its signs.
    pub(crate) alpha: f64,
}

impl Unit {
    pub(crate) fn of(kernels: &Kernels, bytes: &[u8], dimension: usize) -> Result<Unit, VectorError> {
        assert!(dimension <= DIMENSIONS_MAX, "{dimension} dimensions are more than {DIMENSIONS_MAX}");
        if !bytes.len().is_multiple_of(4) {
            return Err(VectorError::Ragged { bytes: bytes.len(), expected: dimension });
        }
        if bytes.len() / 4 != dimension {
            return Err(VectorError::WrongDimension { got: bytes.len() / 4, expected: dimension });
        }
        // Squares of finite f32 never overflow in f64, and those of others than zero never vanish.
        let measures = (kernels.measure)(bytes);
        if !measures.square.is_finite() {
            let finite = |value: &[u8]| f32::from_le_bytes([value[0], value[1], value[2], value[3]]).is_finite();
            let index = bytes.chunks_exact(4).position(|value| !finite(value)).unwrap_or(0);
            return Err(VectorError::NotFinite { index });
        }
        if measures.square == 0.0 {
            return Err(VectorError::ZeroLength);
        }
        let norm = measures.square.sqrt();
        // A step that is too long by a bit costs nothing: what the codes miss is measured with the step as it is stored.
        let scale = ((f64::from(measures.largest) / norm / 127.0) as f32).next_up();
        Ok(Unit { norm, scale, alpha: measures.absolute / norm / (dimension as f64).sqrt() })
    }

    /// Codes and sign bits; gives the length of what the codes miss, rounded up.
    pub(crate) fn quantize(&self, kernels: &Kernels, bytes: &[u8], codes: &mut [i8], bits: &mut [u8]) -> f64 {
        (kernels.quantize)(bytes, 1.0 / self.norm, self.scale, codes, bits).sqrt() + bounds::SLACK
    }
}

#[expect(unsafe_code, reason = "bytes seen as signed bytes, which std cannot do for slices")]
pub(crate) fn as_signed(bytes: &[u8]) -> &[i8] {
    // SAFETY: `u8` and `i8` have the same size and alignment, and every value of one is a value of the other.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

#[expect(unsafe_code, reason = "bytes seen as signed bytes, which std cannot do for slices")]
fn as_signed_mut(bytes: &mut [u8]) -> &mut [i8] {
    // SAFETY: as above, and the borrow is exclusive.
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn what_is_no_vector_of_the_space_is_refused_with_both_numbers() {
        let error = |values: &[f32]| Encoded::new(&bytes(values), 3).unwrap_err();
        assert_eq!(error(&[1.0, 2.0]).to_string(), "vector has 2 dimensions, the space has 3");
        assert_eq!(error(&[1.0, 2.0, f32::NAN]), VectorError::NotFinite { index: 2 });
        assert_eq!(error(&[1.0, f32::NEG_INFINITY, 0.0]), VectorError::NotFinite { index: 1 });
        assert_eq!(error(&[0.0, -0.0, 0.0]), VectorError::ZeroLength);
        let ragged = Encoded::new(&[0; 11], 3).unwrap_err();
        assert_eq!(ragged.to_string(), "vector is 11 bytes, the space has 3 dimensions of 4 bytes");
    }

    #[test]
    fn the_longest_and_the_shortest_vectors_have_a_direction() {
        for value in [f32::MAX, f32::from_bits(1)] {
            let encoded = Encoded::new(&bytes(&[value, 0.0, -value]), 3).unwrap();
            assert!((encoded.norm() / f64::from(value) - 2f64.sqrt()).abs() < 1e-12, "{value}");
            assert_eq!(&encoded.codes()[..3], &[127, 0, -127], "{value}");
            assert_eq!(encoded.bits(), &[0b011], "{value}");
        }
    }

    #[test]
    fn the_numbers_say_what_the_codes_miss_at_most() {
        let values = [0.3, -0.9, 0.1, 0.05, -0.3, 0.7, 0.0, -0.2, 0.45];
        let encoded = Encoded::new(&bytes(&values), values.len()).unwrap();
        let numbers = encoded.numbers;
        let unit = values.map(|value| f64::from(value) / encoded.norm());
        let missed = |(x, code): (&f64, &i8)| x - f64::from(*code) * f64::from(numbers.scale);
        let residual = unit.iter().zip(encoded.codes()).map(missed).map(|x| x * x).sum::<f64>().sqrt();
        assert!(residual <= f64::from(numbers.residual) && f64::from(numbers.residual) < residual + 1e-6);
        let alpha = unit.iter().map(|x| x.abs()).sum::<f64>() / 3.0;
        assert!((0.0..2e-5).contains(&(alpha - f64::from(numbers.alpha) / 65536.0)));
        let beta = (1.0 - alpha * alpha).sqrt();
        assert!((0.0..4e-5).contains(&(f64::from(numbers.beta) / 65536.0 - beta)));
    }
}
