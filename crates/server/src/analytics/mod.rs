//! Questions in words about what the cache has done (`CACHE.ASK`): no language model, but a record that is counted.
//!
//! | file | holds |
//! | --- | --- |
//! | `ring.rs` | the record of native reads and writes |
//! | `samples.rs` | the counters of the process, once a second |
//! | `windows.rs` | what was found in each space, once a second (for CACHE.STATS) |
//! | `question.rs`, `measure.rs`, `window.rs`, `words.rs`, `vocabulary.rs` | from a sentence to what it asks |
//! | `topic.rs` | which texts belong to a topic |
//! | `answer.rs`, `figures.rs` | from there to a sentence that answers it |
//!
//! **Invariants**
//! - A note never waits for a question: questions look at a snapshot.
//! - Every figure is a count of what is in the record; where the record does not reach, the answer says so.
//! - Nothing of this is on disk: a restart begins anew.

pub mod answer;
pub mod figures;
pub mod measure;
pub mod question;
pub mod ring;
pub mod samples;
pub mod topic;
mod vocabulary;
pub mod window;
pub mod windows;
mod words;

#[cfg(test)]
mod tests;

use crate::server::Server;
use answer::{Records, SpaceFacts, answer};
use ring::{Note, Ring};
use samples::{Levels, Samples, Totals};
use sutra_embed::Builtin;
use topic::Vectors;
use windows::{Window, Windows};

/// Everything that is remembered to be asked about.
#[derive(Debug)]
pub struct Analytics {
    /// Native reads and writes.
    pub ring: Ring,
    windows: Windows,
    samples: Samples,
    vectors: Vectors,
}

impl Analytics {
    /// Remembers so many reads and writes from now on; 0: none.
    #[must_use]
    pub fn new(ring_len: usize, now_ms: u64) -> Analytics {
        Analytics {
            ring: Ring::new(ring_len, now_ms),
            windows: Windows::new(now_ms),
            samples: Samples::default(),
            vectors: Vectors::default(),
        }
    }

    /// Remembers a native read or write.
    pub fn note(&self, note: &Note<'_>) {
        self.ring.note(note);
    }

    /// Looks at the counters if a second has passed. The housekeeper calls it.
    pub fn sample(&self, server: &Server, now_ms: u64) {
        // CONFIG SET may have changed it.
        self.ring.set_len_max(server.settings.analytics_ring_len(), now_ms);
        if self.samples.is_due(now_ms) {
            self.sample_now(server, now_ms);
            self.look(server, now_ms);
        }
    }

    /// What was found since an instant up to now (Unix milliseconds).
    #[must_use]
    pub fn found_since(&self, server: &Server, since_ms: u64, now_ms: u64) -> Window {
        self.look(server, now_ms);
        self.windows.since(since_ms)
    }

    fn look(&self, server: &Server, now_ms: u64) {
        self.windows.look(now_ms, crate::commands::cache::found(server));
    }

    /// Answers a sentence about the whole process; entries with a tag are counted in database `db`. Locks stripes.
    #[must_use]
    pub fn ask(&self, server: &Server, db: u8, sentence: &str, now_ms: u64) -> String {
        self.sample_now(server, now_ms);
        let spaces = spaces(server);
        let snapshot = (self.ring.len_max() > 0).then(|| self.ring.snapshot());
        answer(
            sentence,
            &Records {
                now_ms,
                ring: snapshot.as_ref(),
                samples: &self.samples,
                vectors: &self.vectors,
                embed: &|text| Builtin::vector(text).ok().map(Vec::from),
                spaces: &spaces,
                entries_with_tag: &|tag| entries_with_tag(server, db, tag, now_ms),
                memory_bytes_max: server.shard.memory().max_bytes,
            },
        )
    }

    fn sample_now(&self, server: &Server, now_ms: u64) {
        let stats = server.shard.stats();
        let native = self.ring.keyed_reads();
        let commands = || server.workers().iter().flat_map(|worker| worker.commands.iter());
        let counted = Totals {
            evictions: stats.evicted_memory + stats.evicted_entries,
            expirations: stats.expired,
            keyspace_hits: stats.keyspace_hits,
            keyspace_misses: stats.keyspace_misses,
            native_hits: native.hits,
            native_misses: native.misses,
            calls: commands().map(|counters| counters.calls.value()).sum(),
            nanoseconds: commands().map(|counters| counters.nanoseconds.value()).sum(),
        };
        let levels = Levels { memory_bytes: server.shard.memory().used_bytes(), entries: server.shard.entries() };
        self.samples.take(now_ms, counted, levels);
    }
}

/// A cost as notes hold it.
#[must_use]
pub fn micro_usd(cost_usd: Option<f32>) -> u64 {
    (f64::from(cost_usd.unwrap_or(0.0)) * 1e6).round() as u64
}

fn spaces(server: &Server) -> Vec<SpaceFacts> {
    let facts = |space: &sutra_shard::Space| SpaceFacts {
        name: String::from_utf8_lossy(space.name()).into_owned(),
        id: space.id(),
        entries: space.len() as u64,
        memory_bytes: space.memory_bytes(),
    };
    server.shard.spaces().iter().map(|space| facts(space)).collect()
}

fn entries_with_tag(server: &Server, db: u8, tag: &str, now_ms: u64) -> u64 {
    let tags = server.shard.tags(db, now_ms);
    tags.into_iter().find(|(name, _)| name == tag.as_bytes()).map_or(0, |(_, count)| count)
}
