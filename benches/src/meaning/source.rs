//! Where vectors come from: the generator, or a file of real ones, made more by mixing.

use super::law::{Law, QUERIES_FROM, scale_to};
use super::vectors::Vectors;
use crate::random::Random;
use std::io;
use std::path::Path;

/// One in so many real vectors is a query and not in the base.
const QUERY_EVERY: usize = 20;
/// What a further copy of a real vector keeps of it and takes of another one.
const MIX: (f32, f32) = (0.9, 0.436);
const SEED: u64 = 1;

/// A base and queries of the same law.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) base: Vectors,
    pub(super) queries: Vec<Vec<u8>>,
    /// What they are, for tables.
    pub(super) name: String,
}

/// Generated vectors, with `base.npy` in a directory.
pub(super) fn generated(directory: &Path, count: usize, dim: usize, queries: usize) -> io::Result<Set> {
    let law = Law::new(dim, SEED);
    let base = Vectors::create(&directory.join("base.npy"), count, dim, &mut |rows, out| {
        rows.for_each(|row| law.append(row as u64, out));
        Ok(())
    })?;
    let query = |number: usize| {
        let mut vector = Vec::with_capacity(dim);
        law.append(QUERIES_FROM + number as u64, &mut vector);
        bytes_of(&vector)
    };
    let queries = (0..queries).map(query).collect();
    Ok(Set { base, queries, name: format!("generated, seed {SEED}") })
}

/// Real vectors: as they are, and behind those each mixed with another, as many as are wanted.
pub(super) fn real(directory: &Path, file: &Path, count: usize, queries: usize) -> io::Result<Set> {
    let vectors = Vectors::open(file)?;
    let (mut own, mut asked) = (Vec::new(), Vec::new());
    vectors.each(0..vectors.count, &mut |row, bytes| {
        let list = if row % QUERY_EVERY == QUERY_EVERY - 1 { &mut asked } else { &mut own };
        list.push(bytes.to_vec());
        Ok(())
    })?;
    if own.is_empty() || asked.is_empty() {
        return Err(io::Error::other(format!("{}: too few rows", file.display())));
    }
    let base = Vectors::create(&directory.join("base.npy"), count, vectors.dim, &mut |rows, out| {
        for row in rows {
            let mut vector = floats_of(&own[row % own.len()]);
            if row >= own.len() {
                let other = floats_of(&own[Random::new(row as u64).below(own.len() as u64) as usize]);
                vector.iter_mut().zip(other).for_each(|(value, other)| *value = MIX.0 * *value + MIX.1 * other);
            }
            scale_to(&mut vector, 1.0);
            out.extend(vector);
        }
        Ok(())
    })?;
    asked.truncate(queries);
    let copies = count.saturating_sub(own.len());
    let mixed =
        if copies == 0 { String::new() } else { format!(", {copies} of them 0.9 of a real one + 0.44 of another") };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Ok(Set { base, queries: asked, name: format!("{name}{mixed}") })
}

pub(super) fn bytes_of(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(super) fn floats_of(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|value| f32::from_le_bytes([value[0], value[1], value[2], value[3]])).collect()
}
