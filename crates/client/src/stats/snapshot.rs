//! All figures at one moment.

use super::{CostSummary, Counter, ErrorKind, HistogramSnapshot, Operation, Stats};
use crate::l1::L1Snapshot;
use serde::Serialize;
use std::collections::BTreeMap;

/// All figures at one moment, since the client was made. serde writes it, names as they stand here.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// Values that were found: `l1_hits + l2_hits + fallback_hits`.
    pub hits: u64,
    /// Values that were not.
    pub misses: u64,
    /// `hits / (hits + misses)`; 0 if there was neither.
    pub hit_rate: f64,
    /// See [`Counter::L1Hits`]; so with the others.
    pub l1_hits: u64,
    /// See [`Counter::L2Hits`].
    pub l2_hits: u64,
    /// See [`Counter::FallbackHits`].
    pub fallback_hits: u64,
    /// See [`Counter::NegativeHits`].
    pub negative_hits: u64,
    /// See [`Counter::StaleServed`].
    pub stale_served: u64,
    /// See [`Counter::EarlyRefreshes`].
    pub early_refreshes: u64,
    /// See [`Counter::Computations`].
    pub computations: u64,
    /// See [`Counter::LeasesWon`].
    pub leases_won: u64,
    /// See [`Counter::LeasesWaited`].
    pub leases_waited: u64,
    /// See [`Counter::Writes`].
    pub writes: u64,
    /// See [`Counter::WriteFaults`].
    pub write_faults: u64,
    /// See [`Counter::Retries`].
    pub retries: u64,
    /// See [`Counter::Reconnects`].
    pub reconnects: u64,
    /// See [`Counter::Pushes`].
    pub pushes: u64,
    /// See [`Counter::ReadBytes`].
    pub read_bytes: u64,
    /// See [`Counter::WrittenBytes`].
    pub written_bytes: u64,
    /// Faults by [`ErrorKind::name`], also those that never happened.
    pub errors: BTreeMap<&'static str, u64>,
    /// Latencies by [`Operation::name`], of the operations that were used.
    pub latency: BTreeMap<&'static str, LatencySummary>,
    /// Costs of all models.
    pub cost: CostSummary,
    /// Costs by model.
    pub models: BTreeMap<String, CostSummary>,
    /// The first tier, where there is one: see [`Snapshot::with_l1`].
    pub l1: Option<L1Snapshot>,
}

/// How long operations of a class took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatencySummary {
    /// How many there were.
    pub count: u64,
    /// Exactly.
    pub mean_us: f64,
    /// Half of them ended within this time. Percentiles are within [`RELATIVE_ERROR_MAX`](super::RELATIVE_ERROR_MAX).
    pub p50_us: f64,
    /// 95 of 100 ended within this time.
    pub p95_us: f64,
    /// 99 of 100 ended within this time.
    pub p99_us: f64,
    /// 999 of 1,000 ended within this time.
    pub p999_us: f64,
    /// The longest, exactly.
    pub max_us: f64,
}

impl Stats {
    /// All figures now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let of = |counter| self.total(counter);
        let [l1_hits, l2_hits, fallback_hits] = [Counter::L1Hits, Counter::L2Hits, Counter::FallbackHits].map(of);
        let (hits, misses) = (l1_hits + l2_hits + fallback_hits, of(Counter::Misses));
        let all = hits + misses;
        Snapshot {
            hits,
            misses,
            hit_rate: if all == 0 { 0.0 } else { hits as f64 / all as f64 },
            l1_hits,
            l2_hits,
            fallback_hits,
            negative_hits: of(Counter::NegativeHits),
            stale_served: of(Counter::StaleServed),
            early_refreshes: of(Counter::EarlyRefreshes),
            computations: of(Counter::Computations),
            leases_won: of(Counter::LeasesWon),
            leases_waited: of(Counter::LeasesWaited),
            writes: of(Counter::Writes),
            write_faults: of(Counter::WriteFaults),
            retries: of(Counter::Retries),
            reconnects: of(Counter::Reconnects),
            pushes: of(Counter::Pushes),
            read_bytes: of(Counter::ReadBytes),
            written_bytes: of(Counter::WrittenBytes),
            errors: ErrorKind::ALL.iter().map(|kind| (kind.name(), self.errors(*kind))).collect(),
            latency: Operation::ALL
                .iter()
                .filter_map(|operation| Some((operation.name(), LatencySummary::of(&self.latency(*operation))?)))
                .collect(),
            cost: self.costs().sum(),
            models: self.costs().summaries(),
            l1: None,
        }
    }
}

impl Snapshot {
    /// With what the first tier says of itself.
    #[must_use]
    pub fn with_l1(mut self, l1: L1Snapshot) -> Snapshot {
        self.l1 = Some(l1);
        self
    }
}

impl LatencySummary {
    fn of(histogram: &HistogramSnapshot) -> Option<LatencySummary> {
        let us = |time: std::time::Duration| time.as_nanos() as f64 / 1e3;
        let percentile = |percent| histogram.percentile(percent).map(us);
        Some(LatencySummary {
            count: histogram.count(),
            mean_us: us(histogram.mean()),
            p50_us: percentile(50.0)?,
            p95_us: percentile(95.0)?,
            p99_us: percentile(99.0)?,
            p999_us: percentile(99.9)?,
            max_us: us(histogram.max()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l1::{L1, L1Settings};
    use std::time::Duration;

    #[test]
    fn every_counter_is_in_the_snapshot_under_its_own_name() {
        for (index, counter) in Counter::ALL.into_iter().enumerate() {
            let stats = Stats::new();
            stats.add(counter, 1000 + index as u64);
            let json = serde_json::to_value(stats.snapshot()).unwrap();
            let fields = json.as_object().unwrap().iter();
            let counted: Vec<_> = fields.filter(|(_, value)| value.as_u64() == Some(1000 + index as u64)).collect();
            let own = format!("{counter:?}").to_lowercase();
            assert!(counted.iter().any(|(name, _)| name.replace('_', "") == own), "{counter:?}: {counted:?}");
        }
    }

    #[test]
    fn a_new_client_has_no_rates_and_no_latencies() {
        let snapshot = Stats::new().snapshot();
        assert_eq!((snapshot.hit_rate, snapshot.latency.len(), snapshot.errors.len()), (0.0, 0, ErrorKind::ALL.len()));
    }

    #[test]
    fn a_snapshot_can_be_written_as_json() {
        let stats = Stats::new();
        stats.took(Operation::Lookup, Duration::from_micros(40));
        stats.costs().saved("m", 2.0);
        let snapshot = stats.snapshot().with_l1(L1::new(L1Settings::default()).snapshot());
        let json = serde_json::to_value(&snapshot).unwrap();
        assert_eq!(json["latency"]["lookup"]["count"], 1);
        assert_eq!(json["latency"]["lookup"]["max_us"], 40.0);
        assert_eq!(json["models"]["m"]["reduction_percent"], 100.0);
        assert_eq!(json["l1"]["removals"]["expired"], 0);
    }
}
