//! The policies and what an entry is worth under each.
//!
//! Ranks serve twice: entries of merged segments are ordered by them, and segments are compared by their mean. Ordering
//! cares only about which rank is higher, but a mean is carried away by its largest members, so every scale is chosen
//! flat: with the plain idle time as the scale, merging misses half a point more than with `1 / sqrt(idle)`, and the
//! fourth root of the cost score saves 0.7 points of cost against the score itself (an LLM mix, 10 % of its bytes;
//! `examples/replay` plays the scales in force). All scales share a true zero, "worthless", which dead bytes get.

use std::{fmt, str::FromStr};

use crate::frequency;

/// Which entries are given up when memory is short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The longest unused of all entries.
    #[default]
    AllkeysLru,
    /// The longest unused of those that expire.
    VolatileLru,
    /// The least often used of all entries, recent use counting more.
    AllkeysLfu,
    /// The least often used of those that expire, recent use counting more.
    VolatileLfu,
    /// Any entry.
    AllkeysRandom,
    /// Any entry that expires.
    VolatileRandom,
    /// The entry that expires soonest.
    VolatileTtl,
    /// None: writes are refused instead.
    NoEviction,
    /// The entry whose bytes save the least recomputation: frequency × cost ÷ (bytes × idle time).
    Cost,
}

impl Policy {
    /// Every policy, in the order in which documentation lists them.
    pub const ALL: [Self; 9] = [
        Self::AllkeysLru,
        Self::VolatileLru,
        Self::AllkeysLfu,
        Self::VolatileLfu,
        Self::AllkeysRandom,
        Self::VolatileRandom,
        Self::VolatileTtl,
        Self::NoEviction,
        Self::Cost,
    ];

    /// The name as Redis's `maxmemory-policy` spells it; `cost` is ours.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllkeysLru => "allkeys-lru",
            Self::VolatileLru => "volatile-lru",
            Self::AllkeysLfu => "allkeys-lfu",
            Self::VolatileLfu => "volatile-lfu",
            Self::AllkeysRandom => "allkeys-random",
            Self::VolatileRandom => "volatile-random",
            Self::VolatileTtl => "volatile-ttl",
            Self::NoEviction => "noeviction",
            Self::Cost => "cost",
        }
    }

    /// Whether only entries that expire may be evicted.
    #[must_use]
    pub const fn spares_persistent(self) -> bool {
        match self {
            Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl => true,
            Self::AllkeysLru | Self::AllkeysLfu | Self::AllkeysRandom | Self::NoEviction | Self::Cost => false,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    /// Reads Redis's names in any case, and `lru`, `lfu`, `random` (of all keys) and `ttl` (of those that expire).
    fn from_str(given: &str) -> Result<Self, UnknownPolicy> {
        let wanted = given.to_ascii_lowercase();
        match wanted.as_str() {
            "lru" => Ok(Self::AllkeysLru),
            "lfu" => Ok(Self::AllkeysLfu),
            "random" => Ok(Self::AllkeysRandom),
            "ttl" => Ok(Self::VolatileTtl),
            name => Self::ALL
                .into_iter()
                .find(|policy| policy.name() == name)
                .ok_or_else(|| UnknownPolicy { given: given.to_owned() }),
        }
    }
}

/// A name that is no policy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPolicy {
    /// What was given.
    pub given: String,
}

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown eviction policy '{}': accepted are lru, lfu, random, ttl", self.given)?;
        Policy::ALL.iter().try_for_each(|policy| write!(f, ", {policy}"))
    }
}

impl std::error::Error for UnknownPolicy {}

/// What is known of an entry. Fields that a policy does not look at may hold anything (see [`needs_record`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Milliseconds since the last access.
    pub idle_ms: u32,
    /// The access counter (see [`frequency`]): as stored under `cost`, decayed by the idle time under `*-lfu`.
    pub frequency: u8,
    /// Milliseconds until the entry expires; `None`: it does not.
    pub ttl_ms: Option<u64>,
    /// What the entry takes in memory.
    pub bytes: u32,
    /// What the entry costs to recompute, in any unit that is the same for all entries.
    pub cost: f32,
}

/// What an entry is worth keeping: higher is kept longer, infinity is never evicted.
///
/// `random` is used by the `*-random` policies and should differ from entry to entry.
#[must_use]
pub fn rank(policy: Policy, facts: &Facts, random: u32) -> f32 {
    if policy.spares_persistent() && facts.ttl_ms.is_none() {
        return f32::INFINITY;
    }
    match policy {
        Policy::AllkeysLru | Policy::VolatileLru => recency(facts.idle_ms),
        Policy::AllkeysLfu | Policy::VolatileLfu => flat(access_rate(facts)),
        Policy::AllkeysRandom | Policy::VolatileRandom => (f64::from(random) / 4_294_967_296.0) as f32,
        Policy::VolatileTtl => (facts.ttl_ms.unwrap_or(u64::MAX) as f32).sqrt(),
        Policy::NoEviction => f32::INFINITY,
        Policy::Cost => flat(cost_density(facts)),
    }
}

/// Whether [`rank`] looks at time to live, bytes or cost, which stand in the record, or only at what the index holds.
#[must_use]
pub const fn needs_record(policy: Policy) -> bool {
    match policy {
        Policy::VolatileLru | Policy::VolatileLfu | Policy::VolatileRandom | Policy::VolatileTtl | Policy::Cost => true,
        Policy::AllkeysLru | Policy::AllkeysLfu | Policy::AllkeysRandom | Policy::NoEviction => false,
    }
}

/// Whether the policy ever gives up a live entry.
#[must_use]
pub const fn evicts(policy: Policy) -> bool {
    !matches!(policy, Policy::NoEviction)
}

/// 1 for an entry used just now, towards 0 the longer it lies idle.
fn recency(idle_ms: u32) -> f32 {
    (1.0 / (f64::from(idle_ms) + 1.0).sqrt()) as f32
}

/// Accesses for each millisecond since the last one.
///
/// Frequency alone keeps for ever what was once popular: merging by the counter misses up to 14 points more than LRU.
/// `GreedyDual`-Size-Frequency (Cherkasova 1998) ages by an inflation value that every entry would have to store, and
/// misses more cost over a log than this does. Dividing by the idle time needs the last access alone and no constant that
/// fits one request rate only. A first access weighs a quarter, because most keys are never asked for again.
fn access_rate(facts: &Facts) -> f64 {
    let accesses = match frequency::accesses(facts.frequency) {
        0..=1 => 0.25,
        more => f64::from(more),
    };
    accesses / (f64::from(facts.idle_ms) + 1.0)
}

/// The cost that a byte of the entry is expected to save each millisecond.
fn cost_density(facts: &Facts) -> f64 {
    let cost = f64::from(facts.cost.max(0.0)); // NaN becomes 0
    access_rate(facts) * cost / f64::from(facts.bytes.max(1))
}

/// The fourth root. Infinite costs stay comparable and, above all, evictable.
fn flat(worth: f64) -> f32 {
    (worth.sqrt().sqrt() as f32).min(f32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Facts =
        Facts { idle_ms: 0, frequency: frequency::INITIAL, ttl_ms: Some(60_000), bytes: 1_000, cost: 1.0 };

    /// Names in the order in which they go, the first to go in front.
    fn order(policy: Policy, entries: &[(&'static str, Facts)]) -> Vec<&'static str> {
        let mut ranked: Vec<_> = entries.iter().map(|(name, facts)| (rank(policy, facts, 0), *name)).collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        ranked.into_iter().map(|(_, name)| name).collect()
    }

    fn table() -> [(&'static str, Facts); 5] {
        [
            ("new", NEW),
            ("old", Facts { idle_ms: 90_000, frequency: 7, ttl_ms: Some(5_000), ..NEW }),
            ("often", Facts { idle_ms: 30_000, frequency: 40, ttl_ms: Some(600_000), ..NEW }),
            ("dear", Facts { idle_ms: 60_000, cost: 100_000.0, ttl_ms: Some(1_000), ..NEW }),
            ("big", Facts { idle_ms: 10, bytes: 500_000_000, ttl_ms: Some(u64::MAX), ..NEW }),
        ]
    }

    #[test]
    fn every_policy_has_its_order() {
        let expected: [(Policy, [&str; 5]); 6] = [
            (Policy::AllkeysLru, ["old", "dear", "often", "big", "new"]),
            (Policy::VolatileLru, ["old", "dear", "often", "big", "new"]),
            (Policy::AllkeysLfu, ["dear", "old", "big", "often", "new"]),
            (Policy::VolatileLfu, ["dear", "old", "big", "often", "new"]),
            (Policy::VolatileTtl, ["dear", "old", "new", "often", "big"]),
            (Policy::Cost, ["big", "old", "often", "new", "dear"]),
        ];
        for (policy, names) in expected {
            assert_eq!(order(policy, &table()), names, "{policy}");
        }
    }

    #[test]
    fn random_policies_follow_the_random_number_alone() {
        for policy in [Policy::AllkeysRandom, Policy::VolatileRandom] {
            for (_, facts) in table() {
                assert_eq!(rank(policy, &facts, 0), 0.0);
                assert_eq!(rank(policy, &facts, 1 << 31), 0.5);
                assert!(rank(policy, &facts, u32::MAX) <= 1.0);
            }
        }
    }

    #[test]
    fn volatile_policies_spare_persistent_entries_and_noeviction_spares_all() {
        let persistent = Facts { ttl_ms: None, idle_ms: u32::MAX, frequency: 0, ..NEW };
        for policy in Policy::ALL {
            let spared = policy.name().starts_with("volatile") || policy == Policy::NoEviction;
            assert_eq!(rank(policy, &persistent, 0) == f32::INFINITY, spared, "{policy}");
            assert_eq!(rank(policy, &NEW, 0) == f32::INFINITY, policy == Policy::NoEviction, "{policy}");
            assert_eq!(evicts(policy), policy != Policy::NoEviction);
        }
    }

    #[test]
    fn slot_only_policies_ignore_the_record() {
        let other = Facts { ttl_ms: None, bytes: 7, cost: f32::NAN, ..NEW };
        for policy in Policy::ALL.into_iter().filter(|policy| !needs_record(*policy)) {
            assert_eq!(rank(policy, &NEW, 9), rank(policy, &other, 9), "{policy}");
        }
    }

    #[test]
    fn strange_costs_and_sizes_give_ordinary_ranks() {
        for cost in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 0.0, f32::MAX] {
            for (bytes, frequency) in [(0, 255), (u32::MAX, 0)] {
                let worth = rank(Policy::Cost, &Facts { cost, bytes, frequency, ..NEW }, 0);
                assert!((0.0..f32::INFINITY).contains(&worth), "cost {cost}, bytes {bytes}: {worth}");
            }
        }
    }

    #[test]
    fn a_second_access_weighs_more_than_four_first_ones_cost() {
        let twice = Facts { frequency: frequency::INITIAL + 1, ..NEW };
        assert!(rank(Policy::Cost, &twice, 0) > rank(Policy::Cost, &Facts { cost: 4.0, ..NEW }, 0));
    }

    #[test]
    fn names_round_trip_in_any_case_and_aliases_are_understood() {
        for policy in Policy::ALL {
            assert_eq!(policy.name().to_uppercase().parse(), Ok(policy));
        }
        let aliases = [
            ("LRU", Policy::AllkeysLru),
            ("lfu", Policy::AllkeysLfu),
            ("random", Policy::AllkeysRandom),
            ("ttl", Policy::VolatileTtl),
        ];
        for (alias, policy) in aliases {
            assert_eq!(alias.parse(), Ok(policy));
        }
        assert_eq!(Policy::default(), Policy::AllkeysLru);
    }

    #[test]
    fn an_unknown_name_is_told_what_is_accepted() {
        let message = "lrv".parse::<Policy>().unwrap_err().to_string();
        assert!(message.contains("'lrv'"), "{message}");
        for policy in Policy::ALL {
            assert!(message.contains(policy.name()), "{message}");
        }
    }
}
