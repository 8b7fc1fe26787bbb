//! What the operator has chosen, as one struct of atomics: read on the hot path, changed at run time by CONFIG SET.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64};

/// How many databases SELECT knows.
pub const DATABASES: u8 = 16;

/// The settings. Redis's name of each, where it has one, stands in its description.
#[derive(Debug)]
pub struct Settings {
    /// `bind`: the addresses to listen on.
    pub bind: Vec<IpAddr>,
    /// `port`: 0 asks the system for a free one.
    pub port: u16,
    /// `io-threads`: threads that serve connections, each with its own listener; 0: one per core.
    pub io_threads: usize,
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
    /// `slowlog-max-len`.
    pub slowlog_len_max: AtomicU64,
    /// `WAL_SYNC_INTERVAL_MS`: how often the log is made safe from power loss; 0: before each reply. Negative: never.
    pub sync_interval_ms: AtomicI64,
    /// `requirepass`: the default user's password.
    pub password: Password,
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
            io_threads: 0,
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
            slowlog_len_max: AtomicU64::new(128),
            sync_interval_ms: AtomicI64::new(1000),
            password: Password::default(),
        }
    }
}

impl Settings {
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
