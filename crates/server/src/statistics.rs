//! Counters of one worker thread, summed when somebody asks.
//!
//! Only the worker that owns a block writes to it, so a count is a plain load and store, not a locked instruction; readers of
//! other threads see each counter whole, if a moment late.

use crate::slowlog::ErrorCounts;
use std::sync::atomic::{AtomicU64, Ordering};
use sutra_shard::Invalidation;

/// Buckets of a latency histogram: bucket `i` counts calls that took less than 2^i microseconds (and not less than 2^(i-1)).
pub const LATENCY_BUCKETS: usize = 32;

/// A counter that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. To be called by the owning thread only: two writers would lose counts.
    pub fn add(&self, by: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }

    /// Takes away from it; the same rule.
    pub fn subtract(&self, by: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(by), Ordering::Relaxed);
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Starts again at zero (CONFIG RESETSTAT); a count that is added at the same moment may be lost.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// What one worker counted about one command.
#[derive(Debug, Default)]
pub struct CommandCounters {
    /// Calls, exact.
    pub calls: Counter,
    /// Nanoseconds spent; cheap commands are timed one call in sixteen, which then counts for sixteen.
    pub nanoseconds: Counter,
    /// Calls refused before they ran.
    pub rejected: Counter,
    /// Calls that answered an error.
    pub failed: Counter,
    /// Histogram of the timed calls, weighted like `nanoseconds`.
    pub latency: [Counter; LATENCY_BUCKETS],
}

impl CommandCounters {
    /// Notes that a call took so long, standing for `weight` calls.
    pub fn took(&self, elapsed_ns: u64, weight: u64) {
        self.nanoseconds.add(elapsed_ns * weight);
        let bucket = (u64::BITS - (elapsed_ns / 1000).leading_zeros()) as usize;
        self.latency[bucket.min(LATENCY_BUCKETS - 1)].add(weight);
    }
}

/// What one worker counted.
#[derive(Debug)]
pub struct Worker {
    /// By the command's index in the table.
    pub commands: Box<[CommandCounters]>,
    /// Connections accepted.
    pub connections_received: Counter,
    /// Connections refused (maxclients, protected mode).
    pub connections_rejected: Counter,
    /// Bytes read from clients.
    pub input_bytes: Counter,
    /// Bytes written to clients.
    pub output_bytes: Counter,
    /// Bytes in buffers of this worker's clients.
    pub buffer_bytes: Counter,
    /// Bytes in mailboxes of this worker's clients, which any thread may fill.
    pub mail_bytes: AtomicU64,
    /// Error replies by their first word.
    pub errors: ErrorCounts,
    /// Reads of native commands by key.
    pub native: NativeCounters,
}

/// How often native commands found what they were asked for by key. (What is found by meaning is counted by its space.)
#[derive(Debug, Default)]
pub struct NativeCounters {
    /// Reads that found an entry.
    pub hits: Counter,
    /// Reads that found none.
    pub misses: Counter,
    /// What computing the entries that were found would have cost, in millionths of a US dollar.
    pub saved_micro_usd: Counter,
}

impl NativeCounters {
    /// Counts a read that found an entry of this cost.
    pub fn hit(&self, cost_usd: Option<f32>) {
        self.hits.add(1);
        if let Some(cost_usd) = cost_usd {
            self.saved_micro_usd.add((f64::from(cost_usd) * 1e6).round() as u64);
        }
    }

    /// Counts a read that found none.
    pub fn missed(&self) {
        self.misses.add(1);
    }

    fn reset(&self) {
        self.hits.reset();
        self.misses.reset();
        self.saved_micro_usd.reset();
    }
}

/// An invalidation by its narrowest condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidationKind {
    /// By meaning: a vector and a least similarity.
    Meaning,
    /// By tags.
    Tag,
    /// By the version of a source.
    Source,
    /// By a pattern of keys.
    Pattern,
    /// By age.
    Age,
    /// A whole space.
    Generation,
    /// A database, or all.
    Clear,
}

impl InvalidationKind {
    /// All, in the order of their counts.
    pub const ALL: [InvalidationKind; 7] = [
        InvalidationKind::Meaning,
        InvalidationKind::Tag,
        InvalidationKind::Source,
        InvalidationKind::Pattern,
        InvalidationKind::Age,
        InvalidationKind::Generation,
        InvalidationKind::Clear,
    ];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            InvalidationKind::Meaning => "meaning",
            InvalidationKind::Tag => "tag",
            InvalidationKind::Source => "source",
            InvalidationKind::Pattern => "pattern",
            InvalidationKind::Age => "age",
            InvalidationKind::Generation => "generation",
            InvalidationKind::Clear => "clear",
        }
    }

    /// The kind of an invalidation with these conditions.
    #[must_use]
    pub fn of(invalidation: &Invalidation<'_>) -> InvalidationKind {
        if invalidation.meaning.is_some() {
            InvalidationKind::Meaning
        } else if invalidation.dep.is_some() {
            InvalidationKind::Source
        } else if !invalidation.tags.is_empty() {
            InvalidationKind::Tag
        } else if invalidation.glob.is_some() {
            InvalidationKind::Pattern
        } else if invalidation.older_ms.is_some() {
            InvalidationKind::Age
        } else {
            InvalidationKind::Generation
        }
    }
}

/// How many invalidations there were of each kind. They are rare: any thread may count.
#[derive(Debug, Default)]
pub struct InvalidationCounts([AtomicU64; InvalidationKind::ALL.len()]);

impl InvalidationCounts {
    /// Counts one.
    pub fn count(&self, kind: InvalidationKind) {
        self.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were of this kind.
    #[must_use]
    pub fn value(&self, kind: InvalidationKind) -> u64 {
        self.0[kind as usize].load(Ordering::Relaxed)
    }
}

impl Worker {
    /// A block for a table of so many commands.
    #[must_use]
    pub fn new(commands: usize) -> Worker {
        Worker {
            commands: (0..commands).map(|_| CommandCounters::default()).collect(),
            connections_received: Counter::default(),
            connections_rejected: Counter::default(),
            input_bytes: Counter::default(),
            output_bytes: Counter::default(),
            buffer_bytes: Counter::default(),
            mail_bytes: AtomicU64::new(0),
            errors: ErrorCounts::default(),
            native: NativeCounters::default(),
        }
    }

    /// All commands executed.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.commands.iter().map(|counters| counters.calls.value()).sum()
    }

    /// Forgets what was counted, but for what is held now (CONFIG RESETSTAT).
    pub fn reset(&self) {
        for counters in &self.commands {
            counters.calls.reset();
            counters.nanoseconds.reset();
            counters.rejected.reset();
            counters.failed.reset();
            counters.latency.iter().for_each(Counter::reset);
        }
        self.connections_received.reset();
        self.connections_rejected.reset();
        self.input_bytes.reset();
        self.output_bytes.reset();
        self.errors.reset();
        self.native.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampled_call_counts_for_those_it_stands_for() {
        let counters = CommandCounters::default();
        counters.took(3_500, 16);
        counters.took(900, 1);
        counters.took(u64::MAX / 32, 1);
        assert_eq!(counters.latency[2].value(), 16);
        assert_eq!(counters.latency[0].value(), 1);
        assert_eq!(counters.latency[LATENCY_BUCKETS - 1].value(), 1);
    }

    #[test]
    fn an_invalidation_counts_by_its_narrowest_condition() {
        let counts = InvalidationCounts::default();
        for (index, kind) in InvalidationKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
        let all = Invalidation { older_ms: Some(1), glob: Some(b"*"), tags: &[b"t"], ..Invalidation::default() };
        counts.count(InvalidationKind::of(&all));
        counts.count(InvalidationKind::of(&Invalidation { tags: &[], ..all }));
        counts.count(InvalidationKind::of(&Invalidation { dep: Some((b"s", 1)), ..all }));
        counts.count(InvalidationKind::of(&Invalidation::default()));
        let values = InvalidationKind::ALL.map(|kind| counts.value(kind));
        assert_eq!(values, [0, 1, 1, 1, 0, 1, 0]);
    }

    #[test]
    fn a_reset_keeps_what_is_held_now() {
        let worker = Worker::new(1);
        worker.commands[0].calls.add(3);
        worker.buffer_bytes.add(7);
        assert_eq!(worker.calls(), 3);
        worker.reset();
        assert_eq!((worker.calls(), worker.buffer_bytes.value()), (0, 7));
    }
}
