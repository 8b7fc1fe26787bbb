//! What the library did: counters, latencies, money. [`Stats`] is told, [`Snapshot`] is what it knows at one moment, and
//! [`Stats::prometheus`] is the same for a scraper.
//!
//! Telling costs nanoseconds and takes no lock. Counters are divided into stripes, one cache line apart, and a thread always writes to its
//! own, so that threads that hit the first tier at once do not wait for each other's lines; a snapshot sums them. It is no single moment
//! across counters: each is exact, and they may be some calls apart.
//!
//! ```
//! use std::time::Duration;
//! use sutra_cache_client::stats::{Counter, ErrorKind, Operation, Stats};
//!
//! let stats = Stats::new();
//! stats.count(Counter::L1Hits);
//! stats.count(Counter::Misses);
//! stats.error(ErrorKind::Timeout);
//! stats.took(Operation::Get, Duration::from_micros(250));
//! stats.costs().saved("gpt", 0.03);
//! stats.costs().spent("gpt", 0.01);
//!
//! let now = stats.snapshot();
//! assert_eq!((now.hits, now.misses, now.hit_rate), (1, 1, 0.5));
//! assert_eq!(now.errors["timeout"], 1);
//! assert_eq!(now.cost.reduction_percent, 75.0);
//! assert!(stats.prometheus(None).contains("sutra_client_hits_total{tier=\"l1\"} 1\n"));
//! ```

mod cost;
mod counter;
mod exposition;
mod histogram;
mod snapshot;

pub use cost::{CostSummary, Costs, MODELS_MAX, ModelCost, OTHER_MODELS};
pub use counter::{Counter, ErrorKind, Operation};
pub use histogram::{Histogram, HistogramSnapshot, RELATIVE_ERROR_MAX};
pub use snapshot::{LatencySummary, Snapshot};

use crate::Error;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// What one client did since it was made.
#[derive(Debug)]
pub struct Stats {
    stripes: Box<[Stripe]>,
    latencies: Box<[Histogram]>,
    costs: Costs,
}

/// More than machines have cores that hit one client at once; a power of two.
const STRIPES: usize = 16;

/// On lines of its own: processors fetch two lines of 64 bytes at a time.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    counters: [AtomicU64; Counter::ALL.len()],
    errors: [AtomicU64; ErrorKind::ALL.len()],
}

impl Stats {
    /// All zero.
    #[must_use]
    pub fn new() -> Stats {
        Stats {
            stripes: (0..STRIPES).map(|_| Stripe::default()).collect(),
            latencies: Operation::ALL.iter().map(|_| Histogram::new()).collect(),
            costs: Costs::default(),
        }
    }

    /// It happened once.
    pub fn count(&self, what: Counter) {
        self.add(what, 1);
    }

    /// It happened so many times, or so many bytes went.
    pub fn add(&self, what: Counter, count: u64) {
        self.stripes[stripe()].counters[what as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// A fault of this kind.
    pub fn error(&self, kind: ErrorKind) {
        self.stripes[stripe()].errors[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A call ended with this error.
    pub(crate) fn failed(&self, error: &Error) {
        self.error(match error {
            Error::Unavailable { .. } | Error::Closed => ErrorKind::Connect,
            Error::Timeout { .. } => ErrorKind::Timeout,
            Error::Lost { .. } => ErrorKind::Disconnected,
            Error::Full { .. } | Error::BreakerOpen | Error::Config(_) | Error::Encode(_) => ErrorKind::Refused,
            Error::Unexpected { .. } => ErrorKind::Protocol,
            Error::Server(error) if matches!(error.code(), "NOAUTH" | "WRONGPASS" | "NOPERM") => {
                ErrorKind::Authentication
            }
            Error::Server(_) => ErrorKind::Server,
            Error::Decode(_) => ErrorKind::Decode,
            // The caller's own, and counted where it is called.
            Error::Compute(_) => return,
        });
    }

    /// An operation ended, well or not, after this time.
    pub fn took(&self, operation: Operation, time: Duration) {
        self.latencies[operation as usize].record(time);
    }

    /// What was spent on models, and what was not.
    #[must_use]
    pub fn costs(&self) -> &Costs {
        &self.costs
    }

    /// How often it happened.
    #[must_use]
    pub fn total(&self, what: Counter) -> u64 {
        self.stripes.iter().map(|stripe| stripe.counters[what as usize].load(Ordering::Relaxed)).sum()
    }

    /// How many faults of this kind there were.
    #[must_use]
    pub fn errors(&self, kind: ErrorKind) -> u64 {
        self.stripes.iter().map(|stripe| stripe.errors[kind as usize].load(Ordering::Relaxed)).sum()
    }

    /// How long operations of this class took.
    #[must_use]
    pub fn latency(&self, operation: Operation) -> HistogramSnapshot {
        self.latencies[operation as usize].snapshot()
    }
}

impl Default for Stats {
    fn default() -> Stats {
        Stats::new()
    }
}

/// The stripe of this thread, which it keeps.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
    }
    OWN.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_lose_no_count() {
        let stats = Stats::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        stats.count(Counter::L1Hits);
                        stats.error(ErrorKind::Timeout);
                        stats.took(Operation::Get, Duration::from_nanos(700));
                    }
                });
            }
        });
        assert_eq!(stats.total(Counter::L1Hits), 40_000);
        assert_eq!(stats.errors(ErrorKind::Timeout), 40_000);
        assert_eq!(stats.latency(Operation::Get).count(), 40_000);
        assert_eq!(stats.total(Counter::L2Hits), 0);
    }
}
