//! Vector spaces: what is fixed when one is created, its rows, its counters.

use super::MeaningError;
use super::feedback::Feedback;
use super::graph::SpaceGraph;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use sutra_guard::Guard;
use sutra_hnsw_index::{Candidate, Filter, Metric, Query, Rows};

/// The largest dimension of a space.
pub const DIMENSION_MAX: usize = 16_384;
/// The longest name of a space, in bytes.
pub const SPACE_NAME_BYTES_MAX: usize = 255;
/// The id of the rows of entries that have no vector.
pub(crate) const UNPLACED: u32 = 0;

/// What a space keeps of its vectors beside the codes for the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// The f32 rows: every answer is exact.
    Cascade,
    /// One byte a dimension instead: a quarter of the size, and similarities are those of the rounded vectors.
    Int8Only,
}

impl Quantization {
    /// The word of configuration and commands.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Quantization::Cascade => "cascade",
            Quantization::Int8Only => "int8-only",
        }
    }

    /// The quantisation of a word, in any case.
    #[must_use]
    pub fn parse(word: &[u8]) -> Option<Quantization> {
        [Quantization::Cascade, Quantization::Int8Only]
            .into_iter()
            .find(|quantization| word.eq_ignore_ascii_case(quantization.name().as_bytes()))
    }
}

/// What is fixed when a space is created.
#[derive(Debug, Clone, PartialEq)]
pub struct SpaceOptions {
    /// Components of a vector, 1 to [`DIMENSION_MAX`].
    pub dimension: usize,
    /// How two vectors are compared.
    pub metric: Metric,
    /// Who makes vectors of its texts; empty: clients bring vectors.
    pub embedder: String,
    /// What is kept of a vector.
    pub quantization: Quantization,
    /// Which facts of two questions must agree for one's answer to serve the other.
    pub guard: Guard,
}

/// Counters of a space that only grow.
#[derive(Debug, Default)]
pub struct SpaceCounters {
    /// Lookups that found an entry.
    pub hits: AtomicU64,
    /// Lookups that found none.
    pub misses: AtomicU64,
    /// Of these, lookups for which a guard refused the only candidates.
    pub guarded: AtomicU64,
    /// Entries removed by invalidations.
    pub invalidated: AtomicU64,
    /// What the hits would have cost to compute, in millionths of a dollar.
    pub cost_saved_micro_usd: AtomicU64,
    /// Embeddings of the space's model that were found by their texts.
    pub embedding_hits: AtomicU64,
    /// Embeddings that were not.
    pub embedding_misses: AtomicU64,
    /// What those found would have cost to compute, in millionths of a dollar.
    pub embedding_saved_micro_usd: AtomicU64,
}

impl SpaceCounters {
    /// Counts embeddings that were asked for by their texts.
    pub fn embeddings(&self, hits: u64, misses: u64, saved_micro_usd: u64) {
        self.embedding_hits.fetch_add(hits, Ordering::Relaxed);
        self.embedding_misses.fetch_add(misses, Ordering::Relaxed);
        self.embedding_saved_micro_usd.fetch_add(saved_micro_usd, Ordering::Relaxed);
    }

    /// Counts a hit on an entry of this cost, in dollars.
    pub fn hit(&self, cost_usd: Option<f32>) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        if let Some(cost) = cost_usd {
            self.cost_saved_micro_usd.fetch_add((f64::from(cost.max(0.0)) * 1e6).round() as u64, Ordering::Relaxed);
        }
    }
}

/// One vector space.
pub struct Space {
    id: u32,
    name: Box<[u8]>,
    options: SpaceOptions,
    pub(crate) rows: Rows,
    /// Counters of its lookups.
    pub counters: SpaceCounters,
    pub(crate) feedback: Mutex<Feedback>,
    pub(super) graph: SpaceGraph,
}

impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Space").field("id", &self.id).field("options", &self.options).finish_non_exhaustive()
    }
}

impl Space {
    pub(crate) fn new(id: u32, name: &[u8], options: SpaceOptions, rows: Rows) -> Space {
        let (counters, feedback, graph) = (SpaceCounters::default(), Mutex::default(), SpaceGraph::default());
        Space { id, name: name.into(), options, rows, counters, feedback, graph }
    }

    /// The number by which records name it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// What was fixed when it was created.
    #[must_use]
    pub fn options(&self) -> &SpaceOptions {
        &self.options
    }

    /// Components of a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.options.dimension
    }

    /// Entries with a vector here, those included that have expired and are not yet removed.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.rows.len()).unwrap_or(usize::MAX)
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of codes and row data; the vectors themselves are in the entries' records.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.rows.memory_bytes() + self.graph.memory_bytes()
    }

    /// A vector to compare with, given as little-endian f32.
    ///
    /// # Errors
    /// [`MeaningError::Vector`] if it has another dimension than the space, holds NaN or infinity, or is of length zero where that has no
    /// direction.
    pub fn query(&self, vector: &[u8]) -> Result<Query, MeaningError> {
        Query::new(self.options.metric, vector, self.options.dimension).map_err(|error| self.refuse(error))
    }

    /// Rows in the graph, if there is one.
    #[must_use]
    pub fn graph_rows(&self) -> u64 {
        self.graph.rows()
    }

    /// Calls with every live row that passes the filter, holding no lock.
    pub(crate) fn each_row(&self, filter: &Filter, mut visit: impl FnMut(&Candidate)) {
        let _ = self.rows.each(filter, &mut |candidate| {
            visit(candidate);
            ControlFlow::Continue(())
        });
    }

    /// Calls with every live row that passes the filter and may be at least `min` similar, holding no lock.
    pub(crate) fn each_row_near(&self, query: &Query, min: f32, filter: &Filter, mut visit: impl FnMut(&Candidate)) {
        let _ = self.rows.range(query, min, filter, &mut |candidate| {
            visit(candidate);
            ControlFlow::Continue(())
        });
    }

    pub(crate) fn refuse(&self, error: sutra_hnsw_index::VectorError) -> MeaningError {
        MeaningError::Vector { space: String::from_utf8_lossy(&self.name).into_owned(), error }
    }

    /// Whether what a caller takes for granted is so.
    pub(crate) fn agrees(&self, wanted: &SpaceOptions) -> Result<(), MeaningError> {
        let mismatch = |what, got: String, expected: String| {
            Err(MeaningError::Mismatch { space: String::from_utf8_lossy(&self.name).into_owned(), what, got, expected })
        };
        let own = &self.options;
        if own.dimension != wanted.dimension {
            return mismatch("dimensions", wanted.dimension.to_string(), own.dimension.to_string());
        }
        if own.embedder != wanted.embedder && !wanted.embedder.is_empty() {
            let own = if own.embedder.is_empty() { "none (clients bring the vectors)" } else { &own.embedder };
            return mismatch("embedder", wanted.embedder.clone(), own.to_owned());
        }
        Ok(())
    }

    /// The description that the log, checkpoints and exports keep; see `docs/formats/frame-body.md`.
    #[must_use]
    pub fn describe(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let metric = match self.options.metric {
            Metric::Cosine => 0,
            Metric::InnerProduct => 1,
            Metric::Euclidean => 2,
        };
        let quantization = match self.options.quantization {
            Quantization::Cascade => 0,
            Quantization::Int8Only => 1,
        };
        let guard = &self.options.guard;
        let guards = [guard.numbers, guard.dates, guard.ids, guard.negation];
        let bits = guards.iter().enumerate().fold(0u8, |bits, (at, set)| bits | u8::from(*set) << at);
        out.extend_from_slice(&[1, metric, quantization, bits]);
        out.extend_from_slice(&(self.options.dimension as u32).to_le_bytes());
        for text in [&self.name[..], self.options.embedder.as_bytes()] {
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
            out.extend_from_slice(text);
        }
        out
    }

    /// Name and options of a description; `None` if it is of another version or malformed.
    #[must_use]
    pub fn understand(description: &[u8]) -> Option<(Vec<u8>, SpaceOptions)> {
        let (&[version, metric, quantization, guards], rest) = description.split_first_chunk::<4>()?;
        let (dimension, mut rest) = rest.split_first_chunk::<4>()?;
        let mut text = || {
            let (bytes, tail) = rest.split_first_chunk::<4>()?;
            let (text, tail) = tail.split_at_checked(u32::from_le_bytes(*bytes) as usize)?;
            rest = tail;
            Some(text.to_vec())
        };
        let (name, embedder) = (text()?, String::from_utf8(text()?).ok()?);
        let metric = match metric {
            0 => Metric::Cosine,
            1 => Metric::InnerProduct,
            2 => Metric::Euclidean,
            _ => return None,
        };
        let quantization = match quantization {
            0 => Quantization::Cascade,
            1 => Quantization::Int8Only,
            _ => return None,
        };
        let has = |bit: u8| guards & 1 << bit != 0;
        let guard = Guard { numbers: has(0), dates: has(1), ids: has(2), negation: has(3) };
        let dimension = u32::from_le_bytes(*dimension) as usize;
        let sound = version == 1 && (1..=DIMENSION_MAX).contains(&dimension);
        sound.then_some((name, SpaceOptions { dimension, metric, embedder, quantization, guard }))
    }
}

/// The spaces by name and by id. Ids are never used twice.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    by_id: HashMap<u32, Arc<Space>>,
    by_name: HashMap<Box<[u8]>, u32>,
    last_id: u32,
}

impl Registry {
    pub(crate) fn by_id(&self, id: u32) -> Option<&Arc<Space>> {
        self.by_id.get(&id)
    }

    pub(crate) fn by_name(&self, name: &[u8]) -> Option<&Arc<Space>> {
        self.by_id.get(self.by_name.get(name)?)
    }

    /// All but the rows without vectors, by id.
    pub(crate) fn named(&self) -> Vec<Arc<Space>> {
        let mut spaces: Vec<Arc<Space>> = self.by_name.values().filter_map(|id| self.by_id.get(id).cloned()).collect();
        spaces.sort_by_key(|space| space.id);
        spaces
    }

    /// All, those without vectors included.
    pub(crate) fn all(&self) -> Vec<Arc<Space>> {
        let mut spaces: Vec<Arc<Space>> = self.by_id.values().cloned().collect();
        spaces.sort_by_key(|space| space.id);
        spaces
    }

    pub(crate) fn next_id(&self) -> u32 {
        self.last_id + 1
    }

    pub(crate) fn insert(&mut self, space: Arc<Space>) {
        self.last_id = self.last_id.max(space.id);
        if space.id != UNPLACED {
            self.by_name.insert(space.name.clone(), space.id);
        }
        self.by_id.insert(space.id, space);
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<Arc<Space>> {
        self.last_id = self.last_id.max(id);
        let space = self.by_id.remove(&id)?;
        if self.by_name.get(&space.name) == Some(&id) {
            self.by_name.remove(&space.name);
        }
        Some(space)
    }
}
