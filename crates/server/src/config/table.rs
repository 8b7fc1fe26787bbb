//! Every setting that there is.

use super::kind::{Kind, parse_addresses, parse_output_limits, parse_percent};
use super::memory_limit::memory_share;
use super::setting::{Access, Setting};
use super::{http, meaning};
use crate::settings::Settings;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use sutra_eviction::Policy;

/// The share of the memory it may use that the shard takes unless told otherwise: the rest is for the program itself, the kernel's
/// buffers and whatever else lives in the container.
const MEMORY_PERCENT_DEFAULT: u32 = 75;

const COUNT: Kind = Kind::Integer { min: 0, max: i64::MAX };
const SMALL: Kind = Kind::Integer { min: 0, max: i32::MAX as i64 };
/// At most two gigabytes of it.
const RING: Kind = Kind::Integer { min: 0, max: 1 << 24 };
const ANY_BYTES: Kind = Kind::Bytes { min: 0 };
/// The words of Redis's `loglevel`, and how much each lets through.
const LOG_LEVELS: [(&str, &str); 5] =
    [("debug", "trace"), ("verbose", "debug"), ("notice", "info"), ("warning", "warn"), ("nothing", "off")];

/// The settings, in the order in which the reference lists them: where to find them first, then what they hold.
pub static SETTINGS: &[Setting] = &[
    // ---- where ----
    start("dir", Kind::Text, "./data", |s| s.directory.display().to_string(), |s, v| s.directory = PathBuf::from(v))
        .variables(&["STORAGE_PATH"])
        .doc("The data directory. It is locked against a second process."),
    start(
        "bind",
        Kind::Addresses,
        "127.0.0.1",
        |s| s.bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        |s, v| s.bind = parse_addresses(v).unwrap_or_default(),
    )
    .variables(&["STORAGE_HOST"])
    .aliases(&["host"])
    .doc("The addresses to listen on. One that other machines reach needs a password, or `protected-mode no`."),
    start("port", Kind::Integer { min: 0, max: 65_535 }, "50051", |s| s.port.to_string(), |s, v| s.port = number(v))
        .variables(&["STORAGE_PORT"])
        .doc("The TCP port; 0 asks the system for a free one, which the log names."),
    http::PORT,
    http::HOST,
    http::ALLOWED_HOSTS,
    start("tcp-backlog", SMALL, "511", |s| s.tcp_backlog.to_string(), |s, v| s.tcp_backlog = number(v))
        .doc("Connections that the system may hold for each listener before they are accepted."),
    start("io-threads", Kind::Integer { min: 0, max: 1024 }, "0", |s| s.io_threads.to_string(), |s, v| {
        s.io_threads = number(v);
    })
    .variables(&["IO_THREADS"])
    .doc("Threads that serve connections; 0: one for each core."),
    start("background-threads", Kind::Integer { min: 0, max: 1024 }, "0", |s| s.background_threads.to_string(), |s, v| {
        s.background_threads = number(v);
    })
    .doc(
        "Threads for what would keep a connection's thread from its other clients (long scans of vectors, invalidations, calls of an \
         embedder); 0: one for each core.",
    ),
    live("protected-mode", Kind::YesNo, "yes", |s| yes_no(s.protected_mode.load(Relaxed)), |s, v| {
        s.protected_mode.store(v == "yes", Relaxed);
    })
    .variables(&["PROTECTED_MODE"])
    .doc("Without a password, only clients of this machine are served."),
    live(
        "requirepass",
        Kind::Secret,
        "",
        |s| String::from_utf8_lossy(&s.password().unwrap_or_default()).into_owned(),
        |s, v| s.set_password(Some(v.as_bytes())),
    )
    .variables(&["REDIS_AUTH", "SUTRA_PASSWORD"])
    .rival("requirepass-file")
    .doc("The password that clients have to give; empty: none is asked."),
    start("requirepass-file", Kind::SecretFile, "", |_| String::new(), read_password)
        .variables(&["SUTRA_PASSWORD_FILE"])
        .doc("A file that holds the password, such as a mounted secret; line ends at its end are not part of it."),
    // ---- how much, and what goes first ----
    live("maxmemory", Kind::Memory, "75%", |s| s.memory_bytes_max.load(Relaxed).to_string(), |s, v| {
        s.memory_bytes_max.store(memory_bytes(v), Relaxed);
    })
    .variables(&["MAX_MEMORY"])
    .doc(
        "Bytes for everything: keys, values, index, metadata, buffers. A percentage is one of the memory that the process may use: \
         the container's limit or the machine's memory, whichever is lower, and leaves at least 64 MiB of it (half of it, if it is less \
         than 128 MiB) to the program itself. 0 means the default.",
    ),
    live("max-concepts", COUNT, "0", |s| shown(&s.entries_max), |s, v| s.entries_max.store(number(v), Relaxed))
        .variables(&["MAX_CONCEPTS"])
        .aliases(&["max-entries"])
        .doc("Entries beyond which some are evicted; 0: no limit."),
    live(
        "maxmemory-policy",
        Kind::Policy,
        "allkeys-lru",
        |s| s.policy.read().unwrap_or_else(PoisonError::into_inner).name().to_owned(),
        |s, v| *s.policy.write().unwrap_or_else(PoisonError::into_inner) = Policy::from_str(v).unwrap_or_default(),
    )
    .variables(&["EVICTION_POLICY"])
    .doc("Which entries go first when there is no room. `cost` is least recompute cost per byte."),
    live("default-ttl-seconds", COUNT, "0", |s| shown(&s.default_ttl_s), |s, v| s.default_ttl_s.store(number(v), Relaxed))
        .variables(&["DEFAULT_TTL_SECONDS"])
        .doc("Time to live of entries written by native commands without one; 0: none. Redis's commands are not affected."),
    live("analytics-ring-len", RING, "65536", |s| shown(&s.analytics_ring_len), |s, v| {
        s.analytics_ring_len.store(number(v), Relaxed);
    })
    .doc(
        "Native reads and writes that are remembered so that CACHE.ASK can count them, 136 bytes each, in memory outside of `maxmemory`; 0: none.",
    ),
    live("lfu-decay-time", SMALL, "1", |s| shown(&s.frequency_decay_minutes), |s, v| {
        s.frequency_decay_minutes.store(number(v), Relaxed);
    })
    .doc("Minutes until the access counter of an idle entry drops by one; 0: never."),
    live("hash-max-listpack-entries", COUNT, "512", |s| shown(&s.hash_fields_max), |s, v| {
        s.hash_fields_max.store(number(v), Relaxed);
    })
    .aliases(&["hash-max-ziplist-entries"])
    .doc("Fields up to which a hash is kept in its compact form."),
    live("hash-max-listpack-value", ANY_BYTES, "64", |s| shown(&s.hash_item_bytes_max), |s, v| {
        s.hash_item_bytes_max.store(number(v), Relaxed);
    })
    .aliases(&["hash-max-ziplist-value"])
    .doc("Bytes of a field's name or value up to which a hash is kept in its compact form."),
    // ---- durability ----
    live_unless("wal-sync-interval-ms", Kind::SyncInterval, "1000", sync_interval, set_sync_interval, |s, v| {
        log_cannot_change(s, v != "off")
    })
    .variables(&["WAL_SYNC_INTERVAL_MS"])
    .rival("appendfsync")
    .doc(
        "How often the log is made safe from power loss, in milliseconds; 0: before each reply. `never` leaves it to the system, `off` \
         keeps no log: nothing survives the process. Whatever it is but `off`, the death of the process alone loses nothing.",
    ),
    live_unless(
        "appendfsync",
        Kind::OneOf(&["everysec", "always", "no"]),
        "everysec",
        |s| match s.sync_interval_ms.load(Relaxed) {
            0 => "always".to_owned(),
            1.. => "everysec".to_owned(),
            _ => "no".to_owned(),
        },
        |s, v| {
            s.sync_interval_ms.store(
                match v {
                    "always" => 0,
                    "everysec" => 1000,
                    _ => -1,
                },
                Relaxed,
            );
        },
        |_, _| None,
    )
    .doc("Redis's name of the same: `always` is 0, `everysec` is 1000, `no` is `never`."),
    live_unless(
        "appendonly",
        Kind::YesNo,
        "yes",
        |s| yes_no(s.log.load(Relaxed)),
        |s, v| s.log.store(v == "yes", Relaxed),
        |s, v| log_cannot_change(s, v == "yes"),
    )
    .doc("Whether there is a log; `no` is the same as `wal-sync-interval-ms off`. Cannot be changed while the server runs."),
    start("mmap-enabled", Kind::YesNo, "yes", |s| yes_no(s.mapped), |s, v| s.mapped = v == "yes")
        .variables(&["MMAP_ENABLED"])
        .doc(
            "Values in memory-mapped files, each written once; `no`: in anonymous memory, and in the log as well. A data directory \
             keeps the mode it was made with.",
        ),
    // ---- clients ----
    live("maxclients", Kind::Integer { min: 1, max: u32::MAX as i64 }, "10000", |s| s.maxclients.load(Relaxed).to_string(), |s, v| {
        s.maxclients.store(number(v), Relaxed);
    })
    .doc("Clients that are served at once; more are refused."),
    live("timeout", SMALL, "0", |s| shown(&s.timeout_s), |s, v| s.timeout_s.store(number(v), Relaxed))
        .doc("Seconds after which a client that sends nothing is closed; 0: never."),
    live("tcp-keepalive", SMALL, "300", |s| s.tcp_keepalive_s.load(Relaxed).to_string(), |s, v| {
        s.tcp_keepalive_s.store(number(v), Relaxed);
    })
    .doc("Seconds of silence after which the system asks whether a new connection's peer is still there; 0: never."),
    live("maxmemory-clients", Kind::BytesOrPercent, "25%", clients_limit, set_clients_limit).doc(
        "Bytes of all clients' buffers together, within `maxmemory`; beyond it the largest clients are closed. A percentage is one of \
         `maxmemory`, but never less than 64 MiB; 0: no limit.",
    ),
    live("client-query-buffer-limit", Kind::Bytes { min: 1 << 20 }, "1gb", |s| shown(&s.query_buffer_bytes_max), |s, v| {
        s.query_buffer_bytes_max.store(number(v), Relaxed);
    })
    .doc("Bytes of requests that a client may have sent before they are executed."),
    live(
        "client-output-buffer-limit",
        Kind::OutputLimits,
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        output_limits,
        set_output_limits,
    )
    .doc(
        "Bytes of replies waiting at which a client is closed at once (hard), or after some seconds (soft). A client is not read from while \
         its replies wait, so the limits are off by default.",
    ),
    live("proto-max-bulk-len", Kind::Bytes { min: 1 << 20 }, "512mb", |s| shown(&s.bulk_bytes_max), |s, v| {
        s.bulk_bytes_max.store(number(v), Relaxed);
    })
    .doc("Bytes of the longest argument and the longest string."),
    // ---- observing ----
    live("rust-log", Kind::LogFilter, "info", log_filter, set_log_filter)
        .variables(&["RUST_LOG"])
        .rival("loglevel")
        .doc("Which lines are logged: `error`, `warn`, `info`, `debug`, `trace`, also by module."),
    live("loglevel", Kind::OneOf(&["debug", "verbose", "notice", "warning", "nothing"]), "notice", log_level, |s, v| {
        set_log_filter(s, LOG_LEVELS.iter().find(|(level, _)| *level == v).map_or("info", |(_, filter)| filter));
    })
    .doc("Redis's name of the same: `debug` is trace, `verbose` debug, `notice` info, `warning` warn, `nothing` off."),
    start(
        "log-format",
        Kind::OneOf(&["text", "json"]),
        "text",
        |s| if s.log_json { "json" } else { "text" }.to_owned(),
        |s, v| s.log_json = v == "json",
    )
    .variables(&["LOG_FORMAT"])
    .doc("How lines are logged; `json` is for collectors."),
    live(
        "slowlog-log-slower-than",
        Kind::Integer { min: -1, max: i64::MAX },
        "10000",
        |s| s.slowlog_slower_than_us.load(Relaxed).to_string(),
        |s, v| s.slowlog_slower_than_us.store(number(v), Relaxed),
    )
    .doc("Microseconds from which SLOWLOG keeps a call; 0: every call, -1: none."),
    live("slowlog-max-len", COUNT, "128", |s| shown(&s.slowlog_len_max), |s, v| s.slowlog_len_max.store(number(v), Relaxed))
        .doc("How many calls SLOWLOG keeps."),
    live("tracking-table-max-keys", COUNT, "1000000", |s| shown(&s.tracked_keys_max), |s, v| {
        s.tracked_keys_max.store(number(v), Relaxed);
    })
    .doc(
        "Keys that are remembered for clients with CLIENT TRACKING; beyond, one taken at random is pushed as if it had changed, and \
         forgotten. 0: no limit.",
    ),
    live("latency-monitor-threshold", COUNT, "0", |s| shown(&s.latency_threshold_ms), |s, v| {
        s.latency_threshold_ms.store(number(v), Relaxed);
    })
    .doc("Milliseconds from which LATENCY remembers an event; 0: none."),
    live(
        "enable-debug-command",
        Kind::OneOf(&["no", "yes", "local"]),
        "local",
        |s| ["no", "yes", "local"][usize::from(s.debug_command.load(Relaxed)).min(2)].to_owned(),
        |s, v| s.debug_command.store(["no", "yes", "local"].iter().position(|word| *word == v).unwrap_or(0) as u8, Relaxed),
    )
    .doc("Who may use DEBUG (only its harmless part exists): nobody, everybody, or clients of this machine."),
    // ---- meaning ----
    meaning::EMBEDDER,
    meaning::EMBEDDER_MODEL,
    meaning::EMBEDDER_KEY,
    meaning::EMBEDDER_KEY_FILE,
    meaning::EMBEDDER_TIMEOUT,
    meaning::DIMENSION,
    meaning::QUANTIZATION,
    meaning::GRAPH_MIN_ROWS,
    meaning::DIMENSION_MAX,
    meaning::TEXT_BYTES_MAX,
    meaning::TAGS_MAX,
    meaning::TAG_BYTES_MAX,
    meaning::SOURCES_MAX,
    meaning::META_BYTES_MAX,
    meaning::COUNT_MAX,
    meaning::BATCH_MAX,
    meaning::LEASE_MS,
    meaning::LEASE_MS_MAX,
    meaning::HOLD_MAX,
    meaning::UNDO_SECONDS,
    meaning::UNDO_BYTES,
    // ---- deployment ----
    Setting::new("sutra-role", Kind::OneOf(&["cache_shard"]), "cache_shard", Access::Fixed { immutable: true })
        .variables(&["SUTRA_ROLE"])
        .doc("The role in a Sutra deployment. This program has one."),
    Setting::new("cache-mode", Kind::YesNo, "yes", Access::Fixed { immutable: true })
        .variables(&["CACHE_MODE"])
        .doc("As in Sutra's deployment files; this program is nothing but a cache."),
    // ---- known to every Redis client ----
    fixed("databases", "16", Kind::Integer { min: 1, max: i32::MAX as i64 }).doc("Databases that SELECT knows."),
    fixed("cluster-enabled", "no", Kind::YesNo).doc("There is no cluster mode."),
    fixed("replicaof", "", Kind::Text).aliases(&["slaveof"]).doc("There is no replication."),
    Setting::new("notify-keyspace-events", Kind::Text, "", Access::Fixed { immutable: false })
        .doc("There are no keyspace notifications yet."),
    fixed("logfile", "", Kind::Text).doc("The log goes to standard error."),
    fixed("daemonize", "no", Kind::YesNo).doc("The server stays in the foreground."),
    kept("save", "", Kind::Text).doc("Snapshots are not what keeps the data: the log does, and checkpoints are written as it grows."),
    kept("stop-writes-on-bgsave-error", "yes", Kind::YesNo),
    kept("no-appendfsync-on-rewrite", "no", Kind::YesNo),
    kept("auto-aof-rewrite-percentage", "100", SMALL),
    kept("auto-aof-rewrite-min-size", "64mb", ANY_BYTES),
    kept("aof-use-rdb-preamble", "yes", Kind::YesNo),
    kept("maxmemory-samples", "5", Kind::Integer { min: 1, max: i32::MAX as i64 }),
    kept("maxmemory-eviction-tenacity", "10", Kind::Integer { min: 0, max: 100 }),
    kept("lfu-log-factor", "10", SMALL),
    kept("lazyfree-lazy-eviction", "no", Kind::YesNo),
    kept("lazyfree-lazy-expire", "no", Kind::YesNo),
    kept("lazyfree-lazy-server-del", "no", Kind::YesNo),
    kept("lazyfree-lazy-user-del", "no", Kind::YesNo),
    kept("lazyfree-lazy-user-flush", "no", Kind::YesNo),
    kept("replica-lazy-flush", "no", Kind::YesNo).aliases(&["slave-lazy-flush"]),
    kept("active-expire-effort", "1", Kind::Integer { min: 1, max: 10 }),
    kept("activedefrag", "no", Kind::YesNo),
    kept("activerehashing", "yes", Kind::YesNo),
    kept("hz", "10", SMALL),
    kept("dynamic-hz", "yes", Kind::YesNo),
    kept("latency-tracking", "yes", Kind::YesNo),
    kept("latency-tracking-info-percentiles", "50 99 99.9", Kind::Text),
];

/// The setting of this name or alias, in any case, with `_` or `-`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.is_called(name))
}

pub(super) const fn start(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    read: fn(&Settings) -> String,
    write: fn(&mut Settings, &str),
) -> Setting {
    Setting::new(name, kind, default, Access::Start { read, write })
}

pub(super) const fn live(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    read: fn(&Settings) -> String,
    write: fn(&Settings, &str),
) -> Setting {
    live_unless(name, kind, default, read, write, |_, _| None)
}

const fn live_unless(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    read: fn(&Settings) -> String,
    write: fn(&Settings, &str),
    veto: fn(&Settings, &str) -> Option<&'static str>,
) -> Setting {
    Setting::new(name, kind, default, Access::Live { read, write, veto })
}

const fn fixed(name: &'static str, default: &'static str, kind: Kind) -> Setting {
    Setting::new(name, kind, default, Access::Fixed { immutable: true })
}

const fn kept(name: &'static str, default: &'static str, kind: Kind) -> Setting {
    Setting::new(name, kind, default, Access::Kept).doc("Accepted for Redis's sake; has no effect here.")
}

/// A canonical number; those of smaller types are bounded by their kind.
pub(super) fn number<T: FromStr + Default>(value: &str) -> T {
    value.parse().unwrap_or_default()
}

pub(super) fn shown(value: &std::sync::atomic::AtomicU64) -> String {
    value.load(Relaxed).to_string()
}

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn memory_bytes(value: &str) -> u64 {
    match parse_percent(value) {
        Some(percent) => memory_share(percent),
        None => match number(value) {
            0 => memory_share(MEMORY_PERCENT_DEFAULT),
            bytes => bytes,
        },
    }
}

fn sync_interval(settings: &Settings) -> String {
    match settings.sync_interval_ms.load(Relaxed) {
        _ if !settings.log.load(Relaxed) => "off".to_owned(),
        ms @ 0.. => ms.to_string(),
        _ => "never".to_owned(),
    }
}

fn set_sync_interval(settings: &Settings, value: &str) {
    settings.log.store(value != "off", Relaxed);
    settings.sync_interval_ms.store(value.parse().unwrap_or(-1), Relaxed);
}

fn log_cannot_change(settings: &Settings, wanted: bool) -> Option<&'static str> {
    (settings.log.load(Relaxed) != wanted)
        .then_some("whether there is a log is chosen at the start (WAL_SYNC_INTERVAL_MS)")
}

fn clients_limit(settings: &Settings) -> String {
    match settings.clients_percent.load(Relaxed) {
        0 => shown(&settings.clients_bytes_max),
        percent => format!("{percent}%"),
    }
}

fn set_clients_limit(settings: &Settings, value: &str) {
    let percent = parse_percent(value).unwrap_or(0);
    settings.clients_percent.store(percent, Relaxed);
    if percent == 0 {
        settings.clients_bytes_max.store(number(value.trim_end_matches('%')), Relaxed);
    }
}

/// Limits of the other classes of clients are remembered for the day there are such clients.
const OTHER_OUTPUT_LIMITS: [(&str, &str); 2] = [("slave", "268435456 67108864 60"), ("pubsub", "33554432 8388608 60")];

fn output_limits(settings: &Settings) -> String {
    let mut text = format!(
        "normal {} {} {}",
        settings.output_hard_bytes_max.load(Relaxed),
        settings.output_soft_bytes_max.load(Relaxed),
        settings.output_soft_seconds.load(Relaxed)
    );
    let remembered = settings.remembered.read().unwrap_or_else(PoisonError::into_inner);
    for (class, default) in OTHER_OUTPUT_LIMITS {
        let limit = remembered.get(class).map_or(default, String::as_str);
        append(&mut text, format_args!(" {class} {limit}"));
    }
    text
}

/// Classes that are not named keep their limits, as in Redis.
fn set_output_limits(settings: &Settings, value: &str) {
    for limit in parse_output_limits(value).unwrap_or_default() {
        if limit.class == "normal" {
            settings.output_hard_bytes_max.store(limit.hard_bytes, Relaxed);
            settings.output_soft_bytes_max.store(limit.soft_bytes, Relaxed);
            settings.output_soft_seconds.store(limit.soft_seconds, Relaxed);
        } else {
            let text = format!("{} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds);
            settings.remembered.write().unwrap_or_else(PoisonError::into_inner).insert(limit.class, text);
        }
    }
}

fn log_filter(settings: &Settings) -> String {
    settings.log_filter.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set_log_filter(settings: &Settings, value: &str) {
    value.clone_into(&mut settings.log_filter.write().unwrap_or_else(PoisonError::into_inner));
}

/// Redis's word for the general level of the filter.
fn log_level(settings: &Settings) -> String {
    let filter = log_filter(settings).to_ascii_lowercase();
    let general = filter.split(',').map(str::trim).find(|directive| !directive.contains('=')).unwrap_or("error");
    LOG_LEVELS.iter().find(|(_, level)| *level == general).map_or("warning", |(level, _)| level).to_owned()
}

/// The file was read once when its name was checked; that it is gone now is caught by the start, which finds no password.
fn read_password(settings: &mut Settings, path: &str) {
    if path.is_empty() {
        return;
    }
    if let Ok(password) = super::load::secret_file(path) {
        settings.set_password(Some(&password));
    }
}

fn append(text: &mut String, more: impl Display) {
    text.push_str(&more.to_string());
}
