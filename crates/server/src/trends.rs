//! Rates and peaks, sampled by the housekeeper: what INFO calls `instantaneous_…` and `…_peak`.

use crate::server::Server;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Samples over which a rate is taken, as in Redis.
const SAMPLES: usize = 16;

/// What is counted up, at one instant.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    at_ms: u64,
    calls: u64,
    input_bytes: u64,
    output_bytes: u64,
}

/// Rates over the last samples.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Commands a second.
    pub calls_per_s: f64,
    /// Bytes read a second.
    pub input_bytes_per_s: f64,
    /// Bytes written a second.
    pub output_bytes_per_s: f64,
}

/// The last samples, and the largest values so far.
#[derive(Debug, Default)]
pub struct Trends {
    ring: Mutex<(usize, [Totals; SAMPLES])>,
    memory_peak_bytes: AtomicU64,
}

impl Trends {
    /// Takes a sample. The housekeeper calls it about ten times a second.
    pub fn sample(&self, server: &Server, now_ms: u64) {
        self.note_memory(server.shard.memory().used_bytes());
        let workers = server.workers().iter();
        let mut now = Totals { at_ms: now_ms, ..Totals::default() };
        for worker in workers {
            now.calls += worker.calls();
            now.input_bytes += worker.input_bytes.value();
            now.output_bytes += worker.output_bytes.value();
        }
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (ring.0 + 1) % SAMPLES;
        ring.0 = next;
        ring.1[next] = now;
    }

    /// Rates from the oldest sample to the newest; zero until there are two.
    #[must_use]
    pub fn rates(&self) -> Rates {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = ring.1[ring.0];
        let oldest = (1..SAMPLES).map(|step| ring.1[(ring.0 + step) % SAMPLES]).find(|totals| totals.at_ms > 0);
        let Some(oldest) = oldest.filter(|oldest| oldest.at_ms < newest.at_ms) else { return Rates::default() };
        let seconds = (newest.at_ms - oldest.at_ms) as f64 / 1000.0;
        // CONFIG RESETSTAT may have set a counter back in between.
        let rate = |newest: u64, oldest: u64| newest.saturating_sub(oldest) as f64 / seconds;
        Rates {
            calls_per_s: rate(newest.calls, oldest.calls),
            input_bytes_per_s: rate(newest.input_bytes, oldest.input_bytes),
            output_bytes_per_s: rate(newest.output_bytes, oldest.output_bytes),
        }
    }

    /// The most memory that was used at any look, in bytes, given what is used now.
    pub fn memory_peak(&self, used_bytes: u64) -> u64 {
        self.note_memory(used_bytes);
        self.memory_peak_bytes.load(Ordering::Relaxed)
    }

    /// Begins the peak anew (CONFIG RESETSTAT).
    pub fn reset(&self) {
        self.memory_peak_bytes.store(0, Ordering::Relaxed);
    }

    fn note_memory(&self, used_bytes: u64) {
        self.memory_peak_bytes.fetch_max(used_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::settings::Settings;
    use sutra_shard::{Limits, Shard};

    #[test]
    fn rates_are_taken_over_the_samples_that_there_are() {
        let shard = Shard::in_memory(&Limits::default(), 1).expect("limits");
        let server = Server::new(Settings::default(), shard, Clock::manual(1));
        let trends = Trends::default();
        assert_eq!(trends.rates(), Rates::default());
        trends.sample(&server, 1000);
        assert_eq!(trends.rates(), Rates::default());
        server.worker().commands[0].calls.add(50);
        server.worker().input_bytes.add(1000);
        trends.sample(&server, 1500);
        assert_eq!(trends.rates(), Rates { calls_per_s: 100.0, input_bytes_per_s: 2000.0, output_bytes_per_s: 0.0 });
        for tick in 0..SAMPLES as u64 {
            trends.sample(&server, 1600 + tick * 100);
        }
        assert_eq!(trends.rates(), Rates::default());
    }

    #[test]
    fn the_peak_stays_when_memory_shrinks() {
        let trends = Trends::default();
        assert_eq!(trends.memory_peak(100), 100);
        assert_eq!(trends.memory_peak(50), 100);
        trends.reset();
        assert_eq!(trends.memory_peak(50), 50);
    }
}
