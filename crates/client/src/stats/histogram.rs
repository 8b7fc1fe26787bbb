//! How long things took: counts in buckets whose width grows with the time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// By how much a percentile may be off, as a share of itself.
pub const RELATIVE_ERROR_MAX: f64 = 1.0 / (2 * SUB_BUCKETS) as f64;

/// Each power of two is divided into so many buckets of equal width.
const SUB_BUCKETS: usize = 16;
const SUB_BITS: u32 = SUB_BUCKETS.ilog2();
/// Times of 2^40 ns (18 minutes) and more are counted as the longest there is.
const TIME_BITS: u32 = 40;
const BUCKETS: usize = SUB_BUCKETS + (TIME_BITS - SUB_BITS) as usize * SUB_BUCKETS;

/// A histogram that many threads record into at once, each time by two additions and without a lock.
///
/// The buckets are log-linear, as in Gil Tene's HdrHistogram: 16 of equal width for each power of two. A time is off by at most half the
/// width of its bucket, which is 1/32 of it: percentiles are within 3.2 % ([`RELATIVE_ERROR_MAX`]), from nanoseconds to 18 minutes, in 4.7 KiB.
///
/// ```
/// use std::time::Duration;
/// use sutra_cache_client::stats::Histogram;
///
/// let histogram = Histogram::new();
/// (1..=1000).for_each(|us| histogram.record(Duration::from_micros(us)));
/// let p99 = histogram.snapshot().percentile(99.0).unwrap();
/// assert!((p99.as_secs_f64() / 990e-6 - 1.0).abs() < 0.032);
/// ```
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

/// What was in a histogram at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    buckets: Box<[u64]>,
    count: u64,
    sum_ns: u64,
    max_ns: u64,
}

impl Histogram {
    /// An empty one.
    #[must_use]
    pub fn new() -> Histogram {
        Histogram {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum_ns: AtomicU64::new(0),
            max_ns: AtomicU64::new(0),
        }
    }

    /// Something took this time.
    pub fn record(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(ns)].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
        // Asked first, since a line that nobody writes is everybody's.
        if ns > self.max_ns.load(Ordering::Relaxed) {
            self.max_ns.fetch_max(ns, Ordering::Relaxed);
        }
    }

    /// What is in it now.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        let buckets: Box<[u64]> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        HistogramSnapshot {
            count: buckets.iter().sum(),
            buckets,
            sum_ns: self.sum_ns.load(Ordering::Relaxed),
            max_ns: self.max_ns.load(Ordering::Relaxed),
        }
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

impl HistogramSnapshot {
    /// How many times are in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their exact sum.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// Their exact mean; zero if there are none.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.sum_ns.checked_div(self.count).unwrap_or(0))
    }

    /// The longest, exactly; zero if there are none.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// The time within which so many of a hundred ended, to [`RELATIVE_ERROR_MAX`]. `None` if there are none.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let rank = (self.count as f64 * percent.clamp(0.0, 100.0) / 100.0).ceil().max(1.0) as u64;
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            below += count;
            if *count > 0 && below >= rank {
                return Some(Duration::from_nanos(middle_of(bucket).min(self.max_ns)));
            }
        }
        None
    }

    /// How many took less than 2^`bits` nanoseconds, exactly: there is an edge of a bucket at each power of two.
    #[must_use]
    pub fn below_power(&self, bits: u32) -> u64 {
        let end = if bits < SUB_BITS { 1 << bits } else { bucket_of(1 << bits.min(TIME_BITS - 1)) };
        let end = if bits >= TIME_BITS { BUCKETS } else { end };
        self.buckets[..end].iter().sum()
    }
}

fn bucket_of(ns: u64) -> usize {
    let ns = ns.min((1 << TIME_BITS) - 1);
    if ns < SUB_BUCKETS as u64 {
        return ns as usize;
    }
    let power = ns.ilog2();
    let sub = (ns >> (power - SUB_BITS)) as usize - SUB_BUCKETS;
    SUB_BUCKETS + (power - SUB_BITS) as usize * SUB_BUCKETS + sub
}

fn middle_of(bucket: usize) -> u64 {
    let Some(above) = bucket.checked_sub(SUB_BUCKETS) else { return bucket as u64 };
    let shift = (above / SUB_BUCKETS) as u32;
    let low = ((SUB_BUCKETS + above % SUB_BUCKETS) as u64) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_histogram_has_no_percentiles() {
        let empty = Histogram::new().snapshot();
        assert_eq!((empty.percentile(50.0), empty.count(), empty.mean()), (None, 0, Duration::ZERO));
    }

    #[test]
    fn times_beyond_the_last_bucket_are_counted_and_their_maximum_is_exact() {
        let histogram = Histogram::new();
        let hour = Duration::from_secs(3600);
        histogram.record(hour);
        histogram.record(Duration::MAX);
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.count(), snapshot.below_power(39), snapshot.below_power(40)), (2, 0, 2));
        assert!(snapshot.max() > hour);
    }

    proptest! {
        #[test]
        fn a_time_is_shown_within_the_stated_error(ns in 0..(1_u64 << TIME_BITS)) {
            let shown = middle_of(bucket_of(ns));
            prop_assert!(shown.abs_diff(ns) as f64 <= ns as f64 * RELATIVE_ERROR_MAX, "{} for {}", shown, ns);
        }

        #[test]
        fn percentiles_are_those_of_the_sorted_times(mut times in proptest::collection::vec(0..10_000_000_u64, 1..200), percent in 0.0..100.0_f64) {
            let histogram = Histogram::new();
            times.iter().for_each(|ns| histogram.record(Duration::from_nanos(*ns)));
            times.sort_unstable();
            let rank = ((times.len() as f64 * percent / 100.0).ceil() as usize).max(1);
            let exact = times[rank - 1];
            let snapshot = histogram.snapshot();
            let shown = snapshot.percentile(percent).expect("it is not empty").as_nanos() as u64;
            prop_assert!(shown.abs_diff(exact) as f64 <= exact as f64 * RELATIVE_ERROR_MAX, "{} for {}", shown, exact);
            prop_assert_eq!(snapshot.max().as_nanos() as u64, times[times.len() - 1]);
            prop_assert_eq!(snapshot.sum().as_nanos() as u64, times.iter().sum::<u64>());
            for bits in 0..30 {
                let below = times.iter().filter(|ns| **ns < 1 << bits).count() as u64;
                prop_assert_eq!(snapshot.below_power(bits), below, "2^{}", bits);
            }
        }
    }
}
