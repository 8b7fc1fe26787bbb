//! Latencies in logarithmic buckets: any quantile to within 1.6 %, in a fixed 15 KiB.

/// Buckets per power of two.
const STEPS: u64 = 32;

/// Counts of nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram { counts: vec![0; bucket(u64::MAX) + 1], total: 0 }
    }

    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    pub(crate) fn count(&self) -> u64 {
        self.total
    }

    /// The latency in microseconds that the share `quantile` (0..1) of all stays within; 0 if there is none.
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        let wanted = ((self.total as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return middle(bucket) / 1000.0;
            }
        }
        0.0
    }
}

fn bucket(nanoseconds: u64) -> usize {
    if nanoseconds < STEPS {
        return nanoseconds as usize;
    }
    let power = u64::from(nanoseconds.ilog2()) - 5;
    (power * STEPS + (nanoseconds >> power)) as usize
}

fn middle(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket as f64;
    }
    let power = bucket / STEPS - 1;
    let low = (bucket % STEPS + STEPS) as f64 * (power as f64).exp2();
    low + (power as f64).exp2() / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_their_precision() {
        let mut histogram = Histogram::new();
        for value in 1..=100_000 {
            histogram.record(value * 10);
        }
        for (quantile, exact_us) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0)] {
            let error = histogram.quantile_us(quantile) / exact_us - 1.0;
            assert!(error.abs() < 0.017, "{quantile}: off by {error}");
        }
    }

    #[test]
    fn every_number_has_a_bucket_and_order_is_kept() {
        let mut last = 0;
        for power in 0..64 {
            for value in [1u64 << power, (1u64 << power) | (1u64 << power) >> 1] {
                assert!(bucket(value) >= last);
                last = bucket(value);
            }
        }
        Histogram::new().record(u64::MAX);
    }

    #[test]
    fn nothing_recorded_is_zero() {
        assert_eq!(Histogram::new().quantile_us(0.99), 0.0);
    }
}
