//! Every metric that there is: its name, its meaning, where its value comes from. The page `docs/metrics.md` is made from this table.

use super::exposition::Series;
use super::gather::Facts;
use super::samples::{
    cost_saved, durations, each_operation, each_space, error_replies, errors, evictions, invalidations, memory,
    processor_time, resident, segments, setting,
};
use crate::config::memory_limit;
use crate::http::front::Front;
use crate::process::{open_descriptors, resident_bytes};
use std::sync::atomic::Ordering::Relaxed;

/// A row of the table.
pub(super) struct Metric {
    /// As Prometheus's text format has it: counters end in `_total`.
    pub(super) name: &'static str,
    pub(super) kind: MetricKind,
    pub(super) labels: &'static [&'static str],
    /// What it says, in one or a few sentences.
    pub(super) help: &'static str,
    pub(super) sample: Sample,
    unit_in_words: Option<&'static str>,
}

/// Its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

impl MetricKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

/// Where its value comes from.
pub(super) enum Sample {
    /// It is known before the server serves.
    Always(fn(&Front, &mut Series<'_>)),
    /// The server knows it.
    Serving(fn(&Facts<'_>, &mut Series<'_>)),
}

/// Metrics that belong together.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) metrics: &'static [Metric],
}

impl Metric {
    /// The name without the ending of counters.
    pub(super) fn family(&self) -> &'static str {
        self.name.strip_suffix("_total").unwrap_or(self.name)
    }

    /// The unit that its name ends in.
    pub(super) fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"].into_iter().find(|unit| self.family().ends_with(&format!("_{unit}")))
    }

    /// The unit for people.
    pub(super) fn shown_unit(&self) -> &'static str {
        self.unit_in_words.or_else(|| self.unit()).unwrap_or_default()
    }

    const fn labels(mut self, labels: &'static [&'static str]) -> Metric {
        self.labels = labels;
        self
    }

    const fn unit_in_words(mut self, unit: &'static str) -> Metric {
        self.unit_in_words = Some(unit);
        self
    }
}

const fn counter(name: &'static str, help: &'static str, sample: Sample) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels: &[], help, sample, unit_in_words: None }
}

const fn gauge(name: &'static str, help: &'static str, sample: Sample) -> Metric {
    Metric { kind: MetricKind::Gauge, ..counter(name, help, sample) }
}

const fn histogram(name: &'static str, help: &'static str, sample: Sample) -> Metric {
    Metric { kind: MetricKind::Histogram, ..counter(name, help, sample) }
}

/// All metrics, in the order in which they are written.
pub(super) static SECTIONS: [Section; 6] = [
    Section {
        title: "Requests",
        metrics: &[
            counter("cache_requests_total", "Commands executed, by family.", Sample::Serving(|f, s| each_operation(f, s, |it| it.calls)))
                .labels(&["operation"]),
            histogram("cache_request_duration_seconds", "Time in which the server executed a command, without the network. Cheap commands are timed one call in sixteen, which counts for sixteen. Buckets are powers of two of a microsecond.", Sample::Serving(durations))
                .labels(&["operation"]),
            counter("cache_errors_total", "Commands that were answered by an error, or refused before they ran. `backend` is always `sutra`.", Sample::Serving(errors))
                .labels(&["backend", "operation"]),
            counter("cache_error_replies_total", "Error replies by their first word, such as `OOM`, `NOAUTH`, `STALELEASE`.", Sample::Serving(error_replies))
                .labels(&["prefix"]),
            counter("cache_slow_requests_total", "Commands that took at least `slowlog-log-slower-than`.", Sample::Serving(|f, s| s.one(f.server.slowlog.total()))),
        ],
    },
    Section {
        title: "Hits",
        metrics: &[
            counter("cache_hits_total", "Reads that found a live entry: by key (Redis's commands and native ones) and by meaning.", Sample::Serving(|f, s| s.one(f.hits()))),
            counter("cache_misses_total", "Reads that found none.", Sample::Serving(|f, s| s.one(f.misses()))),
            counter("cache_space_hits_total", "Of the hits, those by meaning: lookups in this space.", Sample::Serving(|f, s| each_space(f, s, |it| it.hits)))
                .labels(&["space"]),
            counter("cache_space_misses_total", "Of the misses, those by meaning.", Sample::Serving(|f, s| each_space(f, s, |it| it.misses)))
                .labels(&["space"]),
            counter("cache_guarded_total", "Of these misses, lookups for which a guard refused what was similar enough.", Sample::Serving(|f, s| each_space(f, s, |it| it.guarded)))
                .labels(&["space"]),
            counter("cache_cost_saved_usd_total", "What the entries that were found would have cost to make, as their writers said (`COST`). `model` is the space that was asked; `none`: reads by key.", Sample::Serving(cost_saved))
                .labels(&["model"])
                .unit_in_words("US dollars"),
        ],
    },
    Section {
        title: "Entries and memory",
        metrics: &[
            gauge("cache_entries", "Entries of all databases.", Sample::Serving(|f, s| s.one(f.server.shard.entries()))),
            gauge("cache_entries_limit", "`MAX_CONCEPTS`; 0: none.", Sample::Serving(|f, s| s.one(setting(&f.server.settings.entries_max)))),
            gauge("cache_memory_bytes", "What counts against the limit; its sum is what is used.", Sample::Serving(memory))
                .labels(&["kind"]),
            gauge("cache_memory_limit_bytes", "`MAX_MEMORY`.", Sample::Serving(|f, s| s.one(f.memory.max_bytes))),
            gauge("cache_memory_available_bytes", "What the process may have at most: the container's limit or the machine's memory, whichever is lower.", Sample::Serving(|_, s| s.one(memory_limit()))),
            gauge("cache_segment_bytes", "Segments of records, by what is in them: `live`, `dead` (comes back before anything is evicted), `free`.", Sample::Serving(segments))
                .labels(&["state"]),
            gauge("cache_resident_bytes", "Resident memory as the system counts it: `anonymous`, or `mapped` files, which the system writes back and takes away by itself.", Sample::Always(resident))
                .labels(&["kind"]),
            counter("cache_evictions_total", "Entries evicted: for `memory`, or for the number of `entries`.", Sample::Serving(evictions))
                .labels(&["reason"]),
            counter("cache_expired_total", "Entries removed because their time was over.", Sample::Serving(|f, s| s.one(f.stats.expired))),
            counter("cache_damaged_total", "Entries dropped because their bytes were damaged on the disk.", Sample::Serving(|f, s| s.one(f.stats.damaged))),
            counter("cache_merges_total", "Groups of segments merged to make room.", Sample::Serving(|f, s| s.one(f.stats.merges))),
            counter("cache_appended_bytes_total", "Bytes of records that commands wrote.", Sample::Serving(|f, s| s.one(f.stats.appended_bytes))),
            counter("cache_merged_bytes_total", "Bytes of records that merges wrote again.", Sample::Serving(|f, s| s.one(f.stats.merged_bytes))),
        ],
    },
    Section {
        title: "Meaning",
        metrics: &[
            gauge("cache_spaces", "Vector spaces.", Sample::Serving(|f, s| s.one(f.meaning.spaces))),
            gauge("cache_vectors", "Entries with a vector.", Sample::Serving(|f, s| each_space(f, s, |it| it.vectors)))
                .labels(&["space"]),
            gauge("cache_graph_rows", "Vectors that are in graphs.", Sample::Serving(|f, s| s.one(f.graph_rows.0))),
            gauge("cache_graph_rows_behind", "Vectors that graphs have still to take in.", Sample::Serving(|f, s| s.one(f.graph_rows.1))),
            counter("cache_invalidations_total", "Invalidations, by their narrowest condition.", Sample::Serving(invalidations))
                .labels(&["kind"]),
            counter("cache_invalidated_entries_total", "Entries that invalidations removed.", Sample::Serving(|f, s| s.one(f.meaning.invalidated))),
            gauge("cache_active_predicates", "Invalidations whose entries are still being swept; none of these entries is served.", Sample::Serving(|f, s| s.one(f.meaning.active_predicates))),
            gauge("cache_holds", "Invalidations that still refuse writes (`HOLD`).", Sample::Serving(|f, s| s.one(f.meaning.holds))),
            counter("cache_held_writes_total", "Writes refused by them.", Sample::Serving(|f, s| s.one(f.meaning.held_refused))),
            gauge("cache_leases", "Leases that are out.", Sample::Serving(|f, s| s.one(f.meaning.leases))),
            counter("cache_leases_granted_total", "Leases granted.", Sample::Serving(|f, s| s.one(f.meaning.leases_granted))),
            counter("cache_leases_waited_total", "Callers told to wait because another holds the lease: stampedes avoided.", Sample::Serving(|f, s| s.one(f.meaning.leases_waited))),
            counter("cache_stale_writes_total", "Writes refused because their lease was stale: old answers kept out.", Sample::Serving(|f, s| s.one(f.meaning.stale_refused))),
            gauge("cache_undo_bytes", "Kept so that invalidations can be undone.", Sample::Serving(|f, s| s.one(f.meaning.undo_bytes))),
            counter("cache_embedder_requests_total", "Requests to an embedder behind an address, repeated ones included.", Sample::Serving(|f, s| s.one(f.embedder.map_or(0, |it| it.attempts)))),
            counter("cache_embedder_failures_total", "Those of them that failed.", Sample::Serving(|f, s| s.one(f.embedder.map_or(0, |it| it.failed)))),
            gauge("cache_embedder_circuit_open", "1 while the embedder is not asked because it failed too often.", Sample::Serving(|f, s| s.one(f.server.embedding.is_circuit_open()))),
            gauge("cache_background_jobs_waiting", "Long commands that wait for a background thread.", Sample::Serving(|f, s| s.one(f.server.background.waiting()))),
        ],
    },
    Section {
        title: "Durability",
        metrics: &[
            gauge("cache_wal_enabled", "1 if there is a log.", Sample::Serving(|f, s| s.one(f.persistence.log))),
            gauge("cache_wal_failed", "1 while writes are refused because the log or a segment could not be written.", Sample::Serving(|f, s| s.one(f.persistence.failure.is_some()))),
            gauge("cache_wal_bytes", "Log since the last checkpoint.", Sample::Serving(|f, s| s.one(f.persistence.log_bytes))),
            gauge("cache_wal_appended_lsn", "The last log position given.", Sample::Serving(|f, s| s.one(f.persistence.last_lsn))),
            gauge("cache_wal_durable_lsn", "The last one that survives a power loss.", Sample::Serving(|f, s| s.one(f.persistence.durable_lsn))),
            counter("cache_wal_syncs_total", "Syncs of the log.", Sample::Serving(|f, s| s.one(f.persistence.syncs))),
            counter("cache_checkpoints_total", "Checkpoints written.", Sample::Serving(|f, s| s.one(f.persistence.checkpoints))),
            gauge("cache_checkpoint_failed", "1 if the last checkpoint failed.", Sample::Serving(|f, s| s.one(f.persistence.checkpoint_failed))),
            gauge("cache_checkpoint_timestamp_seconds", "When the last one was written, in Unix time; 0: none yet.", Sample::Serving(|f, s| s.one(f.persistence.last_checkpoint_ms as f64 / 1000.0))),
            gauge("cache_ready", "1 once recovery is done.", Sample::Always(|front, s| s.one(front.serving().is_some()))),
            gauge("cache_recovery_duration_seconds", "How long the last start's recovery took.", Sample::Serving(|f, s| s.one(f.recovery(|it| it.milliseconds) as f64 / 1000.0))),
            gauge("cache_recovery_entries", "Entries that it found.", Sample::Serving(|f, s| s.one(f.recovery(|it| it.recovery.entries)))),
            gauge("cache_recovery_frames", "Log frames that it replayed.", Sample::Serving(|f, s| s.one(f.recovery(|it| it.recovery.frames)))),
            gauge("cache_recovery_damages", "Damaged places that it found.", Sample::Serving(|f, s| s.one(f.recovery(|it| it.recovery.damage.len() as u64)))),
            gauge("cache_unverified_segments", "Segments whose records are not all checked yet after the start.", Sample::Serving(|f, s| s.one(f.persistence.unverified_segments))),
        ],
    },
    Section {
        title: "Clients and process",
        metrics: &[
            gauge("cache_connections", "Clients connected.", Sample::Serving(|f, s| s.one(f.server.clients.count()))),
            gauge("cache_tracking_connections", "Of the connections, those with CLIENT TRACKING, which are told of changes.", Sample::Serving(|f, s| s.one(f.server.shard.tracking_stats().subscribers))),
            gauge("cache_tracked_keys", "Keys that such connections have read and will be told of; at most `tracking-table-max-keys`.", Sample::Serving(|f, s| s.one(f.server.shard.tracking_stats().keys))),
            gauge("cache_connections_limit", "`maxclients`.", Sample::Serving(|f, s| s.one(u64::from(f.server.settings.maxclients.load(Relaxed))))),
            counter("cache_connections_received_total", "Connections accepted.", Sample::Serving(|f, s| s.one(f.of_workers(|it| &it.connections_received)))),
            counter("cache_connections_rejected_total", "Connections refused: too many, or not from this machine while there is no password.", Sample::Serving(|f, s| s.one(f.of_workers(|it| &it.connections_rejected)))),
            counter("cache_input_bytes_total", "Bytes read from clients.", Sample::Serving(|f, s| s.one(f.of_workers(|it| &it.input_bytes)))),
            counter("cache_output_bytes_total", "Bytes written to clients.", Sample::Serving(|f, s| s.one(f.of_workers(|it| &it.output_bytes)))),
            gauge("cache_build_info", "Always 1.", Sample::Always(|_, s| s.labelled(&[env!("CARGO_PKG_VERSION")], 1_u64)))
                .labels(&["version"]),
            gauge("process_start_time_seconds", "When the process started, in Unix time.", Sample::Always(|front, s| s.one(front.started_ms() as f64 / 1000.0))),
            counter("process_cpu_seconds_total", "Processor time of all threads.", Sample::Always(processor_time)),
            gauge("process_resident_memory_bytes", "Resident memory, mapped files included.", Sample::Always(|_, s| s.one(resident_bytes()))),
            gauge("process_open_fds", "Open file descriptors.", Sample::Always(|_, s| s.one(open_descriptors()))),
        ],
    },
];

/// All metrics.
pub(super) fn all() -> impl Iterator<Item = &'static Metric> {
    SECTIONS.iter().flat_map(|section| section.metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_are() {
        let mut names: Vec<&str> = all().map(|metric| metric.name).collect();
        assert!(names.len() > 60);
        for metric in all() {
            let name = metric.name;
            assert!(name.starts_with("cache_") || name.starts_with("process_"), "{name}");
            assert_eq!(metric.kind == MetricKind::Counter, name.ends_with("_total"), "{name}");
            assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{name}");
            assert!(metric.labels.iter().all(|label| label.bytes().all(|byte| byte.is_ascii_lowercase())), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all().count(), "a name stands for one metric");
    }
}
