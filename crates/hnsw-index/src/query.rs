//! A vector to compare rows with.

use crate::bounds::{self, Gauge, Interval, SLACK};
use crate::encoded::{self, Unit};
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
    tables: Vec<u8>,
    gauge: Gauge,
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

    /// The vector itself.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
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
        let unit = Unit::of(kernels, bytes, dimension)?;
        let value = |value: &[u8]| f32::from_le_bytes([value[0], value[1], value[2], value[3]]);
        let values: Vec<f32> = bytes.chunks_exact(4).map(value).collect();
        let mut codes = vec![0; encoded::code_bytes(dimension)];
        let mut bits = vec![0; encoded::bit_bytes(dimension)];
        let residual = unit.quantize(kernels, bytes, &mut codes, &mut bits);
        let (_, square) = (kernels.dot)(&values, bytes);
        let (tables, gauge) = tables(&values, unit.norm);
        Ok(Query {
            metric,
            kernels,
            values,
            norm: unit.norm,
            square,
            codes,
            scale: f64::from(unit.scale),
            residual,
            tables,
            gauge,
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
        &self.tables
    }

    pub(crate) fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// The cosine that a row's bits suggest; the row is `value` along its signs, and as much longer as `alpha` says.
    pub(crate) fn cosine_by_bits(&self, sum: u32, alpha: u16) -> f64 {
        (f64::from(sum) * self.gauge.step + self.gauge.floor) * bounds::UNIT / f64::from(alpha.max(1))
    }

    /// The line of the rows whose [`Query::cosine_by_bits`] is `cosine` or more, roughly.
    pub(crate) fn line_by_bits(&self, cosine: f64) -> Line {
        let step = self.gauge.step;
        Line { alpha: (cosine / step / bounds::UNIT) as f32, beta: 0.0, constant: (-self.gauge.floor / step) as f32 }
    }

    /// The cosine that a row's codes suggest.
    #[inline]
    pub(crate) fn cosine_by_codes(&self, codes: &[i8], scale: f32) -> f64 {
        f64::from((self.kernels.dot_i8)(&self.codes, codes)) * self.scale * f64::from(scale)
    }

    /// The products of this query's codes with those of some rows of a column, to be scaled by [`Query::cosine_of`].
    pub(crate) fn products(&self, codes: &[i8], rows: &[u16], products: &mut Vec<i32>) {
        products.resize(rows.len(), 0);
        (self.kernels.dots_i8)(&self.codes, codes, rows, products);
    }

    /// The cosine that a product of codes stands for, and what it may be off by.
    #[inline(always)]
    pub(crate) fn cosine_of(&self, product: i32, scale: f32, residual: f32) -> (f64, f64) {
        let residual = f64::from(residual);
        (f64::from(product) * self.scale * f64::from(scale), residual + self.residual * (1.0 + residual) + SLACK)
    }

    /// What a cosine that may be off proves of the similarity of a row of length `norm`.
    pub(crate) fn interval(&self, cosine: f64, error: f64, norm: f64) -> Interval {
        bounds::interval(self, cosine, error, norm)
    }
}

/// What four sign bits add to `q·b`, for every four dimensions: sixteen bytes each. Looking up replaces multiplying because one instruction
/// looks up sixty-four rows at once (the idea of Andre, Kermarrec and Le Scouarnec, "Cache locality is not enough", VLDB 2015, for
/// product quantization).
fn tables(values: &[f32], norm: f64) -> (Vec<u8>, Gauge) {
    let factor = 1.0 / (norm * (values.len() as f64).sqrt());
    // What dimension `i` adds to q·b is ±weight; counted from the least, it is 0 or twice the weight.
    let weight = |index: usize| values.get(index).map_or(0.0, |value| f64::from(*value) * factor);
    let count = encoded::bit_bytes(values.len());
    let reach = |first: usize, many: usize| (first..first + many).map(|i| 2.0 * weight(i).abs()).sum::<f64>();
    // Both halves of a byte are added in eight bits, each rounded up by a half at most.
    let step = (0..count).map(|byte| reach(byte * 8, 8)).fold(0.0, f64::max) / 254.0;
    let (mut tables, mut error) = (Vec::with_capacity(count * TABLE_BYTES), SLACK);
    for group in 0..count * 2 {
        let weights: [f64; 4] = std::array::from_fn(|bit| weight(group * 4 + bit));
        let mut worst = 0.0f64;
        for pattern in 0u32..16 {
            let agrees = |bit: usize| (pattern >> bit & 1 == 1) == (weights[bit] >= 0.0);
            let value: f64 = (0..4).filter(|bit| agrees(*bit)).map(|bit| 2.0 * weights[bit].abs()).sum();
            let entry = (value / step + 0.5) as u8;
            worst = worst.max((f64::from(entry) * step - value).abs());
            tables.push(entry);
        }
        error += worst;
    }
    let floor = -(0..values.len()).map(|index| weight(index).abs()).sum::<f64>();
    (tables, Gauge { step, floor, error })
}
