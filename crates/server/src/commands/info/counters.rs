//! What was done how often, and how long it took.

use super::{Facts, Text};
use crate::commands::latency::{buckets, percentile_us};
use crate::server::Server;
use crate::statistics::{Counter, Worker};
use crate::table::table;
use std::sync::atomic::Ordering;

/// The percentiles of `latencystats`, as Redis shows them unless told otherwise.
const PERCENTILES: [(&str, f64); 3] = [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)];

pub(super) fn stats(facts: &Facts<'_, '_, '_>, text: &mut Text) {
    let server = facts.cx.server;
    let stats = &facts.stats;
    let rates = server.trends.rates();
    let sum = |of: fn(&Worker) -> &Counter| server.workers().iter().map(|worker| of(worker).value()).sum::<u64>();
    text.field("total_connections_received", sum(|worker| &worker.connections_received));
    text.field("total_commands_processed", server.workers().iter().map(|worker| worker.calls()).sum::<u64>());
    text.field("instantaneous_ops_per_sec", rates.calls_per_s.round() as u64);
    text.field("total_net_input_bytes", sum(|worker| &worker.input_bytes));
    text.field("total_net_output_bytes", sum(|worker| &worker.output_bytes));
    text.zeros(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    text.field("instantaneous_input_kbps", format_args!("{:.2}", rates.input_bytes_per_s / 1024.0));
    text.field("instantaneous_output_kbps", format_args!("{:.2}", rates.output_bytes_per_s / 1024.0));
    text.field("instantaneous_input_repl_kbps", "0.00");
    text.field("instantaneous_output_repl_kbps", "0.00");
    text.field("rejected_connections", sum(|worker| &worker.connections_rejected));
    text.zeros(&["sync_full", "sync_partial_ok", "sync_partial_err"]);
    text.field("expired_keys", stats.expired);
    text.field("expired_stale_perc", "0.00");
    text.zeros(&["expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds"]);
    text.field("evicted_keys", stats.evicted_memory + stats.evicted_entries);
    text.field("evicted_clients", server.clients_evicted.load(Ordering::Relaxed));
    text.zeros(&["total_eviction_exceeded_time", "current_eviction_exceeded_time"]);
    text.field("keyspace_hits", stats.keyspace_hits);
    text.field("keyspace_misses", stats.keyspace_misses);
    text.zeros(&[
        "pubsub_channels",
        "pubsub_patterns",
        "pubsubshard_channels",
        // There is no fork: a checkpoint is written while the commands go on.
        "latest_fork_usec",
        "total_forks",
        "migrate_cached_sockets",
        "slave_expires_tracked_keys",
        "active_defrag_hits",
        "active_defrag_misses",
        "active_defrag_key_hits",
        "active_defrag_key_misses",
        "total_active_defrag_time",
        "current_active_defrag_time",
    ]);
    let tracking = server.shard.tracking_stats();
    text.field("tracking_total_keys", tracking.keys);
    text.field("tracking_total_items", tracking.items);
    text.field("tracking_total_prefixes", tracking.prefixes);
    text.zeros(&["unexpected_error_replies"]);
    text.field("total_error_replies", server.error_counts().values().sum::<u64>());
    text.zeros(&["dump_payload_sanitizations", "io_threaded_reads_processed", "io_threaded_writes_processed"]);
}

pub(super) fn commandstats(facts: &Facts<'_, '_, '_>, text: &mut Text) {
    for command in table().all() {
        let sum = |of: fn(&crate::statistics::CommandCounters) -> &Counter| total(facts.cx.server, command.index, of);
        let (calls, rejected, failed) =
            (sum(|counters| &counters.calls), sum(|counters| &counters.rejected), sum(|counters| &counters.failed));
        if calls == 0 && rejected == 0 {
            continue;
        }
        // Of commands that are timed one call in so many, the sum is an estimate.
        let microseconds = sum(|counters| &counters.nanoseconds) as f64 / 1000.0;
        let each = if calls == 0 { 0.0 } else { microseconds / calls as f64 };
        let value = format!(
            "calls={calls},usec={microseconds:.0},usec_per_call={each:.2},rejected_calls={rejected},failed_calls={failed}"
        );
        text.field(&format!("cmdstat_{}", command.spec.name), value);
    }
}

fn total(server: &Server, index: usize, of: fn(&crate::statistics::CommandCounters) -> &Counter) -> u64 {
    server.workers().iter().map(|worker| of(&worker.commands[index]).value()).sum()
}

pub(super) fn errorstats(facts: &Facts<'_, '_, '_>, text: &mut Text) {
    for (prefix, count) in facts.cx.server.error_counts() {
        text.field(&format!("errorstat_{prefix}"), format_args!("count={count}"));
    }
}

pub(super) fn latencystats(facts: &Facts<'_, '_, '_>, text: &mut Text) {
    for command in table().all() {
        let buckets = buckets(facts.cx.server, command.index);
        if buckets.iter().all(|count| *count == 0) {
            continue;
        }
        let shown: Vec<String> = PERCENTILES
            .iter()
            .map(|(name, percent)| format!("{name}={:.3}", percentile_us(&buckets, *percent) as f64))
            .collect();
        text.field(&format!("latency_percentiles_usec_{}", command.spec.name), shown.join(","));
    }
}
