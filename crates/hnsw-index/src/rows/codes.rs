//! Direct looks at codes, for a graph that compares many rows with each other.

use std::sync::RwLockReadGuard;

use crate::bounds;
use crate::kernel::{Kernels, prefetch};
use crate::metric::Metric;
use crate::query::Query;
use crate::rows::page::Page;
use crate::rows::{Rows, block_of, within};

/// Read access to the codes of all rows that there were when it was made. Writers wait while it lives, so it lives as long as one search;
/// and a thread that holds one must not call other methods of the same [`Rows`], since behind a waiting writer those would wait for ever.
#[derive(Debug)]
pub struct Codes<'a> {
    kernels: &'static Kernels,
    pages: Vec<RwLockReadGuard<'a, Page>>,
}

impl Rows {
    /// Read access to all rows at once.
    #[must_use]
    pub fn read_all(&self) -> Codes<'_> {
        Codes { kernels: Kernels::get(), pages: self.blocks.iter().map(|(_, block)| block.read()).collect() }
    }
}

impl Codes<'_> {
    /// How many rows can be looked at.
    #[must_use]
    pub fn capacity_rows(&self) -> u64 {
        (self.pages.len() * super::BLOCK_ROWS) as u64
    }

    /// Whether a row is live.
    #[must_use]
    pub fn is_live(&self, row: u32) -> bool {
        self.pages.get(block_of(row)).is_some_and(|page| page.is_live(within(row)))
    }

    /// A row's codes (whole cache lines, zeros behind the last dimension) and the length of one step: their product is about the vector at unit
    /// length. Of a row that is not live, whatever was there.
    ///
    /// # Panics
    /// If the row is beyond [`Codes::capacity_rows`].
    #[must_use]
    #[inline]
    pub fn int8(&self, row: u32) -> (&[i8], f32) {
        let page = &self.pages[block_of(row)];
        (page.codes(within(row)), page.scale(within(row)))
    }

    /// About what [`Query::similarity`] of the row is.
    ///
    /// # Panics
    /// If the row is beyond [`Codes::capacity_rows`], or the query of another dimension.
    #[must_use]
    #[inline]
    pub fn score(&self, query: &Query, row: u32) -> f32 {
        let page = &self.pages[block_of(row)];
        let row = within(row);
        assert_eq!(query.dimension(), page.layout().dimension, "dimensions of a query");
        let cosine = query.cosine_by_codes(page.codes(row), page.scale(row));
        match query.metric() {
            Metric::Cosine => cosine as f32,
            metric @ (Metric::InnerProduct | Metric::Euclidean) => {
                bounds::estimate(metric, cosine, query.norm(), page.norm(row))
            }
        }
    }

    /// About how similar two rows are.
    ///
    /// # Panics
    /// If a row is beyond [`Codes::capacity_rows`].
    #[must_use]
    #[inline]
    pub fn between(&self, metric: Metric, a: u32, b: u32) -> f32 {
        let ((a_codes, a_scale), (b_codes, b_scale)) = (self.int8(a), self.int8(b));
        let cosine = f64::from((self.kernels.dot_i8)(a_codes, b_codes)) * f64::from(a_scale) * f64::from(b_scale);
        match metric {
            Metric::Cosine => cosine as f32,
            Metric::InnerProduct | Metric::Euclidean => {
                let norm = |row: u32| self.pages[block_of(row)].norm(within(row));
                bounds::estimate(metric, cosine, norm(a), norm(b))
            }
        }
    }

    /// Asks for a row's codes ahead of use. Only a hint: nothing happens for a row that is not there.
    #[inline]
    pub fn prefetch(&self, row: u32) {
        if let Some(page) = self.pages.get(block_of(row)) {
            prefetch(page.codes(within(row)));
        }
    }
}
