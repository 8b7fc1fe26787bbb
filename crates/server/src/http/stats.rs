//! GET /cache/stats: what dashboards and the other services of a deployment ask.

use super::front::Serving;
use super::metrics::Facts;
use super::page::Page;
use crate::commands::latency::percentile_us;
use crate::statistics::LATENCY_BUCKETS;
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use std::sync::atomic::Ordering;

pub(super) fn page(serving: &Serving) -> Page {
    let facts = Facts::of(&serving.server);
    Page::json(StatusCode::OK, &document(&facts, serving))
}

fn document(facts: &Facts<'_>, serving: &Serving) -> Value {
    let server = facts.server;
    let (hits, misses) = (facts.hits(), facts.misses());
    let saved_by_key = facts.saved_by_key_micro_usd();
    let saved: u64 = saved_by_key + facts.spaces.values().map(|space| space.saved_micro_usd).sum::<u64>();
    let kinds = facts.memory_kinds();
    let used: u64 = kinds.iter().map(|(_, bytes)| bytes).sum();
    let models: Map<String, Value> = facts
        .spaces
        .iter()
        .map(|(label, space)| {
            let figures = json!({
                "entries": space.vectors,
                "hits": space.hits,
                "misses": space.misses,
                "hit_rate": rate(space.hits, space.misses),
                "cost_saved_usd": dollars(space.saved_micro_usd),
            });
            (label.clone(), figures)
        })
        .collect();
    json!({
        "backend": "sutra",
        "shard": serving.addresses.first().map(ToString::to_string),
        "uptime_seconds": server.clock.now_ms().saturating_sub(server.started_ms) / 1000,
        "hits": hits,
        "misses": misses,
        "total_requests": hits + misses,
        "hit_rate": rate(hits, misses),
        "commands": server.workers().iter().map(|worker| worker.calls()).sum::<u64>(),
        "commands_per_second": server.trends.rates().calls_per_s,
        "evictions": facts.stats.evicted_memory + facts.stats.evicted_entries,
        "expired": facts.stats.expired,
        "invalidations": facts.meaning.invalidations,
        "invalidated": facts.meaning.invalidated,
        "memory": {
            "used_bytes": used,
            "limit_bytes": facts.memory.max_bytes,
            "used_percent": if facts.memory.max_bytes == 0 { 0.0 } else { used as f64 * 100.0 / facts.memory.max_bytes as f64 },
            "kinds": kinds.iter().map(|(kind, bytes)| ((*kind).to_owned(), Value::from(*bytes))).collect::<Map<_, _>>(),
        },
        "entries": server.shard.entries(),
        "entries_limit": server.settings.entries_max.load(Ordering::Relaxed),
        "spaces": facts.meaning.spaces,
        "vectors": facts.meaning.vectors,
        "connections": server.clients.count(),
        "latency_ms": latency(server),
        "cost_saved_usd": dollars(saved),
        "cost_saved_by_key_usd": dollars(saved_by_key),
        "models": models,
    })
}

/// Hits ÷ reads, from 0 to 1; `null` before the first read.
fn rate(hits: u64, misses: u64) -> Value {
    let reads = hits + misses;
    if reads == 0 { Value::Null } else { Value::from(hits as f64 / reads as f64) }
}

fn dollars(micro_usd: u64) -> f64 {
    micro_usd as f64 / 1e6
}

/// Percentiles of the time in which commands were executed, without the network. As exact as the buckets: powers of two of a microsecond.
fn latency(server: &crate::server::Server) -> Value {
    let mut buckets = [0; LATENCY_BUCKETS];
    for worker in server.workers() {
        for counters in worker.commands.iter().filter(|counters| counters.calls.value() > 0) {
            for (sum, bucket) in buckets.iter_mut().zip(&counters.latency) {
                *sum += bucket.value();
            }
        }
    }
    let at = |percent: f64| percentile_us(&buckets, percent) as f64 / 1000.0;
    json!({ "p50": at(50.0), "p95": at(95.0), "p99": at(99.0), "p99.9": at(99.9) })
}
