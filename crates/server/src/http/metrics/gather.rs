//! What a scrape looks at, each thing once. All of it is counted already: nothing here walks over entries, and no lock is held for longer
//! than it takes to copy a few numbers.

use super::operation::{self, Operation, OperationFigures};
use super::spaces::SpaceFigures;
use crate::server::{RecoveryReport, Server};
use crate::statistics::{Counter, Worker};
use std::collections::BTreeMap;
use sutra_embed::{Embedder, HttpStats};
use sutra_shard::{MeaningStats, MemoryReport, PersistenceReport, ShardStats};

/// Everything that metrics and statistics are made of.
pub(crate) struct Facts<'s> {
    pub(crate) server: &'s Server,
    pub(crate) memory: MemoryReport,
    pub(crate) persistence: PersistenceReport,
    pub(crate) stats: ShardStats,
    pub(crate) meaning: MeaningStats,
    /// Rows in graphs, and those still to come.
    pub(super) graph_rows: (u64, u64),
    /// By label.
    pub(crate) spaces: BTreeMap<String, SpaceFigures>,
    pub(super) operations: [OperationFigures; Operation::ALL.len()],
    pub(super) embedder: Option<HttpStats>,
}

impl<'s> Facts<'s> {
    pub(crate) fn of(server: &'s Server) -> Facts<'s> {
        let shard = &server.shard;
        let spaces = shard.spaces();
        Facts {
            server,
            memory: shard.memory(),
            persistence: shard.persistence(),
            stats: shard.stats(),
            meaning: shard.meaning_stats(),
            graph_rows: shard.graph_rows(),
            spaces: server.spaces_gone.look(spaces.iter().map(|space| &**space)),
            operations: operation::figures(server),
            embedder: server.embedding.embedder().and_then(Embedder::http_stats),
        }
    }

    /// Reads that found an entry, by key or by meaning.
    pub(crate) fn hits(&self) -> u64 {
        self.stats.keyspace_hits + self.spaces.values().map(|space| space.hits).sum::<u64>()
    }

    /// Reads that found none.
    pub(crate) fn misses(&self) -> u64 {
        self.stats.keyspace_misses + self.spaces.values().map(|space| space.misses).sum::<u64>()
    }

    /// What reads by key have saved.
    pub(crate) fn saved_by_key_micro_usd(&self) -> u64 {
        self.of_workers(|worker| &worker.native.saved_micro_usd)
    }

    /// A counter of all threads.
    pub(crate) fn of_workers(&self, counter: fn(&Worker) -> &Counter) -> u64 {
        self.server.workers().iter().map(|worker| counter(worker).value()).sum()
    }

    /// Of the last start; 0 if it found nothing to recover.
    pub(super) fn recovery(&self, number: fn(&RecoveryReport) -> u64) -> u64 {
        self.server.recovery.as_ref().map_or(0, number)
    }

    /// Bytes that count against the limit, by kind.
    pub(crate) fn memory_kinds(&self) -> [(&'static str, u64); 9] {
        [
            ("records", self.memory.live_bytes),
            ("slots", self.memory.index_bytes),
            ("heap_values", self.memory.heap_bytes),
            ("vector_index", self.meaning.index_bytes),
            ("undo", self.meaning.undo_bytes),
            ("log_buffers", self.memory.log_buffer_bytes),
            ("ghosts", self.memory.ghost_bytes),
            ("tracked_keys", self.memory.tracking_bytes),
            ("client_buffers", self.memory.outside_bytes),
        ]
    }
}
