//! Distances by the codes of [`Rows`] without holding a lock in between: what a graph is built with while others write.

use super::Distances;
use crate::{Metric, Query, Rows};

/// Rows as distances: a row's distance is its estimated similarity, negated. Each comparison takes its own lock, so a writer waits for one
/// comparison and not for a whole plan; [`ByCodes`](super::ByCodes) is faster and makes writers wait.
///
/// Rows may change between two comparisons. A graph can stand that: it is never asked to be right.
#[derive(Clone, Copy, Debug)]
pub struct ByRows<'a> {
    rows: &'a Rows,
    metric: Metric,
}

impl<'a> ByRows<'a> {
    /// Distances under a metric, which is that of the queries.
    #[must_use]
    pub fn new(rows: &'a Rows, metric: Metric) -> Self {
        Self { rows, metric }
    }
}

impl Distances for ByRows<'_> {
    type Query = Query;

    #[inline]
    fn to_query(&self, query: &Query, row: u32) -> f32 {
        self.rows.score(query, row).map_or(f32::INFINITY, |similarity| -similarity)
    }

    #[inline]
    fn between(&self, a: u32, b: u32) -> f32 {
        self.rows.between(self.metric, a, b).map_or(f32::INFINITY, |similarity| -similarity)
    }

    #[inline]
    fn prefetch(&self, row: u32) {
        self.rows.prefetch(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{ByCodes, Distances};
    use crate::{Encoded, Side};

    #[test]
    fn distances_are_those_by_codes() {
        let rows = Rows::new(8);
        for n in 0..10u32 {
            let bytes: Vec<u8> = (0..8).flat_map(|i| ((n * 8 + i) as f32).sin().to_le_bytes()).collect();
            rows.insert(Some(&Encoded::new(&bytes, 8).unwrap()), Side::default()).unwrap();
        }
        for metric in [Metric::Cosine, Metric::InnerProduct, Metric::Euclidean] {
            let query = Query::from_values(metric, &[1.0, -1.0, 0.5, 0.0, 0.0, 2.0, 0.0, 1.0], 8).unwrap();
            let singly = ByRows::new(&rows, metric);
            let expected: Vec<(f32, f32)> = {
                let codes = ByCodes::new(rows.read_all(), metric);
                (0..10).map(|row| (codes.to_query(&query, row), codes.between(row, 3))).collect()
            };
            let found: Vec<(f32, f32)> =
                (0..10).map(|row| (singly.to_query(&query, row), singly.between(row, 3))).collect();
            assert_eq!(found, expected);
            assert_eq!(singly.to_query(&query, 1 << 20), f32::INFINITY);
        }
    }
}
