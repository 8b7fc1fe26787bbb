//! Durations of many calls: on the clock and of the thread's own processor time, which neighbours on the machine disturb less.

use crate::table::median;
use rustix::time::{ClockId, clock_gettime};
use std::time::Instant;

/// Durations in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Timer {
    wall_ms: Vec<f64>,
    cpu_ms: Vec<f64>,
}

impl Timer {
    /// Measures one call.
    pub(super) fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let (began, cpu) = (Instant::now(), thread_seconds());
        let result = call();
        self.cpu_ms.push((thread_seconds() - cpu) * 1000.0);
        self.wall_ms.push(began.elapsed().as_secs_f64() * 1000.0);
        result
    }

    pub(super) fn median_ms(&self) -> f64 {
        median(self.wall_ms.iter().copied())
    }

    pub(super) fn p99_ms(&self) -> f64 {
        quantile(&self.wall_ms, 0.99)
    }

    /// The thread's processor time of the median call.
    pub(super) fn cpu_ms(&self) -> f64 {
        median(self.cpu_ms.iter().copied())
    }

    /// Calls per second of processor time, all calls together.
    pub(super) fn per_cpu_second(&self) -> f64 {
        self.cpu_ms.len() as f64 * 1000.0 / self.cpu_ms.iter().sum::<f64>()
    }
}

/// The value below which this share of all values lies.
pub(super) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Processor time of the calling thread.
pub(super) fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values: Vec<f64> = (0..100).rev().map(f64::from).collect();
        assert_eq!((quantile(&values, 0.0), quantile(&values, 0.99), quantile(&values, 1.0)), (0.0, 99.0, 99.0));
        assert!(quantile(&[], 0.5).is_nan());
    }
}
