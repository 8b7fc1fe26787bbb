//! CACHE.STATS: how well the native commands do, as a whole or in one space, since the start or in the last time.

use super::answer::{integer, map};
use super::invalidate::no_such_space;
use super::words::{SECONDS_MAX, Words};
use crate::analytics::windows::{BY_KEY, Found, Window};
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::commands::latency::{buckets, percentile_us};
use crate::job::OwnedReply;
use crate::server::Server;
use crate::statistics::{Counter, NativeCounters};
use crate::table::table;
use std::collections::HashMap;
use std::sync::Arc;
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
    summary: "Returns hits, misses, latencies and cost saved of the native commands; of one space or model if it is named, in the last time if it is asked for.",
    syntax: "[SPACE space | MODEL model] [SINCE seconds]",
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

/// What was read of every space, and by key, as it stands in the counters.
pub(crate) fn found(server: &Server) -> HashMap<u32, Found> {
    let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let of_space = |space: &Arc<Space>| {
        let counters = &space.counters;
        let found = Found {
            hits: value(&counters.hits),
            misses: value(&counters.misses),
            guarded: value(&counters.guarded),
            saved_micro_usd: value(&counters.cost_saved_micro_usd),
            embedding_hits: value(&counters.embedding_hits),
            embedding_misses: value(&counters.embedding_misses),
            embedding_saved_micro_usd: value(&counters.embedding_saved_micro_usd),
        };
        (space.id(), found)
    };
    let mut all: HashMap<u32, Found> = server.shard.spaces().iter().map(of_space).collect();
    let Tally { hits, misses, saved_micro_usd, .. } = Tally::of_keys(server);
    all.insert(BY_KEY, Found { hits, misses, saved_micro_usd, ..Found::default() });
    all
}

fn run<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut words = Words::new("CACHE.STATS", args, cx.server);
    let (mut name, mut within_ms) = (None, None);
    while words.any() {
        if words.word("SINCE") {
            words.once(&within_ms, "SINCE")?;
            within_ms = Some(words.seconds_ms("SINCE", SECONDS_MAX)?);
        } else if words.word("SPACE") || words.word("MODEL") {
            words.once(&name, "SPACE or MODEL")?;
            name = Some(words.space()?);
        } else if words.word("TENANT") {
            return Err(words.mistake("TENANT is not supported: this server has no tenants"));
        } else {
            return Err(words.not_understood());
        }
    }
    let space = match name {
        Some(name) => Some(cx.server.shard.space(name).ok_or_else(|| no_such_space(name))?),
        None => None,
    };
    let window = within_ms.map(|within_ms| {
        let since_ms = cx.now_ms.saturating_sub(within_ms);
        cx.server.analytics.found_since(cx.server, since_ms, cx.now_ms)
    });
    Ok(match (space, window) {
        (Some(space), None) => of_space(&space),
        (None, None) => of_all(cx.server),
        (Some(space), Some(window)) => {
            let mut pairs = vec![("space", Reply::BulkOwned(space.name().to_vec()))];
            pairs.extend(span(&window, cx.now_ms));
            pairs.extend(found_in(&window, space.id()));
            map(pairs)
        }
        (None, Some(window)) => of_window(cx.server, &window, cx.now_ms),
    })
}

fn of_space(space: &Arc<Space>) -> OwnedReply {
    let mut pairs = vec![("space", Reply::BulkOwned(space.name().to_vec()))];
    pairs.extend(counts(&Tally::of_spaces(std::iter::once(&**space))));
    let counters = &space.counters;
    let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (hits, misses) = (value(&counters.embedding_hits), value(&counters.embedding_misses));
    pairs.push(embeddings(&tally(hits, misses, value(&counters.embedding_saved_micro_usd))));
    map(pairs)
}

fn of_all(server: &Server) -> OwnedReply {
    let spaces = server.shard.spaces();
    let meaning = Tally::of_spaces(spaces.iter().map(|space| &**space));
    let keys = Tally::of_keys(server);
    let saved_micro_usd = meaning.saved_micro_usd + keys.saved_micro_usd;
    let each = |space: &Arc<Space>| {
        (Reply::BulkOwned(space.name().to_vec()), map(counts(&Tally::of_spaces(std::iter::once(&**space)))))
    };
    map(vec![
        ("meaning", map(counts(&meaning))),
        ("keys", map(reads(&keys))),
        ("lookup_latency_us", latency(server)),
        ("cost_saved_usd", usd(saved_micro_usd)),
        ("spaces", Reply::Map(spaces.iter().map(each).collect())),
    ])
}

/// All of a window; spaces of which nothing was read in it are left out.
fn of_window(server: &Server, window: &Window, now_ms: u64) -> OwnedReply {
    let spaces = server.shard.spaces();
    let by_key = window.found.get(&BY_KEY).copied().unwrap_or_default();
    // Those that were dropped meanwhile included.
    let meaning = window.found.iter().filter(|(space, _)| **space != BY_KEY);
    let meaning = meaning.fold(Found::default(), |sum, (_, found)| sum.plus(*found));
    let each = |space: &Arc<Space>| (Reply::BulkOwned(space.name().to_vec()), map(found_in(window, space.id())));
    let was_read = |space: &&Arc<Space>| window.found.contains_key(&space.id());
    let mut pairs = Vec::from(span(window, now_ms));
    pairs.extend([
        ("meaning", map(lookups(&meaning))),
        ("keys", map(reads(&tally(by_key.hits, by_key.misses, by_key.saved_micro_usd)))),
        ("cost_saved_usd", usd(meaning.saved_micro_usd + by_key.saved_micro_usd)),
        ("spaces", Reply::Map(spaces.iter().filter(was_read).map(each).collect())),
    ]);
    map(pairs)
}

/// How long the window is, and how long one could be.
fn span(window: &Window, now_ms: u64) -> [(&'static str, OwnedReply); 2] {
    let until_now = |from_ms: u64| integer(now_ms.saturating_sub(from_ms));
    [("window_ms", until_now(window.from_ms)), ("available_ms", until_now(window.known_ms))]
}

fn found_in(window: &Window, space: u32) -> Vec<(&'static str, OwnedReply)> {
    let found = window.found.get(&space).copied().unwrap_or_default();
    let mut pairs = lookups(&found);
    pairs.push(embeddings(&tally(found.embedding_hits, found.embedding_misses, found.embedding_saved_micro_usd)));
    pairs
}

fn lookups(found: &Found) -> Vec<(&'static str, OwnedReply)> {
    let mut pairs = reads(&tally(found.hits, found.misses, found.saved_micro_usd));
    pairs.push(("guarded", integer(found.guarded)));
    pairs
}

fn embeddings(tally: &Tally) -> (&'static str, OwnedReply) {
    ("embeddings", map(reads(tally)))
}

fn tally(hits: u64, misses: u64, saved_micro_usd: u64) -> Tally {
    Tally { lookups: hits + misses, hits, misses, saved_micro_usd, ..Tally::default() }
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
