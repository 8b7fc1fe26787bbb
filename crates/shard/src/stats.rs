//! Numbers about the shard, for INFO, metrics and tests.

use crate::api::DatabaseStats;
use crate::hash::STRIPES;
use crate::shard::Shard;
use crate::stripe::Stripe;
use crate::txn::Txn;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// Counters since the shard was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Reads that found a live entry.
    pub keyspace_hits: u64,
    /// Reads that did not.
    pub keyspace_misses: u64,
    /// Entries removed because they had expired.
    pub expired: u64,
    /// Entries evicted for memory.
    pub evicted_memory: u64,
    /// Entries evicted because there were too many.
    pub evicted_entries: u64,
    /// Entries dropped because they were damaged.
    pub damaged: u64,
    /// Groups of segments merged.
    pub merges: u64,
    /// Bytes of records that merges rewrote.
    pub merged_bytes: u64,
    /// Bytes of records appended by commands.
    pub appended_bytes: u64,
}

/// Where the memory is, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryReport {
    /// The limit.
    pub max_bytes: u64,
    /// Segments, free ones included: what is mapped.
    pub segment_bytes: u64,
    /// Live records in segments.
    pub live_bytes: u64,
    /// Dead bytes in segments.
    pub dead_bytes: u64,
    /// Slot tables.
    pub index_bytes: u64,
    /// Heap values.
    pub heap_bytes: u64,
    /// The log's buffers.
    pub log_buffer_bytes: u64,
    /// Codes, rows and graphs of spaces, and what is kept to undo invalidations.
    pub meaning_bytes: u64,
    /// Who is told of changes of which keys.
    pub tracking_bytes: u64,
    /// What remembers evicted entries.
    pub ghost_bytes: u64,
    /// What the embedding program reported (client buffers).
    pub outside_bytes: u64,
}

impl MemoryReport {
    /// What counts against the limit: everything but dead and free bytes, which come back before anything is evicted.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.live_bytes
            + self.index_bytes
            + self.heap_bytes
            + self.meaning_bytes
            + self.tracking_bytes
            + self.log_buffer_bytes
            + self.ghost_bytes
            + self.outside_bytes
    }
}

/// How durable the state is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PersistenceReport {
    /// Whether there is a log.
    pub log: bool,
    /// The last LSN given.
    pub last_lsn: u64,
    /// The last LSN written to the file.
    pub written_lsn: u64,
    /// The last LSN that survives power loss.
    pub durable_lsn: u64,
    /// Bytes of log since the last checkpoint.
    pub log_bytes: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// When the last one was, in Unix milliseconds; 0: none yet.
    pub last_checkpoint_ms: u64,
    /// Whether the last one failed.
    pub checkpoint_failed: bool,
    /// Syncs done.
    pub syncs: u64,
    /// Why writes are refused, if they are.
    pub failure: Option<String>,
    /// Segments whose records are not all verified yet after a restart.
    pub unverified_segments: u64,
}

impl ShardStats {
    fn add_stripe(&mut self, stripe: &Stripe) {
        self.keyspace_hits += stripe.hits.get();
        self.keyspace_misses += stripe.misses.get();
        self.appended_bytes += stripe.appended_bytes.get();
    }
}

fn reset_stripe(stripe: &Stripe) {
    stripe.hits.set(0);
    stripe.misses.set(0);
}

/// The same numbers within a transaction, for commands that may be part of a larger one: asking the shard there would wait for locks that
/// the transaction itself holds. All need [`Scope::All`](crate::Scope::All).
impl Txn<'_> {
    /// [`Shard::stats`].
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        let mut stats = self.shard.tallied();
        (0..STRIPES).for_each(|stripe| stats.add_stripe(self.stripe(stripe as u8)));
        stats
    }

    /// [`Shard::reset_stats`].
    pub fn reset_stats(&self) {
        (0..STRIPES).for_each(|stripe| reset_stripe(self.stripe(stripe as u8)));
        self.shard.reset_tally();
    }

    /// [`Shard::database_stats`].
    #[must_use]
    pub fn database_stats(&self, db: u8) -> DatabaseStats {
        let mut stats = DatabaseStats::default();
        for stripe in 0..STRIPES {
            if let Some(database) = self.stripe(stripe as u8).database(db) {
                stats.keys += database.table.len() as u64;
                stats.expires += database.expires;
            }
        }
        stats
    }
}

impl Shard {
    /// Entries of all databases.
    #[must_use]
    pub fn entries(&self) -> u64 {
        u64::try_from(self.entries.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        let mut stats = self.tallied();
        (0..STRIPES).for_each(|stripe| stats.add_stripe(&self.lock(stripe as u8)));
        stats
    }

    /// Sets the counters of hits, misses, expirations and evictions to zero (CONFIG RESETSTAT).
    pub fn reset_stats(&self) {
        (0..STRIPES).for_each(|stripe| reset_stripe(&self.lock(stripe as u8)));
        self.reset_tally();
    }

    fn tallied(&self) -> ShardStats {
        ShardStats {
            expired: self.tally.expired.load(Ordering::Relaxed),
            evicted_memory: self.tally.evicted_memory.load(Ordering::Relaxed),
            evicted_entries: self.tally.evicted_entries.load(Ordering::Relaxed),
            damaged: self.tally.damaged.load(Ordering::Relaxed),
            merges: self.tally.merges.load(Ordering::Relaxed),
            merged_bytes: self.tally.merged_bytes.load(Ordering::Relaxed),
            ..ShardStats::default()
        }
    }

    fn reset_tally(&self) {
        for counter in [&self.tally.expired, &self.tally.evicted_memory, &self.tally.evicted_entries] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Where the memory is.
    #[must_use]
    pub fn memory(&self) -> MemoryReport {
        MemoryReport {
            max_bytes: self.max_memory.load(Ordering::Relaxed),
            segment_bytes: self.store.bytes_mapped(),
            live_bytes: self.store.live_bytes(),
            dead_bytes: self.store.dead_bytes(),
            index_bytes: u64::try_from(self.index_bytes.load(Ordering::Relaxed)).unwrap_or(0),
            heap_bytes: self.heap_bytes.load(Ordering::Relaxed),
            log_buffer_bytes: self.log.as_ref().map_or(0, |log| log.buffered_bytes() as u64),
            meaning_bytes: self.meaning_bytes(),
            tracking_bytes: self.tracking.bytes(),
            ghost_bytes: self.ghosts.lock().unwrap_or_else(PoisonError::into_inner).bytes() as u64,
            outside_bytes: self.outside_bytes.load(Ordering::Relaxed),
        }
    }

    /// How durable the state is.
    #[must_use]
    pub fn persistence(&self) -> PersistenceReport {
        let mut report = PersistenceReport {
            log: self.log.is_some(),
            checkpoints: self.tally.checkpoints.load(Ordering::Relaxed),
            last_checkpoint_ms: self.tally.last_checkpoint_ms.load(Ordering::Relaxed),
            checkpoint_failed: self.tally.checkpoint_failed.load(Ordering::Relaxed),
            syncs: self.tally.syncs.load(Ordering::Relaxed),
            failure: self.failure(),
            unverified_segments: self.store.segments().iter().filter(|segment| !segment.verified).count() as u64,
            ..PersistenceReport::default()
        };
        if let Some(log) = &self.log {
            report.last_lsn = log.last().0;
            report.written_lsn = log.written().0;
            report.durable_lsn = log.durable().0;
            report.log_bytes = log.bytes();
        }
        report
    }
}
