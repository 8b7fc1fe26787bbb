//! The only place that asks the machine what time it is.
//!
//! Everything below takes `now_ms` as an argument; a connection reads it once per batch. Tests own a manual clock.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where stamps count from; any instant of this process would do.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Tells the time: the machine's, or the one a test has set.
#[derive(Debug, Default)]
pub struct Clock {
    /// Unix milliseconds of a manual clock; `None`: the machine's clock.
    manual_ms: Option<AtomicU64>,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Clock {
        LazyLock::force(&STARTED);
        Clock { manual_ms: None }
    }

    /// A clock that stands at `now_ms` until it is advanced.
    #[must_use]
    pub fn manual(now_ms: u64) -> Clock {
        Clock { manual_ms: Some(AtomicU64::new(now_ms)) }
    }

    /// Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_us() / 1000
    }

    /// Unix microseconds.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that asks")]
    pub fn now_us(&self) -> u64 {
        match &self.manual_ms {
            Some(now_ms) => now_ms.load(Ordering::Relaxed) * 1000,
            // Before 1970 the clock is wrong anyway: entries then simply live until it is set.
            None => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
            }
        }
    }

    /// Nanoseconds on a scale that never runs backwards, for measuring how long something took.
    #[must_use]
    pub fn stamp_ns(&self) -> u64 {
        match &self.manual_ms {
            Some(now_ms) => now_ms.load(Ordering::Relaxed) * 1_000_000,
            None => u64::try_from(STARTED.elapsed().as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Moves a manual clock on by `by_ms`; the machine's clock cannot be moved.
    pub fn advance(&self, by_ms: u64) {
        if let Some(now_ms) = &self.manual_ms {
            now_ms.fetch_add(by_ms, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_until_it_is_advanced() {
        let clock = Clock::manual(1000);
        assert_eq!((clock.now_ms(), clock.stamp_ns()), (1000, 1_000_000_000));
        clock.advance(5);
        assert_eq!((clock.now_ms(), clock.now_us()), (1005, 1_005_000));
    }

    #[test]
    fn the_system_clock_knows_the_century_and_stamps_never_run_backwards() {
        let clock = Clock::system();
        assert!(clock.now_ms() > 1_600_000_000_000);
        let first = clock.stamp_ns();
        assert!(clock.stamp_ns() >= first);
    }
}
