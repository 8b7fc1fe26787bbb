//! Vectors of length 1.

/// The vector divided by its length, or nothing if it is empty, zero or not finite. The length is summed in 64 bits,
/// where no square of an f32 is too large or too small.
pub(crate) fn normalise(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let square: f64 = vector.iter().map(|component| f64::from(*component) * f64::from(*component)).sum();
    let norm = square.sqrt();
    if !(norm.is_finite() && norm > 0.0) {
        return None;
    }
    for component in &mut vector {
        *component = (f64::from(*component) / norm) as f32;
    }
    Some(vector)
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn a_vector_with_a_direction_gets_length_one() {
        assert_eq!(normalise(vec![3.0, -4.0]), Some(vec![0.6, -0.8]));
        assert_eq!(normalise(vec![f32::MAX, 0.0]), Some(vec![1.0, 0.0]));
        assert_eq!(normalise(vec![f32::MIN_POSITIVE, 0.0]), Some(vec![1.0, 0.0]));
    }

    #[test]
    fn a_vector_without_a_direction_has_none() {
        for vector in [vec![], vec![0.0], vec![f32::NAN, 1.0], vec![f32::INFINITY]] {
            assert_eq!(normalise(vector), None);
        }
    }
}
