//! The log: lines on standard error, as text or JSON, with a filter that can be changed while the server runs.

use sha2::{Digest, Sha256};
use std::fmt;
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

static FILTER: OnceLock<Handle<EnvFilter, Registry>> = OnceLock::new();

/// Begins to log. Only the first call of a process counts; a program that embeds the server and logs already keeps its own way.
pub fn start(filter: &str, json: bool) {
    let (filter, handle) = reload::Layer::new(parsed(filter));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()).boxed()
    };
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        drop(FILTER.set(handle));
    }
}

/// Changes the filter, if [`start`] was called.
pub fn set_filter(filter: &str) {
    if let Some(handle) = FILTER.get()
        && let Err(error) = handle.reload(parsed(filter))
    {
        tracing::warn!(%error, "the log filter could not be changed");
    }
}

/// Filters were checked when they were set.
fn parsed(filter: &str) -> EnvFilter {
    EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Lets a line through once in a while, so that whoever causes it cannot fill the disk that keeps the log. One for each kind of line.
#[derive(Debug)]
pub struct RateLimit {
    interval_ms: u64,
    next_ms: AtomicU64,
    held_back: AtomicU64,
}

impl RateLimit {
    /// At most one line in so many milliseconds.
    #[must_use]
    pub const fn one_in(interval_ms: u64) -> RateLimit {
        RateLimit { interval_ms, next_ms: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// Whether the line may be written now: then how many like it were not since the last one.
    pub fn pass(&self, now_ms: u64) -> Option<u64> {
        let next_ms = self.next_ms.load(Ordering::Relaxed);
        let free = now_ms >= next_ms
            && self
                .next_ms
                .compare_exchange(
                    next_ms,
                    now_ms.saturating_add(self.interval_ms),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if free {
            return Some(self.held_back.swap(0, Ordering::Relaxed));
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// How keys, and texts that were asked for, appear in the log: as the first 16 digits of their SHA-256. They may hold what people have
/// asked; whoever knows a key can still find its lines (`printf %s KEY | sha256sum`).
#[derive(Debug, Clone, Copy)]
pub struct Hashed<'k>(pub &'k [u8]);

impl fmt::Display for Hashed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Sha256::digest(self.0)[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_passes_once_in_an_interval_and_says_how_many_did_not() {
        let limit = RateLimit::one_in(1000);
        assert_eq!(limit.pass(5000), Some(0));
        assert_eq!([limit.pass(5000), limit.pass(5999)], [None, None]);
        assert_eq!(limit.pass(6000), Some(2));
        assert_eq!(limit.pass(9000), Some(0));
    }

    #[test]
    fn a_key_is_shown_as_the_beginning_of_its_sha_256() {
        // The first bytes of the digest of `abc` in FIPS 180-4.
        assert_eq!(Hashed(b"abc").to_string(), "ba7816bf8f01cfea");
    }
}
