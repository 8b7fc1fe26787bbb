//! Looks at the codes of one row or two, each with a lock of its own: for whoever works so long that writers must not wait for the end.

use crate::bounds;
use crate::kernel::{Kernels, prefetch};
use crate::metric::Metric;
use crate::query::Query;
use crate::rows::page::Page;
use crate::rows::{Rows, block_of, within};

impl Rows {
    /// About what [`Query::similarity`] of a row is; `None` if there is no such row. Of a row that is not live, whatever was there.
    ///
    /// # Panics
    /// If the query is of another dimension.
    #[must_use]
    #[inline]
    pub fn score(&self, query: &Query, row: u32) -> Option<f32> {
        let page = self.blocks.get(block_of(row))?.read();
        let row = within(row);
        assert_eq!(query.dimension(), page.layout().dimension, "dimensions of a query");
        let cosine = query.cosine_by_codes(page.codes(row), page.scale(row));
        Some(match query.metric() {
            Metric::Cosine => cosine as f32,
            metric @ (Metric::InnerProduct | Metric::Euclidean) => {
                bounds::estimate(metric, cosine, query.norm(), page.norm(row))
            }
        })
    }

    /// About how similar two rows are; `None` if either does not exist.
    #[must_use]
    #[inline]
    pub fn between(&self, metric: Metric, a: u32, b: u32) -> Option<f32> {
        // In one order, and a lock is taken once only: behind a waiting writer a second one would wait for ever.
        let (a, b) = (a.min(b), a.max(b));
        let first = self.blocks.get(block_of(a))?.read();
        if block_of(a) == block_of(b) {
            return Some(compare(metric, (&first, a), (&first, b)));
        }
        let second = self.blocks.get(block_of(b))?.read();
        Some(compare(metric, (&first, a), (&second, b)))
    }

    /// Asks for a row's codes ahead of use, unless its block is being written. Only a hint.
    #[inline]
    pub fn prefetch(&self, row: u32) {
        if let Some(page) = self.blocks.get(block_of(row)).and_then(|block| block.try_read()) {
            prefetch(page.codes(within(row)));
        }
    }

    /// Whether a row is live.
    #[must_use]
    pub fn is_live(&self, row: u32) -> bool {
        self.blocks.get(block_of(row)).is_some_and(|block| block.read().is_live(within(row)))
    }
}

#[inline]
fn compare(metric: Metric, (a_page, a): (&Page, u32), (b_page, b): (&Page, u32)) -> f32 {
    let (a, b) = (within(a), within(b));
    let product = (Kernels::get().dot_i8)(a_page.codes(a), b_page.codes(b));
    let cosine = f64::from(product) * f64::from(a_page.scale(a)) * f64::from(b_page.scale(b));
    match metric {
        Metric::Cosine => cosine as f32,
        Metric::InnerProduct | Metric::Euclidean => bounds::estimate(metric, cosine, a_page.norm(a), b_page.norm(b)),
    }
}
