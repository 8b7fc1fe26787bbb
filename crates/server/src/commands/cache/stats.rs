//! CACHE.STATS: how well the native commands do, as a whole or in one space.

use super::answer::{integer, map};
use super::invalidate::no_such_space;
use super::words::Words;
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::commands::latency::{buckets, percentile_us};
use crate::job::OwnedReply;
use crate::server::Server;
use crate::statistics::{Counter, NativeCounters};
use crate::table::table;
use std::sync::atomic::{AtomicU64, Ordering};
use sutra_protocol::Reply;
use sutra_shard::{Space, SpaceCounters};

/// CACHE.STATS.
pub static SPEC: Spec = Spec {
    name: "cache.stats",
    arity: -1,
    flags: Flags::READONLY.and(Flags::ALONE),
    keys: Keys::None,
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(N) with N being the spaces.",
    summary: "Returns hits, misses, latencies and cost saved of the native commands; of one space or model if it is named.",
    syntax: "[SPACE space | MODEL model]",
    subcommands: &[],
    run,
};

/// Counts of some spaces, or of reads by key.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) lookups: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) saved_micro_usd: u64,
    pub(crate) invalidated: u64,
    pub(crate) guarded: u64,
}

impl Tally {
    /// What was found by meaning in these spaces.
    pub(crate) fn of_spaces<'s>(spaces: impl Iterator<Item = &'s Space>) -> Tally {
        let mut tally = Tally::default();
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for space in spaces {
            let counters: &SpaceCounters = &space.counters;
            let (hits, misses) = (value(&counters.hits), value(&counters.misses));
            tally.entries += space.len() as u64;
            tally.bytes += space.memory_bytes();
            tally.lookups += hits + misses;
            tally.hits += hits;
            tally.misses += misses;
            tally.guarded += value(&counters.guarded);
            tally.saved_micro_usd += value(&counters.cost_saved_micro_usd);
            tally.invalidated += value(&counters.invalidated);
        }
        tally
    }

    /// What native commands have found by key.
    pub(crate) fn of_keys(server: &Server) -> Tally {
        let sum = |of: fn(&NativeCounters) -> &Counter| {
            server.workers().iter().map(|worker| of(&worker.native).value()).sum::<u64>()
        };
        let (hits, misses) = (sum(|native| &native.hits), sum(|native| &native.misses));
        Tally {
            lookups: hits + misses,
            hits,
            misses,
            saved_micro_usd: sum(|native| &native.saved_micro_usd),
            ..Tally::default()
        }
    }

    /// Hits ÷ lookups; `None` before the first.
    pub(crate) fn hit_rate(&self) -> Option<f64> {
        let all = self.hits + self.misses;
        (all > 0).then(|| self.hits as f64 / all as f64)
    }
}

fn run<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut words = Words::new("CACHE.STATS", args, cx.server);
    let shard = &cx.server.shard;
    if words.word("SPACE") || words.word("MODEL") {
        let name = words.space()?;
        words.finish()?;
        let space = shard.space(name).ok_or_else(|| no_such_space(name))?;
        let mut pairs = vec![("space", Reply::BulkOwned(name.to_vec()))];
        pairs.extend(counts(&Tally::of_spaces(std::iter::once(&*space))));
        return Ok(map(pairs));
    }
    words.finish()?;
    let spaces = shard.spaces();
    let meaning = Tally::of_spaces(spaces.iter().map(|space| &**space));
    let keys = Tally::of_keys(cx.server);
    let saved_micro_usd = meaning.saved_micro_usd + keys.saved_micro_usd;
    let each = |space: &std::sync::Arc<Space>| {
        (Reply::BulkOwned(space.name().to_vec()), map(counts(&Tally::of_spaces(std::iter::once(&**space)))))
    };
    Ok(map(vec![
        ("meaning", map(counts(&meaning))),
        ("keys", map(reads(&keys))),
        ("lookup_latency_us", latency(cx.server)),
        ("cost_saved_usd", usd(saved_micro_usd)),
        ("spaces", Reply::Map(spaces.iter().map(each).collect())),
    ]))
}

fn counts(tally: &Tally) -> Vec<(&'static str, OwnedReply)> {
    let mut pairs = vec![("entries", integer(tally.entries)), ("bytes", integer(tally.bytes))];
    pairs.extend(reads(tally));
    pairs.push(("guarded", integer(tally.guarded)));
    pairs.push(("invalidated", integer(tally.invalidated)));
    pairs
}

fn reads(tally: &Tally) -> Vec<(&'static str, OwnedReply)> {
    vec![
        ("lookups", integer(tally.lookups)),
        ("hits", integer(tally.hits)),
        ("misses", integer(tally.misses)),
        ("hit_rate", tally.hit_rate().map_or(Reply::Null, Reply::Double)),
        ("cost_saved_usd", usd(tally.saved_micro_usd)),
    ]
}

/// Millionths of a dollar as dollars.
fn usd(micro: u64) -> OwnedReply {
    Reply::Double(micro as f64 / 1e6)
}

/// Percentiles of CACHE.LOOKUP, waiting for background threads and the embedder included.
fn latency(server: &Server) -> OwnedReply {
    let index = table().find(b"cache.lookup").map_or(0, |command| command.index);
    let buckets = buckets(server, index);
    let at = |percent: f64| integer(percentile_us(&buckets, percent));
    map(vec![("p50", at(50.0)), ("p95", at(95.0)), ("p99", at(99.0))])
}
