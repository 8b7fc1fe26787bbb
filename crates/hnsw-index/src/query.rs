//! A vector to compare rows with.

use crate::bounds::{self, Interval, SLACK, Threshold};
use crate::encoded::{self, Numbers};
use crate::error::VectorError;
use crate::kernel::{Kernels, Line, TABLE_BYTES};
use crate::metric::Metric;

/// A vector, prepared for comparison with many rows.
#[derive(Clone, Debug)]
pub struct Query {
    metric: Metric,
    kernels: &'static Kernels,
    values: Vec<f32>,
    norm: f64,
    square: f64,
    codes: Vec<i8>,
    scale: f64,
    residual: f64,
    tables: Tables,
}

/// What four sign bits add to `q·b`, for every four dimensions: sixteen bytes each. The sum of a row's entries, times `step`, plus `floor`, is
/// `q·b` but for `error`. Looking up replaces multiplying because one instruction looks up sixty-four rows at once (the idea of
/// André, Kermarrec and Le Scouarnec, "Cache locality is not enough", VLDB 2015, for product quantization).
#[derive(Clone, Debug)]
struct Tables {
    entries: Vec<u8>,
    step: f64,
    floor: f64,
    error: f64,
}

impl Query {
    /// Prepares a query from little-endian `f32`, which may lie at any address.
    ///
    /// # Errors
    /// If the bytes are not `dimension` finite numbers, or all of them are zero.
    pub fn new(metric: Metric, bytes: &[u8], dimension: usize) -> Result<Query, VectorError> {
        Query::with(Kernels::get(), metric, bytes, dimension)
    }

    /// Prepares a query from numbers.
    ///
    /// # Errors
    /// As [`Query::new`].
    pub fn from_values(metric: Metric, values: &[f32], dimension: usize) -> Result<Query, VectorError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Query::new(metric, &bytes, dimension)
    }

    /// Prepares a query that uses these kernels and no others.
    ///
    /// # Errors
    /// As [`Query::new`].
    pub fn with(
        kernels: &'static Kernels,
        metric: Metric,
        bytes: &[u8],
        dimension: usize,
    ) -> Result<Query, VectorError> {
        let norm = encoded::norm(kernels, bytes, dimension)?;
        let value = |value: &[u8]| f32::from_le_bytes([value[0], value[1], value[2], value[3]]);
        let values: Vec<f32> = bytes.chunks_exact(4).map(value).collect();
        let mut codes = vec![0; encoded::code_bytes(dimension)];
        let mut bits = vec![0; encoded::bit_bytes(dimension)];
        let quantized = (kernels.quantize)(bytes, 1.0 / norm, &mut codes, &mut bits);
        let (_, square) = (kernels.dot)(&values, bytes);
        let tables = Tables::new(&values, norm);
        Ok(Query {
            metric,
            kernels,
            values,
            norm,
            square,
            codes,
            scale: f64::from(quantized.scale),
            residual: quantized.residual_squared.sqrt() + SLACK,
            tables,
        })
    }

    /// What "similar" means for this query.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// How many dimensions it has.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.values.len()
    }

    /// The similarity of a row of little-endian `f32`, which may lie at any address: the one that decides. It has the same bits on every
    /// machine: products in `f64`, element `i` added to lane `i % 8`, lanes added pairwise, the result rounded to `f32` once.
    /// A row meets a threshold if this is greater or equal.
    ///
    /// # Panics
    /// If the row has another dimension.
    #[must_use]
    pub fn similarity(&self, row: &[u8]) -> f32 {
        assert_eq!(row.len(), self.values.len() * 4, "bytes of a row");
        match self.metric {
            Metric::Cosine => {
                let (product, square) = (self.kernels.dot)(&self.values, row);
                let cosine = product / (self.square.sqrt() * square.sqrt());
                // A row of zeros has no direction; no such row is ever stored.
                if square == 0.0 { 0.0 } else { cosine.clamp(-1.0, 1.0) as f32 }
            }
            Metric::InnerProduct => (self.kernels.dot)(&self.values, row).0 as f32,
            Metric::Euclidean => (1.0 - (self.kernels.distance)(&self.values, row).sqrt()) as f32,
        }
    }

    pub(crate) fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    pub(crate) fn norm(&self) -> f64 {
        self.norm
    }

    pub(crate) fn tables(&self) -> &[u8] {
        &self.tables.entries
    }

    /// The line that the sum of a row's entries must reach for its cosine to be `cosine` or more.
    pub(crate) fn line(&self, cosine: f64) -> Line {
        bounds::line(cosine, self.tables.step, self.tables.floor, self.tables.error)
    }

    /// As [`Query::line`], for every row whose length is known: how the threshold may differ from row to row.
    pub(crate) fn line_of(&self, threshold: &Threshold, norm: f64) -> Line {
        self.line(threshold.cosine(norm))
    }

    /// The cosine that a row's bits suggest; the row is `value` along its signs, and as much longer as `alpha` says.
    pub(crate) fn cosine_by_bits(&self, sum: u32, alpha: u16) -> f64 {
        (f64::from(sum) * self.tables.step + self.tables.floor) * bounds::UNIT / f64::from(alpha.max(1))
    }

    /// The line of the rows whose [`Query::cosine_by_bits`] is `cosine` or more, roughly.
    pub(crate) fn line_by_bits(&self, cosine: f64) -> Line {
        let step = self.tables.step;
        Line { alpha: (cosine / step / bounds::UNIT) as f32, beta: 0.0, constant: (-self.tables.floor / step) as f32 }
    }

    /// The cosine that a row's codes suggest.
    #[inline]
    pub(crate) fn cosine_by_codes(&self, codes: &[i8], scale: f32) -> f64 {
        f64::from((self.kernels.dot_i8)(&self.codes, codes)) * self.scale * f64::from(scale)
    }

    /// What a row's codes prove.
    pub(crate) fn interval(&self, codes: &[i8], numbers: &Numbers) -> Interval {
        let cosine = self.cosine_by_codes(codes, numbers.scale);
        let residual = f64::from(numbers.residual);
        bounds::interval(self, cosine, residual + self.residual * (1.0 + residual), numbers.norm)
    }
}

impl Tables {
    fn new(values: &[f32], norm: f64) -> Tables {
        let factor = 1.0 / (norm * (values.len() as f64).sqrt());
        // What dimension `i` adds to q·b is ±weight; counted from the least, it is 0 or twice the weight.
        let weight = |index: usize| values.get(index).map_or(0.0, |value| f64::from(*value) * factor);
        let count = encoded::bit_bytes(values.len());
        let reach = |first: usize, many: usize| (first..first + many).map(|i| 2.0 * weight(i).abs()).sum::<f64>();
        // Both halves of a byte are added in eight bits, each rounded up by a half at most.
        let widest = (0..count).map(|byte| reach(byte * 8, 8)).fold(0.0, f64::max);
        let step = widest / 254.0;
        let (mut entries, mut error) = (Vec::with_capacity(count * TABLE_BYTES), SLACK);
        for group in 0..count * 2 {
            let weights: [f64; 4] = std::array::from_fn(|bit| weight(group * 4 + bit));
            let mut worst = 0.0f64;
            for pattern in 0u32..16 {
                let agrees = |bit: usize| (pattern >> bit & 1 == 1) == (weights[bit] >= 0.0);
                let value: f64 = (0..4).filter(|bit| agrees(*bit)).map(|bit| 2.0 * weights[bit].abs()).sum();
                let entry = (value / step + 0.5) as u8;
                worst = worst.max((f64::from(entry) * step - value).abs());
                entries.push(entry);
            }
            error += worst;
        }
        let floor = -(0..values.len()).map(|index| weight(index).abs()).sum::<f64>();
        Tables { entries, step, floor, error }
    }
}
