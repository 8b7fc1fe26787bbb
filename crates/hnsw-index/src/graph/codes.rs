//! Distances by the codes of [`Rows`](crate::Rows): what a graph is built and searched with.

use super::Distances;
use crate::{Codes, Metric, Query};
use std::hint::black_box;

/// Read access to rows, as distances. A row's distance is its estimated similarity, negated: that is exact, whatever the
/// metric and however large the numbers.
///
/// While it lives, the rows' blocks are locked for reading: make one for each search or plan, and drop it before asking
/// the rows anything else (see [`Codes`]).
#[derive(Debug)]
pub struct ByCodes<'a> {
    codes: Codes<'a>,
    metric: Metric,
}

impl<'a> ByCodes<'a> {
    /// Distances under a metric, which is that of the queries.
    #[must_use]
    pub fn new(codes: Codes<'a>, metric: Metric) -> Self {
        Self { codes, metric }
    }

    /// Whether a row is live: what a search may ask in `accept` while this is held.
    #[must_use]
    pub fn is_live(&self, row: u32) -> bool {
        self.codes.is_live(row)
    }

    /// Whether a row is there to be looked at; it need not be live.
    #[inline]
    fn is_there(&self, row: u32) -> bool {
        u64::from(row) < self.codes.capacity_rows()
    }
}

impl Distances for ByCodes<'_> {
    type Query = Query;

    #[inline]
    fn to_query(&self, query: &Query, row: u32) -> f32 {
        if self.is_there(row) { -self.codes.score(query, row) } else { f32::INFINITY }
    }

    #[inline]
    fn between(&self, a: u32, b: u32) -> f32 {
        if self.is_there(a) && self.is_there(b) { -self.codes.between(self.metric, a, b) } else { f32::INFINITY }
    }

    #[inline]
    fn prefetch(&self, row: u32) {
        if self.is_there(row) {
            self.codes.prefetch(row);
            // A row's scale lies elsewhere than its codes. Nobody waits for what is read here, but it comes nearer.
            black_box(self.codes.int8(row).1);
        }
    }
}
