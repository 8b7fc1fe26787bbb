//! Scans: one block's lock at a time, and none while the caller is told what was found.

use std::ops::ControlFlow;

use crate::bounds::Threshold;
use crate::kernel::{Line, TILE_ROWS, Tile};
use crate::query::Query;
use crate::rows::candidate::Candidate;
use crate::rows::filter::Filter;
use crate::rows::layout::BLOCK_TILES;
use crate::rows::page::Page;
use crate::rows::{Rows, row_number};

impl Rows {
    /// Visits every row whose similarity may be `min` or more, until the visitor breaks off. A row that was live, and did not change,
    /// from the call to the return is visited exactly if its bounds allow it; so none that meets the threshold is missed. Rows that are
    /// written meanwhile may be visited or not. No lock is held during a visit.
    ///
    /// Without vectors (dimension 0) every row is visited, with the whole range as its bounds.
    ///
    /// # Panics
    /// If the query is of another dimension.
    pub fn range(
        &self,
        query: &Query,
        min: f32,
        filter: &Filter,
        visit: &mut dyn FnMut(&Candidate) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if self.layout.dimension == 0 {
            return self.each(filter, visit);
        }
        self.assert_comparable(query);
        let pass = Pass::new(query, min);
        let (mut found, mut survivors, mut products) = (Vec::new(), Vec::new(), Vec::new());
        for (index, block) in self.blocks.iter() {
            {
                let page = block.read();
                survivors.clear();
                pass.survivors(&page, filter, &mut survivors);
                pass.prove(&page, index, &survivors, &mut products, &mut found);
            }
            found.drain(..).try_for_each(|candidate| visit(&candidate))?;
        }
        ControlFlow::Continue(())
    }

    /// Visits every row that passes the filter, until the visitor breaks off; otherwise as [`Rows::range`].
    pub fn each(&self, filter: &Filter, visit: &mut dyn FnMut(&Candidate) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut found = Vec::new();
        for (index, block) in self.blocks.iter() {
            {
                let page = block.read();
                for tile in 0..BLOCK_TILES {
                    for row in rows_of(tile, passing_filter(&page, tile, filter)) {
                        found.push(Candidate {
                            row: row_number(index, row),
                            side: page.side(row),
                            lower: f32::NEG_INFINITY,
                            upper: f32::INFINITY,
                        });
                    }
                }
            }
            found.drain(..).try_for_each(|candidate| visit(&candidate))?;
        }
        ControlFlow::Continue(())
    }

    pub(super) fn assert_comparable(&self, query: &Query) {
        assert_eq!(query.dimension(), self.layout.dimension, "dimensions of a query");
    }
}

/// One threshold, ready to be held against blocks.
pub(super) struct Pass<'q> {
    query: &'q Query,
    min: f32,
    threshold: Threshold,
    /// The line of all rows, where it does not depend on their length.
    line: Option<Line>,
}

impl<'q> Pass<'q> {
    pub(super) fn new(query: &'q Query, min: f32) -> Pass<'q> {
        let threshold = Threshold::new(query, min);
        let line = threshold.of_all_rows().map(|cosine| query.gauge().line(cosine));
        Pass { query, min, threshold, line }
    }

    /// The rows of a block that their bits do not rule out.
    pub(super) fn survivors(&self, page: &Page, filter: &Filter, survivors: &mut Vec<u16>) {
        let kernels = self.query.kernels();
        let mut sums = [0; TILE_ROWS];
        for tile in 0..BLOCK_TILES {
            let mask = passing_filter(page, tile, filter);
            if mask == 0 {
                continue;
            }
            (kernels.sums)(page.bits(tile), self.query.tables(), &mut sums);
            let reached = match self.line {
                Some(line) => (kernels.passing)(&sums, page.alphas(tile), page.betas(tile), line),
                None => {
                    let (alphas, betas, norms) = (page.alphas(tile), page.betas(tile), page.norms(tile));
                    let tile = Tile { sums: &sums, alphas, betas, norms };
                    (kernels.passing_by_length)(&tile, &self.threshold, self.query.gauge())
                }
            };
            survivors.extend(rows_of(tile, mask & reached).map(|row| row as u16));
        }
    }

    /// Bounds for rows by their codes. Those that may meet the threshold are candidates.
    pub(super) fn prove(
        &self,
        page: &Page,
        block: usize,
        rows: &[u16],
        products: &mut Vec<i32>,
        found: &mut Vec<Candidate>,
    ) {
        self.query.products(page.all_codes(), rows, products);
        let steps = page.steps();
        for (row, product) in rows.iter().zip(products) {
            let row = usize::from(*row);
            let [scale, residual] = steps[row];
            let (cosine, error) = self.query.cosine_of(*product, scale, residual);
            // Most rows end here; where lengths do not matter, that of the row need not be fetched.
            let least =
                if self.line.is_some() { self.threshold.constant } else { self.threshold.cosine(page.norm(row)) };
            if cosine + error < least {
                continue;
            }
            let bounds = self.query.interval(cosine, error, page.norm(row));
            if bounds.upper >= self.min {
                let row_number = row_number(block, row);
                found.push(Candidate {
                    row: row_number,
                    side: page.side(row),
                    lower: bounds.lower,
                    upper: bounds.upper,
                });
            }
        }
    }
}

/// The live rows of a tile that pass a filter.
pub(super) fn passing_filter(page: &Page, tile: usize, filter: &Filter) -> u64 {
    let live = page.live(tile);
    if live == 0 || *filter == Filter::default() {
        return live;
    }
    filter.narrow(live, page.signatures(tile), page.written(tile), page.stamps(tile))
}

/// The rows of a tile's mask, as places in the block.
pub(super) fn rows_of(tile: usize, mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let row = mask.trailing_zeros() as usize;
        mask &= mask.checked_sub(1)?;
        Some(tile * TILE_ROWS + row)
    })
}
