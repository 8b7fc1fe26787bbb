//! What the process counted, sampled once a second: what happened between two instants is the difference of two samples.
//!
//! Every second of the last hour and every minute of the last week is kept, about a megabyte when full.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

const SECOND_MS: u64 = 1000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
/// Samples a second apart that are kept.
const SECONDS_MAX: usize = 3600;
/// Samples a minute apart that are kept.
const MINUTES_MAX: usize = 7 * 24 * 60;

/// What only grows, as counted since the start or the last CONFIG RESETSTAT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries evicted.
    pub evictions: u64,
    /// Entries expired.
    pub expirations: u64,
    /// Keys found, by whatever command.
    pub keyspace_hits: u64,
    /// Keys not found.
    pub keyspace_misses: u64,
    /// Of the keys found, those by native commands, which the ring knows one by one.
    pub native_hits: u64,
    /// Of the keys not found, those by native commands.
    pub native_misses: u64,
    /// Commands executed.
    pub calls: u64,
    /// How long they took together, as far as they were timed.
    pub nanoseconds: u64,
}

/// What goes up and down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Levels {
    /// Bytes used.
    pub memory_bytes: u64,
    /// Entries held.
    pub entries: u64,
}

/// One look at the counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// Summed over resets.
    pub totals: Totals,
    /// At that instant.
    pub levels: Levels,
}

/// What happened between two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first of the two, in Unix milliseconds.
    pub from_ms: u64,
    /// The last.
    pub to_ms: u64,
    /// What was added in between.
    pub totals: Totals,
    /// The least memory and the fewest entries at any sample.
    pub least: Levels,
    /// The most memory and the most entries at any sample.
    pub most: Levels,
    /// At the last.
    pub last: Levels,
}

/// The samples.
#[derive(Debug, Default)]
pub struct Samples(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// As the counters stood at the last look.
    counted: Totals,
    /// Their sums over resets.
    sums: Totals,
    seconds: VecDeque<Sample>,
    minutes: VecDeque<Sample>,
    /// The very first one, so that a young server knows all of its life.
    latest: Option<Sample>,
}

impl Samples {
    /// Whether a second has passed since the last sample, so that the next one is due.
    #[must_use]
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.lock().seconds.back().is_none_or(|last| now_ms >= last.at_ms + SECOND_MS || now_ms < last.at_ms)
    }

    /// Takes a look: keeps it if a second has passed since the last that was kept, and remembers it as the present in any case.
    pub fn take(&self, at_ms: u64, counted: Totals, levels: Levels) {
        let mut kept = self.lock();
        kept.sums = kept.sums.plus(counted.since_reset(kept.counted));
        kept.counted = counted;
        let sample = Sample { at_ms, totals: kept.sums, levels };
        kept.latest = Some(sample);
        if kept.seconds.back().is_none_or(|last| at_ms >= last.at_ms + SECOND_MS) {
            push(&mut kept.seconds, sample, SECONDS_MAX);
        }
        if kept.minutes.back().is_none_or(|last| at_ms >= last.at_ms + MINUTE_MS) {
            push(&mut kept.minutes, sample, MINUTES_MAX);
        }
    }

    /// What happened from `from_ms` to `to_ms`: between the last samples not after each (the first one there is, if all are later). `None`: there
    /// is no sample up to `to_ms`.
    #[must_use]
    pub fn between(&self, from_ms: u64, to_ms: u64) -> Option<Span> {
        let kept = self.lock();
        let in_seconds = kept.seconds.front().is_some_and(|first| first.at_ms <= from_ms);
        let samples = if in_seconds { &kept.seconds } else { &kept.minutes };
        let begin = samples.partition_point(|sample| sample.at_ms <= from_ms).saturating_sub(1);
        let within = || {
            let newer = kept.seconds.iter().chain(&kept.latest);
            let stored_until_ms = samples.back().map_or(0, |last| last.at_ms);
            samples
                .iter()
                .skip(begin)
                .chain(newer.filter(move |sample| sample.at_ms > stored_until_ms))
                .take_while(|sample| sample.at_ms <= to_ms)
        };
        let first = *within().next()?;
        let last = within().last().copied().unwrap_or(first);
        let (mut least, mut most) = (first.levels, first.levels);
        for Sample { levels, .. } in within() {
            least.memory_bytes = least.memory_bytes.min(levels.memory_bytes);
            least.entries = least.entries.min(levels.entries);
            most.memory_bytes = most.memory_bytes.max(levels.memory_bytes);
            most.entries = most.entries.max(levels.entries);
        }
        let totals = last.totals.since_reset(first.totals);
        Some(Span { from_ms: first.at_ms, to_ms: last.at_ms, totals, least, most, last: last.levels })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push(samples: &mut VecDeque<Sample>, sample: Sample, len_max: usize) {
    if samples.len() == len_max {
        samples.pop_front();
    }
    samples.push_back(sample);
}

impl Totals {
    fn zip(self, other: Totals, with: impl Fn(u64, u64) -> u64) -> Totals {
        Totals {
            evictions: with(self.evictions, other.evictions),
            expirations: with(self.expirations, other.expirations),
            keyspace_hits: with(self.keyspace_hits, other.keyspace_hits),
            keyspace_misses: with(self.keyspace_misses, other.keyspace_misses),
            native_hits: with(self.native_hits, other.native_hits),
            native_misses: with(self.native_misses, other.native_misses),
            calls: with(self.calls, other.calls),
            nanoseconds: with(self.nanoseconds, other.nanoseconds),
        }
    }

    /// Keys found and not found by Redis's commands alone.
    #[must_use]
    pub fn plain_reads(self) -> (u64, u64) {
        let misses = self.keyspace_misses.saturating_sub(self.native_misses);
        (self.keyspace_hits.saturating_sub(self.native_hits), misses)
    }

    fn plus(self, other: Totals) -> Totals {
        self.zip(other, u64::saturating_add)
    }

    /// What was added since `before`; a counter that stands lower was set back to zero in between.
    fn since_reset(self, before: Totals) -> Totals {
        self.zip(before, |now, before| if now >= before { now - before } else { now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evicted(evictions: u64) -> Totals {
        Totals { evictions, ..Totals::default() }
    }

    fn levels(memory_bytes: u64) -> Levels {
        Levels { memory_bytes, entries: 0 }
    }

    #[test]
    fn the_difference_of_two_samples_is_what_happened_between() {
        let samples = Samples::default();
        assert_eq!(samples.between(0, u64::MAX), None);
        for second in 0..100 {
            samples.take(second * 1000, evicted(second * 2), levels(100 - second));
        }
        let span = samples.between(40_500, 50_000).expect("samples");
        assert_eq!((span.from_ms, span.to_ms, span.totals.evictions), (40_000, 50_000, 20));
        assert_eq!((span.least.memory_bytes, span.most.memory_bytes, span.last.memory_bytes), (50, 60, 50));
    }

    #[test]
    fn a_look_between_two_seconds_counts_as_the_present() {
        let samples = Samples::default();
        samples.take(1000, evicted(0), levels(1));
        samples.take(1200, evicted(5), levels(2));
        assert!(!samples.is_due(1900) && samples.is_due(2000));
        let span = samples.between(0, 5000).expect("samples");
        assert_eq!((span.from_ms, span.to_ms, span.totals.evictions, span.last.memory_bytes), (1000, 1200, 5, 2));
    }

    #[test]
    fn counters_that_were_set_back_lose_nothing() {
        let samples = Samples::default();
        samples.take(0, evicted(10), levels(0));
        samples.take(1000, evicted(15), levels(0));
        samples.take(2000, evicted(3), levels(0));
        assert_eq!(samples.between(0, 2000).expect("samples").totals.evictions, 8);
    }

    #[test]
    fn an_hour_is_known_by_the_second_and_a_week_by_the_minute() {
        let samples = Samples::default();
        let week_s = 7 * 24 * 3600;
        for second in 0..week_s + 7200 {
            samples.take(second * 1000, evicted(second), levels(0));
        }
        let now_ms = (week_s + 7199) * 1000;
        let hour = samples.between(now_ms - 3_599_000, now_ms).expect("samples");
        assert_eq!(hour.totals.evictions, 3599);
        let day = samples.between(now_ms - 86_400_000, now_ms).expect("samples");
        assert!((86_400..86_460).contains(&day.totals.evictions), "{day:?}");
        let all = samples.between(0, now_ms).expect("samples");
        assert!(all.from_ms > 0 && all.totals.evictions > 7 * 24 * 3600 - 120, "{all:?}");
    }
}
