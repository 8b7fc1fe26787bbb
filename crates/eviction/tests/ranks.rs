//! Laws that hold for the ranks of all entries, not only for those of the tables.

use proptest::prelude::*;
use sutra_eviction::{Facts, Policy, rank};

prop_compose! {
    fn facts()(
        idle_ms in any::<u32>(), frequency in any::<u8>(), ttl_ms in prop::option::of(any::<u64>()),
        bytes in any::<u32>(), cost in any::<f32>(),
    ) -> Facts {
        Facts { idle_ms, frequency, ttl_ms, bytes, cost }
    }
}

fn policies() -> impl Strategy<Value = Policy> {
    prop::sample::select(Policy::ALL.to_vec())
}

proptest! {
    #[test]
    fn a_rank_is_a_number_from_zero_up(policy in policies(), facts in facts(), random: u32) {
        prop_assert!(rank(policy, &facts, random) >= 0.0);
    }

    #[test]
    fn resting_longer_never_helps(policy in policies(), facts in facts(), random: u32, more: u32) {
        let rested = Facts { idle_ms: facts.idle_ms.saturating_add(more), ..facts };
        prop_assert!(rank(policy, &rested, random) <= rank(policy, &facts, random));
    }

    #[test]
    fn more_accesses_never_hurt(policy in policies(), facts in facts(), random: u32, more: u8) {
        let liked = Facts { frequency: facts.frequency.saturating_add(more), ..facts };
        prop_assert!(rank(policy, &liked, random) >= rank(policy, &facts, random));
    }

    #[test]
    fn costing_more_never_hurts_and_taking_more_room_never_helps(
        policy in policies(), facts in facts(), random: u32, more: u32,
    ) {
        let dearer = Facts { cost: facts.cost.max(0.0) + more as f32, ..facts };
        prop_assert!(rank(policy, &dearer, random) >= rank(policy, &facts, random));
        let larger = Facts { bytes: facts.bytes.saturating_add(more), ..facts };
        prop_assert!(rank(policy, &larger, random) <= rank(policy, &facts, random));
    }

    #[test]
    fn expiring_later_never_hurts(policy in policies(), facts in facts(), random: u32, more: u64) {
        let later = Facts { ttl_ms: facts.ttl_ms.map(|ttl| ttl.saturating_add(more)), ..facts };
        prop_assert!(rank(policy, &later, random) >= rank(policy, &facts, random));
    }

    #[test]
    fn only_what_must_stay_has_rank_infinity(policy in policies(), facts in facts(), random: u32) {
        let spared = policy == Policy::NoEviction
            || (policy.name().starts_with("volatile") && facts.ttl_ms.is_none());
        prop_assert_eq!(rank(policy, &facts, random) == f32::INFINITY, spared);
    }
}
