//! What the operator has chosen, as one struct of atomics: read on the hot path, changed at run time by CONFIG SET.

use crate::http::settings::HttpSettings;
use crate::meaning::settings::MeaningSettings;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use sutra_eviction::Policy;
use sutra_shard::{Limits, Shard};

/// How many databases SELECT knows.
pub const DATABASES: u8 = 16;

/// The settings. Redis's name of each, where it has one, stands in its description.
#[derive(Debug)]
pub struct Settings {
    /// `bind`: the addresses to listen on.
    pub bind: Vec<IpAddr>,
    /// `port`: 0 asks the system for a free one.
    pub port: u16,
    /// The HTTP port.
    pub http: HttpSettings,
    /// `io-threads`: threads that serve connections, each with its own listener; 0: one per core.
    pub io_threads: usize,
    /// `background-threads`: threads for what takes long; 0: one per core.
    pub background_threads: usize,
    /// `tcp-backlog`: connections the system may hold that are not yet accepted, for each listener.
    pub tcp_backlog: u32,
    /// `maxclients`.
    pub maxclients: AtomicU32,
    /// `timeout`: seconds after which an idle client is closed; 0: never.
    pub timeout_s: AtomicU64,
    /// `tcp-keepalive`: seconds of silence before the system probes a connection; 0: never. Applies to new connections.
    pub tcp_keepalive_s: AtomicU32,
    /// `client-query-buffer-limit`: bytes of requests a connection may have sent that are not yet executed.
    pub query_buffer_bytes_max: AtomicU64,
    /// `client-output-buffer-limit normal`, hard: bytes of replies waiting at which a client is closed at once; 0: off.
    pub output_hard_bytes_max: AtomicU64,
    /// Soft: bytes of replies waiting at which a client is closed after `output_soft_seconds`; 0: off.
    pub output_soft_bytes_max: AtomicU64,
    /// How long the soft limit may be exceeded.
    pub output_soft_seconds: AtomicU64,
    /// `proto-max-bulk-len`: bytes of the longest argument and the longest string.
    pub bulk_bytes_max: AtomicU64,
    /// `maxmemory-clients`: bytes of all buffers of all clients; beyond it the largest clients are closed. 0: off.
    pub clients_bytes_max: AtomicU64,
    /// `protected-mode`: without a password only clients of this machine are served.
    pub protected_mode: AtomicBool,
    /// `slowlog-log-slower-than`: microseconds; negative: off.
    pub slowlog_slower_than_us: AtomicI64,
    /// `tracking-table-max-keys`.
    pub tracked_keys_max: AtomicU64,
    /// `slowlog-max-len`.
    pub slowlog_len_max: AtomicU64,
    /// `WAL_SYNC_INTERVAL_MS`: how often the log is made safe from power loss; 0: before each reply. Negative: never.
    pub sync_interval_ms: AtomicI64,
    /// `requirepass`: the default user's password.
    pub password: Password,
    /// `dir`: the data directory.
    pub directory: PathBuf,
    /// `mmap-enabled`: payloads in mapped files.
    pub mapped: bool,
    /// `appendonly`: whether there is a log. Fixed at the start.
    pub log: AtomicBool,
    /// `maxmemory`: bytes for everything.
    pub memory_bytes_max: AtomicU64,
    /// `max-concepts`: entries; 0: no limit.
    pub entries_max: AtomicU64,
    /// `maxmemory-policy`.
    pub policy: RwLock<Policy>,
    /// `maxmemory-clients` as a share of `maxmemory`, in percent; 0: it is given in bytes.
    pub clients_percent: AtomicU32,
    /// `default-ttl-seconds`: time to live of native writes that give none; 0: none.
    pub default_ttl_s: AtomicU64,
    /// Spaces, vectors, tags and leases.
    pub meaning: MeaningSettings,
    /// `vector-dimension`: the only dimension accepted in the default space; 0: any.
    pub vector_dimension: u32,
    /// `analytics-ring-len`: native reads and writes that are remembered for CACHE.ASK; 0: none.
    pub analytics_ring_len: AtomicU64,
    /// `lfu-decay-time`: minutes until an idle entry's access counter drops by one.
    pub frequency_decay_minutes: AtomicU64,
    /// `hash-max-listpack-entries`: fields up to which a new hash is kept compact.
    pub hash_fields_max: AtomicU64,
    /// `hash-max-listpack-value`: bytes of a name or value up to which it is.
    pub hash_item_bytes_max: AtomicU64,
    /// `latency-monitor-threshold`: milliseconds from which LATENCY remembers an event; 0: off.
    pub latency_threshold_ms: AtomicU64,
    /// `rust-log`: what is written to standard error, in the notation of the crate `tracing-subscriber`.
    pub log_filter: RwLock<String>,
    /// `enable-debug-command`: 0: nobody, 1: everybody, 2: clients of this machine.
    pub debug_command: AtomicU8,
    /// `log-format json`: a JSON object a line instead of text.
    pub log_json: bool,
    /// Values of settings that are accepted, and answered by CONFIG GET, but have no effect here; those that are not their default.
    pub remembered: RwLock<BTreeMap<&'static str, String>>,
    /// The configuration file, if one was read.
    pub file: Option<PathBuf>,
    /// Names of settings that environment or flags have set, which win over the file at the next start too.
    pub overridden: BTreeSet<&'static str>,
    /// Names of settings that CONFIG SET has changed: CONFIG REWRITE writes these.
    pub changed: Mutex<BTreeSet<&'static str>>,
}

/// A password, if one is asked; shown to nobody.
#[derive(Default)]
pub struct Password(RwLock<Option<Vec<u8>>>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            port: 50051,
            http: HttpSettings::default(),
            io_threads: 0,
            background_threads: 0,
            tcp_backlog: 511,
            maxclients: AtomicU32::new(10_000),
            timeout_s: AtomicU64::new(0),
            tcp_keepalive_s: AtomicU32::new(300),
            query_buffer_bytes_max: AtomicU64::new(1 << 30),
            output_hard_bytes_max: AtomicU64::new(0),
            output_soft_bytes_max: AtomicU64::new(0),
            output_soft_seconds: AtomicU64::new(0),
            bulk_bytes_max: AtomicU64::new(512 << 20),
            clients_bytes_max: AtomicU64::new(0),
            protected_mode: AtomicBool::new(true),
            slowlog_slower_than_us: AtomicI64::new(10_000),
            tracked_keys_max: AtomicU64::new(1_000_000),
            slowlog_len_max: AtomicU64::new(128),
            sync_interval_ms: AtomicI64::new(1000),
            password: Password::default(),
            directory: PathBuf::from("./data"),
            mapped: true,
            log: AtomicBool::new(true),
            memory_bytes_max: AtomicU64::new(Limits::default().max_memory_bytes),
            entries_max: AtomicU64::new(0),
            policy: RwLock::new(Policy::AllkeysLru),
            clients_percent: AtomicU32::new(0),
            default_ttl_s: AtomicU64::new(0),
            meaning: MeaningSettings::default(),
            vector_dimension: 0,
            analytics_ring_len: AtomicU64::new(65_536),
            frequency_decay_minutes: AtomicU64::new(1),
            hash_fields_max: AtomicU64::new(512),
            hash_item_bytes_max: AtomicU64::new(64),
            latency_threshold_ms: AtomicU64::new(0),
            log_filter: RwLock::new("info".to_owned()),
            debug_command: AtomicU8::new(2),
            log_json: false,
            remembered: RwLock::default(),
            file: None,
            overridden: BTreeSet::new(),
            changed: Mutex::default(),
        }
    }
}

/// However small a share of the memory client buffers may take, they may take so much: a single large value has to pass.
const CLIENTS_BYTES_MIN: u64 = 64 << 20;

impl Settings {
    /// The limits that the shard is opened with.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            max_memory_bytes: self.memory_bytes_max.load(Ordering::Relaxed),
            max_entries: self.entries_max.load(Ordering::Relaxed),
            policy: *self.policy.read().unwrap_or_else(std::sync::PoisonError::into_inner),
        }
    }

    /// How many threads do what takes long.
    #[must_use]
    pub fn background_threads(&self) -> usize {
        match self.background_threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => threads,
        }
    }

    /// Works out what follows from other settings, and hands the shard what it can change while it runs. To be called after any change.
    pub fn apply(&self, shard: &Shard) {
        self.derive();
        let limits = self.limits();
        shard.set_max_memory(limits.max_memory_bytes);
        shard.set_max_entries(limits.max_entries);
        if shard.policy() != limits.policy {
            shard.set_policy(limits.policy);
        }
        shard.set_graph_min_rows(self.meaning.graph_min_rows.load(Ordering::Relaxed));
        let undo_ms = self.meaning.undo_seconds.load(Ordering::Relaxed).saturating_mul(1000);
        shard.set_undo_limits(undo_ms, self.meaning.undo_bytes_max.load(Ordering::Relaxed));
        shard.set_tracked_keys_max(self.tracked_keys_max.load(Ordering::Relaxed));
        shard.set_frequency_decay_minutes(self.frequency_decay_minutes.load(Ordering::Relaxed));
        let size = |setting: &AtomicU64| usize::try_from(setting.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        shard.set_hash_limits(size(&self.hash_fields_max), size(&self.hash_item_bytes_max));
    }

    /// How many native reads and writes are remembered.
    #[must_use]
    pub fn analytics_ring_len(&self) -> usize {
        usize::try_from(self.analytics_ring_len.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Works out what follows from other settings.
    pub fn derive(&self) {
        let percent = self.clients_percent.load(Ordering::Relaxed);
        if percent > 0 {
            let share = self.memory_bytes_max.load(Ordering::Relaxed) / 100 * u64::from(percent);
            self.clients_bytes_max.store(share.max(CLIENTS_BYTES_MIN), Ordering::Relaxed);
        }
    }

    /// Sets the default user's password; empty or `None`: none is asked. Clients that are already in stay in, as in Redis.
    pub fn set_password(&self, password: Option<&[u8]>) {
        let password = password.filter(|password| !password.is_empty()).map(<[u8]>::to_vec);
        *self.password.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = password;
    }

    /// Whether clients have to give a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.password.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).is_some()
    }

    /// The password, for CONFIG GET and CONFIG REWRITE.
    #[must_use]
    pub fn password(&self) -> Option<Vec<u8>> {
        self.password.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Whether this is the password. Takes as long for a wrong guess as for a right one of the same length, whatever they share.
    #[must_use]
    pub fn is_password(&self, guess: &[u8]) -> bool {
        let password = self.password.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(password) = password.as_deref() else { return true };
        let mut differs = u8::from(password.len() != guess.len());
        for (index, byte) in guess.iter().enumerate() {
            differs |= byte ^ password.get(index).copied().unwrap_or(!byte);
        }
        differs == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_password_is_right() {
        let settings = Settings::default();
        assert!(settings.is_password(b"anything"));
        settings.set_password(Some(b"secret"));
        assert!(settings.has_password() && settings.is_password(b"secret"));
        for wrong in [&b"secre"[..], b"secretx", b"", b"Secret"] {
            assert!(!settings.is_password(wrong));
        }
        settings.set_password(Some(b""));
        assert!(!settings.has_password());
    }
}
