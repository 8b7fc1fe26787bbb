//! The most similar rows, exactly.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::bounds;
use crate::kernel::TILE_ROWS;
use crate::metric::Metric;
use crate::query::Query;
use crate::rows::candidate::{Candidate, Hit};
use crate::rows::filter::Filter;
use crate::rows::layout::BLOCK_TILES;
use crate::rows::page::Page;
use crate::rows::scan::{Pass, passing_filter, rows_of};
use crate::rows::{Rows, block_of, row_number, within};

/// Up to this share of all rows, codes are read without a better threshold being looked for first.
const FEW: u64 = 32;

impl Rows {
    /// The `k` most similar of the rows that pass the filter, that reach `min` if one is given, and that `score` counts: the best first, of
    /// equals the one with the lower number. `score` gives the exact similarity of a candidate, or `None` if it is not to be counted; it is
    /// called without a lock held, at most once for a row and side, and for few more rows than `k`.
    ///
    /// With a `min` that few rows reach this is a range scan, whose candidates are scored in the order of their upper bounds until none can be
    /// better. Otherwise a pass before it finds rows that look best, and what the k-th best of them really is: no row
    /// below that can be among the `k` best, so it is the threshold of the range scan.
    ///
    /// # Panics
    /// If the query is of another dimension.
    pub fn top_k(
        &self,
        query: &Query,
        k: usize,
        min: Option<f32>,
        filter: &Filter,
        score: &mut dyn FnMut(&Candidate) -> Option<f32>,
    ) -> Vec<Hit> {
        self.assert_comparable(query);
        let mut best =
            Best { k, min: min.unwrap_or(f32::NEG_INFINITY), hits: Vec::new(), scored: HashMap::new(), score };
        if k == 0 {
            return best.hits;
        }
        // A threshold that rules out most rows by itself makes the first pass unnecessary.
        let few = min.and_then(|min| self.above(&Pass::new(query, min), filter, self.capacity_rows() / FEW));
        let mut rest = few.unwrap_or_else(|| {
            let everything = Pass::new(query, f32::NEG_INFINITY);
            let mut promising = self.candidates(&everything, self.promising(query, filter, k));
            promising.sort_by(|a, b| b.lower.total_cmp(&a.lower));
            for candidate in &promising {
                best.consider(candidate);
                if best.hits.len() == k {
                    break;
                }
            }
            self.above(&Pass::new(query, best.threshold()), filter, u64::MAX).unwrap_or_default()
        });
        rest.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let pass = Pass::new(query, best.threshold());
        let mut products = Vec::new();
        for (upper, row) in rest {
            if upper < best.threshold() {
                break;
            }
            // Looked at anew: the row may have changed since.
            let page = self.blocks.get(block_of(row)).map(|block| block.read());
            let again = page.filter(|page| page.is_live(within(row)) && filter.passes(&page.side(within(row))));
            let mut now = Vec::new();
            if let Some(page) = again {
                pass.prove(&page, block_of(row), &[within(row) as u16], &mut products, &mut now);
            }
            if let Some(candidate) = now.first() {
                best.consider(candidate);
            }
        }
        best.hits
    }

    /// The rows that may reach a threshold, each with its upper bound; `None` as soon as their bits leave more than `limit` of them.
    fn above(&self, pass: &Pass<'_>, filter: &Filter, limit: u64) -> Option<Vec<(f32, u32)>> {
        let (mut above, mut looked_at) = (Vec::new(), 0);
        let (mut found, mut survivors, mut products) = (Vec::new(), Vec::new(), Vec::new());
        for (index, block) in self.blocks.iter() {
            let page = block.read();
            survivors.clear();
            pass.survivors(&page, filter, &mut survivors);
            looked_at += survivors.len() as u64;
            if looked_at > limit {
                return None;
            }
            pass.prove(&page, index, &survivors, &mut products, &mut found);
            above.extend(found.drain(..).map(|candidate: Candidate| (candidate.upper, candidate.row)));
        }
        Some(above)
    }

    /// Bounds for rows in ascending order.
    fn candidates(&self, pass: &Pass<'_>, rows: Vec<u32>) -> Vec<Candidate> {
        let mut found = Vec::with_capacity(rows.len());
        for same in rows.chunk_by(|a, b| block_of(*a) == block_of(*b)) {
            let Some(block) = self.blocks.get(block_of(same[0])) else { continue };
            let page = block.read();
            let live: Vec<u16> =
                same.iter().map(|row| within(*row)).filter(|row| page.is_live(*row)).map(|row| row as u16).collect();
            pass.prove(&page, block_of(same[0]), &live, &mut Vec::new(), &mut found);
        }
        found
    }

    /// The rows whose bits look most similar, in ascending order: enough that `k` of them are nearly the best.
    fn promising(&self, query: &Query, filter: &Filter, k: usize) -> Vec<u32> {
        let mut top =
            Promising { count: k.saturating_mul(4).clamp(32, 4096).max(k), rows: Vec::new(), least: f32::NEG_INFINITY };
        for (index, block) in self.blocks.iter() {
            let page = block.read();
            for tile in 0..BLOCK_TILES {
                let mask = passing_filter(&page, tile, filter);
                if mask != 0 {
                    top.look(&page, index, tile, mask, query);
                }
            }
        }
        top.cut();
        let mut rows: Vec<u32> = top.rows.into_iter().map(|(_, row)| row).collect();
        rows.sort_unstable();
        rows
    }
}

/// The rows that look best so far, and up to as many again.
struct Promising {
    count: usize,
    rows: Vec<(f32, u32)>,
    /// Rows that look worse are not kept.
    least: f32,
}

impl Promising {
    fn look(&mut self, page: &Page, block: usize, tile: usize, mut mask: u64, query: &Query) {
        let mut sums = [0; TILE_ROWS];
        (query.kernels().sums)(page.bits(tile), query.tables(), &mut sums);
        let (alphas, norms) = (page.alphas(tile), page.norms(tile));
        if query.metric() == Metric::Cosine && self.least > f32::NEG_INFINITY {
            let line = query.line_by_bits(f64::from(self.least));
            mask &= (query.kernels().passing)(&sums, alphas, page.betas(tile), line);
        }
        for row in rows_of(tile, mask) {
            let place = row % TILE_ROWS;
            let cosine = query.cosine_by_bits(sums[place], alphas[place]).clamp(-1.0, 1.0);
            let looks = bounds::estimate(query.metric(), cosine, query.norm(), norms[place]);
            if looks > self.least {
                self.rows.push((looks, row_number(block, row)));
            }
        }
        if self.rows.len() >= self.count * 2 {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.rows.len() > self.count {
            self.rows.select_nth_unstable_by(self.count - 1, |a, b| b.0.total_cmp(&a.0));
            self.rows.truncate(self.count);
            self.least = self.rows[self.count - 1].0;
        }
    }
}

/// The best rows so far, in order.
struct Best<'s> {
    k: usize,
    min: f32,
    hits: Vec<Hit>,
    /// What was scored already. A row that was written anew has another side.
    scored: HashMap<u32, crate::rows::Side>,
    score: &'s mut dyn FnMut(&Candidate) -> Option<f32>,
}

impl Best<'_> {
    /// What a row must reach to be of interest.
    fn threshold(&self) -> f32 {
        match self.hits.last() {
            Some(worst) if self.hits.len() == self.k => worst.similarity.max(self.min),
            Some(_) | None => self.min,
        }
    }

    fn consider(&mut self, candidate: &Candidate) {
        if candidate.upper < self.threshold() || self.scored.get(&candidate.row) == Some(&candidate.side) {
            return;
        }
        if self.scored.insert(candidate.row, candidate.side).is_some() {
            self.hits.retain(|hit| hit.row != candidate.row);
        }
        let similarity = (self.score)(candidate).filter(|similarity| *similarity >= self.min);
        let Some(similarity) = similarity else { return };
        let hit = Hit { row: candidate.row, side: candidate.side, similarity };
        let place = self.hits.partition_point(|other| order(other, &hit) == Ordering::Less);
        self.hits.insert(place, hit);
        self.hits.truncate(self.k);
    }
}

fn order(a: &Hit, b: &Hit) -> Ordering {
    b.similarity.total_cmp(&a.similarity).then(a.row.cmp(&b.row))
}
