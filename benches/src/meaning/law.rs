//! Unit vectors that lie as embeddings of sentences do: in topics, and within topics in groups of near-duplicates.
//!
//! A vector is the sum of a common direction and of `R * S * (topics + leaf + own)`, brought to unit length. `S` is the falling spectrum of
//! a small sentence model; `topics` are three nested levels of shared directions with skewed group sizes; `leaf` is shared by
//! near-duplicates, whose groups have heavy-tailed sizes, and each vector's nearness says how much of it is the leaf's and how much
//! its own; the common direction lifts the cosine of strangers a little above zero. `R` makes no coordinate special: signs and
//! Walsh-Hadamard transforms of blocks, which cost `d log d` where a random rotation costs `d * d`.
//!
//! Every number comes from splitmix64 of seed, stream and index, so a vector depends on its number only.

/// Groups of a level, how skewed their sizes are, and the level's share of the variance.
const LEVELS: [(f64, f64, f64); 3] = [(150.0, 1.8, 0.27), (2000.0, 1.6, 0.14), (8000.0, 1.5, 0.17)];
/// The share of vectors that are near to no other.
const SINGLES: f64 = 0.28;
/// Groups of near-duplicates; the density of group `k` falls with the root of `k`.
const LEAVES: f64 = 32_768.0;
/// The parameters of the Beta distribution of nearness.
const NEARNESS: (f64, f64) = (1.2, 0.8);
const NEARNESS_STEPS: usize = 20_000;
/// The mean cosine of strangers.
const MEAN_COSINE: f64 = 0.044;
/// Added to a vector's number to name the leaf of one that has its own.
const OWN_LEAF: u64 = 1 << 50;
/// Added to the numbers of queries, so that they are of the same law and none of the base.
pub(super) const QUERIES_FROM: u64 = 1 << 40;

/// The law for one dimension and seed.
#[derive(Debug)]
pub(super) struct Law {
    seed: u64,
    dim: usize,
    spectrum: Vec<f32>,
    mean: Vec<f32>,
    columns: Vec<u64>,
    signs: Vec<f32>,
    /// The length of the transformed blocks: the largest power of two that divides the dimension.
    span: usize,
    /// Quantiles of nearness.
    nearness: Vec<f32>,
}

impl Law {
    pub(super) fn new(dim: usize, seed: u64) -> Law {
        let width = dim as f64;
        let spectrum: Vec<f64> = (0..dim)
            .map(|i| i as f64)
            .map(|i| (1.0 + i / 2.0).powf(-0.55) * (1.0 - (i / width).powi(2)).max(1e-6))
            .collect();
        let total: f64 = spectrum.iter().sum();
        let mut law = Law {
            seed,
            dim,
            spectrum: spectrum.iter().map(|size| (size / total).sqrt() as f32).collect(),
            mean: Vec::new(),
            columns: (0..dim as u64)
                .map(|column| mix(column.wrapping_mul(0xA076_1D64_78BD_642F).wrapping_add(3)))
                .collect(),
            signs: (0..dim as u64).map(|column| if mix(column ^ 0x5161) & 1 == 0 { 1.0 } else { -1.0 }).collect(),
            span: 1 << dim.trailing_zeros(),
            nearness: nearness(),
        };
        let mut mean = vec![0.0; dim];
        law.add_normal(&mut mean, 1.0, 2, 0);
        scale_to(&mut mean, (MEAN_COSINE as f32).sqrt());
        law.mean = mean;
        law
    }

    /// Appends the unit vector of a number.
    pub(super) fn append(&self, number: u64, out: &mut Vec<f32>) {
        let is_single = self.uniform(11, number) < SINGLES;
        let leaf = if is_single {
            number + OWN_LEAF
        } else {
            ((LEAVES.sqrt() - 1.0) * self.uniform(12, number) + 1.0).powi(2) as u64
        };
        let place = self.uniform(13, number) * (self.nearness.len() - 1) as f64;
        let near = self.nearness[place as usize];
        let rest = 1.0 - LEVELS.iter().map(|level| level.2).sum::<f64>() as f32;
        let start = out.len();
        out.resize(start + self.dim, 0.0);
        let vector = &mut out[start..];
        self.add_normal(vector, (rest * near).sqrt(), 40, leaf);
        self.add_normal(vector, (rest * (1.0 - near)).sqrt(), 14, number);
        let mut child = leaf;
        for (level, (groups, skew, share)) in LEVELS.into_iter().enumerate().rev() {
            child = (self.uniform(20 + level as u64, child).powf(skew) * groups) as u64;
            self.add_normal(vector, share.sqrt() as f32, 30 + level as u64, child);
        }
        vector.iter_mut().zip(&self.spectrum).for_each(|(value, size)| *value *= size);
        self.turn(vector);
        let lift = (1.0 - MEAN_COSINE as f32).sqrt();
        vector.iter_mut().zip(&self.mean).for_each(|(value, mean)| *value = *value * lift + mean);
        scale_to(vector, 1.0);
    }

    /// Adds near-normal numbers of unit variance, times a weight: sums of four uniform ones (Irwin and Hall).
    fn add_normal(&self, vector: &mut [f32], weight: f32, stream: u64, id: u64) {
        const SIZE: f32 = 37_837.227;
        let base = self.hash(stream, id);
        for (value, column) in vector.iter_mut().zip(&self.columns) {
            let bits = mix(base.wrapping_add(*column));
            let sum = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48);
            *value += weight * (sum as f32 - 131_070.0) / SIZE;
        }
    }

    /// An orthogonal transform that spreads every coordinate over all others.
    fn turn(&self, vector: &mut [f32]) {
        for round in 0..2 {
            vector.iter_mut().zip(&self.signs).for_each(|(value, sign)| *value *= sign);
            for block in vector.chunks_exact_mut(self.span) {
                walsh_hadamard(block);
            }
            if round == 0 {
                // Blocks exchange their coordinates before the second round.
                let blocks = self.dim / self.span;
                let old = vector.to_vec();
                old.iter().enumerate().for_each(|(at, value)| vector[at % blocks * self.span + at / blocks] = *value);
            }
        }
    }

    fn uniform(&self, stream: u64, id: u64) -> f64 {
        (self.hash(stream, id) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn hash(&self, stream: u64, id: u64) -> u64 {
        mix(mix(id.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(stream)) ^ mix(self.seed + 77))
    }
}

/// splitmix64's finisher (Steele, Lea, Flood 2014).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// The fast transform, scaled so that lengths stay.
fn walsh_hadamard(block: &mut [f32]) {
    let mut half = 1;
    while half < block.len() {
        for pair in block.chunks_exact_mut(2 * half) {
            let (left, right) = pair.split_at_mut(half);
            left.iter_mut().zip(right).for_each(|(a, b)| (*a, *b) = (*a + *b, *a - *b));
        }
        half *= 2;
    }
    let scale = 1.0 / (block.len() as f32).sqrt();
    block.iter_mut().for_each(|value| *value *= scale);
}

pub(super) fn scale_to(vector: &mut [f32], length: f32) {
    let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value *= length / norm);
}

/// The quantile function of the Beta distribution, by summing its density.
fn nearness() -> Vec<f32> {
    let (a, b) = NEARNESS;
    let density = |t: f64| t.powf(a - 1.0) * (1.0 - t).powf(b - 1.0);
    let steps = (1..NEARNESS_STEPS).map(|step| step as f64 / NEARNESS_STEPS as f64);
    let total: f64 = steps.clone().map(density).sum();
    let (mut quantiles, mut sum) = (Vec::with_capacity(1001), 0.0);
    for t in steps {
        sum += density(t) / total;
        while quantiles.len() as f64 / 1000.0 <= sum {
            quantiles.push(t as f32);
        }
    }
    quantiles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    #[test]
    fn vectors_are_unit_vectors_that_depend_on_their_number_only() {
        for dim in [64, 384, 768] {
            let law = Law::new(dim, 1);
            let (mut both, mut second) = (Vec::new(), Vec::new());
            law.append(7, &mut both);
            law.append(8, &mut both);
            law.append(8, &mut second);
            assert_eq!(both[dim..], second[..]);
            assert!((cosine(&second, &second) - 1.0).abs() < 1e-5, "{dim}");
        }
    }

    #[test]
    fn strangers_are_almost_orthogonal_and_some_vectors_have_near_ones() {
        let (dim, count) = (384, 3000);
        let law = Law::new(dim, 1);
        let mut vectors = Vec::new();
        (0..count).for_each(|number| law.append(number, &mut vectors));
        let mut near = 0;
        let (mut sum, mut square, mut pairs) = (0.0, 0.0, 0.0);
        for (at, a) in vectors.chunks_exact(dim).enumerate().take(200) {
            let others = vectors.chunks_exact(dim).skip(at + 1).map(|b| cosine(a, b));
            let mut best: f64 = 0.0;
            for similarity in others {
                best = best.max(similarity);
                sum += similarity;
                square += similarity * similarity;
                pairs += 1.0;
            }
            near += usize::from(best > 0.7);
        }
        let mean = sum / pairs;
        let deviation = (square / pairs - mean * mean).sqrt();
        assert!((0.02..0.08).contains(&mean), "mean {mean}");
        assert!((0.06..0.13).contains(&deviation), "deviation {deviation}");
        assert!((5..150).contains(&near), "{near} of 200 have a near one");
    }
}
