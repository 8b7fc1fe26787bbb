//! Rows for graphs: plain floats, clustered as embeddings are, from a seed.

use sutra_hnsw_index::graph::Distances;

/// Sebastiano Vigna's splitmix64: enough randomness for tests, the same everywhere.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Nearly normal: the sum of four uniform numbers.
    pub(crate) fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|part| bits >> (16 * part) & 0xffff).sum();
        (sum as f32 - 131_070.0) / 37_837.0
    }
}

/// Vectors by row number; a row without one is infinitely far away.
pub(crate) struct Plain {
    pub(crate) rows: Vec<Option<Vec<f32>>>,
}

impl Plain {
    /// `count` unit vectors around `centres` directions.
    pub(crate) fn clustered(random: &mut Random, count: usize, dimension: usize, centres: usize) -> Self {
        let mut source = Clusters::new(random, dimension, centres);
        Self { rows: (0..count).map(|_| Some(source.vector(random))).collect() }
    }

    /// The `k` nearest rows, and the distance of the last of them.
    pub(crate) fn nearest(&self, query: &[f32], k: usize) -> Vec<(u32, f32)> {
        let mut all: Vec<_> = (0..self.rows.len() as u32).filter(|row| self.rows[*row as usize].is_some()).collect();
        all.sort_by(|a, b| self.to_query(query, *a).total_cmp(&self.to_query(query, *b)).then(a.cmp(b)));
        all.iter().take(k).map(|row| (*row, self.to_query(query, *row))).collect()
    }
}

impl Distances for Plain {
    type Query = [f32];

    fn to_query(&self, query: &[f32], row: u32) -> f32 {
        match self.rows.get(row as usize) {
            Some(Some(vector)) => 1.0 - dot(query, vector),
            Some(None) | None => f32::INFINITY,
        }
    }

    fn between(&self, a: u32, b: u32) -> f32 {
        match self.rows.get(a as usize) {
            Some(Some(vector)) => self.to_query(vector, b),
            Some(None) | None => f32::INFINITY,
        }
    }

    fn prefetch(&self, _row: u32) {}
}

/// Directions around which vectors lie.
pub(crate) struct Clusters {
    centres: Vec<Vec<f32>>,
}

impl Clusters {
    pub(crate) fn new(random: &mut Random, dimension: usize, centres: usize) -> Self {
        Self { centres: (0..centres).map(|_| (0..dimension).map(|_| random.normal()).collect()).collect() }
    }

    /// A unit vector near one of the directions, some nearer than others.
    pub(crate) fn vector(&mut self, random: &mut Random) -> Vec<f32> {
        let centre = random.below(self.centres.len());
        let spread = 0.3 + random.below(100) as f32 / 100.0;
        let vector: Vec<f32> = self.centres[centre].iter().map(|x| x + spread * random.normal()).collect();
        let norm = dot(&vector, &vector).sqrt();
        vector.iter().map(|x| x / norm).collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
