//! What is right: cosines of everything with everything, in f64, without any index.

use super::source::floats_of;
use super::vectors::Vectors;
use std::io;
use std::ops::Range;

/// Products that are summed side by side.
const LANES: usize = 8;

/// For each query the rows of at least this cosine, with it.
pub(super) fn near(
    base: &Vectors,
    rows: Range<usize>,
    queries: &[Vec<u8>],
    least: f64,
) -> io::Result<Vec<Vec<(u64, f64)>>> {
    let queries: Vec<Vec<f64>> = queries.iter().map(|query| unit(query)).collect();
    let mut found = vec![Vec::new(); queries.len()];
    base.each(rows, &mut |row, bytes| {
        let vector = unit(bytes);
        for (query, found) in queries.iter().zip(&mut found) {
            let cosine = dot(query, &vector);
            if cosine >= least {
                found.push((row as u64, cosine));
            }
        }
        Ok(())
    })?;
    Ok(found)
}

fn unit(bytes: &[u8]) -> Vec<f64> {
    let vector: Vec<f64> = floats_of(bytes).into_iter().map(f64::from).collect();
    let norm = dot(&vector, &vector).sqrt();
    vector.into_iter().map(|value| value / norm).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
    }
    sums.iter().sum::<f64>() + tail
}

#[cfg(test)]
mod tests {
    use super::super::source::generated;
    use super::*;
    use crate::process::Scratch;

    #[test]
    fn a_vector_is_found_by_itself_and_by_nothing_that_is_less_similar() {
        let scratch = Scratch::new("brute").unwrap();
        let set = generated(scratch.path(), 50, 64, 1).unwrap();
        let queries = set.base.rows(3..5).unwrap();
        let found = near(&set.base, 0..50, &queries, 0.999_999).unwrap();
        assert_eq!(found.iter().map(|rows| rows[0].0).collect::<Vec<_>>(), [3, 4]);
        assert!((found[0][0].1 - 1.0).abs() < 1e-12);
    }
}
