//! What LATENCY remembers: events that took at least `latency-monitor-threshold` milliseconds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Samples kept of each event, as in Redis.
pub const SAMPLES_MAX: usize = 160;

/// An event that took long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When, in Unix seconds.
    pub at_s: u64,
    /// How long, in milliseconds; the longest of that second.
    pub took_ms: u64,
}

/// Everything known of one kind of event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    /// Oldest first.
    pub samples: VecDeque<Sample>,
    /// The longest ever, in milliseconds.
    pub longest_ms: u64,
}

/// Series by the name of the event.
#[derive(Debug, Default)]
pub struct LatencyMonitor {
    events: Mutex<BTreeMap<&'static str, Series>>,
}

impl LatencyMonitor {
    /// Notes an event if it took as long as the threshold; a threshold of 0 notes nothing.
    pub fn note(&self, event: &'static str, took_ms: u64, threshold_ms: u64, now_ms: u64) {
        if threshold_ms == 0 || took_ms < threshold_ms {
            return;
        }
        let at_s = now_ms / 1000;
        let mut events = self.lock();
        let series = events.entry(event).or_default();
        series.longest_ms = series.longest_ms.max(took_ms);
        match series.samples.back_mut() {
            Some(last) if last.at_s == at_s => last.took_ms = last.took_ms.max(took_ms),
            Some(_) | None => {
                if series.samples.len() == SAMPLES_MAX {
                    series.samples.pop_front();
                }
                series.samples.push_back(Sample { at_s, took_ms });
            }
        }
    }

    /// All series.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, Series> {
        self.lock().clone()
    }

    /// The series of one event.
    #[must_use]
    pub fn series(&self, event: &str) -> Option<Series> {
        self.lock().get(event).cloned()
    }

    /// Forgets the series of these names (in any case), or all if none is given; how many there were.
    pub fn reset(&self, names: &[&[u8]]) -> usize {
        let mut events = self.lock();
        let before = events.len();
        if names.is_empty() {
            events.clear();
        } else {
            events.retain(|event, _| !names.iter().any(|name| name.eq_ignore_ascii_case(event.as_bytes())));
        }
        before - events.len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Series>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_as_long_as_the_threshold_is_remembered() {
        let monitor = LatencyMonitor::default();
        monitor.note("command", 9, 10, 1000);
        monitor.note("command", 50, 0, 1000);
        assert_eq!(monitor.series("command"), None);
        monitor.note("command", 10, 10, 1000);
        assert_eq!(monitor.series("command").map(|series| series.longest_ms), Some(10));
    }

    #[test]
    fn a_second_keeps_its_longest_event_and_the_oldest_second_goes() {
        let monitor = LatencyMonitor::default();
        monitor.note("command", 10, 1, 5_000);
        monitor.note("command", 30, 1, 5_900);
        monitor.note("command", 20, 1, 5_999);
        for second in 6..6 + SAMPLES_MAX as u64 {
            monitor.note("command", 7, 1, second * 1000);
        }
        let series = monitor.series("command").expect("noted");
        assert_eq!(series.samples.len(), SAMPLES_MAX);
        assert_eq!(series.samples[0], Sample { at_s: 6, took_ms: 7 });
        assert_eq!(series.longest_ms, 30);
    }

    #[test]
    fn a_reset_forgets_the_named_events_only() {
        let monitor = LatencyMonitor::default();
        monitor.note("command", 10, 1, 0);
        monitor.note("checkpoint", 10, 1, 0);
        assert_eq!(monitor.reset(&[b"COMMAND", b"other"]), 1);
        assert_eq!(monitor.reset(&[]), 1);
        assert!(monitor.all().is_empty());
    }
}
