//! Memory, durability, the keyspace, and what only this engine has.

use super::{Facts, Text, ratio};
use crate::commands::memory::{dataset_bytes, overhead_bytes, percent};
use crate::commands::save::last_save_ms;
use crate::process::{machine_bytes, resident_bytes, resident_parts};
use crate::settings::DATABASES;
use std::sync::atomic::Ordering;

pub(super) fn memory(facts: &Facts<'_, '_, '_>, text: &mut Text) {
    let server = facts.cx.server;
    let memory = &facts.memory;
    let used = memory.used_bytes();
    let peak = server.trends.memory_peak(used);
    let resident = resident_bytes();
    let dataset = dataset_bytes(memory);
    text.bytes("used_memory", used);
    text.bytes("used_memory_rss", resident);
    text.bytes("used_memory_peak", peak);
    text.field("used_memory_peak_perc", format_args!("{:.2}%", percent(used, peak)));
    text.field("used_memory_overhead", overhead_bytes(memory));
    text.field("used_memory_startup", server.resident_at_start_bytes);
    text.field("used_memory_dataset", dataset);
    text.field("used_memory_dataset_perc", format_args!("{:.2}%", percent(dataset, used)));
    text.field("allocator_allocated", used);
    text.field("allocator_active", memory.segment_bytes + overhead_bytes(memory) + memory.heap_bytes);
    text.field("allocator_resident", resident);
    text.bytes("total_system_memory", machine_bytes());
    text.bytes("used_memory_lua", 0);
    text.zeros(&["number_of_cached_scripts", "number_of_functions", "number_of_libraries"]);
    text.bytes("used_memory_scripts", 0);
    text.bytes("maxmemory", memory.max_bytes);
    text.field("maxmemory_policy", server.shard.policy());
    text.field("allocator_frag_ratio", format_args!("{:.2}", ratio(memory.segment_bytes, memory.live_bytes)));
    // What is resident beside the accounted bytes and the program itself: free and dead parts of segments, mostly.
    let expected = used + server.resident_at_start_bytes;
    text.field("mem_fragmentation_ratio", format_args!("{:.2}", ratio(resident, expected)));
    text.field("mem_fragmentation_bytes", resident.cast_signed() - expected.cast_signed());
    text.zeros(&[
        "mem_not_counted_for_evict",
        "mem_replication_backlog",
        "mem_total_replication_buffers",
        "mem_clients_slaves",
    ]);
    text.field("mem_clients_normal", server.clients_bytes());
    text.zeros(&["mem_cluster_links"]);
    text.field("mem_aof_buffer", memory.log_buffer_bytes);
    text.field("mem_allocator", "libc");
    text.zeros(&["active_defrag_running", "lazyfree_pending_objects", "lazyfreed_objects"]);
}

/// Checkpoints are shown as snapshots, and the log as the append-only file: dashboards then show the right thing.
pub(super) fn persistence(facts: &Facts<'_, '_, '_>, text: &mut Text) {
    let server = facts.cx.server;
    let report = &facts.persistence;
    let ok = |failed: bool| if failed { "err" } else { "ok" };
    let saving = u8::from(server.is_checkpoint_under_way());
    text.zeros(&["loading", "async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    text.field("current_fork_perc", "0.00");
    text.zeros(&["current_save_keys_processed", "current_save_keys_total"]);
    let at_start = server.recovery.as_ref().map_or(0, |report| report.recovery.checkpoint_lsn);
    let saved_lsn = server.checkpoint_lsn.load(Ordering::Relaxed).max(at_start);
    text.field("rdb_changes_since_last_save", report.last_lsn.saturating_sub(saved_lsn));
    text.field("rdb_bgsave_in_progress", saving);
    text.field("rdb_last_save_time", last_save_ms(server) / 1000);
    text.field("rdb_last_bgsave_status", ok(report.checkpoint_failed));
    text.field("rdb_last_bgsave_time_sec", server.checkpoint_took_ms.load(Ordering::Relaxed) / 1000);
    text.field("rdb_current_bgsave_time_sec", -1);
    text.field("rdb_saves", report.checkpoints);
    text.zeros(&["rdb_last_cow_size", "rdb_last_load_keys_expired"]);
    let loaded = server.recovery.as_ref().map_or(0, |report| report.recovery.entries);
    text.field("rdb_last_load_keys_loaded", loaded);
    text.field("aof_enabled", u8::from(report.log));
    text.zeros(&["aof_rewrite_in_progress", "aof_rewrite_scheduled"]);
    text.field("aof_last_rewrite_time_sec", -1);
    text.field("aof_current_rewrite_time_sec", -1);
    text.field("aof_last_bgrewrite_status", ok(report.checkpoint_failed));
    text.field("aof_rewrites", report.checkpoints);
    text.zeros(&["aof_rewrites_consecutive_failures"]);
    text.field("aof_last_write_status", ok(report.failure.is_some()));
    text.zeros(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
    if report.log {
        text.field("aof_current_size", report.log_bytes);
        text.zeros(&["aof_base_size", "aof_pending_rewrite"]);
        text.field("aof_buffer_length", facts.memory.log_buffer_bytes);
        text.zeros(&["aof_pending_bio_fsync", "aof_delayed_fsync"]);
    }
}

pub(super) fn sutra(facts: &Facts<'_, '_, '_>, text: &mut Text) {
    let (memory, report, stats) = (&facts.memory, &facts.persistence, &facts.stats);
    let (anonymous, mapped) = resident_parts();
    text.field("sutra_entries", facts.cx.server.shard.entries());
    text.field("sutra_max_concepts", facts.cx.server.settings.entries_max.load(Ordering::Relaxed));
    text.field("sutra_segment_bytes", memory.segment_bytes);
    text.field("sutra_live_bytes", memory.live_bytes);
    text.field("sutra_dead_bytes", memory.dead_bytes);
    text.field("sutra_index_bytes", memory.index_bytes);
    text.field("sutra_heap_bytes", memory.heap_bytes);
    text.field("sutra_ghost_bytes", memory.ghost_bytes);
    text.field("sutra_rss_anonymous", anonymous);
    text.field("sutra_rss_mapped", mapped);
    text.field("sutra_evicted_for_memory", stats.evicted_memory);
    text.field("sutra_evicted_for_count", stats.evicted_entries);
    text.field("sutra_damaged_entries", stats.damaged);
    text.field("sutra_merges", stats.merges);
    text.field("sutra_appended_bytes", stats.appended_bytes);
    text.field("sutra_merged_bytes", stats.merged_bytes);
    let written = stats.appended_bytes + stats.merged_bytes;
    text.field("sutra_write_amplification", format_args!("{:.3}", ratio(written, stats.appended_bytes)));
    text.field("sutra_log_enabled", u8::from(report.log));
    text.field("sutra_log_last_lsn", report.last_lsn);
    text.field("sutra_log_written_lsn", report.written_lsn);
    text.field("sutra_log_durable_lsn", report.durable_lsn);
    text.field("sutra_log_bytes", report.log_bytes);
    text.field("sutra_log_syncs", report.syncs);
    text.field("sutra_log_failure", one_line(report.failure.as_deref().unwrap_or_default()));
    text.field("sutra_checkpoints", report.checkpoints);
    text.field("sutra_unverified_segments", report.unverified_segments);
    if let Some(report) = &facts.cx.server.recovery {
        let recovery = &report.recovery;
        text.field("sutra_recovery_milliseconds", report.milliseconds);
        text.field("sutra_recovery_entries", recovery.entries);
        text.field("sutra_recovery_checkpoint_lsn", recovery.checkpoint_lsn);
        text.field("sutra_recovery_frames", recovery.frames);
        text.field("sutra_recovery_edits", recovery.edits);
        text.field("sutra_recovery_last_lsn", recovery.last_lsn);
        text.field("sutra_recovery_log_cut", one_line(recovery.cut.as_deref().unwrap_or_default()));
        text.field("sutra_recovery_frames_discarded", recovery.frames_discarded);
        text.field("sutra_recovery_repairs", recovery.repaired.len());
        text.field("sutra_recovery_damages", recovery.damage.len());
        for (number, damage) in recovery.damage.iter().take(DAMAGES_SHOWN_MAX).enumerate() {
            text.field(&format!("sutra_recovery_damage_{number}"), one_line(damage));
        }
    }
}

/// Damages that INFO lists; the log has all of them.
const DAMAGES_SHOWN_MAX: usize = 16;

/// A value must not end its line.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

pub(super) fn keyspace(facts: &Facts<'_, '_, '_>, text: &mut Text) {
    for db in 0..DATABASES {
        let stats = facts.cx.txn.database_stats(db);
        if stats.keys > 0 {
            let value = format!("keys={},expires={},avg_ttl={}", stats.keys, stats.expires, stats.average_ttl_ms);
            text.field(&format!("db{db}"), value);
        }
    }
}
